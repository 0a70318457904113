package spawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// masterGroup is the cgroup that a master moves to, so that the one it was
// started in can have controllers for its children (cgroup v2 allows processes
// only at the leaves).
const masterGroup = "bothy-master"

// containment is what a pool found and made on this machine.
type containment struct {
	o   Options
	pos position

	mu      sync.Mutex
	early   *helper // the first spawner, or nil
	hello   hello   // what spawners are told, their leaves aside
	support Support
	moved   bool // into masterGroup
}

func (c *containment) open(o Options) error {
	c.o = o
	if o.Early != nil {
		c.early = o.Early.p
	}
	c.pos = findPosition("/", os.Getpid())
	h := &c.hello
	*h = hello{base: o.BaseID, epoch: o.Epoch, method: Leader}
	if !mainCalled.Load() {
		h.method = Group
		c.say("this program did not call Helper first in main: builds have no spawner, and what they start can outlive a killed master")
	}
	if o.Only == "" || o.Only.cgroup() {
		c.makeGroup()
	}
	if o.Only != "" && !c.settleFor(o.Only) {
		c.close()
		return fmt.Errorf("method %s is not available: %s", o.Only, strings.Join(c.support.Text, "; "))
	}
	if h.method.spawner() {
		if h.group != "" {
			c.delegate(builderHome(c.pos.unified))
		}
		c.watchMemory()
	}
	c.support.Method, c.support.Mode = h.method, h.method.Mode()
	return nil
}

// settleFor takes a weaker method than the best.
func (c *containment) settleFor(m Method) bool {
	best := c.hello.method
	c.hello.method = m
	switch m {
	case best:
		return true
	case Procs, CloneAlone:
		return best == Clone
	case Group:
		return best == Leader
	}
	return false
}

func (c *containment) say(format string, a ...any) {
	c.support.Text = append(c.support.Text, fmt.Sprintf(format, a...))
}

// makeGroup makes the cgroup of all builds, and finds out how commands get into it.
func (c *containment) makeGroup() {
	if c.pos.unified == "" {
		c.say("there is no cgroup v2 hierarchy here that this process is in")
		return
	}
	home := builderHome(c.pos.unified)
	group := home + "/" + groupName(c.o.BaseID, c.o.Epoch)
	if err := unix.Mkdir(group, 0o755); err != nil && err != unix.EEXIST {
		c.say("no cgroup can be made in %s: %v", home, err)
		return
	}
	err := probeClone(group)
	switch {
	case err == nil && c.hello.method == Leader:
		c.hello.method = Clone
	case err == nil:
		c.hello.method = CloneAlone
	case c.hello.method == Leader:
		c.say("processes cannot be born in a cgroup (%v); the spawner puts them there", err)
		c.hello.method = Procs
	default:
		c.say("processes cannot be born in a cgroup (%v)", err)
		removeGroup(group)
		return
	}
	c.hello.group, c.hello.home = group, c.pos.unified
	c.say("each command gets a cgroup below %s", group)
}

// probeClone has a child born in a fresh cgroup. clone3 may be forbidden
// (seccomp); and where our own cgroup was ever killed, children are born dead
// (Linux 6.18). The child tries to execute nothing: that it can say so shows
// that it lived, and is quicker than any program.
func probeClone(group string) error {
	leaf := group + "/probe" + strconv.Itoa(os.Getpid())
	if err := unix.Mkdir(leaf, 0o755); err != nil {
		return err
	}
	defer removeGroupSoon(leaf, time.Second)
	sys := &syscall.SysProcAttr{}
	fd, err := bornIn(sys, leaf)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	pid, err := syscall.ForkExec("", []string{""}, &syscall.ProcAttr{Sys: sys})
	if err != nil {
		if err == unix.ENOENT {
			return nil
		}
		return err
	}
	var ws unix.WaitStatus
	for err = unix.EINTR; err == unix.EINTR; {
		_, err = unix.Wait4(pid, &ws, 0, nil)
	}
	return fmt.Errorf("it was born dead (%v)", ws.Signal())
}

// builderHome returns the group in which the builds' group is made.
func builderHome(own string) string {
	if filepath.Base(own) == masterGroup {
		return filepath.Dir(own)
	}
	return own
}

// delegate gives the builds' groups a memory controller where we may: in the
// true root, or in a group that was handed to us and that holds nobody else.
func (c *containment) delegate(home string) {
	if !hasWord(home+"/cgroup.controllers", "memory") {
		c.say("no memory controller is handed down to %s: memory is sampled", home)
		return
	}
	if !hasWord(home+"/cgroup.subtree_control", "memory") {
		if err := c.handDown(home); err != nil {
			c.say("the builds get no memory controller: %v", err)
			return
		}
	}
	group := c.hello.group
	for _, w := range []string{"+memory", "+pids", "+cpu"} {
		writeFile(group+"/cgroup.subtree_control", w)
	}
	if !hasWord(group+"/cgroup.subtree_control", "memory") {
		c.say("the builds get no memory controller: %s refuses it", group)
		return
	}
	c.hello.buildMemory = true
	c.support.Memory = "v2"
	if c.o.Memory > 0 {
		if err := writeFile(group+"/memory.max", strconv.FormatInt(c.o.Memory, 10)); err != nil {
			c.say("the builds' memory cannot be limited: %v", err)
		}
	}
}

func (c *containment) handDown(home string) error {
	root := !exists(home + "/cgroup.type") // only the true root has no type
	if !root {
		switch {
		case !delegated(home):
			return fmt.Errorf("%s is not delegated to this process", home)
		case !c.alone(home):
			return fmt.Errorf("other processes live in %s", home)
		}
		leaf := home + "/" + masterGroup
		if err := unix.Mkdir(leaf, 0o755); err != nil && err != unix.EEXIST {
			return fmt.Errorf("make %s: %w", leaf, err)
		}
		c.moved = true
		if err := c.enter(leaf); err != nil {
			c.moveBack(home)
			return fmt.Errorf("move to %s: %w", leaf, err)
		}
		c.hello.home = leaf
	}
	err := writeFile(home+"/cgroup.subtree_control", "+memory")
	if err != nil {
		c.moveBack(home)
		return fmt.Errorf("hand the memory controller down from %s: %w", home, err)
	}
	for _, w := range []string{"+pids", "+cpu"} {
		writeFile(home+"/cgroup.subtree_control", w)
	}
	return nil
}

func (c *containment) moveBack(home string) {
	if !c.moved {
		return
	}
	for _, w := range []string{"-memory", "-pids", "-cpu"} {
		writeFile(home+"/cgroup.subtree_control", w)
	}
	if c.enter(home) == nil {
		unix.Rmdir(home + "/" + masterGroup)
		c.moved, c.hello.home = false, home
	}
}

// enter moves this process and its first spawner into a cgroup.
func (c *containment) enter(dir string) error {
	if err := enter(dir); err != nil || c.early == nil {
		return err
	}
	return writeFile(dir+"/cgroup.procs", strconv.Itoa(c.early.proc.Pid))
}

// delegated tells whether a group was handed to us: systemd marks those of
// units with Delegate=yes, a user owns his own, and a container its root.
func delegated(home string) bool {
	var b [1]byte
	for _, name := range []string{"trusted.delegate", "user.delegate"} {
		if n, err := unix.Getxattr(home, name, b[:]); err == nil && n == 1 && b[0] == '1' {
			return true
		}
	}
	var st, up unix.Stat_t
	if unix.Stat(home, &st) != nil {
		return false
	}
	if uid := os.Getuid(); uid != 0 {
		return int(st.Uid) == uid
	}
	return unix.Stat(filepath.Dir(home), &up) == nil && st.Dev != up.Dev // a mount's root
}

// alone tells whether nobody but this process and its first spawner lives in a group.
func (c *containment) alone(home string) bool {
	for _, pid := range procs(home) {
		if pid != os.Getpid() && (c.early == nil || pid != c.early.proc.Pid) {
			return false
		}
	}
	return true
}

func hasWord(name, word string) bool {
	for w := range strings.FieldsSeq(readFile(name)) {
		if w == word {
			return true
		}
	}
	return false
}

// watchMemory finds the counter of OOM kills, and on cgroup v1 makes the group
// below which each spawner gets one of its own.
func (c *containment) watchMemory() {
	h := &c.hello
	switch {
	case h.buildMemory:
		return
	case h.home != "" && exists(h.home+"/memory.events"):
		h.oomFile = h.home + "/memory.events"
	case c.pos.memory != "":
		h.oomFile = c.pos.memory + oomControl
	default:
		h.oomFile = "/proc/vmstat"
	}
	if c.pos.memory == "" {
		return
	}
	group := c.pos.memory + "/" + groupName(h.base, h.epoch)
	if err := unix.Mkdir(group, 0o755); err != nil && err != unix.EEXIST {
		c.say("no memory group can be made in %s: %v", c.pos.memory, err)
		return
	}
	h.memoryHome, h.memoryLeaf = c.pos.memory, group
	c.support.Memory = "v1"
	if c.o.Memory > 0 {
		if err := writeFile(group+"/memory.limit_in_bytes", strconv.FormatInt(c.o.Memory, 10)); err != nil {
			c.say("the builds' memory cannot be limited: %v", err)
		}
	}
}

// start starts a spawner, or what stands for one.
func (c *containment) start(ctx context.Context, slot int64) (executor, error) {
	c.mu.Lock()
	h := c.hello
	if !h.method.spawner() {
		c.mu.Unlock()
		return newLocal(h)
	}
	early := c.early
	c.early = nil
	c.mu.Unlock()
	if h.memoryLeaf != "" {
		h.memoryLeaf += "/w" + strconv.FormatInt(slot, 10)
	}
	e, err := startClient(ctx, h, early)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.method != c.support.Method {
		c.say("the spawner cannot move between cgroups: it uses method %s", e.method)
		c.support.Method, c.support.Mode = e.method, e.method.Mode()
		c.hello.method = e.method
	}
	if h.memoryLeaf != "" && e.memoryLeaf == "" {
		c.support.Memory = ""
	}
	return e, nil
}

func (c *containment) describe() Support {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.support
	s.Text = append([]string(nil), s.Text...)
	return s
}

func (c *containment) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	if c.early != nil {
		errs = append(errs, c.early.close())
		c.early = nil
	}
	for _, g := range []string{c.hello.group, c.hello.memoryLeaf} {
		if g != "" && !removeGroupSoon(g, time.Second) {
			errs = append(errs, fmt.Errorf("remove cgroup %s: still in use", g))
		}
	}
	if c.moved {
		c.moveBack(builderHome(c.hello.home))
	}
	return errors.Join(errs...)
}
