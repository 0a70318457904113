package runner_test

import (
	"testing"

	"go.uber.org/goleak"

	"bothy/runner"
)

func TestMain(m *testing.M) {
	runner.Helper()
	goleak.VerifyTestMain(m)
}
