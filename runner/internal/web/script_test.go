package web_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"bothy/runner"
	"bothy/runner/config"
	"bothy/runner/internal/web"
	"bothy/runner/worker"
)

// The script writes times as the server does.
func TestTimesAgree(t *testing.T) {
	r := newRig(t, fleet("w"))
	b := r.tab()
	b.open("")
	durations := []time.Duration{
		-time.Second, 0, time.Millisecond, 40 * time.Millisecond, 950 * time.Millisecond, time.Second, 4999 * time.Millisecond, 9950 * time.Millisecond, 10 * time.Second,
		59999 * time.Millisecond, time.Minute, 61 * time.Second, 3599 * time.Second, time.Hour, time.Hour + time.Second, 25*time.Hour + 3*time.Minute, 47*time.Hour + 59*time.Minute,
		48 * time.Hour, 100 * 24 * time.Hour,
	}
	var ms []int64
	for _, d := range durations {
		ms = append(ms, d.Milliseconds())
	}
	in, err := json.Marshal(ms)
	if err != nil {
		t.Fatal(err)
	}
	got := eval[[][]string](b, string(in)+`.map((ms) => [bothy.took(ms), bothy.ago(ms), bothy.left(ms)])`)
	for i, d := range durations {
		for j, want := range []string{web.Took(d), web.AgoText(d), worker.Countdown(d)} {
			if got[i][j] != want {
				t.Errorf("%s: the script writes %q, the server %q", d, got[i][j], want)
			}
		}
	}
}

// counted counts requests by their paths below the prefix.
type counted struct {
	mu   sync.Mutex
	open map[string]int // now
	all  map[string]int
	h    http.Handler
}

func (c *counted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	count := func(n int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.open[r.URL.Path] += n
		c.all[r.URL.Path] += max(n, 0)
	}
	count(1)
	defer count(-1)
	c.h.ServeHTTP(w, r)
}

func (c *counted) get(path string) (open, all int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open[path], c.all[path]
}

// However many tabs of a browser are open, one stream tells them all.
func TestOneStream(t *testing.T) {
	r := newRig(t, fleet("w1"))
	c := &counted{open: map[string]int{}, all: map[string]int{}, h: http.StripPrefix(strings.TrimSuffix(prefix, "/"), r.Handler())}
	srv := httptest.NewServer(c)
	t.Cleanup(srv.Close)
	r.url = srv.URL + prefix
	tabs := []*tab{r.tab()}
	for range 3 {
		tabs = append(tabs, tabs[0].another())
	}
	for i, b := range tabs {
		b.open([]string{"", "workers", "workers/w1", "workers"}[i])
		b.says("#live", "live")
	}
	if open, all := c.get(prefix + "live"); open != 1 || all != 1 {
		t.Errorf("%d streams are open, %d were opened", open, all)
	}
	r.post("workers", url.Values{"do": {"pause"}, "worker": {"w1"}, "reason": {"everywhere"}})
	front(tabs[0])
	tabs[0].says("#care", "everywhere")
	for _, b := range tabs[1:] { // each catches up when somebody looks at it
		front(b)
		b.says("main", "everywhere")
	}
	// Who leaves and comes back hears the same stream.
	tabs[3].open("")
	tabs[3].says("#live", "live")
	if open, _ := c.get(prefix + "live"); open != 1 {
		t.Errorf("%d streams are open", open)
	}
}

// front brings a tab to the front: one that nobody sees asks for nothing.
func front(b *tab) {
	b.t.Helper()
	b.do(func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
		return chromedp.Void{}, err
	})
}

// What changes on a page leaves alone what a person is doing: what they typed,
// where they are, what they have marked and opened.
func TestUpdatesDisturbNobody(t *testing.T) {
	r := newRig(t, fleet("w1", "w2"))
	b := r.tab()
	b.open("workers/w1")
	b.says("#live", "live")
	b.click("#state [name=reason]")
	b.keys("half a sen")
	eval[bool](b, `(() => {
		const h = document.querySelector("#settings h2");
		getSelection().selectAllChildren(h);
		window.before = document.querySelector("#state [name=reason]");
		return true;
	})()`)
	r.post("workers", url.Values{"do": {"pause"}, "worker": {"w1"}})
	b.says("#state", "paused")
	b.until(`document.querySelector("#state [name=reason]") === window.before && window.before.value === "half a sen"`)
	b.until(`getSelection().toString() === "Configuration as loaded"`)
	b.do(chromedp.Focus(chromedp.CSS("#state [name=reason]")))
	r.post("workers", url.Values{"do": {"unpause"}, "worker": {"w1"}})
	b.until(`!document.querySelector("#state").innerText.includes("paused")`)
	b.until(`document.activeElement === window.before && window.before.value === "half a sen"`)
}

// A stream that broke comes back by itself, and what was missed is caught up
// with.
func TestStreamComesBack(t *testing.T) {
	r := newRig(t, fleet("w1"))
	srv := r.mount()
	b := r.tab()
	b.open("workers/w1")
	b.says("#live", "live")
	srv.CloseClientConnections()
	r.submit(runner.Request{Builder: "test"})
	b.says("#builds", "test #1")
	b.says("#live", "live")
	b.forgive("net::ERR")
}

// Without script a form leads back to its page, which says what came of it.
func TestWithoutScript(t *testing.T) {
	r := newRig(t, fleet("w1", "w2"))
	b := r.tab()
	b.do(func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return chromedp.Void{}, err
	})
	b.open("workers?q=w")
	b.click(row("w2") + " input")
	b.type_("#reason", "by hand")
	b.click("#act [value=pause]")
	b.says("#notes .note", "w2: paused")
	b.says(row("w2"), "by hand")
	b.until(`location.search.includes("q=w")`)
	b.open("workers/w2")
	b.click("#state [value=unpause]")
	b.says("#notes .note", "w2: takes builds again")
}

// The keyboard leads everywhere, and the list of keys says so.
func TestKeyboard(t *testing.T) {
	r := newRig(t, fleet("w1", "w2"))
	b := r.tab()
	b.open("")
	b.keys("?")
	b.says("#keymap[open]", "next, previous row")
	b.do(chromedp.KeyEvent("\x1b"))
	b.until(`!document.querySelector("dialog[open]")`)
	b.keys("gw")
	b.at("workers")
	b.keys("j")
	b.until(`document.activeElement.textContent === "w1"`)
	b.keys("jx")
	b.until(`document.activeElement.closest("tr").querySelector("input").checked`)
	b.says("[data-chosen]", "1 chosen")
	b.keys("kj")
	b.until(`document.activeElement.closest("tr").dataset.key === "w2"`)
	eval[bool](b, `document.querySelector(".row").focus(), true`)
	b.do(chromedp.KeyEvent("\r"))
	b.at("workers/w1")
	b.keys("u")
	b.at("workers")
	b.keys("gh")
	b.at("")
	if first := eval[string](b, `document.querySelector("a,button").className`); first != "skip" {
		t.Errorf("the first thing to come to is %q, want the link to the content", first)
	}
}

// A configuration that is loaded anew shows itself.
func TestReload(t *testing.T) {
	c := fleet("w1")
	r := newRig(t, c)
	b := r.tab()
	b.open("workers")
	b.says("#list", "1 worker")
	next := fleet("w1", "w2")
	next.Dir, next.Builders[0].Source.Kind = c.Dir, config.SourceNone
	if _, err := r.Reload(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	b.says("#list", "w2")
}
