package cli

import (
	"fmt"
	"sync"
	"time"

	"bothy/runner/build"
	"bothy/runner/internal/control"
)

// plainDisplay prints whole lines, each with the name of what it comes from:
// for pipes, files, CI systems and terminals that cannot move their cursor.
type plainDisplay struct {
	env     Env
	options displayOptions

	mu    sync.Mutex
	state progress
	page  page
	done  bool
}

func newPlainDisplay(env Env, o displayOptions) *plainDisplay {
	return &plainDisplay{env: env, options: o, state: progress{adHoc: o.AdHoc}, page: page{out: env.Stdout}}
}

func (d *plainDisplay) Show(u control.Update) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done {
		return
	}
	waited := d.waits(u.Request)
	b, s := d.state.apply(u)
	switch u.Kind {
	case control.Pending:
		if waited != u.Text {
			d.printf("%s: waiting: %s", u.Builder, oneLine(u.Text))
		}
	case control.Note:
		d.printf("bothy: %s", oneLine(u.Text))
	case control.End:
		d.finish()
	default:
		if b != nil {
			d.showBuild(u, b, s)
		}
	}
	d.page.flush()
}

func (d *plainDisplay) showBuild(u control.Update, b *buildView, s *stepView) {
	switch u.Kind {
	case control.BuildNew:
		if !d.options.AdHoc || b.attempt > 1 {
			d.printf("%s started on %s", b.label(), b.worker)
		}
	case control.StepNew:
		if !d.options.AdHoc {
			d.printf("%sstep %d of %d: %s", d.of(b), s.number, b.steps, oneLine(s.name))
		}
	case control.Output:
		if d.options.AdHoc && u.Stream == headerStream {
			return // the result says it
		}
		s.assembler(u).write(u.Data, func(line []byte) { d.printOutput(b, s, u.Log, line) })
	case control.Gap:
		d.flushStep(b, s)
		d.printf("%s%s: %s of output are not shown here; the log has them", d.of(b), oneLine(s.name), byteText(u.Count))
	case control.StepEnd:
		d.flushStep(b, s)
		if !d.options.AdHoc && !u.Hidden {
			d.printf("%s%s: %s%s%s", d.of(b), oneLine(s.name), resultWord(u.Result), inTime(s.elapsed), because(u.Result, u.Text))
		}
	case control.BuildEnd:
		if !d.options.Single && !d.options.AdHoc || b.result == build.Retry {
			d.printf("%s: %s in %s%s", b.label(), resultWord(u.Result), took(b.elapsed), because(u.Result, u.Text))
		}
	case control.RequestOK:
		if s != nil {
			d.flushStep(b, s)
		}
	}
}

// inTime is " in 3.2s", or nothing for what took no time.
func inTime(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return " in " + took(d)
}

// of is the beginning of a line about a part of b.
func (d *plainDisplay) of(b *buildView) string {
	if d.options.Single || d.options.AdHoc {
		return ""
	}
	return fmt.Sprintf("%s #%d ", b.title, b.number)
}

// prefixName is how much of a step's name stands before its output, in columns: a
// step without a name is called as its command.
const prefixName = 32

func (d *plainDisplay) printOutput(b *buildView, s *stepView, log string, text []byte) {
	p := &d.page.buf
	*p = append(*p, d.of(b)...)
	if !d.options.AdHoc {
		*p = append(*p, cut(oneLine(s.name), prefixName)...)
		*p = append(*p, ' ')
	}
	if log != "" && log != "stdio" {
		*p = append(*p, '(')
		*p = append(*p, oneLine(log)...)
		*p = append(*p, ") "...)
	}
	*p = append(*p, '|')
	if seen := visible(text); seen != "" {
		*p = append(*p, ' ')
		*p = append(*p, seen...)
	}
	*p = append(*p, '\n')
	if len(*p) > 1<<20 {
		d.page.flush()
	}
}

// flushStep prints what lines without an end there are.
func (d *plainDisplay) flushStep(b *buildView, s *stepView) {
	s.flush(func(log string, text []byte) { d.printOutput(b, s, log, text) })
}

func (d *plainDisplay) printf(format string, args ...any) {
	d.page.buf = fmt.Appendf(d.page.buf, format+"\n", args...)
}

// waits returns what the request was last said to wait for.
func (d *plainDisplay) waits(id int64) string {
	for _, r := range d.state.requests {
		if r.id == id {
			return r.waits
		}
	}
	return ""
}

func (d *plainDisplay) finish() {
	if d.done {
		return
	}
	d.done = true
	for _, b := range d.state.running {
		if b.step != nil {
			d.flushStep(b, b.step)
		}
	}
	for _, l := range d.state.summary(d.env) {
		d.page.buf = append(l.append(d.page.buf, 0, false), '\n')
	}
}

func (d *plainDisplay) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.finish()
	d.page.flush()
	return d.page.err
}
