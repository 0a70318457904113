package hostile

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"bothy/runner/build"
	"bothy/runner/internal/store"
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

func servedScene(t *testing.T) *scene {
	s := newScene(t, "")
	s.write("bothy.toml", "[web]\nlisten = \"127.0.0.1:0\"\n"+strings.ReplaceAll(served, "%DIR%", s.dir))
	return s
}

// SIGTERM: running builds are RETRY, do not count, and run again at the next start.
func TestServeTerminated(t *testing.T) {
	s := servedScene(t)
	base := s.path(".bothy")
	var ids []int64
	for i := range 3 { // more often than max_retries: a planned stop does not count
		v := s.serve(base)
		if i == 0 {
			ids = v.submit("waits", "waits", "waits")
		}
		until(t, 10*time.Second, "the builds do not run", func() bool { return v.status().Running >= 2 })
		v.signal(syscall.SIGTERM)
		if took := v.exits(0, 20*time.Second); took > 5*time.Second {
			t.Errorf("took %v to end", took)
		}
		s.nothingLeft("SIGTERM", time.Second)
	}
	s.write("waits.go", "")
	v := s.serve(base)
	v.idle(20 * time.Second)
	v.drain()
	r := s.records(base)
	for _, id := range ids {
		if q := r.request(id); q.State != store.Done || q.Result != build.Success {
			t.Errorf("request %d: %v %v, %s", id, q.State, q.Result, q.Text)
		}
	}
	retries := 0
	for _, b := range r.builds() {
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
	v := s.serve(s.path(".bothy"))
	v.submit("deaf")
	until(t, 10*time.Second, "the build does not run", func() bool {
		return strings.Contains(strings.Join(s.processes(), "\n"), " sleep 1000")
	})
	v.signal(syscall.SIGTERM)
	until(t, 10*time.Second, "the signal is not acted on", func() bool { return strings.Contains(v.err.String(), "stopping") })
	v.signal(syscall.SIGTERM)
	if took := v.exits(0, 20*time.Second); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	s.nothingLeft("the second SIGTERM", time.Second)
}

// Drained by the command and by the signal: what runs finishes, what waits stays.
func TestServeDrains(t *testing.T) {
	for _, how := range []string{"serve --drain", "SIGUSR1"} {
		t.Run(how, func(t *testing.T) {
			s := servedScene(t)
			base := s.path(".bothy")
			v := s.serve(base)
			ids := v.submit("waits", "waits", "waits", "waits")
			until(t, 10*time.Second, "the builds do not run", func() bool { return v.status().Running >= 2 })
			if how == "SIGUSR1" {
				v.signal(syscall.SIGUSR1)
			} else {
				s.run(0, "serve", "--drain")
			}
			until(t, 10*time.Second, "it does not stop taking requests", func() bool { return v.status().Stopping })
			s.write("waits.go", "")
			v.exits(0, 20*time.Second)
			v = s.serve(base)
			v.idle(20 * time.Second)
			v.drain()
			r := s.records(base)
			for _, id := range ids {
				if q := r.request(id); q.Result != build.Success || q.Attempts != 1 {
					t.Errorf("request %d: %v after %d attempts, %s", id, q.Result, q.Attempts, q.Text)
				}
			}
		})
	}
}
