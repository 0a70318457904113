package agent

import (
	"sync"
	"time"

	"bothy/runner/internal/remote/wire/msgpack"
	"bothy/runner/worker"
)

// settings say how output is gathered.
type settings struct {
	size     int           // characters and numbers that are sent at once, about
	timeout  time.Duration // after which what there is is sent
	maxLine  int           // characters
	cursor   bool          // as in splitter
	endLines bool          // an unfinished last line gets a "\n"
	raw      bool          // bytes are sent as they are; the three above mean nothing
}

// Buildbot: BotBase.buffer_size, buffer_timeout, max_line_length.
const (
	defaultSize    = 64 << 10
	defaultTimeout = 5 * time.Second
	defaultMaxLine = 4096
)

const (
	// maxBuffer bounds what a master may ask to be held.
	maxBuffer = 1 << 20
	// valueSize is what a value counts in the buffer, as buildbot-worker has it.
	valueSize = 20
	// numberSize is what each number of a line counts.
	numberSize = 8
)

// output gathers what a command has to say and sends it in order. A master that
// does not take it makes the command wait. Its methods may be called from many
// goroutines.
type output struct {
	s    settings
	send func([]msgpack.Item) error // waits; called with mu held

	mu      sync.Mutex
	streams map[stream]*feed
	order   []stream
	items   []item // to be sent
	held    int    // size of items
	timer   *time.Timer
	armed   bool
	err     error // of send: nothing more is sent
	closed  bool
}

// stream is a stream of the command, or a file.
type stream struct {
	name string // as in msgpack.Item
	log  string
}

// feed is a stream on its way to becoming lines.
type feed struct {
	d decoder
	s splitter
}

// item is a part of an update.
type item struct {
	stream
	lines lines
	value any
}

func newOutput(s settings, send func([]msgpack.Item) error) *output {
	return &output{s: s, send: send, streams: map[stream]*feed{}}
}

// Output implements [worker.Sink].
func (o *output) Output(log string, s worker.Stream, p []byte) error {
	at := stream{msgpack.Stdout, ""}
	switch {
	case log != "":
		at = stream{msgpack.Log, log}
	case s == worker.Stderr:
		at.name = msgpack.Stderr
	case s == worker.Header:
		at.name = msgpack.Header
	}
	return o.write(at, p)
}

// header adds lines that say what the worker does.
func (o *output) header(text string) { _ = o.write(stream{name: msgpack.Header}, []byte(text)) }

// stderr adds what the worker has to say as if the command did.
func (o *output) stderr(text string) { _ = o.write(stream{name: msgpack.Stderr}, []byte(text)) }

func (o *output) write(at stream, p []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return o.err
	}
	if o.s.raw {
		return o.copy(at, p)
	}
	f := o.streams[at]
	if f == nil {
		f = &feed{s: splitter{cursor: o.s.cursor, maxChars: o.s.maxLine}}
		o.streams[at] = f
		o.order = append(o.order, at)
	}
	now := time.Now()
	// A piece of the buffer's size at a time, so that what is ready is bounded.
	for len(p) > 0 && o.err == nil {
		n := min(len(p), defaultSize)
		f.s.feed(f.d.feed(p[:n]), now, o.lines(at))
		o.settle()
		p = p[n:]
	}
	return o.err
}

// copy adds bytes as they are: the worker's own lines whole, the rest in pieces of
// the buffer's size.
func (o *output) copy(at stream, p []byte) error {
	for len(p) > 0 && o.err == nil {
		n := len(p)
		if at.name != msgpack.Header {
			n = min(n, max(1, min(o.s.size, maxBuffer)-o.held))
		}
		l := o.lines(at)
		if l.text == nil && n >= rawChunk {
			l.text = make([]byte, 0, max(n, o.s.size))
		}
		l.text = append(l.text, p[:n]...)
		p = p[n:]
		o.settle()
	}
	return o.err
}

// rawChunk is a piece of output after which more is expected to follow.
const rawChunk = 4 << 10

// lines returns where the lines of a stream are to be added.
func (o *output) lines(at stream) *lines {
	if n := len(o.items); n == 0 || o.items[n-1].stream != at {
		o.items = append(o.items, item{stream: at})
	}
	return &o.items[len(o.items)-1].lines
}

// value adds a value.
func (o *output) value(name string, v any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	o.items = append(o.items, item{stream: stream{name: name}, value: v})
	o.settle()
}

// settle sends what is enough, and sees to it that the rest does not get old.
func (o *output) settle() {
	o.measure()
	switch {
	case o.held == 0 || o.err != nil:
	case o.held >= min(o.s.size, maxBuffer) || o.s.timeout <= 0:
		o.flush()
	case !o.armed:
		o.armed = true
		if o.timer == nil {
			o.timer = time.AfterFunc(o.s.timeout, o.due)
		} else {
			o.timer.Reset(o.s.timeout)
		}
	}
}

func (o *output) measure() {
	o.held = 0
	for i := range o.items {
		it := &o.items[i]
		switch it.name {
		case msgpack.Stdout, msgpack.Stderr, msgpack.Header, msgpack.Log:
			o.held += len(it.lines.text) + numberSize*(len(it.lines.ends)+len(it.lines.times))
		default:
			o.held += valueSize
		}
	}
}

// due is the timer's.
func (o *output) due() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.armed = false
	if !o.closed {
		o.flush()
	}
}

// flush sends what there is.
func (o *output) flush() {
	items := make([]msgpack.Item, 0, len(o.items))
	for i := range o.items {
		it := &o.items[i]
		if isLines := it.value == nil && len(it.lines.text) == 0; isLines {
			continue
		}
		items = append(items, msgpack.Item{Name: it.name, Log: it.log, Lines: it.lines.wire(), Value: it.value})
	}
	o.items, o.held = nil, 0
	if o.armed {
		o.timer.Stop()
		o.armed = false
	}
	if len(items) > 0 && o.err == nil {
		o.err = o.send(items)
	}
}

// settleStreams ends all streams: what they end with is added. Writing goes on
// with new lines.
func (o *output) settleStreams() {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for _, at := range o.order {
		f := o.streams[at]
		f.s.feed(f.d.end(), now, o.lines(at))
		f.s.flush(now, o.s.endLines, o.lines(at))
	}
	o.streams, o.order = map[stream]*feed{}, nil
	if o.err == nil {
		o.settle()
	}
}

// close ends all streams and sends what there is. Nothing is taken after it.
func (o *output) close() error {
	o.settleStreams()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flush()
	o.closed = true
	return o.err
}
