package machine

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// hostAffinity returns how many CPUs this process may run on. It fails on
// machines with more than 1024 CPUs, which x/sys has no room for.
func hostAffinity() (int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return 0, fmt.Errorf("read the CPU affinity: %w", err)
	}
	return set.Count(), nil
}
