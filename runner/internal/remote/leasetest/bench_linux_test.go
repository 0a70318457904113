package leasetest

import (
	"fmt"
	"io"
	"testing"

	"bothy/runner/worker"
)

// BenchmarkOutput is one worker's output, from its command to the master's sink,
// over loopback and with the worker in a process of its own.
func BenchmarkOutput(b *testing.B) {
	const mb = 500
	m := newMaster(b, 0)
	startProcess(b, m.addr, b.TempDir())
	c := m.attach(b)
	for name, line := range map[string]string{
		"blocks": fmt.Sprintf("dd if=/dev/zero bs=1M count=%d 2>/dev/null", mb),
		"lines":  fmt.Sprintf("yes 'main.go:123:45: a line of output as compilers write them, about eighty bytes' | head -c %d000000", mb),
	} {
		b.Run(name, func(b *testing.B) {
			build := startBuild(b, c)
			n := &count{}
			b.SetBytes(mb * 1e6)
			for b.Loop() {
				exit, err := build.Run(within(b), sh(c, line), writer{n})
				if err != nil || exit.Code != 0 {
					b.Fatal(exit, err)
				}
			}
			if _, err := build.End(within(b), worker.DropDir); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkStep is a step that does nothing.
func BenchmarkStep(b *testing.B) {
	m := newMaster(b, 0)
	startProcess(b, m.addr, b.TempDir())
	c := m.attach(b)
	build := startBuild(b, c)
	cmd := sh(c, "")
	cmd.Argv = []string{"true"}
	for b.Loop() {
		exit, err := build.Run(within(b), cmd, writer{io.Discard})
		if err != nil || exit.Code != 0 {
			b.Fatal(exit, err)
		}
	}
}

type count struct{ n int64 }

func (c *count) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}
