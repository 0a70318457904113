package leasetest

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"bothy/runner/internal/remote"
)

// Files in both directions are whole, however often the connection is cut.
func TestTransfersOutliveCuts(t *testing.T) {
	m := newMaster(t, time.Minute)
	p := newProxy(t, m.addr)
	startBot(t, p.addr, t.TempDir(), nil)
	c := m.attach(t)
	b := startBuild(t, c).(*remote.Build)
	data := make([]byte, 12<<20)
	rnd := rand.NewChaCha8([32]byte{1})
	_, _ = rnd.Read(data) // it never fails
	ctx, cancel := context.WithCancel(t.Context())
	var cutting sync.WaitGroup
	cutting.Go(func() {
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(120 * time.Millisecond):
			}
			p.cut()
		}
	})
	defer cutting.Wait()
	defer cancel()
	if err := b.Download(within(t), "sub/file", bytes.NewReader(data), int64(len(data)), 0o640); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(b.Dir(), "sub/file")); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("the worker has %d bytes, %v", len(got), err)
	}
	var back bytes.Buffer
	if err := b.Upload(within(t), "sub/file", &back, int64(len(data))); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(back.Bytes(), data) {
		t.Fatalf("%d bytes came back", back.Len())
	}
	if p.connections() < 3 {
		t.Errorf("%d connections", p.connections())
	}
}
