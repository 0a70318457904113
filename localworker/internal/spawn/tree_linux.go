package spawn

import (
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bothy/runner/worker"
)

// tree is the spawner's view of its build: what it started, in which cgroups,
// and what was reaped. Everything that its commands start is its descendant.
type tree struct {
	hello
	pid  int
	null int // /dev/null
	send func(event)

	alive func() bool // tells whether the master is there

	wake chan struct{} // something was reaped

	mu       sync.Mutex
	ending   bool        // the master has gone: nothing is started any more
	reaping  bool        // a goroutine waits for children
	counter  *oomCounter // of the build, or one for all builds
	build    *tended     // nil: none
	garbage  []string    // cgroups that could not be removed yet
	stopping bool        // settle runs
	hard     atomic.Bool // it kills
}

// tended is a build in the tree.
type tended struct {
	number int64
	leaf   string   // cgroup of the latest command, or empty
	leaves []string // cgroups of earlier commands that could not be removed yet
	step   int64
	main   int  // the latest command's first process, 0 once reaped
	crowd  bool // something besides the main process may live
	// earlier holds what lived before the latest command, where no cgroup tells.
	earlier map[int]uint64
	oom     int64 // the counter before the command
	struck  bool  // one of its processes was killed, and not by us
	now     usage // of what was reaped since the command began
	all     usage // of the whole build
}

// run starts a command.
func (t *tree) run(r *request, fds []int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ending {
		return
	}
	b := t.open(r.build)
	b.step, b.now = r.step, usage{}
	b.earlier = nil
	if b.crowd && !t.method.cgroup() {
		b.earlier = map[int]uint64{}
		all, _ := descendants(t.pid)
		for _, p := range all {
			b.earlier[p.pid] = p.start
		}
	}
	if t.method.cgroup() {
		if b.leaf != "" {
			b.leaves = append(b.leaves, b.leaf)
		}
		b.leaf = leafGroup(&t.hello, r.build, r.step, r.label)
		if err := makeLeaf(b.leaf); err != nil {
			t.send(event{kind: failed, step: r.step, text: "make cgroup " + b.leaf, errno: errno(err), left: b.crowd})
			return
		}
	}
	b.oom, b.struck = t.counter.read(), false
	pid, err := t.fork(r, fds, b.leaf, cookie{t.base, t.epoch, r.build, r.step})
	if err != nil {
		t.send(event{kind: failed, step: r.step, text: startText(r, err), errno: errno(err), left: b.crowd})
		return
	}
	b.main = pid
}

// open returns the build, which begins with its first command.
func (t *tree) open(number int64) *tended {
	if t.build != nil && t.build.number == number {
		return t.build
	}
	t.forget()
	b := &tended{number: number}
	t.build = b
	if t.buildMemory {
		group := buildGroup(t.group, number)
		os.MkdirAll(group, 0o755) // an error shows when the leaf is made
		t.counter.close()
		t.counter = openCounter(group + "/memory.events")
	}
	return b
}

// fork starts the command where the method wants it to be.
func (t *tree) fork(r *request, fds []int, leaf string, c cookie) (int, error) {
	if t.method == Procs {
		if err := enter(leaf); err != nil {
			return 0, err
		}
		defer enter(t.home)
		leaf = "" // children are born where their parent is
	}
	return fork(r, fds, t.null, leaf, c)
}

// enter moves this process, all threads, into a cgroup.
func enter(dir string) error { return writeFile(dir+"/cgroup.procs", "0") }

// enterAlone moves this thread into a cgroup of version 1; what it forks is born
// there. Unlike a process, which can stall for 8 to 17 ms, a thread that moves
// itself does not wait for the kernel's other processors (Linux 5.6). Memory is
// charged to the group of a process's first thread, so the spawner's stays out.
func enterAlone(dir string) error { return writeFile(dir+"/tasks", "0") }

// attend waits for the end of the command. For what it leaves behind, a
// goroutine waits until there is nothing.
func (t *tree) attend() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for !t.reaping && t.build != nil && t.build.main != 0 {
		t.reap()
	}
	if !t.reaping && t.build != nil && t.build.crowd {
		t.reaping = true
		go func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			for t.reap() {
			}
			t.reaping = false
		}()
	}
}

// reap waits for one child, and tells whether there was one to wait for. It is
// called with the lock held, and gives it up meanwhile.
func (t *tree) reap() bool {
	var ws unix.WaitStatus
	var ru unix.Rusage
	t.mu.Unlock()
	pid, err := unix.Wait4(-1, &ws, unix.WALL, &ru)
	t.mu.Lock()
	if pid > 0 {
		t.reaped(pid, ws, &ru)
		return true
	}
	// A command may have been started since.
	return err == unix.EINTR || t.build != nil && t.build.main != 0
}

// shellSignalled is added to the number of the signal that ended a shell's child,
// for the shell's own exit status.
const shellSignalled = 128

// reaped books a child that was waited for, and all others that are dead by now.
func (t *tree) reaped(pid int, ws unix.WaitStatus, ru *unix.Rusage) {
	b := t.build
	if b == nil {
		return
	}
	main, status := false, int64(0)
	for pid > 0 {
		b.now.add(ru)
		b.all.add(ru)
		b.struck = b.struck || !t.stopping && ws.Signaled() && ws.Signal() == unix.SIGKILL
		if pid == b.main {
			b.main, main, status = 0, true, exitStatus(ws)
			// A shell says so of its child.
			b.struck = b.struck || !t.stopping && status == shellSignalled+int64(unix.SIGKILL)
		}
		pid, _ = unix.Wait4(-1, &ws, unix.WALL|unix.WNOHANG, ru)
	}
	// The orphans of a dead process are its subreaper's children before the
	// process can be waited for: without children nothing is left at all.
	b.crowd = pid == 0
	if main {
		t.send(event{
			kind: exited, step: b.step, status: status, left: b.crowd,
			cpu: int64(b.now.cpu), maxRSS: b.now.maxRSS,
			counted: t.counter != nil, oom: t.counter.read() - b.oom, certain: t.oomFile == "", struck: b.struck,
		})
	}
	if !b.crowd && !t.stopping {
		t.tidy(b)
	}
	poke(t.wake)
}

// tidy removes the cgroups of commands of which nothing is left.
func (t *tree) tidy(b *tended) {
	b.leaves = slices.DeleteFunc(b.leaves, removeGroup)
	if b.leaf != "" && removeGroup(b.leaf) {
		b.leaf = ""
	}
}

// drop forgets the build.
func (t *tree) drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget()
}

func (t *tree) forget() {
	b := t.build
	if b == nil {
		return
	}
	t.build = nil
	if b.leaf != "" {
		t.garbage = append(t.garbage, b.leaf)
	}
	t.garbage = append(t.garbage, b.leaves...)
	if t.buildMemory {
		t.garbage = append(t.garbage, buildGroup(t.group, b.number))
	}
	t.garbage = slices.DeleteFunc(t.garbage, removeGroup)
}

// stop ends processes and tells when they are gone.
func (t *tree) stop(s stop) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hard.Store(s.kill || t.stopping && t.hard.Load())
	if t.stopping {
		poke(t.wake)
		return
	}
	t.stopping = true
	go func() {
		if ended, done := settleWith(&condemned{t: t, scope: s.scope}, s.signal, t.hard.Load, t.wake); done {
			t.settled(s.scope, ended)
		}
	}()
}

func (t *tree) settled(s scope, ended []worker.Process) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopping = false
	e := event{kind: gone, ended: ended}
	if b := t.build; b != nil {
		e.step, e.left = b.step, b.crowd
		e.cpu, e.maxRSS = int64(b.all.cpu), b.all.maxRSS
		t.tidy(b)
	}
	if s == theBuild {
		t.forget()
	}
	t.send(e)
}

// condemned is the crowd of a scope.
type condemned struct {
	t     *tree
	scope scope
	calm  int // rounds in which nobody was found, one after the other
}

func (c *condemned) members() (all []process, sure bool) {
	t := c.t
	if noChildren() {
		return nil, true
	}
	t.mu.Lock()
	b := t.build
	t.mu.Unlock()
	if b == nil {
		return nil, true
	}
	all, quiet := descendants(t.pid)
	if c.scope == theBuild {
		return all, false // only noChildren is sure
	}
	t.mu.Lock()
	main, leaf, others := b.main, b.leaf, slices.Clone(b.leaves)
	t.mu.Unlock()
	if t.method.cgroup() {
		all = without(all, others)
	} else {
		all = c.fresh(all, b)
	}
	if len(all) > 0 || main != 0 || !quiet {
		c.calm = 0
		return all, false
	}
	if leaf != "" && populated(leaf) {
		return nil, false
	}
	// The kernel's list of children may skip one when another dies: once is not enough.
	c.calm++
	return nil, c.calm > 1
}

// noChildren tells whether this process has none, not even dead ones. As a
// subreaper it then has no descendants either.
func noChildren() bool {
	err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT|unix.WALL, nil)
	return err == unix.ECHILD
}

// without leaves out what is in the given cgroups.
func without(all []process, groups []string) []process {
	other := below(groups)
	return slices.DeleteFunc(all, func(p process) bool { return other[p.pid] })
}

// fresh leaves out what earlier commands started: what lived before, what
// descends from that, and what says so in its environment.
func (c *condemned) fresh(all []process, b *tended) []process {
	if len(b.earlier) == 0 {
		return all
	}
	old := map[int]bool{}
	var kept []process
	for _, p := range all { // parents come first
		start, known := b.earlier[p.pid]
		old[p.pid] = known && start == p.start || old[p.ppid]
		if ck, ok := p.cookie(); ok && ck.step != b.step {
			old[p.pid] = true
		}
		if !old[p.pid] {
			kept = append(kept, p)
		}
	}
	return kept
}

func (c *condemned) strike() {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	b := c.t.build
	if b == nil {
		return
	}
	if b.leaf != "" {
		killGroup(b.leaf)
	}
	if c.scope == theBuild {
		for _, leaf := range b.leaves {
			killGroup(leaf)
		}
	}
}

// counts is false for the command itself: it is no left-over.
func (c *condemned) counts(p process) bool {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	return c.t.build == nil || p.pid != c.t.build.main
}

// end kills all there is, because the master has gone.
func (t *tree) end() {
	t.mu.Lock()
	t.ending = true
	t.mu.Unlock()
	settle(&condemned{t: t, scope: theBuild}, func() bool { return true }, make(chan struct{}))
	t.drop()
}
