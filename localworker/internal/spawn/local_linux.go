package spawn

import (
	"syscall"

	"golang.org/x/sys/unix"
)

const rssUnit = 1 << 10 // getrusage(2): kilobytes

// bornIn makes the next child begin its life in the cgroup leaf (clone3,
// CLONE_INTO_CGROUP). The caller closes the descriptor after the fork.
func bornIn(sys *syscall.SysProcAttr, leaf string) (int, error) {
	fd, err := unix.Open(leaf, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	sys.UseCgroupFD, sys.CgroupFD = true, fd
	return fd, nil
}

// below returns the processes in the given cgroups.
func below(groups []string) map[int]bool {
	m := map[int]bool{}
	for _, g := range groups {
		for _, pid := range procsBelow(g) {
			m[pid] = true
		}
	}
	return m
}
