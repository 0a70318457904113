package spawn_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"

	"bothy/localworker/internal/spawn"
	"bothy/runner/worker"
)

// TestMain makes the test binary a spawner when it is re-executed as one, and a
// master when a test wants one that it can kill.
func TestMain(m *testing.M) {
	if os.Getenv("SPAWN_TEST_NO_HELPER") == "" {
		spawn.Main()
	}
	if script := os.Getenv("SPAWN_TEST_MASTER"); script != "" {
		os.Exit(master(script))
	}
	os.Exit(m.Run())
}

// master runs a script as a build until it is killed. What the script writes
// goes to standard output. If it shares its memory group, what becomes of the
// script follows as JSON.
func master(script string) int {
	ctx := context.Background()
	o := spawn.Options{BaseID: os.Getenv("SPAWN_TEST_BASE"), Epoch: 1, Only: spawn.Method(os.Getenv("SPAWN_TEST_METHOD"))}
	if os.Getenv("SPAWN_TEST_SHARED") != "" {
		o.ShareMemory()
	}
	p, err := spawn.Open(o)
	if err == nil {
		err = runOne(ctx, p, script)
	}
	fmt.Println("master:", err)
	return 1
}

func runOne(ctx context.Context, p *spawn.Pool, script string) error {
	s, err := p.Start(ctx)
	if err != nil {
		return err
	}
	b, err := s.Begin(1)
	if err != nil {
		return err
	}
	x, err := b.Run(ctx, sh(script), stdoutSink{})
	if err != nil || os.Getenv("SPAWN_TEST_SHARED") == "" {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(x); err != nil {
		return err
	}
	_, err = b.End(ctx)
	return errors.Join(err, s.Close(), p.Close())
}

type stdoutSink struct{}

func (stdoutSink) Output(_ string, _ worker.Stream, p []byte) error {
	_, err := os.Stdout.Write(p)
	return err
}
