package web_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"bothy/runner"
	"bothy/runner/config"
)

// patience is how long what should happen at once may take: the machine may be
// slow, and busy with other tests.
const patience = time.Minute

// prefix is what pages are mounted below: every link must work there.
const prefix = "/ci/"

// rig is a live master with real builds, and its page behind a real server.
type rig struct {
	t testing.TB
	*runner.Runner
	url string // of the root, ending in a slash
	as  *identity
}

// identity is who everybody is taken to be.
type identity struct {
	mu  sync.Mutex
	now runner.Identity
}

func (i *identity) set(name string, role config.Role) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.now = runner.Identity{Name: name, Role: role}
}

func (i *identity) get(*http.Request) (runner.Identity, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.now, nil
}

// newRig starts a master that is ended with the test. Whoever comes is ana, who
// may do everything.
func newRig(t testing.TB, conf *config.Config) *rig {
	t.Helper()
	r := &rig{t: t, as: &identity{}}
	r.as.set("ana", config.Admin)
	r.Runner = start(t, conf, runner.Options{Auth: r.as.get})
	r.mount()
	return r
}

// mount serves the page below the prefix.
func (r *rig) mount() *httptest.Server {
	srv := httptest.NewServer(http.StripPrefix(strings.TrimSuffix(prefix, "/"), r.Handler()))
	r.t.Cleanup(srv.Close)
	r.url = srv.URL + prefix
	return srv
}

// start opens and starts a Runner that is shut down with the test.
func start(t testing.TB, conf *config.Config, o runner.Options) *runner.Runner {
	t.Helper()
	conf.Dir = t.TempDir()
	for i := range conf.Builders {
		if conf.Builders[i].Source.Kind == "" {
			conf.Builders[i].Source.Kind = config.SourceNone
		}
	}
	r, err := runner.Open(conf, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.Kill(ctx); err != nil {
			t.Errorf("end the master: %v", err)
		}
	})
	return r
}

// builder is a builder whose steps are shell commands.
func builder(name string, commands ...string) config.Builder {
	b := config.Builder{Name: name, NoCollapse: true}
	for _, c := range commands {
		b.Steps = append(b.Steps, config.Shell(c))
	}
	return b
}

// gate holds builds until it is opened.
type gate struct {
	wait string // a shell command
	open func()
}

func newGate(t testing.TB) gate {
	t.Helper()
	file := filepath.Join(t.TempDir(), "open")
	return gate{"until test -e '" + file + "'; do sleep 0.1; done", sync.OnceFunc(func() {
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Error(err)
		}
	})}
}

// build runs a build to its end.
func (r *rig) build(q runner.Request) *runner.Build {
	r.t.Helper()
	return r.wait(r.submit(q))
}

// wait waits for the end of a request.
func (r *rig) wait(q *runner.BuildRequest) *runner.Build {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	b, err := q.Wait(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

// submit asks for a build.
func (r *rig) submit(q runner.Request) *runner.BuildRequest {
	r.t.Helper()
	req, err := r.Submit(r.t.Context(), q)
	if err != nil {
		r.t.Fatal(err)
	}
	return req
}

// get reads a page without a browser.
func (r *rig) get(path string, edits ...func(*http.Request)) (*http.Response, string) {
	r.t.Helper()
	return r.do(http.MethodGet, path, nil, edits...)
}

// post sends a form without a browser.
func (r *rig) post(path string, form url.Values, edits ...func(*http.Request)) (*http.Response, string) {
	r.t.Helper()
	return r.do(http.MethodPost, path, form, edits...)
}

func (r *rig) do(method, path string, form url.Values, edits ...func(*http.Request)) (*http.Response, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		r.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, f := range edits {
		f(req)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp, string(b)
}

// tab is a tab of the browser, in a profile of its own unless it was made by
// another one. Whatever a page does wrong fails the test: scripts that throw,
// what the policy forbids, requests to elsewhere.
type tab struct {
	t   testing.TB
	ctx context.Context
	url string

	mu    sync.Mutex
	wrong []string
	sent  int // bytes that have come over the network
}

// tab opens one.
func (r *rig) tab() *tab {
	r.t.Helper()
	return newTab(r.t, browser(r.t), r.url, chromedp.WithNewBrowserContext())
}

// another opens one in the same profile.
func (b *tab) another() *tab { return newTab(b.t, b.ctx, b.url) }

func newTab(t testing.TB, parent context.Context, url string, options ...chromedp.ContextOption) *tab {
	t.Helper()
	b := &tab{t: t, url: url}
	ctx, cancel := chromedp.NewContext(parent, append(options, chromedp.WithListener(b.heard))...)
	b.ctx = ctx
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	t.Cleanup(func() {
		cancel()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, w := range b.wrong {
			t.Error("the browser says:", w)
		}
	})
	return b
}

// heard runs on the goroutine that reads from the browser.
func (b *tab) heard(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	add := func(format string, args ...any) { b.wrong = append(b.wrong, fmt.Sprintf(format, args...)) }
	switch ev := ev.(type) {
	case *network.EventRequestWillBeSent:
		if u := ev.Request.URL; !strings.HasPrefix(u, b.url) && !strings.HasPrefix(u, "data:") && u != "about:blank" {
			add("a request leaves the origin and prefix: %s", u)
		}
	case *network.EventLoadingFinished:
		b.sent += int(ev.EncodedDataLength)
	case *log.EventEntryAdded:
		if ev.Entry.Level == log.EntryLevelError || ev.Entry.Source == log.EntrySourceSecurity {
			add("%s: %s (%s)", ev.Entry.Source, ev.Entry.Text, ev.Entry.URL)
		}
	case *runtime.EventExceptionThrown:
		add("a script failed: %s", ev.ExceptionDetails.Text)
		if ev.ExceptionDetails.Exception != nil {
			add("%s", ev.ExceptionDetails.Exception.Description)
		}
	}
}

// forgive takes back what the page did wrong that contains part: the test wants it.
func (b *tab) forgive(part string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wrong = slices.DeleteFunc(b.wrong, func(w string) bool { return strings.Contains(w, part) })
}

// do runs actions, in bounded time.
func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatalf("%v\nthe page says:\n%s", err, b.text("body"))
	}
}

// open goes to a page, whose address is given as seen from the root.
func (b *tab) open(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.url + path))
}

// eval evaluates an expression in the page.
func eval[T any](b *tab, js string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](js))
	if err != nil {
		b.t.Fatalf("%s: %v", js, err)
	}
	return v
}

// at waits until a page, whose address is given as seen from the root, has come
// and its script runs.
func (b *tab) at(path string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`location.href.split("?")[0] === %q && window.bothy`, b.url+path))
}

// text is what is shown of the first element that a selector finds, "" if there
// is none.
func (b *tab) text(selector string) string {
	return eval[string](b, fmt.Sprintf(`(document.querySelector(%q) || {innerText: ""}).innerText`, selector))
}

// until waits for an expression to become true. It may be asked while another
// page is loaded.
func (b *tab) until(js string) {
	b.t.Helper()
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for end := time.Now().Add(patience); ; <-pause.C {
		ctx, cancel := context.WithTimeout(b.ctx, patience)
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("!!("+js+")"))
		cancel()
		switch {
		case err == nil && ok:
			return
		case time.Now().After(end) || errors.Is(err, context.DeadlineExceeded):
			b.t.Fatalf("never true: %s (%v)\nthe page says:\n%s", js, err, b.text("body"))
		}
	}
}

// says waits until an element shows a text.
func (b *tab) says(selector, text string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`[...document.querySelectorAll(%q)].some((e) => e.innerText.includes(%q))`, selector, text))
}

// click clicks on the first element that a selector finds, when it is there and
// can be used.
func (b *tab) click(selector string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`(() => { const e = document.querySelector(%q); return e && !e.disabled && e.offsetParent; })()`, selector))
	b.do(chromedp.Click(chromedp.CSS(selector)))
}

// type_ writes into a field.
func (b *tab) type_(selector, text string) {
	b.t.Helper()
	b.do(chromedp.SendKeys(chromedp.CSS(selector), text))
}

// keys presses keys, one after the other.
func (b *tab) keys(keys string) {
	b.t.Helper()
	for _, k := range keys {
		b.do(chromedp.KeyEvent(string(k)))
	}
}

// looks sets the size of the window, in CSS pixels, and the colours that are
// preferred.
func (b *tab) looks(width, height int64, dark bool) {
	b.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	b.do(chromedp.EmulateViewport(width, height), func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return chromedp.Void{}, err
	})
}
