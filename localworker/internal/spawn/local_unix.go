//go:build unix

package spawn

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// local is an executor in this process, for programs that cannot be
// re-executed. It waits for nobody but the commands' first processes: all other
// children are the program's own. What belongs to a command is known by its
// process group, its cookie and, if there is one, its cgroup.
type local struct {
	hello
	null int
	ev   chan event
	wake chan struct{}
	hard atomic.Bool
	jobs sync.WaitGroup // goroutines that may tell events

	mu       sync.Mutex
	build    int64
	commands []*command // of the present build
	all      usage
	stopping bool
	closed   bool
}

// command is one that was started in the present build.
type command struct {
	step  int64
	pid   int // of the first process, and its process group's number
	leaf  string
	ended bool
}

func newLocal(h hello) (*local, error) {
	null, err := nullFile()
	if err != nil {
		return nil, err
	}
	return &local{hello: h, null: null, ev: make(chan event, 4), wake: make(chan struct{}, 1)}, nil
}

func (l *local) events() <-chan event          { return l.ev }
func (l *local) limit(int64) (at, limit int64) { return 0, 0 }
func (l *local) alone() bool                   { return false }
func (l *local) cookieOf(step int64) cookie    { return cookie{l.base, l.epoch, l.build, step} }
func (l *local) tell(e event)                  { l.ev <- e }
func (l *local) inBuild(k cookie, step int64) bool {
	return k.base == l.base && k.epoch == l.epoch && k.counter == l.build && (step == 0 || k.step == step)
}

func (l *local) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gone()
}

func (l *local) gone() error {
	if l.closed {
		return fmt.Errorf("%w: closed", ErrSpawner)
	}
	return nil
}

func (l *local) start(r *request, fds []int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.gone(); err != nil {
		return err
	}
	if l.build != r.build {
		l.build, l.commands, l.all = r.build, nil, usage{}
	}
	c := &command{step: r.step}
	l.commands = append(l.commands, c)
	pid, err := l.fork(r, fds, c)
	if err != nil {
		c.ended = true
		l.jobs.Go(func() {
			l.tell(event{kind: failed, step: r.step, text: startText(r, err), errno: errno(err), left: true})
		})
		return nil
	}
	c.pid = pid
	l.jobs.Go(func() { l.wait(c) })
	return nil
}

func (l *local) fork(r *request, fds []int, c *command) (int, error) {
	if l.group != "" {
		c.leaf = leafGroup(&l.hello, r.build, r.step, r.label)
		if err := makeLeaf(c.leaf); err != nil {
			return 0, err
		}
	}
	return fork(r, fds, l.null, c.leaf, l.cookieOf(r.step))
}

// fork starts a command in its own session and, unless leaf is empty, in a cgroup.
func fork(r *request, fds []int, null int, leaf string, c cookie) (int, error) {
	sys := &syscall.SysProcAttr{Setsid: true}
	files := []uintptr{uintptr(null), uintptr(fds[0]), 0}
	switch {
	case r.tty:
		sys.Setctty = true // of descriptor 0
		files[0], files[2] = files[1], files[1]
	case r.stdin:
		files[0], files[2] = uintptr(fds[2]), uintptr(fds[1])
	default:
		files[2] = uintptr(fds[1])
	}
	if leaf != "" {
		fd, err := bornIn(sys, leaf)
		if err != nil {
			return 0, err
		}
		defer unix.Close(fd)
	}
	return syscall.ForkExec(r.path, r.argv, &syscall.ProcAttr{
		Dir: r.dir, Env: withCookie(r.env, c), Files: files, Sys: sys,
	})
}

func errno(err error) int64 {
	if n := syscall.Errno(0); errors.As(err, &n) {
		return int64(n)
	}
	return int64(unix.EIO)
}

// startText says what the kernel's one number for all of fork, chdir and
// execve was about, "" for the program as the command named it.
func startText(r *request, err error) string {
	if st, e := os.Stat(r.dir); e != nil || !st.IsDir() {
		return "working directory " + r.dir
	}
	named := len(r.argv) > 0 && r.argv[0] == r.path
	if err == unix.ENOENT {
		if _, e := os.Stat(r.path); e == nil {
			if named {
				return "its interpreter"
			}
			return "interpreter of " + r.path
		}
	}
	if named {
		return ""
	}
	return "execute " + r.path
}

func exitStatus(ws unix.WaitStatus) int64 {
	if ws.Signaled() {
		return signalled | int64(ws.Signal())
	}
	return int64(ws.ExitStatus())
}

// wait tells of a command's end.
func (l *local) wait(c *command) {
	var ws unix.WaitStatus
	var ru unix.Rusage
	for {
		_, err := unix.Wait4(c.pid, &ws, 0, &ru)
		if err == nil {
			break
		}
		if err != unix.EINTR { // somebody else in this program waited for it
			break
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c.ended = true
	var u usage
	u.add(&ru)
	if u.maxRSS <= ownPeak() {
		// Before execve the child was a copy of this process, and Linux counts that.
		u.maxRSS = 0
	}
	l.all.cpu += u.cpu
	l.all.maxRSS = max(l.all.maxRSS, u.maxRSS)
	left := true
	if l.group != "" && !l.stopping {
		left = !l.tidy()
	}
	l.tell(event{kind: exited, step: c.step, status: exitStatus(ws), left: left, cpu: int64(u.cpu), maxRSS: u.maxRSS})
	poke(l.wake)
}

// tidy removes what cgroups it can, and tells whether those were all.
func (l *local) tidy() bool {
	empty := true
	for _, c := range l.commands {
		if c.leaf != "" {
			if !removeGroup(c.leaf) {
				empty = false
				continue
			}
			c.leaf = ""
		}
	}
	return empty
}

func (l *local) stop(s stop) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.gone(); err != nil {
		return err
	}
	l.hard.Store(s.kill || l.stopping && l.hard.Load())
	if l.stopping {
		poke(l.wake)
		return nil
	}
	l.stopping = true
	step := int64(0)
	if s.scope == theStep && len(l.commands) > 0 {
		step = l.commands[len(l.commands)-1].step
	}
	l.jobs.Go(func() {
		ended, done := settleWith(&known{l: l, step: step}, s.signal, l.hard.Load, l.wake)
		if !done {
			return // stopping stays: nothing more can be done with this build
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.stopping = false
		e := event{kind: gone, ended: ended, left: !l.tidy() || l.group == "", cpu: int64(l.all.cpu), maxRSS: l.all.maxRSS}
		if len(l.commands) > 0 {
			e.step = l.commands[len(l.commands)-1].step
		}
		if step == 0 {
			l.forget()
		}
		l.tell(e)
	})
	return nil
}

func (l *local) drop() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget()
	return nil
}

func (l *local) forget() {
	l.tidy()
	l.commands = nil
}

func (l *local) memory(int64) (n int64) {
	all, _ := (&known{l: l}).members()
	for _, p := range all {
		n += p.memory()
	}
	return n
}

func (l *local) close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	settle(&known{l: l}, func() bool { return true }, nil)
	go func() {
		for range l.ev { // nobody may be listening any more
		}
	}()
	l.jobs.Wait()
	l.drop()
	close(l.ev)
	unix.Close(l.null)
	return nil
}

// known is the crowd of a command, or of the whole build when step is 0.
type known struct {
	l    *local
	step int64
	calm int
}

func (k *known) members() (all []process, sure bool) {
	l := k.l
	l.mu.Lock()
	groups := map[int]bool{} // whether the first process has ended
	var leaves []string
	ended := true
	for _, c := range l.commands {
		if k.step != 0 && c.step != k.step {
			continue
		}
		ended = ended && c.ended
		if c.pid != 0 {
			groups[c.pid] = c.ended
		}
		if c.leaf != "" {
			leaves = append(leaves, c.leaf)
		}
	}
	l.mu.Unlock()
	if len(groups) == 0 {
		return nil, true
	}
	inLeaf := below(leaves)
	table := allProcesses()
	forgetForeign(groups, table)
	for _, p := range table {
		if p.dead {
			continue
		}
		_, mine := groups[p.pgid]
		if mine = mine || inLeaf[p.pid]; !mine {
			c, ok := p.cookie()
			mine = ok && l.inBuild(c, k.step)
		}
		if mine {
			all = append(all, p)
		}
	}
	if len(all) > 0 || !ended {
		k.calm = 0
		return all, false
	}
	k.calm++
	return nil, k.calm > 1
}

// forgetForeign removes the process groups whose number is another's by now: the
// kernel gives it to a new process only when nobody is left in the group. groups
// tells of each whether its own first process has ended.
func forgetForeign(groups map[int]bool, table []process) {
	for _, p := range table {
		if groups[p.pid] {
			delete(groups, p.pid)
		}
	}
}

func (k *known) strike() {
	k.l.mu.Lock()
	defer k.l.mu.Unlock()
	for _, c := range k.l.commands {
		if c.leaf != "" && (k.step == 0 || c.step == k.step) {
			killGroup(c.leaf)
		}
	}
}

func (k *known) counts(p process) bool {
	k.l.mu.Lock()
	defer k.l.mu.Unlock()
	return !slices.ContainsFunc(k.l.commands, func(c *command) bool { return c.pid == p.pid && !c.ended })
}

// poke fills a channel of one.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
