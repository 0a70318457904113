package hostile

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bothy/runner/internal/testrig"
)

func TestMain(m *testing.M) { os.Exit(testrig.Main(m, 6)) }

// enough is for what takes a second at most, on a machine that is ten times
// slower; it is less than what the tests take care not to wait for.
const enough = 20 * time.Second

// newScene is a scene of its own, beside those of other tests.
func newScene(t *testing.T, conf string) *testrig.Scene {
	t.Helper()
	t.Parallel()
	return testrig.NewScene(t, t.TempDir(), conf)
}

// interruptOurs interrupts the program, wherever it is below the command that it
// was started by.
func interruptOurs(s *testrig.Scene) {
	s.T.Helper()
	for _, line := range s.Processes() {
		pid, args, _ := strings.Cut(line, " ")
		if name, _, _ := strings.Cut(args, " "); filepath.Base(name) != "bothy" {
			continue
		}
		if n, err := strconv.Atoi(pid); err != nil || syscall.Kill(n, syscall.SIGINT) != nil {
			s.T.Errorf("cannot interrupt %s", line)
		}
	}
}
