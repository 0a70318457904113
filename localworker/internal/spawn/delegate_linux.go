package spawn

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// masterGroup is the cgroup that a master moves to, so that the one it was
// started in can have controllers for its children (cgroup v2 allows processes
// only at the leaves).
const masterGroup = "bothy-master"

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
	} else if own := c.pos.unified; own != home && c.alone(own) {
		c.moved = true // by a master that was killed together with its spawners
	}
	group := c.hello.group
	for _, w := range []string{"+memory", "+pids", "+cpu"} {
		writeFile(group+"/cgroup.subtree_control", w)
	}
	if !hasWord(group+"/cgroup.subtree_control", "memory") {
		c.say("the builds get no memory controller: %s refuses it", group)
		return
	}
	c.hello.buildMemory, c.hello.handed = true, c.moved
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
	takeBack(home)
	if c.enter(home) == nil {
		unix.Rmdir(home + "/" + masterGroup)
		c.moved, c.hello.home = false, home
	}
}

// takeBack takes from a group's children the controllers that handDown gave
// them. It fails, without harm, while there are groups that use them.
func takeBack(home string) {
	for _, w := range []string{"-memory", "-pids", "-cpu"} {
		writeFile(home+"/cgroup.subtree_control", w)
	}
}

// enter moves this process and its first spawner into a cgroup.
func (c *containment) enter(dir string) error {
	if err := enter(dir); err != nil || c.early == nil {
		return err
	}
	return writeFile(dir+"/cgroup.procs", strconv.Itoa(c.early.proc.pid))
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
		if pid != os.Getpid() && (c.early == nil || pid != c.early.proc.pid) {
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
