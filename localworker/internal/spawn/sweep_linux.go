package spawn

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"bothy/runner/worker"
)

// spawnerPatience is how long a dead master's spawners may take to end by
// themselves; they know their trees best.
const spawnerPatience = 2 * time.Second

// Sweep ends what is left of the base directory's older epochs, however their
// masters and spawners died: processes in their cgroups, processes with their
// cookie in the environment, and the descendants of both. It removes the empty
// groups beside ours. Call it once, before the pool is opened; it reads all of
// /proc, which takes some 15 µs a process.
func Sweep(ctx context.Context, o Options) ([]worker.Process, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	old := func(k cookie) bool { return k.epoch < o.Epoch }
	s := &strays{base: o.BaseID, self: os.Getpid(), ours: old, oldGroup: func(epoch int64) bool { return epoch < o.Epoch }}
	s.waitForSpawners(ctx)
	ended, done := settle(s, func() bool { return true }, nil)
	if !done {
		o.Logger.Warn("processes of a dead master withstand KILL", "base", o.BaseID)
	}
	pos := findPosition("/", os.Getpid())
	for _, dir := range []string{builderHome(pos.unified), pos.memory} {
		if dir == "" {
			continue
		}
		groups, _ := filepath.Glob(dir + "/" + groupPrefix + o.BaseID + "-*")
		for _, g := range groups {
			if epoch, ok := groupEpoch(filepath.Base(g), o.BaseID); ok && epoch < o.Epoch && !removeGroupSoon(g, time.Second) {
				o.Logger.Warn("cgroup of a dead master cannot be removed", "group", g)
			}
		}
	}
	return ended, ctx.Err()
}

// waitForSpawners returns when no spawner of a dead master is left, or when it
// took too long.
func (s *strays) waitForSpawners(ctx context.Context) {
	end := time.Now().Add(spawnerPatience)
	for _, p := range allProcesses() {
		k, ok := p.cookie()
		old := k.epoch == unknownEpoch && p.ppid != s.self || s.ours(k)
		if ok && k.base == s.base && k.counter == 0 && old && p.pid != s.self {
			p.waitUntil(ctx, end)
		}
	}
}

// waitUntil returns when the process has ended or the time is over.
func (p process) waitUntil(ctx context.Context, end time.Time) {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	for ctx.Err() == nil && time.Now().Before(end) {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, _ := unix.Poll(poll, 50); n > 0 {
			return
		}
	}
}

// strays is the crowd of processes that no spawner looks after.
type strays struct {
	base     string
	self     int // and what descends from it is spared
	ours     func(cookie) bool
	oldGroup func(epoch int64) bool // by the name of the cgroup it is in
	groups   []string               // cgroups of theirs
	met      bool                   // there was somebody
	calm     int                    // rounds without anybody since
}

func (s *strays) members() (all []process, sure bool) {
	inGroup := below(s.groups)
	table := allProcesses()
	parent := make(map[int]int, len(table))
	for _, p := range table {
		parent[p.pid] = p.ppid
	}
	guilty := map[int]bool{}
	for _, p := range table {
		if p.dead || p.pid == s.self {
			continue
		}
		if inGroup[p.pid] || s.accuses(p) {
			guilty[p.pid] = true
		}
	}
	if len(guilty) > 0 {
		for _, p := range table {
			if !p.dead && s.descends(p.pid, parent, guilty) {
				all = append(all, p)
			}
		}
	}
	if len(all) > 0 {
		s.met, s.calm = true, 0
		return all, false
	}
	s.calm++
	return nil, !s.met || s.calm > 1 // one may have been born behind our back
}

// descends tells whether pid or an ancestor is guilty, and neither it nor one
// before that is this process.
func (s *strays) descends(pid int, parent map[int]int, guilty map[int]bool) bool {
	for range len(parent) {
		switch {
		case pid == s.self || pid == 0:
			return false
		case guilty[pid]:
			return true
		}
		pid = parent[pid]
	}
	return false
}

func (s *strays) accuses(p process) bool {
	if k, ok := p.cookie(); ok && k.base == s.base && s.ours(k) {
		return true
	}
	return s.oldGroup != nil && s.inOldGroup(p.pid)
}

// inOldGroup looks for a group of ours on the process's paths.
func (s *strays) inOldGroup(pid int) bool {
	for dir := range bytes.FieldsFuncSeq(procFile(pid, "cgroup", maxProcFile), func(r rune) bool { return r == '/' || r == '\n' }) {
		if epoch, ok := groupEpoch(string(dir), s.base); ok && s.oldGroup(epoch) {
			return true
		}
	}
	return false
}

func (s *strays) strike() {
	for _, g := range s.groups {
		killGroup(g)
	}
}

func (s *strays) counts(process) bool { return true }
