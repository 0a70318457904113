package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/queue"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// Command is the builder name of ad-hoc commands. No configured builder may
// begin with an underscore.
const Command = "_command"

// A Submission asks for one build.
type Submission struct {
	Builder    string
	Argv       []string // with Builder == Command: what to run
	Priority   int
	Reason     string
	Properties build.Properties
	Worker     string // "" for any
	Branch     string
	Revision   string
	From       string // the step to begin with: earlier ones are SKIPPED, unless they always run; "": the first
	Session    string
	Who        string // the person who asks, for the journal; "": nobody in particular
}

// spec is what a request remembers beside its columns.
type spec struct {
	Argv     []string `json:"argv,omitempty"`
	Branch   string   `json:"branch,omitempty"`
	Revision string   `json:"revision,omitempty"`
	From     string   `json:"from,omitempty"` // the step to begin with
}

// request is a request that is not finished.
type request struct {
	row     store.Request
	spec    spec
	conf    *config.Builder // of an ad-hoc command; nil: the configured builder
	place   time.Time       // when it is in the queue's eyes: never before an older request's
	running *running
	done    chan struct{} // closed when the finished row is on disk
	last    store.Build   // the latest build, valid once done is closed
}

// Ticket is a handle on an accepted request.
type Ticket struct {
	ID int64
	r  *request
}

// Done is closed when the request is finished and that is on disk.
func (t *Ticket) Done() <-chan struct{} { return t.r.done }

// Outcome returns the finished request and its last build, whose ID is 0 if it
// never had one. It must not be called before Done is closed.
func (t *Ticket) Outcome() (store.Request, store.Build) { return t.r.row, t.r.last }

func (l *loop) submit(subs []Submission) ([]*Ticket, error) {
	if l.stopping {
		return nil, ErrStopped
	}
	if l.degraded != nil {
		return nil, fmt.Errorf("%w: %w", ErrDegraded, l.degraded)
	}
	rs := make([]*request, len(subs))
	for i, s := range subs {
		r, err := l.newRequest(s)
		if err != nil {
			return nil, err
		}
		rs[i] = r
	}
	tickets := make([]*Ticket, len(rs))
	for i, r := range rs {
		l.nextRequest++
		r.row.ID = l.nextRequest - 1
		l.requests[r.row.ID] = r
		l.takePlace(r)
		l.put(r)
		l.publish(Event{Kind: RequestNew, Request: r.row})
		l.enqueue(r)
		tickets[i] = &Ticket{r.row.ID, r}
		if who := subs[i].Who; who != "" {
			l.journal(entry{kind: aboutRequest, name: r.row.Builder, ref: r.row.ID, what: "force", who: who, reason: r.row.Reason})
		}
	}
	return tickets, nil
}

// newRequest checks a submission.
func (l *loop) newRequest(s Submission) (*request, error) {
	r := &request{
		spec: spec{Argv: s.Argv, Branch: s.Branch, Revision: s.Revision, From: s.From},
		done: make(chan struct{}),
		row: store.Request{
			Builder: s.Builder, Priority: s.Priority, Submitted: time.Now(), Reason: s.Reason,
			Properties: s.Properties, Worker: s.Worker, Session: s.Session, Result: build.None,
		},
	}
	if w := l.workers[s.Worker]; s.Worker != "" && (w == nil || w.removed) {
		return nil, l.unknown("worker", s.Worker)
	}
	if s.Session != "" && l.sessions[s.Session] == nil {
		return nil, l.unknown("session", s.Session)
	}
	if s.Builder == Command {
		if len(s.Argv) == 0 {
			return nil, fmt.Errorf("a command build needs a command")
		}
		if s.From != "" {
			return nil, fmt.Errorf("a command has no steps to begin with: %w", ErrUnknown)
		}
		var err error
		if r.conf, err = commandBuilder(s.Argv); err != nil {
			return nil, err
		}
		l.registerCommand(r.row.Submitted)
	} else if b := l.builder(s.Builder); b == nil {
		return nil, l.unknown("builder", s.Builder)
	} else {
		if s.From != "" && !hasStep(b, s.From) {
			return nil, fmt.Errorf("builder %s has no step %q to begin with: %w", b.Name, s.From, ErrUnknown)
		}
		r.row.Priority = cmp.Or(s.Priority, b.Priority)
		if s.Session == "" && s.From == "" { // each terminal waits for its own build
			r.row.CollapseKey = collapseKey(s)
		}
	}
	var err error
	if r.row.Spec, err = json.Marshal(r.spec); err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	return r, nil
}

func hasStep(b *config.Builder, name string) bool {
	return slices.ContainsFunc(b.Steps, func(st config.Step) bool { return st.Name == name })
}

// collapseKey is equal for requests of one builder that ask for the same
// build. Unlike Buildbot all properties count, forced ones too: a request with
// other properties is another build.
func collapseKey(s Submission) string {
	var key struct {
		Branch, Revision string
		Props            [][2]any
	}
	key.Branch, key.Revision = s.Branch, s.Revision
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if name != "scheduler" {
			key.Props = append(key.Props, [2]any{name, s.Properties[name].Value})
		}
	}
	b, err := json.Marshal(key)
	if err != nil {
		return "" // cannot be compared: never collapses
	}
	return string(b)
}

// commandBuilder is the builder of an ad-hoc command.
func commandBuilder(argv []string) (*config.Builder, error) {
	step := config.Argv(argv[0], argv[1:]...)
	step.Timeout = config.Off // a person is watching
	c := &config.Config{Builders: []config.Builder{{
		Name: "command", Source: config.Source{Kind: config.SourceTree}, NoCollapse: true, Steps: []config.Step{step},
	}}}
	if _, err := c.Complete(); err != nil {
		return nil, fmt.Errorf("command: %w", err)
	}
	b := &c.Builders[0]
	b.Name = Command
	return b, nil
}

// put remembers the request's present row.
func (l *loop) put(r *request) {
	row := r.row
	l.batch.PutRequest(&row)
}

// takePlace gives a request its place behind all older ones, also where the
// clock was set back since those came. It must be called in the order of the ids.
func (l *loop) takePlace(r *request) {
	r.place = r.row.Submitted
	if r.place.Before(l.lastPlace) {
		r.place = l.lastPlace
	}
	l.lastPlace = r.place
}

// enqueue makes the request compete for a worker.
func (l *loop) enqueue(r *request) {
	q := queue.Request{
		ID: r.row.ID, Builder: r.row.Builder, Priority: r.row.Priority, Submitted: r.place,
		Need: l.need(r), Worker: r.row.Worker, CollapseKey: r.row.CollapseKey, Held: l.held(r),
	}
	for _, id := range l.queue.Add(q) {
		old := l.requests[id]
		old.row.Replaced = r.row.ID
		l.finishRequest(old, build.Skipped, fmt.Sprintf("collapsed into request %d", r.row.ID))
	}
}

// held says why a request may not start whatever is free, "" if it may.
func (l *loop) held(r *request) string {
	switch {
	case r.row.Session != "" && l.sessions[r.row.Session] == nil:
		return "waits for the terminal that asked for it"
	case r.row.Session == "" && l.opt.Foreground:
		return "waits for bothy serve"
	}
	return ""
}

// finishRequest records the request's one completion.
func (l *loop) finishRequest(r *request, result build.Result, text string) {
	r.row.State, r.row.Result, r.row.Text, r.row.Completed = store.Done, result, text, time.Now()
	delete(l.requests, r.row.ID)
	l.put(r)
	l.effect(func() { close(r.done) })
	l.publish(Event{Kind: RequestDone, Request: r.row})
	l.giveUpSession(r)
}

// Cancel ends a request: a pending one at once, a running one with its build.
// With now the build gets neither grace nor always_run steps. When Cancel
// returns nil the end of a pending request is on disk.
func (e *Engine) Cancel(ctx context.Context, id int64, reason string, now bool) error {
	return e.record(ctx, func(l *loop) error { return l.cancelRequest(id, reason, now) })
}

func (l *loop) cancelRequest(id int64, reason string, now bool) error {
	r := l.requests[id]
	if r == nil {
		return fmt.Errorf("request %d is not pending and not running: %w", id, ErrUnknown)
	}
	if r.running != nil {
		r.running.stop(stopCause{result: build.Cancelled, text: reason, now: now})
		return nil
	}
	l.queue.Remove(id)
	l.finishRequest(r, build.Cancelled, reason)
	return nil
}

// Why says what keeps a request from starting, per worker.
func (e *Engine) Why(ctx context.Context, id int64) ([]queue.Reason, error) {
	var why []queue.Reason
	err := e.call(ctx, func(l *loop) {
		if l.degraded != nil {
			why = []queue.Reason{{Reason: l.degraded.Error()}}
			return
		}
		now := time.Now()
		why = l.queue.Why(id, now)
		if why != nil && l.stopping {
			why = []queue.Reason{{Reason: ErrStopped.Error()}}
		}
		for i, r := range why {
			if w := l.workers[r.Worker]; w != nil && r.Predicate == queue.WorkerBlocked {
				why[i].Reason = w.blocked(now) // some count down
			}
		}
	})
	if err != nil {
		return nil, err // the loop may still be at it
	}
	return why, nil
}

// recover takes up what an earlier master left: builds it was running are
// RETRY and their requests pending again, at their place.
func (l *loop) recover(rec store.Recovered) {
	for i := range rec.Requests {
		r := &request{row: rec.Requests[i], done: make(chan struct{})}
		if err := json.Unmarshal(r.row.Spec, &r.spec); err != nil && len(r.row.Spec) > 0 {
			l.log.Error("request cannot be read", "request", r.row.ID, "err", err)
		}
		if r.row.Builder == Command && len(r.spec.Argv) > 0 {
			var err error
			if r.conf, err = commandBuilder(r.spec.Argv); err != nil {
				l.log.Error("request cannot be read", "request", r.row.ID, "err", err)
			}
		}
		l.requests[r.row.ID] = r
	}
	for _, u := range rec.Unfinished {
		b := u.Build
		b.Result, b.Completed = build.Retry, endOf(b.Started)
		b.Text = "retry: the master ended while it ran"
		r := l.requests[b.Request]
		if r != nil {
			r.row.State = store.Pending
			r.count(b) // a build may be the cause of a crash
			l.gaveUp(r, &b)
			r.last = b
		}
		l.batch.PutBuild(&b)
		for _, s := range u.Steps {
			s.Result, s.Completed, s.Text = build.Retry, endOf(s.Started), "the master ended while it ran"
			l.batch.PutStep(&s)
		}
	}
	for _, lg := range rec.Logs {
		l.endLog(lg)
	}
	for _, id := range slices.Sorted(maps.Keys(l.requests)) {
		r := l.requests[id]
		r.row.State = store.Pending
		l.takePlace(r)
		switch {
		case l.confOf(r) == nil:
			l.finishRequest(r, build.Cancelled, noBuilder)
		case r.last.Cause == string(build.CauseRetries):
			l.reportBuild(r, &r.last)
			l.finishRequest(r, build.Exception, r.last.Text)
		default:
			l.put(r)
			l.enqueue(r)
			l.expireOrphan(r)
		}
	}
	if n := len(l.requests); n > 0 {
		l.log.Info("took up requests of an earlier master", "requests", n)
	}
}

// expireOrphan cancels a session's request unless its terminal comes back.
func (l *loop) expireOrphan(r *request) {
	if r.row.Session == "" {
		return
	}
	l.in(sessionReturn, func(l *loop) {
		if l.requests[r.row.ID] == r && r.running == nil && l.sessions[r.row.Session] == nil {
			l.queue.Remove(r.row.ID)
			l.finishRequest(r, build.Cancelled, goneText)
		}
	})
}

// noBuilder is said of requests whose builder was taken out of the configuration.
const noBuilder = "its builder is no longer configured"

// count notes an attempt that counts against max_retries. Until a request is
// finished its text is the list of these.
func (r *request) count(b store.Build) {
	r.row.Retries++
	if r.row.Text != "" {
		r.row.Text += "; "
	}
	r.row.Text += fmt.Sprintf("%d on %s: %s", b.Number, b.Worker, b.Text)
}

// gaveUp reports whether the request was lost too often to be run again. Then
// its last build is an EXCEPTION that tells all of it.
func (l *loop) gaveUp(r *request, last *store.Build) bool {
	conf := l.confOf(r)
	if conf == nil || r.row.Retries <= max(0, conf.MaxRetries) {
		return false
	}
	last.Result, last.Cause = build.Exception, string(build.CauseRetries)
	last.Text = fmt.Sprintf("gave up after %d attempts; %s", r.row.Attempts, r.row.Text)
	return true
}

// confOf is the builder a request runs, as configured now.
func (l *loop) confOf(r *request) *config.Builder {
	if r.conf != nil {
		return r.conf
	}
	return l.builder(r.row.Builder)
}

// need is what a build of the request is planned to use.
func (l *loop) need(r *request) worker.Need {
	conf := l.confOf(r)
	n := worker.Need{CPUs: conf.CPUs, Memory: conf.Memory}
	if n.Memory == 0 {
		past, err := l.history.at(conf.Name, l.hash(conf))
		if err != nil {
			l.log.Warn("history not read", "builder", conf.Name, "err", err)
		}
		n.Memory = cmp.Or(past.memory(), l.conf.Machine.MemoryPerBuild)
	}
	n.Memory = max(n.Memory, r.row.Memory)
	return n
}
