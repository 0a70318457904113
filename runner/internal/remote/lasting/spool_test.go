package lasting

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSpool(t *testing.T) {
	dir := t.TempDir()
	other, left := filepath.Join(dir, "other"), filepath.Join(dir, "spool-123")
	for _, name := range []string{other, left} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := NewSpool(dir, 10, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("the spool of an earlier process is there")
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
	var at [2]int64
	for i, msg := range []string{"hello", "world"} {
		var ok bool
		if at[i], ok = p.put([]byte(msg)); !ok {
			t.Fatalf("no room for %q", msg)
		}
	}
	if _, ok := p.put([]byte("x")); ok || p.Held() != 10 {
		t.Errorf("11 bytes in a spool of 10, %d held", p.Held())
	}
	if got, err := p.get(at[1], 5); err != nil || string(got) != "world" {
		t.Errorf("%q, %v", got, err)
	}
	p.take()
	if _, ok := p.put([]byte("x")); ok {
		t.Error("room before it is empty")
	}
	p.take()
	if p.f != nil || p.Held() != 0 {
		t.Error("an empty spool keeps its file")
	}
	if _, ok := p.put(bytes.Repeat([]byte("y"), 10)); !ok {
		t.Error("no room in an empty spool")
	}
	p.close()
	if _, ok := p.put([]byte("x")); ok {
		t.Error("a closed spool takes something")
	}
	if _, err := p.get(0, 1); err == nil {
		t.Error("a closed spool gives something")
	}
	if names, err := filepath.Glob(filepath.Join(dir, "spool*")); err != nil || len(names) > 0 {
		t.Errorf("left: %q, %v", names, err)
	}
}

// A disk that takes nothing is told of once, and is no more than a spool that is
// full.
func TestSpoolWithoutDisk(t *testing.T) {
	var log strings.Builder
	p, err := NewSpool(filepath.Join(t.TempDir(), "gone"), 1<<20, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, ok := p.put([]byte("x")); ok {
			t.Error("taken")
		}
	}
	if n := strings.Count(log.String(), "cannot be written"); n != 1 {
		t.Errorf("told %d times: %s", n, &log)
	}
}
