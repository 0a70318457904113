package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// AllWorkers returns the workers of every kind, each group replaced by its
// members, whose Count is 1.
func (c *Config) AllWorkers() []Worker {
	all := make([]Worker, 0, len(c.Workers))
	for i := range c.Workers {
		w := &c.Workers[i]
		if !w.isGroup() {
			all = append(all, *w)
			continue
		}
		for n := 1; n <= w.Count; n++ {
			m := *w
			m.Name, m.Workdir, m.Count = member(w.Name, n), member(w.Workdir, n), 1
			all = append(all, m)
		}
	}
	return all
}

// LocalWorkers returns the local ones of [Config.AllWorkers].
func (c *Config) LocalWorkers() []Worker {
	return slices.DeleteFunc(c.AllWorkers(), func(w Worker) bool { return w.Kind != WorkerLocal })
}

// needsLocal reports whether only local workers can run the builder.
func (b *Builder) needsLocal() bool {
	return b.Source.Kind == SourceTree || b.Source.Kind == SourceCopy || slices.ContainsFunc(b.Steps, func(s Step) bool { return s.Func != "" })
}

// WorkersOf returns the names of the workers that may run a builder, in the
// order of the configuration: only local ones if it needs the master's process or
// files. Members of a group are named one by one.
func (c *Config) WorkersOf(builder string) []string {
	i := slices.IndexFunc(c.Builders, func(b Builder) bool { return b.Name == builder })
	if i < 0 {
		return nil
	}
	b := &c.Builders[i]
	var names []string
	for j := range c.Workers {
		w := &c.Workers[j]
		if w.Kind != WorkerLocal && w.Kind != "" && b.needsLocal() {
			continue
		}
		whole := len(b.Workers) == 0 || slices.Contains(b.Workers, w.Name)
		switch {
		case whole && w.isGroup():
			for n := 1; n <= w.Count; n++ {
				names = append(names, member(w.Name, n))
			}
		case whole:
			names = append(names, w.Name)
		default:
			for _, n := range w.members(b.Workers) {
				names = append(names, member(w.Name, n))
			}
		}
	}
	return names
}

func (w *Worker) isGroup() bool { return w.Kind == WorkerLocal && w.Count > 1 }

// member returns the name of the nth member of a group.
func member(group string, n int) string { return fmt.Sprintf("%s-%d", group, n) }

// members returns the numbers of the members of w that are named, sorted.
func (w *Worker) members(named []string) (numbers []int) {
	if !w.isGroup() {
		return nil
	}
	for _, name := range named {
		digits, ok := strings.CutPrefix(name, w.Name+"-")
		n, err := strconv.Atoi(digits)
		if ok && err == nil && n >= 1 && n <= w.Count && strconv.Itoa(n) == digits {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return slices.Compact(numbers)
}

// CheckMachine returns an error for each builder whose configured need is more
// than one machine has, to be called with what the local workers may use. A
// builder that no local worker runs is not checked. Memory 0 is unknown.
func (c *Config) CheckMachine(cpus float64, memory int64) []*Error {
	p := &problems{origin: c.origin}
	for i := range c.Builders {
		b := &c.Builders[i]
		mayRun := func(w Worker) bool {
			return w.Kind == WorkerLocal &&
				(len(b.Workers) == 0 || slices.Contains(b.Workers, w.Name) || len(w.members(b.Workers)) > 0)
		}
		if !slices.ContainsFunc(c.Workers, mayRun) {
			continue
		}
		at := builderAt(i, b)
		if b.CPUs > max(cpus, 1) { // a machine always has one slot
			p.errorf(at.key("cpus"), "builder %q needs %v CPUs, the machine has %.4v", b.Name, b.CPUs, cpus)
		}
		if memory > 0 && b.Memory > memory {
			p.errorf(at.key("memory"), "builder %q needs %s of memory, the machine has %s", b.Name, FormatSize(b.Memory), FormatSize(memory))
		}
	}
	p.result() // sorts
	return p.errs
}

func builderAt(i int, b *Builder) *pathTo {
	return top("builders").index(i).named(b.Name)
}
