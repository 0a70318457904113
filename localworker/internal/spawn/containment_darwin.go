package spawn

import (
	"context"
	"fmt"

	"bothy/runner/worker"
)

// containment on Darwin is process groups, and a search for the cookie.
type containment struct{ base hello }

func (c *containment) open(o Options) error {
	if o.Only != "" && o.Only != Group {
		return fmt.Errorf("method %s is not available on this system", o.Only)
	}
	c.base = hello{base: o.BaseID, epoch: o.Epoch, method: Group}
	return nil
}

func (c *containment) start(context.Context, int64) (executor, error) { return newLocal(c.base) }
func (c *containment) close() error                                   { return nil }

func (c *containment) describe() Support {
	return Support{Mode: ModeGroup, Method: Group, Text: []string{
		"each command gets a process group; what leaves it is found by " + CookieName + " in its environment",
	}}
}

// Sweep ends what is left of the base directory's older epochs: processes with
// its cookie in their environment.
func Sweep(ctx context.Context, o Options) ([]worker.Process, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	ended, _ := settle(&strays{o: o}, func() bool { return true }, nil)
	return ended, ctx.Err()
}

// strays is the crowd of a dead master's processes.
type strays struct{ o Options }

func (s *strays) members() (all []process, sure bool) {
	for _, p := range allProcesses() {
		if k, ok := p.cookie(); ok && !p.dead && k.base == s.o.BaseID && k.epoch < s.o.Epoch {
			all = append(all, p)
		}
	}
	return all, len(all) == 0
}

func (s *strays) strike()             {}
func (s *strays) counts(process) bool { return true }
