//go:build !linux

package agent

import "time"

// now is a clock that runs on while the machine is suspended.
func (c *clock) now() time.Duration { return c.elapsed() }
