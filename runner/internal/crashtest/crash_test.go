//go:build linux

// Package crashtest kills the real program at random moments and checks that
// nothing it promised is lost. BOTHY_CRASHES says how often (default 8, in CI
// 100, for the long proof 10,000).
package crashtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bothy/runner/internal/control"
	"bothy/runner/internal/testrig"
)

// rigs is how many masters are crashed side by side, each on a base directory of
// its own: they wait for the disk and for processes most of the time.
const rigs = 6

// conf has builders for each way to be hit: quick ones, one with much output,
// one whose processes leave their session.
const conf = `
[store]
keep_builds = 0

[machine]
cpus = 2
memory_per_build = "64MiB"

[[workers]]
name = "bot"
count = 2

[[builders]]
name = "quick"
collapse_requests = false
max_retries = 1000
steps = ['echo "$BOTHY_BUILD_NUMBER" >>%LEDGER%', "true"]

[[builders]]
name = "lines"
collapse_requests = false
max_retries = 1000
steps = ['i=0; while [ $i -lt 300 ]; do echo "line $i of the log of a build that is to be whole"; i=$((i+1)); done', "seq 20000"]

[[builders]]
name = "stray"
collapse_requests = false
max_retries = 1000
steps = ['setsid sh -c "sleep 3600" >/dev/null 2>&1 & (sh -c "sleep 3601" &) ; sleep 0.02']
`

func TestMain(m *testing.M) { os.Exit(testrig.Main(m, rigs)) }

func TestCrash(t *testing.T) {
	crashes := int64(8)
	if s := os.Getenv("BOTHY_CRASHES"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		crashes = n
	}
	seed := uint64(time.Now().UnixNano())
	began := time.Now()
	var done atomic.Int64
	t.Cleanup(func() {
		t.Logf("%d crashes in %v", min(crashes, done.Load()), time.Since(began).Round(time.Second))
	})
	for i := range min(rigs, crashes) {
		t.Run(fmt.Sprint("rig ", i+1), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, seed, uint64(i))
			for n := 0; done.Add(1) <= crashes; n++ {
				r.round(n)
				if t.Failed() {
					t.Fatalf("in round %d; seed %d", n, seed)
				}
			}
			r.settle()
			r.verify()
		})
	}
}

// rig is a base directory whose masters are killed one after the other.
type rig struct {
	*testrig.Scene
	base  string
	env   []string
	rand  *rand.Rand
	dead  []string      // marks of masters that were killed with their spawners since the last that lived
	worst time.Duration // that a killed master's processes lived on

	mu       sync.Mutex
	accepted map[int64]string // request → builder
	maybe    int              // submits whose answer did not come
}

func newRig(t *testing.T, seed, stream uint64) *rig {
	t.Helper()
	r := &rig{
		Scene: testrig.NewScene(t, t.TempDir(), ""),
		rand:  rand.New(rand.NewPCG(seed, stream)), accepted: map[int64]string{},
	}
	r.base, r.env = r.Path(".bothy"), r.Env
	r.Configure("", strings.ReplaceAll(conf, "%LEDGER%", r.Path("ledger")))
	return r
}

// left is how long processes of a killed master may live on: 2 s is promised,
// on a machine that has something else to do too.
const left = 10 * time.Second

// round starts a master and kills it: while it starts, or under load; alone, or
// at one stroke with its spawners.
func (r *rig) round(n int) {
	mark := fmt.Sprintf("%s%d.", r.Mark(), n)
	r.Env = append(r.env[:len(r.env):len(r.env)], mark)
	all := n%3 == 2
	if n%4 == 1 {
		p := r.Start("serve")
		r.kill(p, all, time.Duration(r.rand.Int64N(int64(60*time.Millisecond))))
		p.Exits(-1)
	} else {
		m := r.Serve(r.base)
		for _, dead := range r.dead {
			testrig.NothingLeft(r.T, dead, "the next master's start", left)
		}
		r.dead = nil
		ctx, cancel := context.WithCancel(context.Background())
		var load sync.WaitGroup
		for range 2 {
			own := rand.New(rand.NewPCG(r.rand.Uint64(), 0))
			load.Go(func() {
				for n := 0; ctx.Err() == nil && n < 6; n++ {
					r.submit(ctx, m, own)
				}
			})
		}
		x := r.rand.Float64() // most die young
		r.kill(m.Process, all, time.Duration(x*x*x*float64(800*time.Millisecond)))
		m.Exits(-1)
		cancel()
		load.Wait()
	}
	if all {
		r.dead = append(r.dead, mark)
	} else {
		r.worst = max(r.worst, testrig.NothingLeft(r.T, mark, "kill -9 of the master", left))
	}
}

// kill kills a master after a while; with all, its children, the spawners, go too.
func (r *rig) kill(p *testrig.Process, all bool, after time.Duration) {
	select {
	case <-time.After(after):
	case <-p.Ended:
		r.T.Errorf("the master ended by itself: %s", p.All())
		return
	}
	pid := p.Cmd.Process.Pid
	if all {
		p.Signal(syscall.SIGSTOP)
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
		if err != nil {
			r.T.Error(err)
		}
		for _, f := range tasks {
			children, _ := os.ReadFile(f) // a thread may have ended
			for _, child := range strings.Fields(string(children)) {
				if n, err := strconv.Atoi(child); err == nil {
					syscall.Kill(n, syscall.SIGKILL)
				}
			}
		}
	}
	p.Signal(syscall.SIGKILL)
}

func (r *rig) submit(ctx context.Context, m *testrig.Master, own *rand.Rand) {
	names := []string{"quick", "quick", "quick", "lines", "stray"}
	req := control.SubmitRequest{Reason: "crash test", Priority: own.IntN(3)}
	for range 1 + own.IntN(3) {
		req.Builders = append(req.Builders, names[own.IntN(len(names))])
	}
	out, err := m.Client.Submit(ctx, req)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.maybe++
		return
	}
	for i, id := range out.Requests {
		if was, ok := r.accepted[id]; ok {
			r.T.Errorf("request id %d was given out twice (%s, %s)", id, was, req.Builders[i])
		}
		r.accepted[id] = req.Builders[i]
	}
}

// settle lets a last master finish everything.
func (r *rig) settle() {
	r.Env = r.env
	m := r.Serve(r.base)
	m.Idle()
	m.Drain()
	r.NothingLeft("the end", left)
}
