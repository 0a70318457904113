package store

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// helper returns a command that runs the test binary as the named helper,
// below the given words.
func helper(ctx context.Context, name, path string, before ...string) *exec.Cmd {
	args := append(before, os.Args[0])
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), helperVariable+"="+name+":"+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// A process that commits is killed at random moments; whatever it acknowledged
// is there afterwards, whole, and nothing is there in part.
func TestKill9LosesNothing(t *testing.T) {
	t.Parallel()
	rounds := 30
	if raceDetector { // package crashtest kills whole masters too
		rounds = 15
	}
	if testing.Short() {
		rounds = 5
	}
	path := filepath.Join(t.TempDir(), "state.db")
	var acked, ackedLog, epoch int64
	for round := range rounds {
		cmd := helper(t.Context(), "crash", path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		var e, next, nextLog int64
		if !lines.Scan() {
			t.Fatalf("round %d: helper said nothing: %v", round, lines.Err())
		}
		if _, err := fmt.Sscanf(lines.Text(), "epoch %d next %d log %d", &e, &next, &nextLog); err != nil {
			t.Fatalf("round %d: %q: %v", round, lines.Text(), err)
		}
		if e != epoch+1 || next <= acked || nextLog <= ackedLog {
			t.Fatalf("round %d: epoch %d after %d, next request %d after %d, next log %d after %d", round, e, epoch, next, acked, nextLog, ackedLog)
		}
		epoch = e
		// From the first commit to well into the copying of the log.
		kill := time.AfterFunc(time.Duration(rand.Int64N(int64(150*time.Millisecond))), func() { _ = cmd.Process.Kill() })
		for lines.Scan() {
			var n, log int64
			if _, err := fmt.Sscan(lines.Text(), &n, &log); err == nil {
				acked, ackedLog = n, log
			}
		}
		_ = cmd.Wait() // it was killed
		kill.Stop()

		s := mustOpen(t, path)
		checkNumbered(t, s, acked)
		checkTold(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
	if acked < int64(rounds) {
		t.Errorf("only %d batches were committed in %d rounds", acked, rounds)
	}
	t.Logf("%d batches acknowledged in %d rounds", acked, rounds)
}

// checkNumbered checks that every batch up to acked is there, at most one more,
// and each of them whole.
func checkNumbered(t *testing.T, s *Store, acked int64) {
	t.Helper()
	var check string
	if err := s.conn.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&check); err != nil || check != "ok" {
		t.Errorf("integrity: %s, %v", check, err)
	}
	var n [5]int64
	err := s.conn.QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM requests WHERE state = 2), (SELECT count(*) FROM builds WHERE result = 0),
		(SELECT count(*) FROM steps), (SELECT count(*) FROM logs), (SELECT ifnull(max(id), 0) FROM requests)`).Scan(&n[0], &n[1], &n[2], &n[3], &n[4])
	if err != nil {
		t.Fatal(err)
	}
	if n[4] < acked {
		t.Errorf("batch %d was acknowledged, the last one found is %d", acked, n[4])
	}
	for i, what := range []string{"requests", "builds", "steps", "logs"} {
		if n[i] != n[4] {
			t.Errorf("%d %s of %d batches", n[i], what, n[4])
		}
	}
}

// checkTold checks that what is told of a batch is there when the batch is, and
// that the totals are right.
func checkTold(t *testing.T, s *Store) {
	t.Helper()
	var requests, mails, entries int64
	err := s.conn.QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM requests), (SELECT count(*) FROM mails), (SELECT count(*) FROM journal)`).
		Scan(&requests, &mails, &entries)
	if err != nil {
		t.Fatal(err)
	}
	if mails != requests || entries != requests {
		t.Errorf("%d mails, %d journal entries of %d batches", mails, entries, requests)
	}
	checkTotals(t, s)
}

// The disk refuses to sync: the commit is an error, and the same batch can be
// committed once the disk works again.
func TestFailedSync(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("NOT TESTED: no strace to make fsync fail")
	}
	if out, err := exec.CommandContext(t.Context(), strace, "-f", "-e", "trace=none", "true").CombinedOutput(); err != nil {
		t.Skipf("NOT TESTED: strace cannot trace here: %v: %s", err, out)
	}
	for _, when := range []string{"3..5", "2+3"} {
		t.Run(when, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.db")
			if err := mustOpen(t, path).Close(); err != nil {
				t.Fatal(err)
			}
			cmd := helper(t.Context(), "eio", path, strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync",
				"-e", "inject=fsync,fdatasync:error=EIO:when="+when)
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			var failed, done int
			for line := range strings.Lines(string(out)) {
				switch {
				case strings.HasPrefix(line, "error commit 6 rows: "), strings.HasPrefix(line, "error start: "), strings.HasPrefix(line, "error close database"):
					failed++
				case line == fmt.Sprintf("done %d\n", done+1):
					done++
				default:
					t.Errorf("helper said %q", line)
				}
			}
			if failed < 3 || done != 10 {
				t.Errorf("%d commits failed, %d succeeded", failed, done)
			}
			s := mustOpen(t, path)
			checkNumbered(t, s, 10)
			checkTold(t, s)
		})
	}
}
