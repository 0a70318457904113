package engine

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"bothy/runner/config"
	"bothy/runner/worker"
)

// variants is how many configurations there are.
const variants = 16

// modelConfig has workers with and without a machine of their own, locks of
// builds and of steps, and every kind of limit on retries. Each bit of variant
// changes something.
func modelConfig(variant int) *config.Config {
	c := modelBase()
	if variant&1 != 0 {
		c.Workers[1].Workdir = "other" // it is made anew
	}
	if variant&2 != 0 {
		for i := range c.Workers {
			c.Workers[i].NoCanary = true
		}
	}
	if variant&4 != 0 {
		c.Workers = c.Workers[:3] // without r2
	}
	if variant&8 != 0 {
		c.Builders = c.Builders[:3] // without d
	}
	return c
}

func modelBase() *config.Config {
	lock := func(name string, mode config.LockMode) []config.LockAccess {
		return []config.LockAccess{{Name: name, Mode: mode}}
	}
	work := func(change ...func(*config.Step)) []config.Step {
		return []config.Step{step("work", "work %(prop:plan)s", change...), step("tidy", "tidy", always)}
	}
	none := config.Source{Kind: config.SourceNone}
	return &config.Config{
		Workers: []config.Worker{
			{Name: "l1", MaxBuilds: 2}, {Name: "l2"},
			{Name: "r1", Kind: config.WorkerRemote, MaxBuilds: 1}, {Name: "r2", Kind: config.WorkerRemote, MaxBuilds: 2},
		},
		Locks: []config.Lock{{Name: "x", MaxCount: 2}, {Name: "y"}},
		Builders: []config.Builder{
			{Name: "a", Source: none, NoCollapse: true, Locks: lock("x", config.LockCounting), Steps: work()},
			{Name: "b", Source: none, NoCollapse: true, MaxRetries: 1, Locks: lock("x", config.LockExclusive), Steps: work()},
			{Name: "c", Source: none, NoCollapse: true, MaxRetries: config.Off, Exclusive: true,
				Steps: work(func(s *config.Step) { s.Locks = lock("y", config.LockExclusive) })},
			{Name: "d", Source: none, Steps: work(func(s *config.Step) { s.Locks = lock("y", config.LockCounting) })},
		},
	}
}

// work is what builds do: as their plan says.
func (m *model) work(c *fakeCommand) (worker.Exit, error) {
	b := c.build.spec.Builder
	m.mu.Lock()
	m.holders[b]++
	if n, all := m.holders["c"], m.holders["c"]+m.holders["d"]; (b == "c" || b == "d") && all > 1 {
		m.g.Errorf("lock y: %d steps of c and %d of d hold it", n, all-n)
	}
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.holders[b]--
		m.mu.Unlock()
	}()
	var attempt int
	if _, err := fmt.Sscan(c.env("BOTHY_ATTEMPT"), &attempt); err != nil {
		return worker.Exit{}, err
	}
	plan := strings.Split(c.args[0], ",")
	if attempt > len(plan) {
		return worker.Exit{}, nil
	}
	how, d, _ := strings.Cut(plan[attempt-1], ":")
	dur, err := time.ParseDuration(d)
	if err != nil {
		return worker.Exit{}, err
	}
	if err := c.print("", "begun\n"); err != nil {
		return worker.Exit{Stopped: worker.SinkFailed, SinkErr: err}, nil
	}
	if how == "stuck" {
		time.Sleep(dur)
		return worker.Exit{}, worker.ErrLost
	}
	if exit, err, ok := c.sleep(dur); !ok {
		return exit, err
	}
	switch how {
	case "fail":
		return worker.Exit{Code: 1}, nil
	case "broken":
		return worker.Exit{}, errors.New("broken pipe")
	case "oom":
		return worker.Exit{Code: 137, OOM: &worker.OOM{Certain: true}}, nil
	case "lost", "retry":
		if how == "lost" && strings.HasPrefix(c.build.conn.kind.name, "r") {
			c.build.conn.cut()
		}
		return worker.Exit{}, worker.ErrLost
	}
	return worker.Exit{}, nil
}

// attempt checks that no two attempts are the same.
func (m *model) attempt(s worker.BuildSpec) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tokens[s.Token] {
		m.g.Errorf("token %s is given twice", s.Token)
	}
	m.tokens[s.Token] = true
	return nil
}

// limits says what is exceeded by what runs now. The builds of the fake workers
// begin after the engine counts them and end before it lets go of them.
func (m *model) limits(now []worker.BuildSpec, by map[string]int) string {
	of := map[string]int{}
	for _, s := range now {
		of[s.Builder]++
	}
	local := by["l1"] + by["l2"]
	switch {
	case by["l1"] > 2 || by["r1"] > 1 || by["r2"] > 2:
		return fmt.Sprintf("max_builds: %v", by)
	case of["b"] > 1 || of["b"] == 1 && of["a"] > 0 || of["a"] > 2:
		return fmt.Sprintf("lock x: %v", of)
	case of["c"] > 4:
		return fmt.Sprintf("exclusive builder: %v", of)
	case local > m.host.inUse():
		return fmt.Sprintf("%d local builds have %d shares of the machine", local, m.host.inUse())
	}
	return ""
}
