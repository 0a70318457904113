package hostile

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"bothy/runner/build"
	"bothy/runner/internal/control"
	"bothy/runner/internal/testrig"
)

// What steps print is in the log, byte for byte, whatever it is.
func TestStrangeOutput(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, run string
		bytes     int
		sum       func() [32]byte // nil: of the file "made"
	}{
		{"100 MB without a line end", `head -c 100000000 /dev/zero | tr '\0' x`, 100_000_000, func() [32]byte { return sha256.Sum256(bytes.Repeat([]byte{'x'}, 100_000_000)) }},
		{"binary", `head -c 3000000 /dev/urandom >made; cat made`, 3_000_000, nil},
		{"NULs", `head -c 5000000 /dev/zero`, 5_000_000, func() [32]byte { return sha256.Sum256(make([]byte, 5_000_000)) }},
		{"300,000 short lines", `seq 300000 >made; cat made`, 1_988_895, nil},
		{"no end on the last line", `seq 100 >made; printf last >>made; cat made`, 296, nil},
		{"carriage returns, colours, half runes", `printf 'a\rb\r\n\033[31mred\033[0m\n\303\n\r\r\r\n\033[2J\033]0;title\007' >made; cat made`, 38, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, fmt.Sprintf("[[builders]]\nname = \"b\"\nsteps = ['''%s''']\n", c.run))
			p := s.Run(0, "run")
			// The terminal sees whole lines, and nothing that could upset it.
			if out := p.Out.String(); strings.ContainsAny(out, "\x00\x1b\r") {
				t.Errorf("control characters reach the terminal: %q", testrig.Shorten(out))
			}
			r := s.Records(s.Path(".bothy"))
			got := r.Log(r.Builds()[0], 1)
			want := [32]byte{}
			if c.sum != nil {
				want = c.sum()
			} else {
				want = sha256.Sum256([]byte(s.Read("made")))
			}
			if len(got) != c.bytes || sha256.Sum256([]byte(got)) != want {
				t.Errorf("the log has %d bytes, want %d, and these ones", len(got), c.bytes)
			}
		})
	}
}

// A step that closes its output goes on; one that ends while another process
// holds it open and writes has ended.
func TestOutputAndEnd(t *testing.T) {
	s := newScene(t, `
[[builders]]
name = "closes"
steps = ["echo before; exec >&- 2>&-; sleep 0.5; touch went-on; exit 5"]
[[builders]]
name = "leaves"
steps = ["echo parent; (while :; do echo child; sleep 0.05; done) & sleep 0.3", "echo next"]
[[builders]]
name = "floods"
steps = ["(while :; do echo flood; done) & sleep 0.2", "echo next"]
`)
	p := s.Run(1, "run", "closes")
	p.Prints("| before\n", "exit 5")
	if !s.Exists("went-on") {
		t.Error("the step was ended when it closed its output")
	}
	for _, name := range []string{"leaves", "floods"} {
		p = s.Run(0, "run", name)
		p.Prints("| next\n")
		if name == "leaves" { // the other one dies of its closed output
			p.Prints("ended ", "left-over process")
		}
	}
}

func TestLargeProperty(t *testing.T) {
	const size = 60 << 10
	big := strings.Repeat("p", size)
	s := newScene(t, `
[[builders]]
name = "b"
steps = [{ name = "length", run = 'printf %s "$BIG" | wc -c', env = { BIG = "%(prop:big)s" } }]
`)
	s.Run(0, "run", "-p", "big="+big).Prints(fmt.Sprintf("| %d\n", size))
	r := s.Records(s.Path(".bothy"))
	if got := r.Builds()[0].Properties["big"].Value; got != big {
		t.Errorf("%d bytes of the property are on record", len(fmt.Sprint(got)))
	}
}

// 64 KiB is what a property may be; more is refused with the reason.
func TestPropertyLimit(t *testing.T) {
	s := newScene(t, `
[[builders]]
name = "b"
steps = [{ name = "length", run = "wc -c", stdin = "%(prop:big)s" }]
`)
	v := s.Serve(s.Path(".bothy"))
	for _, c := range []struct {
		size int
		ok   bool
	}{{64<<10 - 2, true}, {64 << 10, true}, {1 << 20, false}} {
		out, err := v.Client.Submit(t.Context(), control.SubmitRequest{Builders: []string{"b"}, Props: map[string]string{"big": strings.Repeat("p", c.size)}})
		if (err == nil) != c.ok {
			t.Errorf("%d bytes: %v, %v", c.size, out, err)
		}
	}
	v.Idle()
	v.Drain()
	r := s.Records(s.Path(".bothy"))
	for i, b := range r.Builds() {
		want := []string{"65534", "65536"}[i]
		if got := strings.TrimSpace(r.Log(b, 1)); b.Result != build.Success || got != want {
			t.Errorf("build %d: %v, %q, want %s", b.Number, b.Result, got, want)
		}
	}
}

// 10,000 steps in one builder.
func TestManySteps(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	const n = 10_000
	var conf strings.Builder
	conf.WriteString("[[builders]]\nname = \"b\"\nsteps = [\n")
	for range n {
		conf.WriteString("  [\":\"],\n")
	}
	conf.WriteString("]\n")
	s := newScene(t, strings.ReplaceAll(conf.String(), `[":"]`, `{ run = ["true"] }`))
	s.Run(0, "run")
	r := s.Records(s.Path(".bothy"))
	steps, err := r.Store.Steps(t.Context(), r.Builds()[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if len(steps) != n {
		t.Errorf("%d steps on record, want %d", len(steps), n)
	}
	for i, st := range steps {
		if st.Number != i+1 || st.Result != build.Success {
			t.Fatalf("step %d: number %d, %v", i+1, st.Number, st.Result)
		}
	}
}

// An environment of 1 MiB reaches the step, also over the socket.
func TestLargeEnvironment(t *testing.T) {
	s := newScene(t, "[[builders]]\nname = \"b\"\nsteps = [\"env | wc -c\"]\n[[builders]]\nname = \"gate\"\nsteps = ['''"+gate("gate")+"''']\n")
	for i := range 11 {
		s.Env = append(s.Env, fmt.Sprintf("BIG%d=%s", i, strings.Repeat("e", 100_000)))
	}
	check := func(p *testrig.Process) {
		t.Helper()
		var n int
		for line := range strings.Lines(p.Out.String()) {
			if _, rest, ok := strings.Cut(line, "wc -c | "); ok {
				fmt.Sscan(rest, &n)
			}
		}
		if n < 1_100_000 {
			t.Errorf("the step has %d bytes of environment\n%s", n, p.All())
		}
	}
	check(s.Run(0, "run", "b"))
	holder := s.Start("run", "gate")
	holder.Awaits("| gate began\n")
	check(s.Run(0, "run", "b"))
	s.Write("gate.go", "")
	holder.Exits(0)
}

// --json is JSON whatever is printed.
func TestJSONOfBinary(t *testing.T) {
	s := newScene(t, "[[builders]]\nname = \"b\"\nsteps = [\"head -c 100000 /dev/urandom | tee made\"]\n")
	p := s.Run(0, "run", "--json")
	var got []byte
	for line := range strings.Lines(p.Out.String()) {
		var u control.Update
		if err := json.Unmarshal([]byte(line), &u); err != nil {
			t.Fatalf("%v: %s", err, testrig.Shorten(line))
		}
		if u.Kind == control.Output && u.Stream == "o" {
			got = append(got, u.Data...)
		}
	}
	want, err := os.ReadFile(s.Path("made"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes came through, want %d", len(got), len(want))
	}
}
