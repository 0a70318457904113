package fleettest

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"bothy/runner/internal/testrig"
)

// atOnce is how many scenes run at the same time: they wait most of the time.
const atOnce = 16

// TestMain builds the program, unless BOTHY_PROGRAM is one.
func TestMain(m *testing.M) {
	if path := os.Getenv("BOTHY_PROGRAM"); path != "" {
		os.Exit(testrig.Run(m, path, atOnce))
	}
	os.Exit(testrig.Main(m, atOnce))
}

// soak is true for the long variants.
var soak = os.Getenv("BOTHY_SOAK") == "1"

// until polls for an event of another process. It asks less and less often:
// there are many who ask, and Buildbot's master answers slowly.
func until(t testing.TB, otherwise string, happened func() bool) {
	t.Helper()
	deadline := time.Now().Add(testrig.Patience)
	for wait := 5 * time.Millisecond; !happened(); wait = min(wait*3/2, 250*time.Millisecond) {
		if t.Failed() {
			t.FailNow() // what was asked for did not come
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s within %v", otherwise, testrig.Patience)
		}
		<-time.After(wait)
	}
}

// need skips a test for want of a program; in CI it fails.
func need(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			testrig.Missing(t, "%v (Debian: buildbot buildbot-worker iproute2 iptables)", err)
		}
	}
}
