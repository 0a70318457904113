package basedir

import (
	"os"
	"strings"
	"testing"
)

func TestBallast(t *testing.T) {
	b := hold(t, resolve(t)).Ballast()
	if err := b.Free(); err != nil {
		t.Errorf("free what is not there: %v", err)
	}
	for range 2 {
		if err := b.Restore(); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(b.path)
		if err != nil || info.Size() != BallastSize {
			t.Fatalf("%v, %v", info, err)
		}
		if got := blocks(t, info); got < BallastSize {
			t.Errorf("%d bytes on disk", got)
		}
	}
	if err := os.Truncate(b.path, 5); err != nil { // a crash while it was made
		t.Fatal(err)
	}
	if err := b.Restore(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(b.path); err != nil || info.Size() != BallastSize {
		t.Errorf("a torn one was not made anew: %v, %v", info, err)
	}
	for range 2 {
		if err := b.Free(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(b.path); !os.IsNotExist(err) {
		t.Errorf("freed, but: %v", err)
	}
}

func TestBallastDoesNotFillTheDisk(t *testing.T) {
	b := hold(t, resolve(t)).Ballast()
	b.free = func() (int64, error) { return 2*BallastSize - 1, nil }
	if err := b.Restore(); err == nil || !strings.Contains(err.Error(), "31 MiB are free, 32 are wanted") {
		t.Errorf("restore: %v", err)
	}
	if _, err := os.Stat(b.path); !os.IsNotExist(err) {
		t.Errorf("made all the same: %v", err)
	}
}
