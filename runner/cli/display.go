package cli

import (
	"encoding/json"
	"io"
	"os"
	"sync"

	"golang.org/x/term"

	"bothy/runner/internal/control"
)

// A display tells about a run while it runs and sums it up at the end. Its
// methods may be called from many goroutines. Show blocks while the terminal
// does.
type display interface {
	// Show takes the next piece of news. After control.End it does nothing.
	Show(control.Update)
	// Close prints what is still to be said, also when no control.End came, and
	// returns the first error of writing. Close is idempotent.
	Close() error
}

// displayOptions says what kind of run is shown.
type displayOptions struct {
	JSON bool // one JSON object per update, nothing else
	// Single: one builder was asked for, its name goes without saying.
	Single bool
	// AdHoc: the run is "-- COMMAND".
	AdHoc bool
}

// newDisplay returns a live tree on a terminal, plain lines elsewhere, or JSON.
func newDisplay(env Env, o displayOptions) display {
	if o.JSON {
		return &jsonDisplay{out: json.NewEncoder(env.Stdout)}
	}
	if f, ok := env.Stdout.(*os.File); ok && wantsTree(env) && term.IsTerminal(int(f.Fd())) && enableEscapes(f) {
		size := func() (int, int, error) { return term.GetSize(int(f.Fd())) }
		return newTreeDisplay(env, o, size)
	}
	return newPlainDisplay(env, o)
}

// wantsTree reports whether the environment lets us move a terminal's cursor.
func wantsTree(env Env) bool {
	ci := env.Getenv("CI")
	return env.Getenv("TERM") != "dumb" && env.Getenv("NO_COLOR") == "" && (ci == "" || ci == "false")
}

// jsonDisplay prints the updates as they are.
type jsonDisplay struct {
	mu  sync.Mutex
	out *json.Encoder
	err error
}

func (d *jsonDisplay) Show(u control.Update) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		d.err = d.out.Encode(u)
	}
}

func (d *jsonDisplay) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// page collects text and writes it in one piece, so that nothing else comes in
// between. It remembers the first error.
type page struct {
	out io.Writer
	buf []byte
	err error
}

func (p *page) flush() {
	if len(p.buf) == 0 || p.err != nil {
		p.buf = p.buf[:0]
		return
	}
	_, p.err = p.out.Write(p.buf)
	p.buf = p.buf[:0]
}
