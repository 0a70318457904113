package engine

import (
	"slices"
	"sync"
	"time"

	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// logNewsEvery is how often subscribers are told that a log has grown. Readers
// see output within 100 ms (behaviour.md).
const logNewsEvery = 100 * time.Millisecond

// logNews tells subscribers that a log has grown: at once, then every
// logNewsEvery as long as it grows.
type logNews struct {
	mu   sync.Mutex
	last time.Time
	wait *time.Timer // until the next may be told; nil: none is to be told
	over bool
}

// end tells nothing any more: the end of the log says it all.
func (n *logNews) end() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.over = true
	if n.wait != nil {
		n.wait.Stop()
	}
}

// write appends to the log and lets those know who want to.
func (s *stepLog) write(stream worker.Stream, p []byte) error {
	err := s.w.Write(stream, p)
	if s.run.e.logListeners.Load() > 0 {
		s.grew()
	}
	return err
}

func (s *stepLog) grew() {
	n := &s.news
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.over || n.wait != nil {
		return
	}
	if rest := logNewsEvery - time.Since(n.last); rest > 0 {
		n.wait = time.AfterFunc(rest, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.wait = nil
			if !n.over {
				s.tellNews()
			}
		})
		return
	}
	s.tellNews()
}

// tellNews is called with the lock held.
func (s *stepLog) tellNews() {
	s.news.last = time.Now()
	info, err := s.run.e.opt.Logs.Stat(s.row.ID, "")
	if err != nil {
		return // it is closed: the end of the build says more
	}
	row := s.row
	row.Lines, row.Bytes = info.Lines, info.Bytes
	s.run.e.post(func(l *loop) { l.publishLog(LogAppend, row) })
}

// announce makes a log known that its step did not begin with.
func (s *stepLog) announce() {
	row := s.row
	s.run.e.post(func(l *loop) { l.logStarted(s.run.b, row) })
}

// logStarted records a new log.
func (l *loop) logStarted(b *running, row store.Log) {
	if b.fenced {
		return
	}
	l.batch.PutLog(&row)
	l.publishLog(LogNew, row)
}

// publishLog tells of a log, with its build and step as far as they are known.
func (l *loop) publishLog(kind EventKind, row store.Log) {
	if len(l.subscribers) == 0 {
		return
	}
	ev := Event{Kind: kind, Log: row, Step: store.Step{Build: row.Build, Number: row.Step}, Build: store.Build{ID: row.Build}}
	if b := l.builds[row.Build]; b != nil {
		ev.Request, ev.Build = b.req.row, b.row
		if b.step.Number == row.Step {
			ev.Step = b.step
		}
	}
	l.publish(ev)
}

// countLogListeners notes whether anybody wants to hear of growing logs.
func (l *loop) countLogListeners() {
	n := int64(0)
	for s := range l.subscribers {
		if s.session == "" && (s.kinds == nil || slices.Contains(s.kinds, LogAppend)) {
			n++
		}
	}
	l.e.logListeners.Store(n)
}
