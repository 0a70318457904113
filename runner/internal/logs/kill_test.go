package logs

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"bothy/runner/worker"
)

const victimDir = "BOTHY_TEST_VICTIM_DIR"

// victim writes logs, and says of every write that it returned, until it is killed.
func victim(dir string) {
	s, err := Open(dir, Options{SegmentBytes: 1})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for id := s.MaxID() + 1; ; id++ {
		w, err := s.Create(id, attempt, nil)
		for i := 0; err == nil && i < 40; i++ {
			if err = w.Write(worker.Stdout, []byte(victimText(id, i))); err == nil {
				fmt.Println(id, i)
			}
		}
		if err == nil {
			_, err = w.Finish()
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(id, "end")
	}
}

// victimText is long in every seventh log, which so gets a file of its own.
func victimText(id int64, i int) string {
	n := 1 + i%5
	if id%7 == 0 {
		n *= 1000
	}
	return strings.Repeat(fmt.Sprintf("log %d write %d\n", id, i), n)
}

// TestKill kills a process that writes, again and again in the same directory:
// what it said to be written must be there, and nothing else but the beginning
// of what came next.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	for round := range 12 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), victimDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		writes := map[int64]int{}
		ended := map[int64]bool{}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if n == 150+round*53 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			var id int64
			var what string
			if _, err := fmt.Sscan(lines.Text(), &id, &what); err != nil {
				t.Fatalf("the victim says %q", lines.Text())
			}
			if what == "end" {
				ended[id] = true
			} else {
				writes[id]++
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the victim ended by itself")
		}
		s, err := Open(dir, Options{SegmentBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		for id, n := range writes {
			var all, acked strings.Builder
			for i := range 40 {
				all.WriteString(victimText(id, i))
				if i < n {
					acked.WriteString(victimText(id, i))
				}
			}
			got := raw(t, s, id, "", false)
			if !strings.HasPrefix(got, acked.String()) || !strings.HasPrefix(all.String(), got) {
				t.Fatalf("round %d: log %d has %d bytes, %d were acknowledged", round, id, len(got), acked.Len())
			}
			info, err := s.Stat(id, "")
			if err != nil || !info.Finished || ended[id] && info.Interrupted || info.Interrupted && n == 40 && len(got) < all.Len() {
				t.Fatalf("round %d: log %d: %+v, %v", round, id, info, err)
			}
		}
		if len(writes) < 3 {
			t.Fatalf("round %d: only %d logs", round, len(writes))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
