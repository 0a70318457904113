package machine

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/shirou/gopsutil/v3/mem"
)

// hostMemory returns this machine's RAM in bytes.
func hostMemory() (int64, error) {
	m, err := mem.VirtualMemory()
	if err != nil {
		return 0, fmt.Errorf("read the size of RAM: %w", err)
	}
	if m.Total == 0 || m.Total >= noLimit {
		return 0, errors.New("the size of RAM is not known")
	}
	return int64(m.Total), nil
}

// hostCPUs returns how many CPUs this process may use where there is neither
// /proc nor sched_getaffinity(2). The runtime asks the system the same question
// as gopsutil would, and on Windows heeds the process's affinity besides.
func hostCPUs() int { return runtime.NumCPU() }
