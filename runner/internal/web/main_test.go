package web_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"bothy/runner"
)

func TestMain(m *testing.M) {
	runner.Helper()
	code := m.Run()
	if err := endBrowser(); err != nil {
		fmt.Fprintln(os.Stderr, "the browser does not end:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// shared is the one Chromium of all tests, which starts when one asks for it.
var shared struct {
	once sync.Once
	ctx  context.Context
	end  func() error
	err  error
}

// browser returns the context of a running Chromium. Without one the test is
// skipped; in CI, where everything must be there, it fails.
func browser(t testing.TB) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if path, err = exec.LookPath("google-chrome"); err != nil {
			missing(t, "chromium is needed to look at pages")
		}
	}
	shared.once.Do(func() {
		options := append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-quic", true),
			chromedp.Flag("disable-component-update", true),
		)
		alloc, release := chromedp.NewExecAllocator(context.Background(), options...)
		ctx, _ := chromedp.NewContext(alloc)
		shared.ctx, shared.err = ctx, chromedp.Do(ctx)
		shared.end = func() error {
			err := chromedp.Cancel(ctx)
			release()
			return err
		}
	})
	if shared.err != nil {
		t.Fatalf("start %s: %v", path, shared.err)
	}
	return shared.ctx
}

func endBrowser() error {
	if shared.end == nil {
		return nil
	}
	return shared.end()
}

// missing skips a test for want of a tool. In CI it fails.
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("BOTHY_CI") == "1" {
		t.Fatalf("MISSING: "+format, args...)
	}
	t.Skipf("NOT TESTED: "+format, args...)
}
