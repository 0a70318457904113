package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"bothy/runner/internal/engine"
	"bothy/runner/internal/logs"
)

// Following a log is being told its end as it changes: one tail per log reads and
// renders it for all who follow, at most so often that this costs little. Who
// follows gets the lines that came since, or the last ones when more came than
// those; what was left out is said, and can be fetched as any other line. So
// nobody who follows waits for another, and the log's writer waits for nobody.
const (
	// tailLines is how many lines a tail holds; more than a screen shows.
	tailLines = 200
	// tailPause is the least time between two looks at a log.
	tailPause = 50 * time.Millisecond
	// tailRush is the same when more comes than can be read anyway.
	tailRush = 250 * time.Millisecond
	// tailShare bounds what a tail takes of a processor: it rests so many times
	// as long as it works.
	tailShare = 20
	// tailMost is the most it rests.
	tailMost = time.Second
	// maxFollowers bounds open streams.
	maxFollowers = 4096
	// followBeat is how often something is sent when nothing happens, so that
	// the script knows a silent stream from a broken one. logfollow.js: patience.
	followBeat = 10 * time.Second
)

type tailKey struct {
	log   int64
	whole bool // rendered for the page of the build
}

// tails are those that somebody follows. The zero value is ready.
type tails struct {
	mu        sync.Mutex
	open      map[tailKey]*tail
	followers int
	closed    bool
}

// tail is the end of one log.
type tail struct {
	followers int // guarded by tails' lock
	stop      context.CancelFunc

	mu      sync.Mutex
	now     *tailState
	changed chan struct{} // closed when now is replaced
}

// tailState does not change once it is published.
type tailState struct {
	total int64 // lines
	bytes int64
	rows  []tailRow
	done  bool  // nothing more will come
	over  bool  // the log is finished; else its store was closed
	err   error // it cannot be read
}

type tailRow struct {
	no      int64 // from 0
	partial bool
	json    []byte // its HTML as the inside of a JSON string
}

// join returns the tail of a log; open is called if nobody follows it yet.
func (ts *tails) join(key tailKey, open func() (*logs.Reader, *rowWriter, error), warn func(error)) (*tail, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	switch {
	case ts.closed:
		return nil, engine.ErrStopped
	case ts.followers >= maxFollowers:
		return nil, errBusy
	}
	t := ts.open[key]
	if t == nil {
		rd, rows, err := open()
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithCancel(context.Background())
		t = &tail{stop: cancel, changed: make(chan struct{})}
		if ts.open == nil {
			ts.open = map[tailKey]*tail{}
		}
		ts.open[key] = t
		go func() {
			t.follow(ctx, rd, rows)
			if err := rd.Close(); err != nil {
				warn(err)
			}
		}()
	}
	t.followers++
	ts.followers++
	return t, nil
}

func (ts *tails) leave(key tailKey, t *tail) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.followers--
	if t.followers--; t.followers == 0 {
		t.stop()
		if ts.open[key] == t {
			delete(ts.open, key)
		}
	}
}

// close ends all tails, which ends those who follow them.
func (ts *tails) close() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.closed = true
	for _, t := range ts.open {
		t.stop()
	}
}

// state returns what is known, nil before anything is, and a channel that is
// closed when that changes.
func (t *tail) state() (*tailState, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now, t.changed
}

func (t *tail) publish(st *tailState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now = st
	close(t.changed)
	t.changed = make(chan struct{})
}

// follow publishes states of the log until it is over or ctx ends; the last one
// is done.
func (t *tail) follow(ctx context.Context, rd *logs.Reader, rows *rowWriter) {
	st := &tailState{}
	for {
		began := time.Now()
		next, news, err := rows.tail(ctx, rd, st)
		rush := len(st.rows) > 0 && len(next.rows) > 0 && next.rows[0].no > st.rows[len(st.rows)-1].no
		if err == nil && news != nil && ctx.Err() == nil {
			st = next
			t.publish(st)
		} else {
			next.done, next.err = true, err
			t.publish(next)
			return
		}
		rest := min(max(tailPause, tailShare*time.Since(began)), tailMost)
		if rush {
			rest = max(rest, tailRush)
		}
		select {
		case <-news:
		case <-ctx.Done():
		}
		select {
		case <-time.After(rest):
		case <-ctx.Done():
		}
	}
}

// tail reads the last lines of a log; those that old has are taken from it.
func (w *rowWriter) tail(ctx context.Context, rd *logs.Reader, old *tailState) (*tailState, <-chan struct{}, error) {
	info, news, err := rd.Watch()
	st := &tailState{total: info.Lines, bytes: info.Bytes, over: info.Finished}
	if err != nil {
		return st, nil, err
	}
	from := max(0, info.Lines-tailLines)
	for _, row := range old.rows {
		if row.no == from && !row.partial {
			st.rows = append(st.rows, row)
			from++
		}
	}
	for l, err := range rd.Scan(ctx, from) {
		if err != nil {
			return st, nil, err
		}
		w.buf = nil // the rows keep it
		w.line(&l)
		html := w.buf
		if html, err = json.Marshal(string(html)); err != nil {
			return st, nil, err
		}
		st.rows = append(st.rows, tailRow{l.No, l.Partial, html[1 : len(html)-1]})
	}
	if n := len(st.rows); n > 0 {
		st.total = max(st.total, st.rows[n-1].no+1) // it has grown meanwhile
		st.rows = st.rows[max(0, n-tailLines):]
	}
	return st, news, nil
}

// message is what a follower is sent who has the lines before next: JSON, in one
// line, as logfollow.js takes it. It returns which lines the follower has then.
func (st *tailState) message(buf []byte, next int64) ([]byte, int64) {
	first := 0
	for first < len(st.rows) && st.rows[first].no < next {
		first++
	}
	rows := st.rows[first:]
	at, skipped := next, int64(0)
	if len(rows) > 0 {
		at = rows[0].no
		skipped = max(0, at-next)
	}
	buf = append(buf, `{"first":`...)
	buf = strconv.AppendInt(buf, at+1, 10)
	buf = append(buf, `,"skipped":`...)
	buf = strconv.AppendInt(buf, skipped, 10)
	buf = append(buf, `,"total":`...)
	buf = strconv.AppendInt(buf, st.total, 10)
	buf = append(buf, `,"bytes":`...)
	buf = strconv.AppendInt(buf, st.bytes, 10)
	if st.done && st.over {
		buf = append(buf, `,"done":true`...)
	}
	buf = append(buf, `,"rows":"`...)
	next = at
	for _, row := range rows {
		buf = append(buf, row.json...)
		if !row.partial {
			next = row.no + 1
		}
	}
	return append(buf, "\"}\n"...), next
}

// serveFollow tells of a log until it is finished: a line of JSON for each
// change, an empty line now and then when there is none. A stream that ends
// without one that says done was cut, and is to be opened again with from= the
// first line that is not known.
func (s *Web) serveFollow(c *call) error {
	q, err := parseLogQuery(c.r.URL.Query())
	if err != nil {
		return err
	}
	p, err := c.partOf()
	if err != nil {
		return err
	}
	if c.r.Method == http.MethodHead { // would take a stream that nobody reads
		c.w.Header().Set("Content-Type", "application/x-ndjson")
		return nil
	}
	key := tailKey{p.Log.ID, q.Whole}
	t, err := s.viewer.tails.join(key, func() (*logs.Reader, *rowWriter, error) {
		rows, err := rowsFor(&p, logQuery{Whole: q.Whole})
		if err != nil {
			return nil, nil, err
		}
		rd, err := c.reader(p.Log)
		return rd, rows, err
	}, func(err error) { s.log.Warn("log not closed", "err", err) })
	if err != nil {
		return err
	}
	defer s.viewer.tails.leave(key, t)
	listening, end := s.listeners.begin(c.r, c.acc)
	defer end()
	h := c.w.Header()
	h.Set("Content-Type", "application/x-ndjson")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold lines back
	rc := http.NewResponseController(c.w)
	if err := rc.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	beat := time.NewTicker(followBeat)
	defer beat.Stop()
	next := max(q.From-1, 0)
	var told *tailState
	var buf []byte
	for {
		st, changed := t.state()
		buf = buf[:0]
		switch {
		case st == told:
			buf = append(buf, '\n')
		case st.err != nil:
			s.log.Warn("log cannot be followed", "log", p.Log.ID, "err", st.err)
			panic(http.ErrAbortHandler)
		default:
			buf, next = st.message(buf, next)
			told = st
		}
		if err := rc.SetWriteDeadline(time.Now().Add(textWrite)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return nil
		}
		if _, err := c.w.Write(buf); err != nil {
			return nil // gone
		}
		if err := rc.Flush(); err != nil || told != nil && told.done {
			return nil
		}
		select {
		case <-changed:
		case <-beat.C:
		case <-listening.Done():
			return nil
		}
	}
}
