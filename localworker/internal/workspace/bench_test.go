package workspace

import (
	"fmt"
	"testing"

	"bothy/runner/worker"
)

// BenchmarkFresh is what an empty directory adds to every build.
func BenchmarkFresh(b *testing.B) {
	a, err := New(Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	n := int64(0)
	for b.Loop() {
		n++
		d, err := a.Prepare(b.Context(), nil, request(n, none, worker.WorkspaceFresh))
		if err != nil {
			b.Fatal(err)
		}
		release(b, d, worker.DropDir)
	}
}

// BenchmarkCopy copies a thousand small files, and then looks whether they changed.
func BenchmarkCopy(b *testing.B) {
	src := b.TempDir()
	for i := range 1000 {
		writeFile(b, src, fmt.Sprintf("d%d/f%d", i%40, i), "some text")
	}
	for _, ws := range []worker.Workspace{worker.WorkspaceFresh, worker.WorkspaceKeep} {
		b.Run(string(ws), func(b *testing.B) {
			a, err := New(Options{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			n := int64(0)
			for b.Loop() {
				n++
				d, err := a.Prepare(b.Context(), plainExec, request(n, copyOf(src), ws))
				if err != nil {
					b.Fatal(err)
				}
				release(b, d, worker.DropDir)
			}
		})
	}
}
