package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/term"

	"bothy/runner/build"
	"bothy/runner/internal/control"
)

// treeDisplay redraws what runs at the bottom of a terminal; what has ended
// scrolls away above it.
type treeDisplay struct {
	env     Env
	options displayOptions
	size    func() (cols, rows int, err error)

	mu    sync.Mutex
	state progress
	page  page
	above []line // ended since the last drawing
	frame []byte // what the last drawing left at the bottom
	drawn []int  // the width of each line of it
	last  time.Time
	timer *time.Timer
	due   time.Time // when timer fires; zero: it does not
	done  bool
}

const (
	// redrawEvery bounds how often the terminal is written to.
	redrawEvery = 100 * time.Millisecond
	// tailLines is how many lines of a failing step's output are shown.
	tailLines = 20
)

func newTreeDisplay(env Env, o displayOptions, size func() (cols, rows int, err error)) *treeDisplay {
	// As if just drawn: a run that is over at once shows its end only.
	return &treeDisplay{env: env, options: o, size: size, state: progress{adHoc: o.AdHoc}, page: page{out: env.Stdout}, last: time.Now()}
}

func (d *treeDisplay) Show(u control.Update) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done {
		return
	}
	b, s := d.state.apply(u)
	switch u.Kind {
	case control.Output:
		if s != nil && ownOutput(u) {
			d.output(u, s)
		}
	case control.Gap:
		if s != nil {
			s.tail.write("", fmt.Appendf(nil, "… %s of output are not shown here; the log has them\n", byteText(u.Count)))
		}
	case control.StepEnd:
		if s != nil {
			d.stepEnded(u, b, s)
		}
	case control.BuildEnd:
		if b != nil {
			d.buildEnded(u, b)
		}
	case control.Note:
		d.above = append(d.above, line{{styleYellow, "bothy: "}, {styleNone, oneLine(u.Text)}})
	case control.End:
		d.finish()
		return
	}
	d.soon(max(redrawEvery-time.Since(d.last), 0))
}

// output keeps output for the last line and the tail. That of a single command
// is what its caller wants to see: it scrolls by above.
func (d *treeDisplay) output(u control.Update, s *stepView) {
	s.tail.write(u.Stream, u.Data)
	if !d.options.AdHoc {
		return
	}
	s.assembler(u).write(u.Data, d.scroll)
	if len(d.above) > 1000 {
		d.draw()
	}
}

func (d *treeDisplay) scroll(text []byte) {
	d.above = append(d.above, line{{styleNone, untab(visible(text))}})
}

func (d *treeDisplay) stepEnded(u control.Update, b *buildView, s *stepView) {
	if d.options.AdHoc {
		s.flush(func(_ string, text []byte) { d.scroll(text) })
		return
	}
	if u.Hidden {
		return
	}
	l := append(row(resultStyle(u.Result), resultWord(u.Result), took(s.elapsed)),
		span{styleNone, b.label() + " "}, span{styleBold, oneLine(s.name)})
	d.above = append(d.above, append(l, span{styleNone, because(u.Result, u.Text)}))
	if bad(u.Result) {
		for _, text := range s.tail.lines(tailLines) {
			d.above = append(d.above, line{{styleDim, "  | "}, {styleNone, text}})
		}
	}
}

func (d *treeDisplay) buildEnded(u control.Update, b *buildView) {
	if b.result != build.Retry && (len(d.state.requests) == 1 || b.steps == 1 && !bad(b.result)) {
		return // the summary says it next, or its step has said it
	}
	l := append(row(resultStyle(u.Result), resultWord(u.Result), took(b.elapsed)), span{styleBold, b.label()})
	d.above = append(d.above, append(l, span{styleNone, because(u.Result, u.Text)}))
}

// soon sees to it that the screen is drawn in wait at the latest.
func (d *treeDisplay) soon(wait time.Duration) {
	due := time.Now().Add(wait)
	if !d.due.IsZero() && !due.Before(d.due) {
		return
	}
	d.due = due
	if d.timer == nil {
		d.timer = time.AfterFunc(wait, d.fire)
		return
	}
	d.timer.Reset(wait)
}

func (d *treeDisplay) fire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done || d.due.IsZero() || time.Now().Before(d.due) {
		return // ended, or set again while this call waited for the lock
	}
	d.due = time.Time{}
	d.draw()
	if len(d.state.running) > 0 {
		d.soon(time.Second) // the clocks go on
	}
}

// draw brings the screen up to date.
func (d *treeDisplay) draw() {
	cols, rows, err := d.size()
	if err != nil || cols <= 0 || rows <= 0 {
		cols, rows = 80, 24 // what a VT100 had
	}
	var frame []byte
	var widths []int
	for _, l := range d.live(rows - 1) {
		frame = append(l.append(frame, cols-1, true), "\x1b[K\n"...)
		widths = append(widths, min(l.width(), cols-1))
	}
	d.last = time.Now()
	if len(d.above) == 0 && bytes.Equal(frame, d.frame) {
		return
	}
	d.rewind(cols)
	d.page.buf = append(d.page.buf, "\x1b[?7l"...) // no wrapping, should a width be misjudged
	d.page.buf = append(d.page.buf, frame...)
	d.page.buf = append(d.page.buf, "\x1b[?7h\x1b[J"...)
	d.page.flush()
	d.frame, d.drawn = frame, widths
}

// rewind puts the cursor where the last drawing began and prints what scrolls
// away from there. Lines that a terminal that has become narrower wraps take
// more rows now.
func (d *treeDisplay) rewind(cols int) {
	up := 0
	for _, w := range d.drawn {
		up += max(1, (w+cols-1)/cols)
	}
	d.page.buf = append(d.page.buf, '\r')
	if up > 0 {
		d.page.buf = append(d.page.buf, "\x1b["...)
		d.page.buf = strconv.AppendInt(d.page.buf, int64(up), 10)
		d.page.buf = append(d.page.buf, 'A')
	}
	for _, l := range d.above {
		d.page.buf = append(l.append(append(d.page.buf, "\x1b[K"...), 0, true), "\x1b[K\n"...)
	}
	d.above = d.above[:0]
}

// live returns what to show of what runs, in at most rows lines.
func (d *treeDisplay) live(rows int) []line {
	running, total := d.state.running, len(d.state.requests)
	var waiting []*requestView
	for _, r := range d.state.requests {
		if r.waits != "" {
			waiting = append(waiting, r)
		}
	}
	if rows < 1 || len(running)+len(waiting) == 0 {
		return nil
	}
	now := d.state.clock.now()
	var last []line
	if total > 1 && rows > 1 {
		last = append(last, d.countLine(now, len(waiting)))
		rows--
	}
	each := 2
	if 2*len(running)+len(waiting) > rows {
		each = 1
	}
	more := max(0, len(running)+len(waiting)-rows)
	if each == 2 {
		more = 0
	}
	if more > 0 {
		more++ // the line that says so takes a row
		last = append([]line{below(fmt.Sprintf("… %d more", more))}, last...)
	}
	var lines []line
	room := len(running) + len(waiting) - more
	for _, b := range running[:min(len(running), room)] {
		lines = append(lines, b.live(now, each)...)
	}
	for _, r := range waiting[:max(0, room-len(running))] {
		lines = append(lines, append(row(styleDim, "waiting", ""), span{styleBold, r.builder}, span{styleDim, ": " + oneLine(r.waits)}))
	}
	return append(lines, last...)
}

func (d *treeDisplay) countLine(now time.Time, waiting int) line {
	ended, failed := 0, 0
	for _, r := range d.state.requests {
		switch result, _ := r.outcome(); result {
		case build.None, build.Retry:
		case build.Failure, build.Exception:
			failed++
			ended++
		default:
			ended++
		}
	}
	text := fmt.Sprintf("%d of %d done", ended, len(d.state.requests))
	if waiting > 0 {
		text += fmt.Sprintf(", %d waiting", waiting)
	}
	l := append(row(styleNone, "", clockText(elapsedSince(now, d.state.began))), span{styleDim, text})
	if failed > 0 {
		l = append(l, span{styleDim, ", "}, span{styleRed, fmt.Sprintf("%d failed", failed)})
	}
	return l
}

// live returns the lines for a running build: two, or one that says it all.
func (b *buildView) live(now time.Time, lines int) []line {
	head := append(row(styleNone, "running", clockText(elapsedSince(now, b.started))), span{styleBold, b.label()})
	if lines == 1 {
		if b.step != nil {
			head = append(head, span{styleNone, " " + oneLine(b.step.name)}, span{styleDim, " " + b.step.tail.lastLine()})
		}
		return []line{head}
	}
	if b.step != nil && b.steps > 1 {
		head = append(head, span{styleNone, fmt.Sprintf(", step %d of %d", b.step.number, b.steps)})
	}
	if b.expected > 0 {
		head = append(head, span{styleNone, ", usually " + took(b.expected)})
	}
	if b.worker != "" {
		head = append(head, span{styleDim, " on " + b.worker})
	}
	if b.step == nil {
		return []line{head}
	}
	second := append(row(styleNone, "", clockText(elapsedSince(now, b.step.started))), span{styleNone, "  " + oneLine(b.step.name)})
	if b.step.expected > 0 && b.steps > 1 {
		second = append(second, span{styleNone, ", usually " + took(b.step.expected)})
	}
	if s := b.step.tail.lastLine(); s != "" {
		second = append(second, span{styleDim, " | " + s})
	}
	return []line{head, second}
}

// beside returns where to write what is no news of the run while d is shown, such
// as the log of a master: above a tree if both are on a terminal.
func beside(d display, stderr io.Writer) io.Writer {
	tree, ok := d.(*treeDisplay)
	if !ok {
		return stderr
	}
	if f, ok := stderr.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return stderr
	}
	return aboveWriter{tree, stderr}
}

// aboveWriter prints whole lines above a tree, or to after once it has ended.
type aboveWriter struct {
	tree  *treeDisplay
	after io.Writer
}

func (w aboveWriter) Write(p []byte) (int, error) {
	d := w.tree
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done {
		return w.after.Write(p)
	}
	for l := range bytes.Lines(p) {
		d.scroll(bytes.TrimRight(l, "\n"))
	}
	d.soon(max(redrawEvery-time.Since(d.last), 0))
	return len(p), nil
}

// finish clears the bottom of the screen and sums up.
func (d *treeDisplay) finish() {
	if d.done {
		return
	}
	d.done = true
	if d.timer != nil {
		d.timer.Stop()
	}
	cols, _, err := d.size()
	if err != nil || cols <= 0 {
		cols = 80
	}
	sum := d.state.summary(d.env)
	if len(sum) > 0 && (len(d.above) > 0 || len(d.frame) > 0) {
		d.above = append(d.above, line{})
	}
	d.above = append(d.above, sum...)
	d.rewind(cols)
	d.page.buf = append(d.page.buf, "\x1b[J"...)
	d.page.flush()
	d.frame, d.drawn = nil, nil
}

func (d *treeDisplay) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.finish()
	return d.page.err
}
