package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"bothy/runner/build"
	"bothy/runner/internal/queue"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// running is a build that holds a worker. The build's goroutine uses halt, hard
// and slot; all else is the loop's.
type running struct {
	row      store.Build
	req      *request
	assigned queue.Assignment
	release  func() // gives the machine budget back
	slot     any
	worker   *workerState
	conn     worker.Conn
	step     store.Step    // the latest
	fenced   bool          // results that still come are refused
	back     bool          // its goroutine has reported
	onEnd    []func()      // called when its end is recorded
	cancel   *stopCause    // somebody cancelled it
	granted  chan struct{} // a step's locks were granted

	halt context.Context // ends when the build is to stop
	hard context.Context // ends when it is to stop without grace
	// cancel functions of the two; the cause of halt is a stopCause
	cancelHalt context.CancelCauseFunc
	cancelHard context.CancelFunc
}

// stopCause says why a build is stopped and what it then is.
type stopCause struct {
	result  build.Result
	cause   build.Cause
	text    string
	now     bool // no grace, no always_run steps
	planned bool // a re-run does not count against max_retries
}

func (c stopCause) Error() string { return c.text }

// stop ends the build. A second call matters only if it is harder.
func (b *running) stop(c stopCause) {
	if c.result == build.Cancelled && b.cancel == nil {
		b.cancel = &c
	}
	b.cancelHalt(c)
	if c.now {
		b.cancelHard()
	}
}

// decide starts what can start.
func (l *loop) decide(now time.Time) {
	if l.degraded != nil || l.stopping {
		return
	}
	for {
		a, ok := l.queue.Next(now)
		if !ok {
			break
		}
		r := l.requests[a.Request.ID]
		if a.Host != localHost {
			l.start(r, a, nil, func() {}, now)
			continue
		}
		slot, release, ok := l.opt.Host.Reserve(a.Need)
		if !ok {
			// Another Runner of this process took it between our looking and now.
			l.queue.Release(a)
			l.enqueue(r)
			l.setHost("another runner of this process uses the machine") // until Host notifies
			continue
		}
		l.start(r, a, slot, release, now)
	}
}

// start starts a build of r on the worker the queue chose.
func (l *loop) start(r *request, a queue.Assignment, slot any, release func(), now time.Time) {
	conf := l.confOf(r)
	hash := l.hash(conf)
	l.counter++
	l.nextBuild++
	l.numbers[conf.Name]++
	r.row.Attempts++
	r.row.State = store.Running
	b := &running{
		req: r, assigned: a, release: release, slot: slot,
		row: store.Build{
			ID: l.nextBuild - 1, Request: r.row.ID, Builder: conf.Name, Number: l.numbers[conf.Name],
			Worker: a.Worker, Token: worker.Token{Epoch: l.epoch, Counter: l.counter}, Attempt: r.row.Attempts,
			Started: now, Result: build.None, Text: "building", StepsHash: hash,
		},
	}
	b.hard, b.cancelHard = context.WithCancel(context.Background())
	b.halt, b.cancelHalt = context.WithCancelCause(b.hard)
	r.running = b
	l.builds[b.row.ID] = b
	w := l.workers[a.Worker]
	b.worker, b.conn = w, w.conn
	run := &buildRun{
		e: l.e, conf: conf, token: b.row.Token, b: b, conn: w.conn, need: a.Need, mayGrow: r.row.Memory == 0,
		row: b.row, expected: l.expected(r, hash), from: r.spec.From,
	}
	props, err := l.properties(r, b, w)
	if run.from != "" && !hasStep(conf, run.from) { // a reload has taken it away
		err = fmt.Errorf("there is no step %q to begin with", run.from)
	}
	if err != nil {
		run.broken = err
		props = build.Properties{}
	}
	run.props, run.info = props, w.info
	b.row.Properties = props.Clone()
	run.source, run.env = l.place(r, conf, w)
	run.secrets, run.url = l.prepared.Secrets, l.conf.URL
	l.put(r)
	row := b.row
	l.batch.PutBuild(&row)
	w.builds = append(w.builds, b)
	l.step(w, worker.Event{Kind: worker.EventBuildStarted, Build: row.ID})
	l.publish(Event{Kind: RequestClaimed, Request: r.row, Build: row})
	l.publish(Event{Kind: BuildNew, Request: r.row, Build: row, Steps: len(conf.Steps), Expected: run.expected.Build})
	l.e.group.Add(1)
	go func() {
		defer l.e.group.Done()
		run.run()
	}()
}

// buildDone is what a build's goroutine reports at its end.
type buildDone struct {
	row     store.Build // Result, Text, Cause, Dir, Kept, usage and receipt are set
	planned bool
	oom     int64 // with a RETRY for want of memory: what to plan next time, bytes
	// of an EXCEPTION: what went wrong, for people, and in which step; "" if in none
	blame, blameStep string
	held             []<-chan struct{} // the slot may be given to another once all are closed
}

// buildEnded takes what a build's goroutine reports. The slot is free at once,
// before the result is on disk.
func (l *loop) buildEnded(b *running, d buildDone) {
	if b.back {
		return
	}
	b.back = true
	if len(d.held) == 0 {
		l.free(b)
	} else {
		l.e.group.Add(1)
		go func() {
			defer l.e.group.Done()
			for _, c := range d.held {
				<-c
			}
			if !l.e.post(func(l *loop) { l.free(b) }) {
				b.release()
			}
		}()
	}
	if !b.fenced {
		l.buildSettled(b, d)
	}
}

// buildSettled takes a build's result, the first that is given for it.
func (l *loop) buildSettled(b *running, d buildDone) {
	b.fenced = true
	b.cancelHard()
	r := b.req
	if b.step.Result == build.None && b.step.Number > 0 { // there was a panic
		s := b.step
		s.Result, s.Completed, s.Text = d.row.Result, endOf(s.Started), d.row.Result.String()
		l.endStep(b, s)
	}
	b.row = d.row
	b.row.Completed = endOf(b.row.Started)
	delete(l.builds, b.row.ID)
	r.running = nil
	w := b.worker
	w.builds = slices.DeleteFunc(w.builds, func(o *running) bool { return o == b })
	select {
	case <-b.conn.Done(): // known before watch says so: nothing more must start there
		l.lost(w, b.conn)
	default:
	}
	result, text := l.verdict(b, d)
	row := b.row
	l.batch.PutBuild(&row)
	l.step(w, worker.Event{
		Kind: worker.EventBuildEnded, Build: row.ID, Result: row.Result, Cause: build.Cause(row.Cause), Reason: evidence(&d),
	})
	l.workerIdle(w)
	r.last = row
	l.history.add(row)
	if l.sinceTidy++; l.sinceTidy >= retentionBuilds {
		l.tidy()
	}
	l.publish(Event{Kind: BuildDone, Request: r.row, Build: row})
	l.reportBuild(r, &row)
	for _, f := range b.onEnd {
		f()
	}

	if result != build.Retry {
		l.finishRequest(r, result, text)
		return
	}
	r.row.State = store.Pending
	l.put(r)
	l.publish(Event{Kind: RequestRetry, Request: r.row, Build: row})
	l.enqueue(r) // at its place
}

// evidence is what a build's end says against its worker.
func evidence(d *buildDone) string {
	if d.row.Result != build.Exception {
		return ""
	}
	name := fmt.Sprintf("%s #%d", d.row.Builder, d.row.Number)
	if d.blameStep != "" {
		return fmt.Sprintf("step '%s' of %s: %s", d.blameStep, name, d.blame)
	}
	return name + ": " + cmp.Or(d.blame, d.row.Text)
}

// verdict says what becomes of the request; RETRY means that it runs again. What
// ends the request decides the result of its last build too.
func (l *loop) verdict(b *running, d buildDone) (build.Result, string) {
	r, row := b.req, &b.row
	if row.Result != build.Retry {
		return row.Result, row.Text
	}
	if b.cancel != nil { // it came when the build had an end already
		row.Result, row.Text = build.Cancelled, "cancelled: "+b.cancel.text
		return row.Result, row.Text
	}
	switch {
	case d.oom > 0:
		r.row.Memory = d.oom
	case !d.planned:
		r.count(*row)
	}
	switch {
	case l.confOf(r) == nil:
		return build.Cancelled, noBuilder
	case l.gaveUp(r, row):
		return row.Result, row.Text
	}
	return build.Retry, ""
}

// free gives back what the build held.
func (l *loop) free(b *running) {
	b.release()
	l.queue.Release(b.assigned)
	l.grant()
}

// stepStarted and stepEnded keep a build's steps. A fenced build has none.
func (l *loop) stepStarted(b *running, s store.Step, lg store.Log, expected time.Duration) {
	if b.fenced {
		return
	}
	b.step = s
	l.batch.PutStep(&s)
	l.publish(Event{Kind: StepNew, Request: b.req.row, Build: b.row, Step: s, Log: lg, Expected: expected})
	l.logStarted(b, lg)
}

// stepText says what a running step waits for.
func (l *loop) stepText(b *running, text string) {
	if b.fenced || b.step.Result != build.None || b.step.Text == text {
		return
	}
	b.step.Text = text
	s := b.step
	l.batch.PutStep(&s)
	l.publish(Event{Kind: StepUpdate, Request: b.req.row, Build: b.row, Step: s})
}

func (l *loop) stepEnded(b *running, s store.Step) {
	if !b.fenced {
		l.endStep(b, s)
	}
}

func (l *loop) endStep(b *running, s store.Step) {
	b.step = s
	l.batch.PutStep(&s)
	l.publish(Event{Kind: StepDone, Request: b.req.row, Build: b.row, Step: s})
}

// hostChanged is called when the machine's limits, its pressure or the share
// of other Runners changed.
func (l *loop) hostChanged() {
	l.setHost("")
}

// setHost tells the queue what the machine can take now; unless it says why it
// is blocked itself, why does.
func (l *loop) setHost(why string) {
	c := l.opt.Host.Capacity()
	l.queue.SetHost(queue.Host{
		Name: localHost, Slots: c.Slots, CPUs: c.CPUs, Memory: c.Memory, Blocked: cmp.Or(c.Blocked, why),
		Taken: queue.Taken{Builds: c.OtherBuilds, Need: c.OtherNeed},
	})
}

// lockStep asks for a step's locks; granted is closed when it has them.
func (l *loop) lockStep(b *running, locks []queue.Lock, granted chan struct{}) error {
	ok, err := l.queue.AcquireStep(b.row.Request, b.row.Worker, locks)
	if err != nil {
		return err
	}
	if ok {
		close(granted)
		return nil
	}
	b.granted = granted
	l.stepText(b, "waiting for locks")
	return nil
}

func (l *loop) unlockStep(b *running) {
	b.granted = nil
	l.queue.ReleaseStep(b.row.Request)
	l.grant()
}

// grant tells waiting steps that they have their locks.
func (l *loop) grant() {
	for _, id := range l.queue.Granted() {
		if r := l.requests[id]; r != nil && r.running != nil && r.running.granted != nil {
			close(r.running.granted)
			r.running.granted = nil
			l.stepText(r.running, "running")
		}
	}
}
