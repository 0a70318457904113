package hostile

import (
	"strings"
	"syscall"
	"testing"

	"bothy/runner/build"
	"bothy/runner/internal/store"
	"bothy/runner/internal/testrig"
)

// served has a build that can be told to end, and one that does nothing special.
const served = `
[machine]
cpus = 2
memory_per_build = "64MiB"
[[builders]]
name = "waits"
max_retries = 1
collapse_requests = false
steps = [{ name = "wait", run = '''echo waiting; while [ ! -e waits.go ]; do sleep 0.02; done''', workdir = "%DIR%" }]
[[builders]]
name = "quick"
collapse_requests = false
steps = ["true"]
`

func servedScene(t *testing.T) *testrig.Scene {
	s := newScene(t, "")
	s.Configure("", strings.ReplaceAll(served, "%DIR%", s.Dir))
	return s
}

// SIGTERM: running builds are RETRY, do not count, and run again at the next start.
func TestServeTerminated(t *testing.T) {
	s := servedScene(t)
	base := s.Path(".bothy")
	var ids []int64
	for i := range 3 { // more often than max_retries: a planned stop does not count
		v := s.Serve(base)
		if i == 0 {
			ids = v.Submit("waits", "waits", "waits")
		}
		testrig.Until(t, "the builds do not run", func() bool { return v.Status().Running >= 2 })
		v.Signal(syscall.SIGTERM)
		v.Exits(0)
		s.NothingLeft("SIGTERM", enough)
	}
	s.Write("waits.go", "")
	v := s.Serve(base)
	v.Idle()
	v.Drain()
	r := s.Records(base)
	for _, id := range ids {
		if q := r.Request(id); q.State != store.Done || q.Result != build.Success {
			t.Errorf("request %d: %v %v, %s", id, q.State, q.Result, q.Text)
		}
	}
	retries := 0
	for _, b := range r.Builds() {
		if b.Result == build.Retry {
			retries++
		}
	}
	if retries < 6 {
		t.Errorf("%d builds are RETRY, want at least 6", retries)
	}
}

// A second signal: at once, grace or not.
func TestServeTerminatedTwice(t *testing.T) {
	s := newScene(t, "[[builders]]\nname = \"deaf\"\nsteps = [{ run = '''trap \"\" TERM; echo deaf; sleep 1000; sleep 1001''', sigterm_time = \"60s\" }]\n")
	v := s.Serve(s.Path(".bothy"))
	v.Submit("deaf")
	testrig.Until(t, "the build does not run", func() bool {
		return strings.Contains(strings.Join(s.Processes(), "\n"), " sleep 1000")
	})
	v.Signal(syscall.SIGTERM)
	testrig.Until(t, "the signal is not acted on", func() bool { return strings.Contains(v.Err.String(), "stopping") })
	v.Signal(syscall.SIGTERM)
	if took := v.Exits(0); took > enough {
		t.Errorf("took %v; the grace is 60 s", took)
	}
	s.NothingLeft("the second SIGTERM", enough)
}

// Drained by the command and by the signal: what runs finishes, what waits stays.
func TestServeDrains(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"serve --drain", "SIGUSR1"} {
		t.Run(how, func(t *testing.T) {
			s := servedScene(t)
			base := s.Path(".bothy")
			v := s.Serve(base)
			ids := v.Submit("waits", "waits", "waits", "waits")
			testrig.Until(t, "the builds do not run", func() bool { return v.Status().Running >= 2 })
			if how == "SIGUSR1" {
				v.Signal(syscall.SIGUSR1)
			} else {
				s.Run(0, "serve", "--drain")
			}
			testrig.Until(t, "it does not stop taking requests", func() bool { return v.Status().Stopping })
			s.Write("waits.go", "")
			v.Exits(0)
			v = s.Serve(base)
			v.Idle()
			v.Drain()
			r := s.Records(base)
			for _, id := range ids {
				if q := r.Request(id); q.Result != build.Success || q.Attempts != 1 {
					t.Errorf("request %d: %v after %d attempts, %s", id, q.Result, q.Attempts, q.Text)
				}
			}
		})
	}
}
