package agent

import (
	"time"

	"golang.org/x/sys/unix"
)

// now is a clock that runs on while the machine is suspended: CLOCK_BOOTTIME.
func (c *clock) now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return c.elapsed()
	}
	return time.Duration(ts.Nano())
}
