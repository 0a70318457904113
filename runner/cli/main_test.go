package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"bothy/runner"
)

func TestMain(m *testing.M) {
	runner.Helper() // the scripts' bothy re-executes itself
	testscript.Main(m, map[string]func(){
		"bothy": func() { os.Exit(Main(context.Background(), os.Args[1:], ProcessEnv())) },
	})
}

// The scripts of testdata/script are the command line as a person sees it.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "../../testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Setup: func(e *testscript.Env) error {
			// A script must not find the configuration or the state of whoever runs it.
			e.Setenv("XDG_STATE_HOME", e.WorkDir+"/state")
			e.Setenv("XDG_RUNTIME_DIR", "")
			e.Setenv("GOCACHE", os.Getenv("GOCACHE"))
			return nil
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "bash", "zsh", "fish":
				_, err := exec.LookPath(cond)
				if err != nil && os.Getenv("BOTHY_CI") == "1" {
					return false, fmt.Errorf("MISSING: %w", err)
				}
				if err != nil {
					t.Logf("NOT TESTED: completion for %s, which is not installed", cond)
				}
				return err == nil, nil
			case "posix":
				return runtime.GOOS != "windows", nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":  exits,
			"appear": appear,
			"port":   port,
		},
	})
}

// exits CODE COMMAND…: runs a command and checks its exit code exactly.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var code interface{ ExitCode() int }
		if !errors.As(err, &code) {
			ts.Fatalf("%v", err)
		}
		got = code.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// port NAME: sets an environment variable to the number of a port that is free.
func port(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: port NAME")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	_, number, err := net.SplitHostPort(ln.Addr().String())
	ts.Check(err)
	ts.Check(ln.Close())
	ts.Setenv(args[0], number)
}

// appear FILE: waits for a file to exist.
func appear(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: appear FILE")
	}
	name := ts.MkAbs(args[0])
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(5 * time.Minute); ; <-tick.C {
		_, err := os.Stat(name)
		switch {
		case err == nil:
			return
		case !errors.Is(err, fs.ErrNotExist):
			ts.Fatalf("%v", err)
		case time.Now().After(deadline):
			ts.Fatalf("%s does not appear", args[0])
		}
	}
}
