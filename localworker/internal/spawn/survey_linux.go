package spawn

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// survey is what can be found out before a master knows its epoch.
type survey struct {
	pos  position
	best Method
	text []string // as in [Support]
}

func (s *survey) say(format string, a ...any) { s.text = append(s.text, fmt.Sprintf(format, a...)) }

// look finds the best method, for the master of a base directory.
func look(base string) *survey {
	s := &survey{pos: findPosition("/", os.Getpid()), best: Leader}
	if !mainCalled.Load() {
		s.best = Group
		s.say("this program did not call Helper first in main: builds have no spawner, and what they start can outlive a killed master")
	}
	if s.pos.unified == "" {
		s.say("there is no cgroup v2 hierarchy here that this process is in")
		return s
	}
	home := builderHome(s.pos.unified)
	leaf := home + "/" + groupName(base, 0) // swept by the next master if this one dies just now
	if err := unix.Mkdir(leaf, 0o755); err != nil && err != unix.EEXIST {
		s.say("no cgroup can be made in %s: %v", home, err)
		return s
	}
	defer removeGroupSoon(leaf, time.Second)
	err := probeClone(leaf)
	switch {
	case err == nil && s.best == Leader:
		s.best = Clone
	case err == nil:
		s.best = CloneAlone
	case s.best == Leader:
		s.say("processes cannot be born in a cgroup (%v); the spawner puts them there", err)
		s.best = Procs
	default:
		s.say("processes cannot be born in a cgroup (%v)", err)
	}
	return s
}

// probeClone has a child born in a fresh cgroup, leaf. clone3 may be forbidden
// (seccomp); and where our own cgroup was ever killed, children are born dead
// (Linux 6.18). The child tries to execute nothing: that it can say so shows
// that it lived, and is quicker than any program.
func probeClone(leaf string) error {
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
