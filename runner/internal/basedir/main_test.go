package basedir

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// holdHelper makes the test binary hold the base directory it names, say so,
// and wait for the end of its input.
const holdHelper = "BASEDIR_TEST_HOLD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(holdHelper); dir != "" {
		os.Exit(holdAndWait(dir))
	}
	goleak.VerifyTestMain(m)
}

func holdAndWait(dir string) int {
	l, err := Resolve(dir)
	if err == nil {
		var h *Holder
		if h, err = Hold(l); err == nil {
			_, err = h.Listen()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("held")
	_, _ = os.Stdin.Read(make([]byte, 1))
	return 0
}
