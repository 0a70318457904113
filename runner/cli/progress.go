package cli

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"bothy/runner/build"
	"bothy/runner/internal/control"
	"bothy/runner/worker"
)

// progress is what the updates of a run add up to.
type progress struct {
	adHoc    bool // there is one build, of a command
	clock    runClock
	began    time.Time       // of the first update
	requests []*requestView  // in the order in which they were accepted
	running  []*buildView    // in the order in which they started
	end      *control.Update // control.End, when it came
}

type requestView struct {
	id      int64
	builder string
	waits   string     // what keeps it from starting
	build   *buildView // the latest, nil before the first
	result  build.Result
	text    string
}

type buildView struct {
	request *requestView
	builder string
	title   string // the builder for people
	number  int64
	worker  string
	attempt int

	started  time.Time
	expected time.Duration
	elapsed  time.Duration // once it has ended
	result   build.Result
	text     string

	step    *stepView // the one that runs, nil between steps
	steps   int       // planned
	ran     int       // ended
	slowest stepTime

	ended   []string
	logPath string
	kept    string
}

type stepTime struct {
	name string
	took time.Duration
}

type stepView struct {
	number   int
	name     string
	started  time.Time
	expected time.Duration
	elapsed  time.Duration // once it has ended
	tail     outputTail
	lines    map[streamKey]*lineAssembler
}

type streamKey struct{ log, stream string }

// runClock tells the time of the master: that of its last update and what has
// passed here since.
type runClock struct{ theirs, ours time.Time }

func (c *runClock) set(t time.Time) { c.theirs, c.ours = t, time.Now() }

func (c *runClock) now() time.Time { return c.theirs.Add(time.Since(c.ours)) }

// apply folds u in. It returns the build and the step that u is about, nil when
// there is none; a step or build that u ends is returned although it no longer
// runs.
func (p *progress) apply(u control.Update) (*buildView, *stepView) {
	if !u.Time.IsZero() && u.Kind != control.Output { // output may be old by the time it is told
		p.clock.set(u.Time)
		if p.began.IsZero() {
			p.began = u.Time
		}
	}
	switch u.Kind {
	case control.Accepted:
		p.request(u)
	case control.Pending:
		p.request(u).waits = u.Text
	case control.BuildNew:
		return p.buildStarted(u), nil
	case control.StepNew:
		if b := p.find(u); b != nil {
			b.step = &stepView{number: u.Step, name: u.Name, started: u.Time, expected: u.Expected}
			b.steps = max(b.steps, u.Steps)
			return b, b.step
		}
	case control.Output, control.Gap:
		if b := p.find(u); b != nil && b.step != nil {
			return b, b.step
		}
	case control.StepEnd:
		if b := p.find(u); b != nil {
			return b, b.stepEnded(u)
		}
	case control.BuildEnd:
		if b := p.find(u); b != nil {
			p.buildEnded(b, u)
			return b, nil
		}
	case control.RequestOK:
		r := p.request(u)
		r.result, r.waits = u.Result, ""
		if u.Text != "" {
			r.text = u.Text
		}
		if b := r.build; b != nil && b.result == build.None { // its master went away without saying how it ended
			step := b.step
			p.buildEnded(b, u)
			return b, step
		}
	case control.End:
		p.end = &u
		for _, b := range p.running {
			b.elapsed = elapsed(u, b.started)
			if u.Text != "" {
				b.text = "its end is not on record"
			}
		}
	}
	return nil, nil
}

// request returns the view of the request that u is about, a new one if need be.
func (p *progress) request(u control.Update) *requestView {
	for _, r := range p.requests {
		if r.id == u.Request {
			return r
		}
	}
	r := &requestView{id: u.Request, builder: u.Builder, result: build.None}
	p.requests = append(p.requests, r)
	return r
}

func (p *progress) find(u control.Update) *buildView {
	for _, b := range p.running {
		if b.builder == u.Builder && b.number == u.Number {
			return b
		}
	}
	return nil
}

func (p *progress) buildStarted(u control.Update) *buildView {
	r := p.request(u)
	if r.build != nil && r.build.result == build.None {
		p.remove(r.build) // its master went away without saying how it ended
		r.build.result = build.Retry
	}
	b := &buildView{
		request: r, builder: u.Builder, number: u.Number, worker: u.Worker, attempt: u.Attempt,
		started: u.Time, expected: u.Expected, steps: u.Steps, result: build.None,
	}
	b.title = b.builder
	if p.adHoc {
		// All commands share one builder without a name; its history says nothing.
		b.title, b.expected = "command", 0
	}
	r.build, r.waits = b, ""
	p.running = append(p.running, b)
	return b
}

func (p *progress) buildEnded(b *buildView, u control.Update) {
	p.remove(b)
	b.result, b.text, b.elapsed = u.Result, u.Text, elapsed(u, b.started)
	b.ended = append(b.ended, u.Ended...)
	b.logPath, b.kept = u.LogPath, u.Kept
}

func (p *progress) remove(b *buildView) {
	p.running = slices.DeleteFunc(p.running, func(o *buildView) bool { return o == b })
}

// stepEnded ends the running step, or one that never ran because it was skipped.
func (b *buildView) stepEnded(u control.Update) *stepView {
	s := b.step
	if s == nil || s.number != u.Step {
		return &stepView{number: u.Step, name: u.Name}
	}
	b.step = nil
	b.ran++
	s.elapsed = elapsed(u, s.started)
	if s.elapsed > b.slowest.took || b.ran == 1 {
		b.slowest = stepTime{s.name, s.elapsed}
	}
	return s
}

func elapsed(u control.Update, started time.Time) time.Duration {
	if u.Elapsed > 0 {
		return u.Elapsed
	}
	return max(u.Time.Sub(started), 0)
}

// label names a build: "test #12", "test #13, attempt 2".
func (b *buildView) label() string {
	s := fmt.Sprintf("%s #%d", b.title, b.number)
	if b.attempt > 1 {
		s += fmt.Sprintf(", attempt %d", b.attempt)
	}
	return s
}

// assembler returns the assembler for one stream of one of the step's logs.
func (s *stepView) assembler(u control.Update) *lineAssembler {
	key := streamKey{u.Log, u.Stream}
	a := s.lines[key]
	if a == nil {
		if s.lines == nil {
			s.lines = map[streamKey]*lineAssembler{}
		}
		a = &lineAssembler{}
		s.lines[key] = a
	}
	return a
}

// flush calls emit for what lines without an end there are, in a fixed order.
func (s *stepView) flush(emit func(log string, text []byte)) {
	keys := slices.SortedFunc(maps.Keys(s.lines), func(x, y streamKey) int {
		return cmp.Or(strings.Compare(x.log, y.log), strings.Compare(x.stream, y.stream))
	})
	for _, k := range keys {
		s.lines[k].flush(func(text []byte) { emit(k.log, text) })
	}
}

// ownOutput reports whether u is output of the command itself: not of a log file
// that it writes, and not what Bothy has to say of it.
func ownOutput(u control.Update) bool {
	return (u.Log == "" || u.Log == "stdio") && u.Stream != headerStream
}

const headerStream = string(byte(worker.Header))

// bad reports whether a result is one whose output a person wants to see.
func bad(r build.Result) bool { return r == build.Failure || r == build.Exception }

// outcome returns the request's result and what there is to say about it.
func (r *requestView) outcome() (build.Result, string) {
	result, text := r.result, r.text
	if b := r.build; b != nil {
		if result == build.None {
			result = b.result
		}
		if text == "" {
			text = b.text
		}
	}
	return result, text
}

// oneLine makes text from elsewhere fit to be printed as part of a line.
func oneLine(s string) string {
	fields := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	for i, f := range fields {
		fields[i] = strings.TrimSpace(untab(visible([]byte(f))))
	}
	return strings.Join(fields, "; ")
}
