//go:build unix

package basedir

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// The lock of a process that is no more is waited for: what that process was
// just starting has it for a moment. Anybody else's is not.
func TestLockOutlivesItsHolder(t *testing.T) {
	dead := exec.Command(os.Args[0], "-test.run=^$")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		pid      int
		released time.Duration
		want     time.Duration // how long Hold takes
		held     bool
	}{
		{"for a moment", dead.Process.Pid, linger / 2, linger / 2, false},
		{"for long", dead.Process.Pid, time.Hour, linger, true},
		{"its holder lives", os.Getpid(), linger / 2, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := resolve(t)
			other, err := os.OpenFile(filepath.Join(l.Dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Fprintln(other, tt.pid); err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				if err := tryLock(other); err != nil {
					t.Fatal(err)
				}
				time.AfterFunc(tt.released, func() { other.Close() })
				began := time.Now()
				h, err := Hold(l)
				if took := time.Since(began); took < tt.want || took > tt.want+2*lingerPoll {
					t.Errorf("took %v, want %v", took, tt.want)
				}
				var held *HeldError
				if got := errors.As(err, &held); got != tt.held || got && held.PID != tt.pid {
					t.Errorf("hold: %v", err)
				}
				if err == nil {
					if !h.Crashed() {
						t.Error("its end is not taken for a crash")
					}
					if err := h.Close(); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}
