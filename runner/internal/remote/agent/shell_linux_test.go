package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/msgpack"
	"bothy/runner/internal/testrig"
)

// heard is a master that remembers what it is told.
type heard struct {
	master // none of its transfers is asked for

	mu     sync.Mutex
	text   map[string]string // by stream
	values []string
	done   bool
}

func (h *heard) update(_ context.Context, items []msgpack.Item) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, it := range items {
		if it.Lines.Text != nil {
			h.text[it.Name+it.Log] += string(it.Lines.Text)
		} else if it.Name != "elapsed" {
			h.values = append(h.values, fmt.Sprintf("%s=%v", it.Name, it.Value))
		}
	}
	return nil
}

func (h *heard) complete(_ context.Context, failure error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done = true
	if failure != nil {
		h.values = append(h.values, "failure="+failure.Error())
	}
	return nil
}

func (h *heard) stream(name string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text[name]
}

// rig is a worker without a master.
func rig(t *testing.T) *session {
	t.Helper()
	a, err := New(t.Context(), testOptions(t, "127.0.0.1:1", PB, "w"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := a.newSession(t.Context(), settings{size: 1000, cursor: true, endLines: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.close(context.Canceled)
		if err := a.machine.close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func startShell(t *testing.T, s *session, script string, more ...wire.Field) (*command, *heard) {
	t.Helper()
	h := &heard{text: map[string]string{}}
	m := wire.Map{{Key: "command", Value: script}, {Key: "workdir", Value: filepath.Join(s.a.o.BaseDir, "b")}, {Key: "logEnviron", Value: false}}
	c, err := s.start("7", "shell", append(m, more...), h)
	if err != nil {
		t.Fatal(err)
	}
	return c, h
}

func TestShell(t *testing.T) {
	s := rig(t)
	for _, c := range []struct {
		name, script   string
		args           wire.Map
		header, stdout string
		values         string
	}{
		{"success", "echo a; echo b >&2", nil, "elapsedTime=", "a\n", "[rc=0]"},
		{"unwanted", "echo a; echo b >&2", wire.Map{{Key: "want_stdout", Value: int64(0)}}, "", "", "[rc=0]"},
		{"signal", "kill -TERM $$", nil, "process killed by signal 15\n", "", "[rc=-1]"},
		{"max_lines", "seq 1 10; sleep 1000", wire.Map{{Key: "max_lines", Value: int64(3)}}, "command exceeds max lines: more than 3 written", "1\n2\n3\n", "[failure_reason=max_lines_failure rc=-1]"},
		{"timeout", "sleep 1000", wire.Map{{Key: "timeout", Value: 0.05}}, "command timed out: 0.05 seconds without output running b'sleep 1000', attempting to kill", "", "[failure_reason=timeout_without_output rc=-1]"},
		{"max time", "sleep 1000", wire.Map{{Key: "maxTime", Value: 0.05}}, "command timed out: 0.05 seconds elapsed", "", "[failure_reason=timeout rc=-1]"},
		{"ends with 0 when killed", "trap 'exit 0' TERM; echo a; while :; do sleep 0.01; done", wire.Map{{Key: "timeout", Value: 1.0}, {Key: "interruptSignal", Value: "TERM"}}, "timed out", "a\n", "[failure_reason=timeout_without_output rc=-1]"},
		{"another signal", "trap '' TERM; trap 'echo int; exit 8' INT; echo a; while :; do sleep 0.01; done", wire.Map{{Key: "timeout", Value: 1.0}, {Key: "interruptSignal", Value: "INT"}}, "timed out", "a\nint\n", "[failure_reason=timeout_without_output rc=8]"},
		{"a signal nobody knows", "trap 'echo term; exit 8' TERM; echo a; while :; do sleep 0.01; done", wire.Map{{Key: "timeout", Value: 1.0}, {Key: "interruptSignal", Value: "LOUD"}}, "timed out", "a\nterm\n", "[failure_reason=timeout_without_output rc=8]"},
		{"TERM comes before it", "trap 'echo term; exit 8' TERM; trap '' INT; echo a; while :; do sleep 0.01; done", wire.Map{{Key: "timeout", Value: 1.0}, {Key: "interruptSignal", Value: "INT"}, {Key: "sigtermTime", Value: int64(20)}}, "timed out", "a\nterm\n", "[failure_reason=timeout_without_output rc=8]"},
		{"environment is shown", "true", wire.Map{{Key: "logEnviron", Value: true}, {Key: "env", Value: wire.Map{{Key: "ZZ", Value: "x"}}}}, "  ZZ=x\n", "", "[rc=0]"},
		{"no pty with stdin", "cat", wire.Map{{Key: "usePTY", Value: true}, {Key: "initial_stdin", Value: []byte("in\xff\n")}}, "WARNING: disabling usePTY", "in\ufffd\n", "[rc=0]"},
		{"obfuscated", "", wire.Map{{Key: "command", Value: []any{"echo", wire.Tuple{"obfuscated", "real", "shown"}}}}, "echo shown\n", "real\n", "[rc=0]"},
		{"logfiles", "echo x >l", wire.Map{{Key: "logfiles", Value: wire.Map{{Key: "n", Value: "l"}}}}, " watching logfiles {'n': 'l'}\n", "", "[rc=0]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd, h := startShell(t, s, c.script, c.args...)
			<-cmd.over
			if got := fmt.Sprint(h.values); got != c.values || !h.done {
				t.Errorf("told %s, want %s", got, c.values)
			}
			if got := h.text["header"]; !strings.Contains(got, c.header) {
				t.Errorf("header %q, want %q", got, c.header)
			}
			if got := h.text["stdout"]; got != c.stdout {
				t.Errorf("stdout %q, want %q", got, c.stdout)
			}
			if c.name == "logfiles" && h.text["logn"] != "x\n" {
				t.Errorf("log %q", h.text["logn"])
			}
		})
	}
}

// A command that is interrupted ends with all that it has started; what an earlier
// one left goes on until the connection ends.
func TestInterrupt(t *testing.T) {
	s := rig(t)
	dir := s.a.o.BaseDir
	c, _ := startShell(t, s, "setsid sleep 86400 >/dev/null 2>&1 &")
	<-c.over
	c, h := startShell(t, s, "setsid sleep 86401 & echo ready; wait")
	testrig.Until(t, "the command is not ready", func() bool { return h.stream("stdout") != "" })
	s.interrupt("7", "test")
	<-c.over
	if fmt.Sprint(h.values) != "[rc=-1]" || !strings.Contains(h.text["header"], "\ncommand interrupted, attempting to kill\n") {
		t.Errorf("told %v, %q", h.values, h.text["header"])
	}
	if left := processes(t, dir); len(left) != 1 || !strings.Contains(left[0], "86400") {
		t.Fatalf("left: %q", left)
	}
	c, _ = startShell(t, s, "sleep 86402")
	testrig.Until(t, "the command does not run", func() bool { return len(processes(t, dir)) > 1 })
	s.close(context.Canceled)
	<-c.over
	if left := processes(t, dir); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
	if _, err := s.start("8", "shell", wire.Map{{Key: "command", Value: "true"}, {Key: "workdir", Value: dir}}, h); err == nil {
		t.Error("a command was started without a connection")
	}
}

func TestRefusedCommands(t *testing.T) {
	s := rig(t)
	for _, c := range []struct {
		name, want string
		args       wire.Map
	}{
		{"svn", "unrecognized WorkerCommand 'svn'", nil},
		{"shell", "WorkerShellCommand is missing args: workdir, command", nil},
		{"upload_file", "WorkerFileUploadCommand is missing args: blocksize", wire.Map{{Key: "path", Value: "/x"}}},
		{"mkdir", `argument "paths": want a list`, wire.Map{{Key: "paths", Value: "x"}}},
	} {
		if _, err := s.start("1", c.name, c.args, &heard{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestClearLeftovers(t *testing.T) {
	o := testOptions(t, "127.0.0.1:1", PB, "w")
	a := &Agent{o: o}
	for _, d := range []string{"old", "new", stateDir} {
		if err := os.Mkdir(filepath.Join(o.BaseDir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	names := func() []string {
		names, err := listNames(o.BaseDir)
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	wanted := map[string]bool{"new": true, infoDir: true, stateDir: true}
	if a.clearLeftovers(wanted); !slices.Contains(names(), "old") {
		t.Error("a directory was removed without being asked to")
	}
	a.o.DeleteLeftoverDirs = true
	if a.clearLeftovers(wanted); !slices.Equal(names(), []string{stateDir, infoDir, "new"}) {
		t.Errorf("left: %q", names())
	}
}

// Many commands of a connection may run at once.
func TestCommandsRunSideBySide(t *testing.T) {
	s := rig(t)
	pipe := filepath.Join(s.a.o.BaseDir, "fifo")
	one, h1 := startShell(t, s, "while [ ! -e "+pipe+" ]; do sleep 0.01; done; echo one")
	two, h2 := startShell(t, s, "touch "+pipe+"; echo two")
	for _, c := range []*command{one, two} {
		select {
		case <-c.over:
		case <-time.After(testrig.Patience):
			t.Fatal("they wait for each other")
		}
	}
	if h1.text["stdout"] != "one\n" || h2.text["stdout"] != "two\n" {
		t.Errorf("%q, %q", h1.text["stdout"], h2.text["stdout"])
	}
}
