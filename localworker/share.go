package localworker

import "bothy/runner/worker"

// Taken is what other runners of the process use of the machine.
type Taken struct {
	Builds int
	Need   worker.Need
}

// Share returns what all runners of the process may use together, and what the
// others have of it. A need that fits the machine but not beside them waits for
// them; [Budget.Capacity] alone cannot tell it from one that never fits.
// [Budget.Changed] tells of changes.
func (b *Budget) Share() (Capacity, Taken) {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	c := Capacity{Slots: b.facts.slots, CPUs: b.facts.cpus, Memory: b.facts.memory}
	if b.facts.high {
		c.Blocked = "memory pressure is high"
	}
	all := b.l.total()
	t := Taken{Builds: all.builds - b.mine.builds}
	if t.Builds > 0 {
		t.Need = worker.Need{CPUs: max(0, all.cpus-b.mine.cpus), Memory: all.memory - b.mine.memory}
	}
	return c, t
}
