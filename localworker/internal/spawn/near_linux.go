package spawn

import "os"

// neighbours are the processes with which builds share a counter of OOM kills.
type neighbours struct {
	dir    string       // the cgroup, of either version
	others map[int]bool // who was there before the first build; this process too
}

func lookAround(dir string) *neighbours {
	n := &neighbours{dir: dir, others: map[int]bool{}}
	for _, pid := range procsBelow(dir) {
		n.others[pid] = true
	}
	return n
}

// undisturbed tells whether everybody who was there is there still, and nobody
// has come but what mine says is ours: then who was killed was ours.
func (n *neighbours) undisturbed(mine func(pid int) bool) bool {
	now := map[int]bool{}
	for _, pid := range procsBelow(n.dir) {
		now[pid] = true
		if !n.others[pid] && !mine(pid) {
			return false
		}
	}
	for pid := range n.others {
		if !now[pid] {
			return false
		}
	}
	return true
}

// mine tells whether a process descends from this spawner, or is another one of
// the same master.
func (c *client) mine(pid int) bool {
	self := os.Getpid()
	for first := true; pid > 1; first = false {
		p, ok := find(pid)
		switch {
		case pid == c.proc.pid:
			return true
		case !ok:
			return false
		case p.ppid == self && first:
			k, ok := p.cookie()
			return ok && k.base == c.base && k.counter == 0
		}
		pid = p.ppid
	}
	return false
}
