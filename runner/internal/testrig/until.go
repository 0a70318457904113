//go:build linux

package testrig

import (
	"os"
	"testing"
	"time"
)

// Patience is how long what should happen at once may take: a machine may be
// slow, and busy with other tests.
const Patience = 5 * time.Minute

// Until polls for an event of another process. When [Patience] has run out the
// test fails with what otherwise says.
func Until(t testing.TB, otherwise string, happened func() bool) {
	t.Helper()
	if !poll(Patience, happened) {
		t.Fatalf("%s within %v", otherwise, Patience)
	}
}

// poll asks until it is so, and reports whether it was so in time. It asks less
// and less often: there may be a machine's worth of processes to look at.
func poll(within time.Duration, isSo func() bool) bool {
	deadline := time.Now().Add(within)
	for wait := time.Millisecond; !isSo(); wait = min(2*wait, 20*time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
		<-time.After(wait)
	}
	return true
}

// Missing skips a test for want of what format names. In CI, where everything
// must be there, it fails.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("BOTHY_CI") == "1" {
		t.Fatalf("MISSING: "+format, args...)
	}
	t.Skipf("NOT TESTED: "+format, args...)
}

// NeedRoot skips what only root can set up.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: needs root")
	}
}
