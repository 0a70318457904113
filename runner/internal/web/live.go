package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"bothy/runner/internal/engine"
)

const (
	// liveEvery is the least time between two messages of a stream.
	liveEvery = 250 * time.Millisecond
	// maxTopics is how many topics a message names. When more have changed it
	// says that everything has.
	maxTopics = 64
	// everything is the topic that all panels depend on.
	everything = "*"
	// maxStreams bounds open streams. A browser needs one.
	maxStreams = 4096
	// streamComment keeps a silent stream alive through proxies. HTML,
	// "Server-sent events", advises a comment about every 15 s.
	streamComment = 15 * time.Second
	streamWrite   = 30 * time.Second // for one write
	// settleTime is how long a stream waits for a commit before it begins. There is
	// none while the disk is full.
	settleTime = 2 * time.Second
)

// topics are what an event changes, as panels name it in data-live:
//
//	requests builds steps logs workers schedulers mails config master
//	output          a log has grown
//	request/ID build/ID log/ID worker/NAME builder/NAME
//
// A build/ID changes with its steps, and with its logs coming and ending, not
// with their growing.
func topics(ev *engine.Event) []string {
	id := func(kind string, n int64) string { return fmt.Sprintf("%s/%d", kind, n) }
	switch ev.Kind {
	case engine.RequestNew, engine.RequestClaimed, engine.RequestUnclaimed, engine.RequestChanged, engine.RequestDone:
		return []string{"requests", id("request", ev.Request.ID), topic("builder", ev.Request.Builder)}
	case engine.BuildNew, engine.BuildDone:
		return []string{"builds", id("build", ev.Build.ID), topic("builder", ev.Build.Builder), topic("worker", ev.Build.Worker)}
	case engine.StepNew, engine.StepUpdate, engine.StepDone:
		return []string{"steps", id("build", ev.Step.Build)}
	case engine.LogNew, engine.LogDone:
		return []string{"logs", id("build", ev.Log.Build), id("log", ev.Log.ID)}
	case engine.LogAppend:
		return []string{"output", id("log", ev.Log.ID)}
	case engine.WorkerChanged:
		return []string{"workers", topic("worker", ev.Worker.Name)}
	case engine.SchedulerChanged:
		return []string{"schedulers"}
	case engine.MailChanged:
		return []string{"mails"}
	case engine.Reloaded:
		return []string{"config", "workers", "schedulers"}
	case engine.Degraded:
		return []string{"master"}
	}
	return []string{everything} // events were missed
}

// topic names something by its name.
func topic(kind, name string) string { return kind + "/" + url.PathEscape(name) }

// live tells streams which topics have changed. All streams get the same.
type live struct {
	// start begins to call publish for the first stream, and returns what ends it
	// after the last one.
	start func() (stop func(), err error)

	mu      sync.Mutex
	streams map[*stream]struct{}
	stop    func()
	closed  bool
	changed map[string]struct{} // not yet told
	told    time.Time
	timer   *time.Timer // until they are told; nil: nothing is to be told
}

// stream is one browser's. What it is too slow for is told as everything.
type stream struct {
	news   chan string
	missed bool // guarded by live's lock
	gone   chan struct{}
}

var errBusy = &problem{http.StatusServiceUnavailable, "too many streams are open"}

// join adds a stream, which must leave.
func (l *live) join() (*stream, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, engine.ErrStopped
	case len(l.streams) >= maxStreams:
		return nil, errBusy
	}
	if l.stop == nil {
		stop, err := l.start()
		if err != nil {
			return nil, err
		}
		l.stop = stop
	}
	st := &stream{news: make(chan string, 4), gone: make(chan struct{})}
	if l.streams == nil {
		l.streams = map[*stream]struct{}{}
	}
	l.streams[st] = struct{}{}
	return st, nil
}

func (l *live) leave(st *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.streams, st)
	if len(l.streams) > 0 || l.stop == nil {
		return
	}
	l.stop()
	l.stop = nil
	clear(l.changed)
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
}

// close ends all streams and takes no more.
func (l *live) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for st := range l.streams {
		close(st.gone)
		delete(l.streams, st)
	}
	if l.stop != nil {
		l.stop()
		l.stop = nil
	}
}

// publish notes that topics have changed, and tells of them: at once, then every
// liveEvery as long as something changes.
func (l *live) publish(topics []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = map[string]struct{}{}
	}
	for _, t := range topics {
		if len(l.changed) <= maxTopics {
			l.changed[t] = struct{}{}
		}
	}
	if l.timer == nil {
		l.timer = time.AfterFunc(max(0, liveEvery-time.Since(l.told)), l.tell)
	}
}

func (l *live) tell() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer == nil || len(l.changed) == 0 {
		return
	}
	l.timer, l.told = nil, time.Now()
	message := everything
	if _, all := l.changed[everything]; !all && len(l.changed) <= maxTopics {
		names := make([]string, 0, len(l.changed))
		for t := range l.changed {
			names = append(names, t)
		}
		slices.Sort(names)
		message = strings.Join(names, " ")
	}
	clear(l.changed)
	for st := range l.streams {
		told := message
		if st.missed {
			told = everything
		}
		select {
		case st.news <- told:
			st.missed = false
		default:
			st.missed = true
		}
	}
}

// CheckStreams ends the streams of those whom still does not let in, after a
// change of who may look. Those of programs that embed the page go on.
func (s *Web) CheckStreams(still func(*http.Request) bool) { s.listeners.check(still) }

// version changes with everything that is told of.
func (s *Web) version() uint64 { return s.Store.Version() }

// follow publishes the engine's events until stop is called.
func (s *Web) follow() (stop func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	events, err := s.Engine.Subscribe(ctx, "")
	if err != nil {
		cancel()
		return nil, err
	}
	go func() {
		defer cancel()
		for ev := range events {
			s.live.publish(topics(&ev))
		}
	}()
	return cancel, nil
}

// serveLive is the stream of a browser, for all its tabs and panels. It begins
// with "hello", the version of what can be seen now and the sum of the static
// files; each message after it has a version as its id and names topics.
func (s *Web) serveLive(w http.ResponseWriter, r *http.Request, acc *Access) {
	c := s.call(w, r, acc, nil)
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", "text/event-stream")
		return
	}
	st, err := s.live.join()
	if err != nil {
		c.fail(err)
		return
	}
	defer s.live.leave(st)
	listening, end := s.listeners.begin(r, acc)
	defer end()
	// What was decided before the stream began and is not on disk yet would be
	// neither in the version that it begins with nor told.
	ctx, cancel := context.WithTimeout(listening, settleTime)
	err = s.Engine.Settle(ctx)
	late := ctx.Err() != nil
	cancel()
	if err != nil && !late {
		c.fail(err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold messages back
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return
	}
	write := func(format string, args ...any) error {
		err := rc.SetWriteDeadline(time.Now().Add(streamWrite))
		_ = err // an embedder's server: its own time limits hold
		if _, err := fmt.Fprintf(w, format, args...); err != nil {
			return err
		}
		return rc.Flush()
	}
	err = write("retry: 2000\nevent: hello\ndata: %d %s\n\n", s.version(), s.look().sum)
	silent := time.NewTicker(streamComment)
	defer silent.Stop()
	for err == nil {
		select {
		case told := <-st.news:
			err = write("id: %d\ndata: %s\n\n", s.version(), told)
		case <-silent.C:
			err = write(": \n\n")
		case <-st.gone:
			return
		case <-listening.Done():
			return
		}
	}
}
