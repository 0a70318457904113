package spawn

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// containment is what a pool found and made on this machine.
type containment struct {
	o   Options
	pos position

	mu      sync.Mutex
	near    *neighbours
	early   *helper // the first spawner, or nil
	hello   hello   // what spawners are told, their leaves aside
	support Support
	moved   bool // into masterGroup
}

func (c *containment) open(o Options) error {
	c.o = o
	var s *survey
	if o.Early != nil {
		c.early, s = o.Early.p, o.Early.seen
	} else {
		s = look(o.BaseID)
	}
	c.pos, c.support.Text = s.pos, s.text
	h := &c.hello
	*h = hello{base: o.BaseID, epoch: o.Epoch, method: s.best}
	if o.Only != "" {
		if !s.best.covers(o.Only) {
			return fmt.Errorf("method %s is not available: %s", o.Only, strings.Join(s.text, "; "))
		}
		h.method = o.Only
	}
	if h.method.cgroup() {
		if err := c.makeGroup(); err != nil {
			return err
		}
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

// covers tells whether what m needs is enough for another method.
func (m Method) covers(other Method) bool {
	switch other {
	case m, Group:
		return true
	case Leader:
		return m.spawner()
	case Procs, CloneAlone:
		return m == Clone
	}
	return false
}

func (c *containment) say(format string, a ...any) {
	c.support.Text = append(c.support.Text, fmt.Sprintf(format, a...))
}

// makeGroup makes the cgroup of all builds.
func (c *containment) makeGroup() error {
	group := builderHome(c.pos.unified) + "/" + groupName(c.o.BaseID, c.o.Epoch)
	if err := unix.Mkdir(group, 0o755); err != nil && err != unix.EEXIST {
		return fmt.Errorf("make cgroup %s: %w", group, err)
	}
	c.hello.group, c.hello.home = group, c.pos.unified
	c.say("each command gets a cgroup below %s", group)
	return nil
}

// watchMemory finds the counter of OOM kills, and on cgroup v1 makes the group
// below which each spawner gets one of its own.
func (c *containment) watchMemory() {
	h := &c.hello
	if h.buildMemory {
		return
	}
	if c.pos.memory != "" && !c.o.shareMemory {
		c.makeMemoryGroup()
	}
	shared := ""
	switch {
	case exists(c.pos.unified + "/memory.events"):
		shared, h.oomFile = c.pos.unified, c.pos.unified+"/memory.events"
	case c.pos.memory != "":
		shared, h.oomFile = c.pos.memory, c.pos.memory+oomControl
	default:
		h.oomFile = "/proc/vmstat"
	}
	if h.memoryLeaf == "" && shared != "" {
		c.near = lookAround(shared)
	}
}

func (c *containment) makeMemoryGroup() {
	h := &c.hello
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
	e, err := startClient(ctx, h, early, c.near)
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
