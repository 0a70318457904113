package engine

import (
	"testing"

	"go.uber.org/goleak"

	"bothy/localworker"
)

func TestMain(m *testing.M) {
	localworker.Helper()
	goleak.VerifyTestMain(m)
}
