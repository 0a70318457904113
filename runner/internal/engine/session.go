package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"bothy/runner/build"
	"bothy/runner/internal/control"
	"bothy/runner/internal/logs"
	"bothy/runner/internal/store"
)

const (
	// sessionReturn is how long the requests of a terminal wait for it to come
	// back after a change of master.
	sessionReturn = 10 * time.Second
	// whyAfter is how long a request may be pending before a terminal is told
	// why; then again whenever the reason has changed.
	whyAfter = time.Second
	// openRetry is how often a terminal asks again that came while nothing could
	// be recorded.
	openRetry = 100 * time.Millisecond
)

// session is a terminal that waits for builds.
type session struct {
	dir    string
	env    []string
	keepOn bool // what has not begun is begun even after a failure

	cancelled, hurried bool // hurried: and without grace
	left               bool // it was told that its end is not on disk
}

// RunSession carries out what a terminal asks for and tells it through send, in
// order, until all its builds have ended. When ctx ends, or send fails, the
// terminal has gone: its builds are cancelled.
func (e *Engine) RunSession(ctx context.Context, req control.RunRequest, send func(control.Update) error) error {
	t := &terminal{
		e: e, req: req, sendTo: send, broken: make(chan struct{}),
		running: map[int64]*watched{}, waiting: map[int64]*Ticket{}, why: map[int64]string{},
	}
	return t.run(ctx)
}

// CancelSession stops all that a terminal asked for.
func (e *Engine) CancelSession(ctx context.Context, id string, c control.Cancel) error {
	return e.call(ctx, func(l *loop) { l.cancelSession(id, c) })
}

func (l *loop) cancelSession(id string, c control.Cancel) {
	if s := l.sessions[id]; s != nil {
		s.keepOn = true // all are ended here, for this reason
		s.cancelled, s.hurried = true, s.hurried || c.Now
	}
	for _, r := range l.requests {
		if r.row.Session != id {
			continue
		}
		if err := l.cancelRequest(r.row.ID, c.Reason, c.Now); err != nil {
			l.log.Error("cannot cancel", "request", r.row.ID, "err", err)
		}
	}
}

// giveUpSession cancels what of a session has not begun when one of its requests
// came out badly: before the slot it leaves is given to the next.
func (l *loop) giveUpSession(r *request) {
	s := l.sessions[r.row.Session]
	if s == nil || s.keepOn || !bad(r.row.Result) {
		return
	}
	s.keepOn = true // what runs may be lost and run again
	reason := fmt.Sprintf("not started, because %s %s", r.row.Builder, cmp.Or(map[build.Result]string{
		build.Failure: "failed", build.Cancelled: "was cancelled",
	}[r.row.Result], "ended as "+r.row.Result.String()))
	for _, o := range l.requests {
		if o.row.Session == r.row.Session && o.running == nil {
			l.queue.Remove(o.row.ID)
			l.finishRequest(o, build.Cancelled, reason)
		}
	}
}

// openSession makes the session known and lets its earlier requests go on: all
// of them, since the terminal may not have heard of each.
func (l *loop) openSession(req control.RunRequest) []*Ticket {
	l.sessions[req.Session] = &session{dir: req.Dir, env: SessionEnv(req.Env), keepOn: req.KeepOn}
	var back []*Ticket
	for id, r := range l.requests {
		if r.row.Session == req.Session {
			l.queue.SetHeld(id, "")
			back = append(back, &Ticket{id, r})
		}
	}
	return back
}

// terminal is one session from the side that tells.
type terminal struct {
	e       *Engine
	req     control.RunRequest
	sendTo  func(control.Update) error
	sendMu  sync.Mutex
	sendErr error
	broken  chan struct{}      // closed with the first error of sendTo
	running map[int64]*watched // by build id
	waiting map[int64]*Ticket
	why     map[int64]string
	results []build.Result
}

func (t *terminal) send(u control.Update) {
	t.sendMu.Lock()
	defer t.sendMu.Unlock()
	if t.sendErr != nil {
		return
	}
	if t.sendErr = t.sendTo(u); t.sendErr != nil {
		close(t.broken)
	}
}

func (t *terminal) err() error {
	t.sendMu.Lock()
	defer t.sendMu.Unlock()
	return t.sendErr
}

func (t *terminal) run(ctx context.Context) error {
	listening, deaf := context.WithCancel(context.Background())
	defer deaf()
	events, err := t.e.Subscribe(listening, t.req.Session, RequestNew, BuildNew, StepNew, StepDone, BuildDone, RequestRetry, RequestDone)
	if err != nil {
		return err
	}
	defer t.e.post(func(l *loop) {
		l.cancelSession(t.req.Session, control.Cancel{Reason: goneText})
		delete(l.sessions, t.req.Session)
	})
	end := time.Now().Add(submitPatience)
	tickets, err := t.begin(ctx)
	// A disk may be full for a moment, at the start of a master above all.
	for errors.Is(err, ErrDegraded) && time.Now().Before(end) && ctx.Err() == nil {
		select {
		case <-time.After(openRetry):
		case <-ctx.Done():
		}
		tickets, err = t.begin(ctx)
	}
	if err != nil {
		return err
	}
	for _, k := range tickets {
		t.waiting[k.ID] = k
	}
	if err := t.settle(ctx); err != nil {
		return err
	}
	if len(t.waiting) == 0 {
		t.end()
		return t.err()
	}
	return t.listen(ctx, events)
}

// begin opens the session and makes its requests, unless they are there already.
func (t *terminal) begin(ctx context.Context) ([]*Ticket, error) {
	var back []*Ticket
	err := t.e.await(ctx, func(l *loop, reply func(error)) {
		if l.degraded != nil {
			reply(fmt.Errorf("%w: %w", ErrDegraded, l.degraded))
			return
		}
		back = l.openSession(t.req)
		l.replyRecorded(reply, nil) // of its earlier requests, see settle
	})
	if err != nil {
		return nil, err
	}
	if len(back) > 0 || t.req.Reattach != nil {
		return back, nil
	}
	subs, err := t.submissions()
	if err != nil {
		return nil, err
	}
	return t.e.Submit(ctx, subs...)
}

// goneText is said of requests that nobody waits for any more.
const goneText = "the terminal that asked for it has gone"

// settle tells of requests that were finished while the terminal was away.
func (t *terminal) settle(ctx context.Context) error {
	for _, id := range t.req.Reattach {
		if t.waiting[id] != nil {
			continue
		}
		row, err := t.e.opt.Store.Request(ctx, id)
		if err != nil {
			return err
		}
		if row.Session == t.req.Session && row.State == store.Done {
			t.event(Event{Kind: RequestDone, Time: row.Completed, Request: row})
		}
	}
	return nil
}

// submissions are the requests to make.
func (t *terminal) submissions() ([]Submission, error) {
	props := build.Properties{}
	for name, v := range t.req.Props {
		if err := props.Set(name, v, "Command Line"); err != nil {
			return nil, err
		}
	}
	one := func(builder string, argv []string) Submission {
		return Submission{Builder: builder, Argv: argv, Properties: props, Session: t.req.Session, Reason: "bothy run"}
	}
	if len(t.req.Argv) > 0 {
		return []Submission{one(Command, t.req.Argv)}, nil
	}
	names := t.req.Builders
	if len(names) == 0 {
		for _, b := range t.e.Config().Builders {
			names = append(names, b.Name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("the configuration has no builders")
	}
	subs := make([]Submission, len(names))
	for i, n := range names {
		subs[i] = one(n, nil)
	}
	return subs, nil
}

// listen turns events into updates until the last request is finished.
func (t *terminal) listen(ctx context.Context, events func(func(Event) bool)) error {
	feed := make(chan Event, 64)
	over := make(chan struct{})
	defer close(over)
	if !t.e.spawn(func() {
		defer close(feed)
		for ev := range events {
			select {
			case feed <- ev:
			case <-over:
				return
			}
		}
	}) {
		return ErrStopped
	}
	defer t.dropAll()
	tick := time.NewTicker(whyAfter)
	defer tick.Stop()
	gone, broken := ctx.Done(), t.broken
	for {
		select {
		case ev, ok := <-feed:
			if !ok {
				return ErrStopped
			}
			if ev.Kind == unrecorded {
				t.endUnrecorded(ev)
				return t.err()
			}
			t.event(ev)
			if len(t.waiting) == 0 {
				t.end()
				return t.err()
			}
		case <-tick.C:
			t.explain(ctx)
		case <-gone:
			gone = nil
			t.leave()
		case <-broken:
			broken = nil
			t.leave()
		}
	}
}

// leave cancels what nobody will see the end of.
func (t *terminal) leave() {
	t.e.post(func(l *loop) { l.cancelSession(t.req.Session, control.Cancel{Reason: goneText}) })
}

func (t *terminal) event(ev Event) {
	u := control.Update{
		Time: ev.Time, Request: ev.Request.ID, Builder: ev.Request.Builder,
		Number: ev.Build.Number, Attempt: ev.Build.Attempt, Worker: ev.Build.Worker, Result: build.None,
	}
	switch ev.Kind {
	case RequestNew:
		u.Kind = control.Accepted
	case BuildNew:
		u.Kind, u.Steps, u.Expected = control.BuildNew, ev.Steps, ev.Expected
		t.running[ev.Build.ID] = &watched{t: t, build: ev.Build}
	case StepNew:
		u.Kind, u.Step, u.Name, u.Expected, u.Text = control.StepNew, ev.Step.Number, ev.Step.Name, ev.Expected, ev.Step.Text
		t.send(u)
		if w := t.running[ev.Build.ID]; w != nil {
			w.follow(u, ev)
		}
		return
	case StepDone:
		if w := t.running[ev.Build.ID]; w != nil {
			w.catchUp(ev.Step)
		}
		u.Kind, u.Step, u.Name, u.Result, u.Text = control.StepEnd, ev.Step.Number, ev.Step.Name, ev.Step.Result, ev.Step.Text
		u.Hidden, u.Elapsed = ev.Step.Hidden, ev.Step.Completed.Sub(ev.Step.Started)
	case BuildDone:
		u.Kind, u.Result, u.Text, u.Ended, u.Kept = control.BuildEnd, ev.Build.Result, ev.Build.Text, ev.Build.Ended, ev.Build.Kept
		u.Elapsed = ev.Build.Completed.Sub(ev.Build.Started)
		if w := t.running[ev.Build.ID]; w != nil {
			u.LogPath = w.textLog(ev.Build)
			w.drop()
			delete(t.running, ev.Build.ID)
		}
	case RequestRetry:
		u.Kind, u.Text = control.Note, fmt.Sprintf("%s runs again: %s", ev.Request.Builder, ev.Build.Text)
	case RequestDone:
		u.Kind, u.Result, u.Text = control.RequestOK, ev.Request.Result, ev.Request.Text
		delete(t.waiting, ev.Request.ID)
		t.results = append(t.results, ev.Request.Result)
	case Degraded:
		t.degraded(ev)
		return
	default:
		return
	}
	t.send(u)
}

func bad(r build.Result) bool {
	return r != build.Success && r != build.Warnings && r != build.Skipped
}

// explain tells what keeps requests from starting.
func (t *terminal) explain(ctx context.Context) {
	for id, k := range t.waiting {
		if t.isRunning(id) {
			continue
		}
		reasons, err := t.e.Why(ctx, id)
		if err != nil || len(reasons) == 0 {
			continue
		}
		text := reasons[0].Reason
		if w := reasons[0].Worker; w != "" {
			text = w + ": " + text
		}
		if n := len(reasons) - 1; n > 0 {
			text += fmt.Sprintf(" (and %d more)", n)
		}
		if t.why[id] != text {
			t.why[id] = text
			t.send(control.Update{Kind: control.Pending, Time: time.Now(), Request: id, Builder: k.r.row.Builder, Result: build.None, Text: text})
		}
	}
}

func (t *terminal) isRunning(request int64) bool {
	for _, w := range t.running {
		if w.build.Request == request {
			return true
		}
	}
	return false
}

// end sends the last update with the result and product.md's exit code.
func (t *terminal) end() {
	worst, code := build.None, 0
	for _, r := range t.results {
		worst = build.Worst(worst, r)
	}
	if len(t.results) == 0 {
		worst = build.Success
	}
	switch {
	case slices.Contains(t.results, build.Exception), slices.Contains(t.results, build.Retry):
		code = 3
	case slices.Contains(t.results, build.Failure):
		code = 1
	case slices.Contains(t.results, build.Cancelled):
		code = 130
	}
	t.send(control.Update{Kind: control.End, Time: time.Now(), Result: worst, ExitCode: code})
}

func (t *terminal) dropAll() {
	for _, w := range t.running {
		w.drop()
	}
}

// watched is a build whose output a terminal sees.
type watched struct {
	t     *terminal
	build store.Build
	steps []store.Step
	logs  []store.Log
	tail  *tail // of the running step
}

// follow sends the output of a step while it runs.
func (w *watched) follow(u control.Update, ev Event) {
	w.drop()
	w.steps = append(w.steps, ev.Step)
	w.logs = append(w.logs, ev.Log)
	r, err := w.t.e.opt.Logs.Reader(ev.Log.ID, logs.Ref(ev.Log.Ref))
	if err != nil {
		u.Kind, u.Text = control.Note, fmt.Sprintf("its output cannot be shown: %v", err)
		w.t.send(u)
		return
	}
	u.Kind, u.Text, u.Log, u.Expected = control.Output, "", "stdio", 0
	tl := &tail{reader: r, update: u, send: w.t.send, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	tl.cancel = cancel
	if w.t.e.spawn(func() { tl.run(ctx) }) {
		w.tail = tl
		return
	}
	cancel()
	r.Close()
}

// catchUp sends what the step wrote up to its end.
func (w *watched) catchUp(s store.Step) {
	if n := len(w.steps); n > 0 && w.steps[n-1].Number == s.Number {
		w.steps[n-1] = s
		if w.tail != nil {
			w.tail.finish()
			w.tail = nil
		}
		return
	}
	w.steps = append(w.steps, s) // skipped: it has no log
	w.logs = append(w.logs, store.Log{})
}

func (w *watched) drop() {
	if w.tail != nil {
		w.tail.drop()
		w.tail = nil
	}
}

// tail copies a log to a terminal while it is written.
type tail struct {
	reader *logs.Reader
	update control.Update
	send   func(control.Update)
	cancel context.CancelFunc
	done   chan struct{}
}

// run follows until the log is finished or its context ends.
func (t *tail) run(ctx context.Context) {
	defer close(t.done)
	defer t.reader.Close()
	for c, err := range t.reader.Chunks(ctx, true) {
		u := t.update
		u.Time = c.Time
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			u.Kind, u.Time, u.Text = control.Note, time.Now(), fmt.Sprintf("its output cannot be shown: %v", err)
		default:
			u.Stream, u.Data = string(rune(c.Stream)), c.Data
		}
		t.send(u)
	}
}

// finish waits for the end of the log.
func (t *tail) finish() { <-t.done }

// drop lets go of the log.
func (t *tail) drop() {
	t.cancel()
	<-t.done
}

// textLog writes a copy of the build's log that any program can show, and
// returns its path, "" if there is none.
func (w *watched) textLog(b store.Build) string {
	if w.t.e.opt.TextLogDir == "" {
		return ""
	}
	path := w.t.e.textLogPath(b)
	if err := w.writeText(path, b); err != nil {
		w.t.send(control.Update{Kind: control.Note, Time: time.Now(), Builder: b.Builder, Number: b.Number, Result: build.None, Text: fmt.Sprintf("no text log: %v", err)})
		return ""
	}
	return path
}

func (w *watched) writeText(path string, b store.Build) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	fmt.Fprintf(f, "%s #%d on %s, attempt %d, %s\n", b.Builder, b.Number, b.Worker, b.Attempt, b.Started.Format(time.DateTime))
	for i, s := range w.steps {
		fmt.Fprintf(f, "\n--- step %d %s: %s (%s)\n", s.Number, s.Name, s.Text, s.Completed.Sub(s.Started).Round(time.Millisecond))
		if w.logs[i].ID == 0 {
			continue
		}
		r, err := w.t.e.opt.Logs.Reader(w.logs[i].ID, logs.Ref(w.logs[i].Ref))
		if err != nil {
			return err
		}
		_, err = r.WriteRaw(context.Background(), f, true)
		if err = errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(f, "\n--- %s after %s\n", b.Text, b.Completed.Sub(b.Started).Round(time.Millisecond))
	return err
}
