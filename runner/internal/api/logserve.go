package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"bothy/runner/internal/logs"
	"bothy/runner/internal/store"
)

// logBatch is how many lines are read at a time: the memory one reader takes
// does not depend on the size of the log.
const logBatch = 2000

// logchunksResource are the fields of a part of a log. Buildbot:
// data/logchunks.py.
func logchunksResource() *resource[nothing] {
	return emptyResource("logchunk", "logchunks",
		column{name: "logid", kind: integer},
		column{name: "firstline", kind: integer, doc: "the number of the first line, from 0"},
		column{name: "content", kind: text, doc: "lines, each with its newline; of a log of type s each begins with o, e or h"})
}

// oneLog is the log that the path names, opened.
func (c *call) oneLog(ctx context.Context) (logRow, *logs.Reader, error) {
	if c.args == nil { // logchunks itself
		return logRow{}, nil, notFound("logchunks are below a log: logs/ID/contents")
	}
	rows, err := c.logs(ctx)
	if err != nil {
		return logRow{}, nil, err
	}
	rd, err := c.a.Logs.Reader(rows[0].ID, logs.Ref(rows[0].Ref))
	if errors.Is(err, logs.ErrNotFound) {
		err = notFound("log %d is no longer kept", rows[0].ID)
	}
	return rows[0], rd, err
}

// lines are those from number first on, at most n (< 0: all), in batches that
// are valid during a call of f.
func lines(ctx context.Context, rd *logs.Reader, first, n int64, f func([]logs.Line) error) error {
	for n != 0 {
		want := int64(logBatch)
		if n > 0 {
			want = min(want, n)
		}
		batch, err := rd.ReadLines(first, int(want))
		if len(batch) > 0 {
			if err := f(batch); err != nil {
				return err
			}
		}
		if err != nil || len(batch) == 0 {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		first += int64(len(batch))
		if n > 0 {
			n -= int64(len(batch))
		}
	}
	return nil
}

// wholeLines are the lines that will not grow: what a client has read once it need
// not read again. Those that may are the last ones.
func wholeLines(batch []logs.Line) []logs.Line {
	if i := slices.IndexFunc(batch, func(l logs.Line) bool { return l.Partial }); i >= 0 {
		return batch[:i]
	}
	return batch
}

// serveContents answers with lines of a log: offset and limit are numbers of
// lines. The answer is written while the log is read.
func serveContents(w http.ResponseWriter, r *http.Request, c *call) error {
	q, err := parseQuery(c.ep.of.describe(), r.URL.RawQuery, false)
	if err != nil {
		return err
	}
	l, rd, err := c.oneLog(r.Context())
	if err != nil {
		return err
	}
	defer c.a.closeLog(rd)
	open, comma, colon, end, typ := `{"logchunks":[{`, `,`, `:`, `}],"meta":{}}`, typeJSON
	if !wantsCompact(r) {
		const field = "\n      "
		open, comma, colon, end, typ = "{\n  \"logchunks\": [\n    {"+field, ","+field, ": ", "\n    }\n  ],\n  \"meta\": {}\n}", typeText
	}
	wanted := []string{}
	for _, name := range []string{"content", "firstline", "logid"} {
		if q.wants(c.ep.of.describe(), name) {
			wanted = append(wanted, name)
		}
	}
	s := newLogStream(w, r, typ)
	s.text(open)
	for i, name := range wanted {
		if i > 0 {
			s.text(comma)
		}
		s.text(`"` + name + `"` + colon)
		switch name {
		case "content":
			s.text(`"`)
			err = lines(r.Context(), rd, int64(q.offset), int64(q.limit), func(batch []logs.Line) error { return s.escaped(wholeLines(batch), l.logType() == "s") })
			s.text(`"`)
		case "firstline":
			s.text(strconv.Itoa(q.offset))
		default:
			s.text(strconv.FormatInt(l.ID, 10))
		}
	}
	s.text(end)
	return s.done(c, err)
}

func (a *API) closeLog(rd *logs.Reader) {
	if err := rd.Close(); err != nil {
		a.log.Warn("log not closed", "err", err)
	}
}

// logStream writes parts of a log to a client.
type logStream struct {
	w    io.Writer
	rw   http.ResponseWriter
	buf  []byte
	sent bool // some of it; an error can no longer be told
	err  error
}

func newLogStream(w http.ResponseWriter, r *http.Request, typ string) *logStream {
	h := w.Header()
	h.Set("Content-Type", typ)
	h.Set("Cache-Control", "no-store")
	s := &logStream{rw: w, w: w}
	if r.Method == http.MethodHead {
		s.w = io.Discard
	}
	return s
}

// flushAt is how much is gathered before it is written.
const flushAt = 64 << 10

func (s *logStream) text(t string) { s.buf = append(s.buf, t...) }

func (s *logStream) flush() error {
	if s.err != nil || len(s.buf) == 0 {
		return s.err
	}
	s.sent = true
	extend(s.rw, writeTimeout)
	_, s.err = s.w.Write(s.buf)
	s.buf = s.buf[:0]
	return s.err
}

func (s *logStream) mayFlush() error {
	if len(s.buf) < flushAt {
		return s.err
	}
	return s.flush()
}

// escaped writes lines into a JSON string.
func (s *logStream) escaped(batch []logs.Line, streams bool) error {
	for i := range batch {
		if streams {
			s.buf = append(s.buf, byte(batch[i].Stream))
		}
		s.buf = append(appendEscaped(s.buf, batch[i].Text), `\n`...)
		if err := s.mayFlush(); err != nil {
			return err
		}
	}
	return nil
}

func (s *logStream) plain(batch []logs.Line) error {
	for i := range batch {
		s.buf = append(append(s.buf, batch[i].Text...), '\n')
		if err := s.mayFlush(); err != nil {
			return err
		}
	}
	return nil
}

// done writes what is left. err is what went wrong with reading; if the client
// has got something already, the connection is cut so that it does not take that
// for the whole.
func (s *logStream) done(c *call, err error) error {
	if err != nil && !s.sent {
		return err
	}
	if err == nil {
		err = s.flush()
	}
	if err != nil {
		c.a.log.Debug("log not sent to its end", "path", c.path, "err", err)
		panic(http.ErrAbortHandler)
	}
	return nil
}

func serveRaw(w http.ResponseWriter, r *http.Request, c *call) error { return raw(w, r, c, true) }

func serveRawInline(w http.ResponseWriter, r *http.Request, c *call) error {
	return raw(w, r, c, false)
}

// raw answers with the text of a log, to be kept as a file or to be looked at.
// With follow=1, which is not in Buildbot, it goes on until the log is finished.
func raw(w http.ResponseWriter, r *http.Request, c *call, attach bool) error {
	query := r.URL.Query()
	follow := query.Get("follow")
	for name := range query {
		if name != "follow" {
			return badQuery("unrecognized query parameter '%s'", shown(name))
		}
	}
	on, err := parseValue(boolean, follow)
	if follow != "" && err != nil {
		return badQuery("invalid filter value for follow")
	}
	l, rd, err := c.oneLog(r.Context())
	if err != nil {
		return err
	}
	defer c.a.closeLog(rd)
	b, step, err := c.owner(r.Context(), l)
	if err != nil {
		return err
	}
	if attach {
		w.Header().Set("Content-Disposition", "attachment; filename="+rawName(b, step, l))
	}
	w.Header().Set("Content-Security-Policy", "sandbox; default-src 'none'")
	s := newLogStream(w, r, typeText)
	if attach && l.logType() == "s" {
		s.text(fmt.Sprintf("Builder: %s\nBuild number: %d\nWorker name: %s\n", b.Builder, b.Number, b.Worker))
	}
	if on.n != 0 && r.Method != http.MethodHead {
		ctx, end := c.a.follows.begin(r)
		defer end()
		if c.a.outdated(ctx) {
			end()
		}
		return s.done(c, s.follow(ctx, rd))
	}
	return s.done(c, lines(r.Context(), rd, 0, -1, s.plain))
}

// followPause is how long lines are gathered before they are sent.
const followPause = 20 * time.Millisecond

// follow writes lines as they come.
func (s *logStream) follow(ctx context.Context, rd *logs.Reader) error {
	rc := http.NewResponseController(s.rw)
	if err := rc.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	var mu sync.Mutex // of s, while lines come
	over := false
	push := func() {
		mu.Lock()
		defer mu.Unlock()
		if !over && s.flush() == nil {
			s.err = rc.Flush()
		}
	}
	s.rw.WriteHeader(http.StatusOK) // the client wants to know that it is listening
	s.sent = true
	push()
	timer := time.AfterFunc(time.Hour, push)
	defer func() {
		timer.Stop()
		mu.Lock() // push may be under way, or about to be
		defer mu.Unlock()
		over = true
	}()
	for line, err := range rd.Follow(ctx, 0) {
		if err != nil {
			return err
		}
		if line.Partial {
			continue
		}
		mu.Lock()
		if len(s.buf) == 0 {
			timer.Reset(followPause)
		}
		err = s.plain([]logs.Line{line})
		mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// owner returns the build and the step of a log.
func (c *call) owner(ctx context.Context, l logRow) (store.Build, store.Step, error) {
	b, err := c.buildByID(ctx, l.Build)
	if err != nil {
		return b, store.Step{}, err
	}
	steps, err := c.a.Store.Steps(ctx, b.ID)
	for _, s := range steps {
		if s.Number == l.Step {
			return b, s, err
		}
	}
	return b, store.Step{Number: l.Step}, err
}

// rawName is Buildbot's name of the file: BUILDER_build_N_step_S_log_SLUG.
func rawName(b store.Build, s store.Step, l logRow) string {
	step := slugOf(s.Name)
	if strings.Trim(step, "_") == "" {
		step = strconv.Itoa(s.Number)
	}
	return fmt.Sprintf("%s_build_%d_step_%s_log_%s", slugOf(b.Builder), b.Number, step, l.slug)
}
