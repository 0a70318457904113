package api

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Limits of what a listener may ask for and lag behind.
const (
	maxPaths     = 1000    // consumed by one listener
	maxPathBytes = 512     // of one path
	maxBehind    = 4096    // messages not yet sent to a listener
	maxBehindB   = 4 << 20 // bytes of them
)

// errSlow and errMissed are why a listener is dropped: it would otherwise not
// know that something has happened. It connects again and reads anew.
var (
	errSlow    = errors.New("too slow: events would be lost; connect again and read anew")
	errMissed  = errors.New("events were lost; connect again and read anew")
	errEnded   = errors.New("the master ends")
	errChanged = errors.New("the configuration of who may listen has changed; connect again")
)

// message is one event under one of its paths. It is made once for all
// listeners; each form of it when the first listener needs it.
type message struct {
	path string // "builds/12/new"
	body []byte // the JSON of the object
	ws   []byte // as sent over a WebSocket, with the frame's header
	sse  []byte // as sent as a server-sent event
}

// frame returns the message in the form that a listener takes.
func (m *message) frame(sse bool) []byte {
	switch {
	case sse && m.sse == nil:
		b := append([]byte("event: event\ndata: {\"key\":["), '"')
		b = append(b, strings.ReplaceAll(string(appendEscaped(nil, m.path)), "/", `","`)...)
		b = append(b, `"],"message":`...)
		b = append(b, m.body...)
		m.sse = append(b, "}\n\n"...)
	case !sse && m.ws == nil:
		head := append(append([]byte(`{"k":`), appendString(nil, m.path)...), `,"m":`...)
		b := append(textFrame(len(head)+len(m.body)+1), head...)
		m.ws = append(append(b, m.body...), '}')
	}
	if sse {
		return m.sse
	}
	return m.ws
}

// hub hands events to listeners. Paths are looked up in a tree, so that an
// event costs what its listeners cost, however many others there are.
type hub struct {
	// start begins the stream of events for the first listener, and returns what
	// ends it after the last one.
	start func() (stop func(), err error)

	mu        sync.Mutex
	root      node
	listeners map[*listener]struct{}
	stop      func()
	closed    bool

	sent, dropped atomic.Int64 // for metrics
}

type node struct {
	next map[string]*node // "*" stands for any one element
	here map[*listener]struct{}
}

// listener is one client's queue. Its owner takes from it; the hub never waits.
type listener struct {
	sse bool

	paths map[string]struct{} // guarded by the hub's lock
	// wake has room for one: that there is something new below.
	wake chan struct{}

	mu    sync.Mutex
	queue [][]byte
	bytes int
	due   bool  // take returns, be it with nothing
	err   error // why nothing more will come
}

// listen adds a listener, who must leave.
func (h *hub) listen(sse bool) (*listener, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, errEnded
	}
	if h.stop == nil {
		stop, err := h.start()
		if err != nil {
			return nil, err
		}
		h.stop = stop
	}
	l := &listener{sse: sse, paths: map[string]struct{}{}, wake: make(chan struct{}, 1)}
	if h.listeners == nil {
		h.listeners = map[*listener]struct{}{}
	}
	h.listeners[l] = struct{}{}
	return l, nil
}

// leave removes a listener.
func (h *hub) leave(l *listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for p := range l.paths {
		h.root.remove(strings.Split(p, "/"), l)
	}
	clear(l.paths)
	delete(h.listeners, l)
	if len(h.listeners) == 0 && h.stop != nil {
		h.stop()
		h.stop = nil
	}
}

var (
	errTooManyPaths = errors.New("too many paths are consumed")
	errPathTooLong  = errors.New("the path is too long")
)

// consume makes events under the path come to the listener.
func (h *hub) consume(l *listener, path string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := l.paths[path]; ok {
		return nil
	}
	switch {
	case len(path) > maxPathBytes || strings.Count(path, "/") >= maxElements:
		return errPathTooLong
	case len(l.paths) >= maxPaths:
		return errTooManyPaths
	}
	l.paths[path] = struct{}{}
	h.root.add(strings.Split(path, "/"), l)
	return nil
}

// release takes a path back; it reports false if it was not consumed.
func (h *hub) release(l *listener, path string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := l.paths[path]; !ok {
		return false
	}
	delete(l.paths, path)
	h.root.remove(strings.Split(path, "/"), l)
	return true
}

func (n *node) add(path []string, l *listener) {
	for _, el := range path {
		if n.next == nil {
			n.next = map[string]*node{}
		}
		if n.next[el] == nil {
			n.next[el] = &node{}
		}
		n = n.next[el]
	}
	if n.here == nil {
		n.here = map[*listener]struct{}{}
	}
	n.here[l] = struct{}{}
}

// remove also prunes what is then empty; it reports whether n is.
func (n *node) remove(path []string, l *listener) bool {
	if len(path) == 0 {
		delete(n.here, l)
	} else if next := n.next[path[0]]; next != nil && next.remove(path[1:], l) {
		delete(n.next, path[0])
	}
	return len(n.here) == 0 && len(n.next) == 0
}

// match calls f with the listeners of every pattern that fits the path.
func (n *node) match(path []string, f func(map[*listener]struct{})) {
	if len(path) == 0 {
		if len(n.here) > 0 {
			f(n.here)
		}
		return
	}
	if next := n.next[path[0]]; next != nil {
		next.match(path[1:], f)
	}
	if next := n.next["*"]; next != nil && path[0] != "*" {
		next.match(path[1:], f)
	}
}

// publish sends an event under all its paths. body is called only if somebody
// listens to one of them.
func (h *hub) publish(paths [][]string, body func() []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var object []byte
	for _, path := range paths {
		var sets []map[*listener]struct{}
		h.root.match(path, func(s map[*listener]struct{}) { sets = append(sets, s) })
		if len(sets) == 0 {
			continue
		}
		if object == nil {
			object = body()
		}
		m := &message{path: strings.Join(path, "/"), body: object}
		for i, set := range sets {
			for l := range set {
				if i > 0 && slices.ContainsFunc(sets[:i], func(s map[*listener]struct{}) bool { _, ok := s[l]; return ok }) {
					continue // two of its patterns fit
				}
				h.sent.Add(1)
				if !l.put(m.frame(l.sse)) {
					h.dropped.Add(1)
				}
			}
		}
	}
}

// drop ends all listeners with a reason.
func (h *hub) drop(why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.listeners {
		l.end(why)
	}
}

// close ends all listeners and takes no more.
func (h *hub) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.drop(errEnded)
}

func (h *hub) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.listeners)
}

// put queues a frame; false: the listener is, or has just been, dropped.
func (l *listener) put(frame []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.err != nil:
		return false
	case len(l.queue) >= maxBehind || l.bytes+len(frame) > maxBehindB && len(l.queue) > 0:
		l.endLocked(errSlow)
		return false
	}
	l.queue = append(l.queue, frame)
	l.bytes += len(frame)
	if len(l.queue) == 1 {
		l.rouse()
	}
	return true
}

func (l *listener) rouse() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// end makes take return why, which is not nil, once and for all.
func (l *listener) end(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endLocked(why)
}

func (l *listener) endLocked(why error) {
	if l.err != nil {
		return
	}
	l.err = why
	l.queue, l.bytes = nil, 0
	l.rouse()
}

// remind makes take return nothing once, if there is nothing.
func (l *listener) remind() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due = true
	l.rouse()
}

// take waits for frames and returns them; buf is reused for the next ones. It
// returns none when a reminder comes first. An error says why there are no more.
func (l *listener) take(buf [][]byte) ([][]byte, error) {
	for {
		l.mu.Lock()
		frames, due, err := l.queue, l.due, l.err
		if len(frames) > 0 {
			clear(buf[:cap(buf)])
			l.queue, l.bytes = buf[:0], 0
		} else {
			l.due = false
		}
		l.mu.Unlock()
		switch {
		case err != nil:
			return nil, err
		case len(frames) > 0:
			return frames, nil
		case due:
			return nil, nil
		}
		<-l.wake
	}
}
