//go:build linux

package testrig

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var marks atomic.Int64

// newMark returns a variable for the environment of all that a scene starts, to
// find it by. Builds of a server inherit only what begins with LC_.
func newMark() string {
	return fmt.Sprintf("LC_BOTHY_MARK=%d.%d.", os.Getpid(), marks.Add(1))
}

// Processes lists the scene's living processes as "PID COMMAND".
func (s *Scene) Processes() []string {
	s.T.Helper()
	return Processes(s.T, s.mark)
}

// NothingLeft checks that within the time given no process of the scene lives,
// and returns how long that took.
func (s *Scene) NothingLeft(after string, within time.Duration) time.Duration {
	s.T.Helper()
	return NothingLeft(s.T, s.mark, after, within)
}

// Processes lists the living processes that have mark in their environment.
func Processes(t testing.TB, mark string) []string {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, d := range dirs {
		env, err := os.ReadFile(d + "/environ")
		if err != nil || !bytes.Contains(env, []byte(mark)) {
			continue // without a right to read it, it is none of ours
		}
		stat, err := os.ReadFile(d + "/stat")
		if err != nil {
			continue
		}
		if i := bytes.LastIndexByte(stat, ')'); i >= 0 && i+2 < len(stat) && (stat[i+2] == 'Z' || stat[i+2] == 'X') {
			continue
		}
		cmd, _ := os.ReadFile(d + "/cmdline") // empty if it has just ended
		out = append(out, filepath.Base(d)+" "+strings.ReplaceAll(strings.TrimRight(string(cmd), "\x00"), "\x00", " "))
	}
	return out
}

// NothingLeft checks that within the time given no process lives that has mark in
// its environment, and returns how long that took. It ends those that do.
func NothingLeft(t testing.TB, mark, after string, within time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	var left []string
	if !poll(within, func() bool { left = Processes(t, mark); return len(left) == 0 }) {
		t.Errorf("%v after %s these still run: %s", within, after, strings.Join(left, ", "))
		for _, p := range left {
			number, _, _ := strings.Cut(p, " ")
			if pid, err := strconv.Atoi(number); err == nil {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
	return time.Since(began)
}
