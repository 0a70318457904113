package spawn

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// process is one row of /proc. A number alone does not name a process, number
// and start time do.
type process struct {
	pid, ppid, pgid int
	start           uint64 // clock ticks since boot
	dead            bool   // nothing but its exit status is left
}

const (
	maxProcFile = 1 << 20
	maxEnviron  = 8 << 20 // above execve's 6 MiB
)

// procFile returns a file of /proc/PID, cut at limit bytes; nil if it cannot be read.
func procFile(pid int, name string, limit int) []byte {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	b := make([]byte, 0, 1<<10)
	for len(b) < limit {
		if len(b) == cap(b) {
			b = slices.Grow(b, 3*len(b))
		}
		n, err := unix.Read(fd, b[len(b):cap(b)])
		if err != nil {
			return nil
		}
		if n == 0 {
			break
		}
		b = b[:len(b)+n]
	}
	return b
}

// find reads a process's row; ok is false when there is none.
func find(pid int) (p process, ok bool) {
	return parseStat(procFile(pid, "stat", maxProcFile))
}

// parseStat parses proc_pid_stat(5). The name in the second field may hold
// anything, a closing parenthesis too.
func parseStat(b []byte) (p process, ok bool) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return p, false
	}
	p.pid, _ = strconv.Atoi(string(bytes.TrimSpace(b[:open])))
	f := bytes.Fields(b[end+1:])
	const state, ppid, pgrp, threads, start = 0, 1, 2, 17, 19 // fields 3, 4, 5, 20 and 22
	if p.pid <= 0 || len(f) <= start {
		return p, false
	}
	p.ppid, _ = strconv.Atoi(string(f[ppid]))
	p.pgid, _ = strconv.Atoi(string(f[pgrp]))
	p.start, _ = strconv.ParseUint(string(f[start]), 10, 64)
	// A process whose first thread has ended is shown as a zombie while others run.
	n, _ := strconv.Atoi(string(f[threads]))
	p.dead = n <= 1 && (f[state][0] == 'Z' || f[state][0] == 'X')
	return p, true
}

// allProcesses lists what /proc shows.
func allProcesses() []process {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	var all []process
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil {
			if p, ok := find(pid); ok {
				all = append(all, p)
			}
		}
	}
	return all
}

// children returns the numbers of a process's children: those of each thread.
func children(pid int) []int {
	dir, err := os.Open("/proc/" + strconv.Itoa(pid) + "/task")
	if err != nil {
		return nil
	}
	defer dir.Close()
	threads, _ := dir.Readdirnames(-1)
	var pids []int
	for _, t := range threads {
		for f := range bytes.FieldsSeq(procFile(pid, "task/"+t+"/children", maxProcFile)) {
			if c, err := strconv.Atoi(string(f)); err == nil {
				pids = append(pids, c)
			}
		}
	}
	return pids
}

// descendants returns what descends from pid, itself not included, parents
// before children. quiet is false when something died meanwhile: its children
// may have been missed.
func descendants(pid int) (all []process, quiet bool) {
	if exists("/proc/thread-self/children") {
		return walk(pid, children)
	}
	return walk(pid, childrenByTable()) // a kernel without CONFIG_PROC_CHILDREN
}

// childrenByTable finds children by the parents of all processes.
func childrenByTable() func(pid int) []int {
	byParent := map[int][]int{}
	for _, p := range allProcesses() {
		byParent[p.ppid] = append(byParent[p.ppid], p.pid)
	}
	return func(pid int) []int { return byParent[pid] }
}

func walk(pid int, children func(pid int) []int) (all []process, quiet bool) {
	quiet = true
	seen := map[int]bool{pid: true}
	for next := []int{pid}; len(next) > 0; next = next[1:] {
		for _, c := range children(next[0]) {
			if seen[c] {
				continue
			}
			seen[c] = true
			p, ok := find(c)
			if !ok || p.dead {
				quiet = false
				continue
			}
			all = append(all, p)
			next = append(next, c)
		}
	}
	return all, quiet
}

// name returns the process's command line, shortened.
func (p process) name() string {
	b := bytes.TrimRight(procFile(p.pid, "cmdline", maxProcFile), "\x00")
	if len(b) == 0 {
		return "[" + strings.TrimSpace(string(procFile(p.pid, "comm", maxProcFile))) + "]"
	}
	return shorten(strings.ReplaceAll(string(b), "\x00", " "))
}

// cookie returns the cookie in the environment the process was started with.
// Only processes of the same user can be read.
func (p process) cookie() (cookie, bool) {
	b := procFile(p.pid, "environ", maxEnviron)
	for v := range bytes.SplitSeq(b, []byte{0}) {
		if s, ok := bytes.CutPrefix(v, []byte(CookieName+"=")); ok {
			return parseCookie(string(s))
		}
	}
	return cookie{}, false
}

// memory returns the anonymous and shared memory of a process in bytes.
func (p process) memory() (n int64) {
	for line := range bytes.Lines(procFile(p.pid, "status", maxProcFile)) {
		if bytes.HasPrefix(line, []byte("RssAnon:")) || bytes.HasPrefix(line, []byte("RssShmem:")) {
			if f := bytes.Fields(line); len(f) > 1 {
				kib, _ := strconv.ParseInt(string(f[1]), 10, 64)
				n += kib << 10
			}
		}
	}
	return n
}

// signal sends sig to exactly this process, and not to a later one of its number.
func (p process) signal(sig unix.Signal) error {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err == unix.ENOSYS || err == unix.EPERM { // Linux before 5.3, or forbidden
		if now, ok := find(p.pid); !ok || now.start != p.start {
			return unix.ESRCH
		}
		return unix.Kill(p.pid, sig)
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if now, ok := find(p.pid); !ok || now.start != p.start {
		return unix.ESRCH
	}
	return unix.PidfdSendSignal(fd, sig, nil, 0)
}
