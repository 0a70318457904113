package web_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"bothy/runner"
	"bothy/runner/config"
)

// inSight is true when the row of a line can be seen in the log.
func inSight(id string) string {
	return fmt.Sprintf(`(() => { const r = document.getElementById(%q), b = document.querySelector(".lv-log"); if (!r) return false;
		const a = r.getBoundingClientRect(), z = b.getBoundingClientRect(); return a.top >= z.top - 1 && a.bottom <= z.bottom + 1; })()`, id)
}

// contiguous is true when the rows that are in the page are all there, in order,
// and in sight without a hole.
const contiguous = `(() => { const b = document.querySelector(".lv-log").getBoundingClientRect();
	const rows = [...document.querySelectorAll(".lv-log .r[id]")].filter((r) => { const a = r.getBoundingClientRect(); return a.bottom > b.top && a.top < b.bottom; });
	const n = rows.map((r) => +r.id.split("L").pop());
	return rows.length > 5 && n.every((x, i) => !i || x === n[i - 1] + 1) &&
		rows.every((r, i) => !i || Math.abs(r.getBoundingClientRect().top - rows[i - 1].getBoundingClientRect().bottom) < 1) &&
		rows[0].getBoundingClientRect().top <= b.top + 2 })()`

const ready = `document.querySelector("#lv").dataset.ready`

// A log with more lines than a browser has pixels for: every place of it can be
// come to, by scrolling, by address, by key, by search.
func TestLogInTheBrowser(t *testing.T) {
	r := newRig(t, &config.Config{Builders: []config.Builder{builder("big", `seq -f 'line %.0f' 1 500000; printf 'main.c:7: \033[1;31merror\033[0m: expected ;\n' >&2; seq -f 'tail %.0f' 1 5000`)}})
	r.build(runner.Request{Builder: "big"})
	const at = "builders/big/builds/1/steps/1/logs/stdio"
	b := r.tab()
	b.looks(1280, 800, false)
	b.open(at)
	b.until(ready)
	b.until(inSight("L1"))
	b.until(contiguous)
	b.keys("G")
	b.says(".lv-where", "of 505")
	b.until(`document.querySelector(".lv-log").innerText.includes("tail 5000")`)
	b.until(contiguous)
	b.keys("k")
	b.until(contiguous)
	for _, share := range []string{"0.5", "0.123", "0.999", "0.0001", "0"} { // the scroll bar
		eval[any](b, `(() => { const l = document.querySelector(".lv-log"); l.scrollTop = l.scrollHeight * `+share+`; return null; })()`)
		b.until(contiguous)
		b.until(`document.elementFromPoint(400, 400)?.closest(".r[id]")`)
		line := eval[float64](b, `+document.elementFromPoint(400, 400).closest(".r").id.slice(1)`)
		if want := 505000 * eval[float64](b, share); line < want-6000 || line > want+6000 {
			t.Errorf("at %s of the scroll bar is line %v", share, line)
		}
	}
	// Many small steps are exact, and come to the beginning.
	b.until(inSight("L1"))
	for range 40 {
		eval[any](b, `(() => { document.querySelector(".lv-log").scrollBy(0, 250); return null; })()`)
		b.until(contiguous)
	}
	if line := eval[float64](b, `+document.elementFromPoint(400, 400).closest(".r").id.slice(1)`); line < 540 || line > 580 {
		t.Errorf("10,000 pixels further down is line %v", line)
	}
	for range 60 { // the browser joins steps that it has not told of; no step may be wider than what is above
		eval[any](b, `(() => { window.told = false; document.querySelector(".lv-log").scrollBy(0, -250); requestAnimationFrame(() => { window.told = true; }); return null; })()`)
		b.until("window.told")
	}
	b.until(inSight("L1"))

	b.open(at + "#L250000-L250004")
	b.until(`document.querySelectorAll(".r.chosen").length === 5`)
	b.until(inSight("L250004"))
	b.until(contiguous)

	b.open(at)
	b.until(ready)
	b.keys("/")
	b.until(`document.activeElement.id === "q"`)
	eval[string](b, `document.activeElement.value = ""`) // what is typed by the protocol is typed even if the page takes the key
	b.type_("#q", "line 7777\r")
	b.says(".lv-state", "1 of 11 lines match")
	b.until(inSight("L7778")) // line 1 is the command
	b.says("#L7778 mark", "line 7777")
	b.do(chromedp.Click(chromedp.CSS("[data-do=wrap]"))) // away from the field
	b.keys("n")
	b.says(".lv-state", "2 of 11")
	b.until(inSight("L77771"))
	b.keys("NN")
	b.says(".lv-state", "11 of 11")
	b.until(contiguous)
	b.until(`new URL(location).searchParams.get("q") === "line 7777"`)
	b.keys("w")

	b.keys("e")
	b.says(".lv-state", "looks like the first error")
	b.until(`document.querySelector(".r.chosen.err") && document.querySelector(".r.chosen .f1.sb")`)
	b.keys("t")
	b.until(`document.querySelector(".t-relative")`)
	b.keys("t")
	b.until(`/^\d\d:\d\d:\d\d\.\d\d\d$/.test(document.querySelector(".r time").textContent)`)

	// What is read stays when lines are wrapped and the window gets narrow.
	b.keys("w")
	eval[any](b, `(() => { const l = document.querySelector(".lv-log"); l.scrollTop = l.scrollHeight / 3; return null; })()`)
	b.until(contiguous)
	first := eval[string](b, `document.elementFromPoint(200, document.querySelector(".lv-log").getBoundingClientRect().top + 4).closest(".r").id`)
	b.looks(400, 800, false)
	b.until(`document.elementFromPoint(200, document.querySelector(".lv-log").getBoundingClientRect().top + 4).closest(".r").id === "` + first + `"`)
	b.looks(1280, 800, false)
	b.keys("w")

	// A range by clicks, copied.
	b.keys("g")
	b.until(inSight("L3"))
	eval[any](b, `(() => { const click = (n, o) => document.querySelector("#L" + n + " .n").dispatchEvent(new MouseEvent("click", Object.assign({bubbles: true, cancelable: true}, o)));
		click(3); click(6, {shiftKey: true}); return null; })()`)
	b.until(`location.hash === "#L3-L6" && document.querySelectorAll(".r.chosen").length === 4`)
	eval[any](b, `(() => { navigator.clipboard.writeText = async (t) => { window.copied = t; }; return null; })()`)
	b.keys("c")
	b.until(`window.copied === "line 2\nline 3\nline 4\nline 5\n"`)
	b.keys("?")
	b.says("#keymap", "first error")
}

// Following lets go when one scrolls up, and takes hold again at the end.
func TestFollowInTheBrowser(t *testing.T) {
	one, two := newGate(t), newGate(t)
	r := newRig(t, &config.Config{Builders: []config.Builder{builder("slow",
		"seq -f 'first %g' 1 300; "+one.wait+"; seq -f 'second %g' 1 300; "+two.wait+"; echo the end", "echo other step")}})
	q := r.submit(runner.Request{Builder: "slow"})
	const at = "builders/slow/builds/1/steps/1/logs/stdio"
	for end := time.Now().Add(patience); ; {
		if _, page := r.get(at); strings.Contains(page, "first 300") {
			break
		} else if time.Now().After(end) {
			t.Fatal("the build never begins")
		}
	}
	b := r.tab()
	b.looks(1280, 800, true)
	b.open(at)
	b.until(ready)
	whole := b.another()
	whole.open("builders/slow/builds/1/log")
	front(b)
	front(whole)
	follows := `document.querySelector("[data-do=follow]").getAttribute("aria-pressed") === "true"`
	b.until(follows)
	b.until(inSight("L301"))
	b.keys("kkkkkk")
	b.until("!(" + follows + ")")
	top := eval[string](b, `document.elementFromPoint(400, 400).closest(".r").id`)
	one.open()
	b.says(".lv-where", "of 601")
	b.until(`document.querySelector("#L302")`)
	if now := eval[string](b, `document.elementFromPoint(400, 400).closest(".r").id`); now != top {
		t.Errorf("who reads %s sees %s when more comes", top, now)
	}
	b.keys("G")
	b.until(follows)
	b.until(inSight("L601"))
	b.until(contiguous)
	two.open()
	r.wait(q)
	b.says(".lv-log", "the end")
	b.says(".lv-state", "finished")
	whole.says(".lv-state", "the build is finished")
	whole.says(".lv-log", "other step")
	whole.until(inSight("S2-stdio-L2"))
}

// A stream that is cut is opened again where it was; nothing is missing, nothing
// comes twice, and the end is the end.
func TestFollowReconnects(t *testing.T) {
	more := newGate(t)
	r := newRig(t, &config.Config{Builders: []config.Builder{builder("slow",
		"for i in $(seq 1 40); do echo line $i; printf half; sleep 0.05; echo; done; "+more.wait+"; echo the end")}})
	h := http.StripPrefix(strings.TrimSuffix(prefix, "/"), r.Handler())
	var streams atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.HasSuffix(q.URL.Path, "/follow") && streams.Add(1) <= 4 {
			ctx, cancel := context.WithTimeout(q.Context(), 400*time.Millisecond) // cuts it
			defer cancel()
			q = q.WithContext(ctx)
		}
		h.ServeHTTP(w, q)
	}))
	t.Cleanup(srv.Close)
	r.url = srv.URL + prefix
	q := r.submit(runner.Request{Builder: "slow"})
	const at = "builders/slow/builds/1/steps/1/logs/stdio"
	b := r.tab()
	for end := time.Now().Add(patience); ; {
		if resp, _ := r.get(at); resp.StatusCode == http.StatusOK {
			break
		} else if time.Now().After(end) {
			t.Fatal("the build never begins")
		}
	}
	b.open(at)
	b.until(ready)
	front(b)
	b.says(".lv-log", "line 40")
	more.open()
	r.wait(q)
	b.says(".lv-state", "finished")
	b.says(".lv-log", "the end")
	if n := streams.Load(); n < 2 {
		t.Errorf("%d streams", n)
	}
	b.keys("g")
	b.until(inSight("L1"))
	b.until(`[...document.querySelectorAll(".lv-log .r code")].map((c) => c.textContent).slice(1, 81).join() === Array.from({length: 80}, (_, i) => i % 2 ? "half" : "line " + (i / 2 + 1)).join()`)
}

// Lines that the master refuses are not asked for again and again.
func TestRefusedLinesInTheBrowser(t *testing.T) {
	r := newRig(t, &config.Config{Builders: []config.Builder{builder("b", "seq 1 5000")}})
	r.build(runner.Request{Builder: "b"})
	h := http.StripPrefix(strings.TrimSuffix(prefix, "/"), r.Handler())
	var mu sync.Mutex
	asked := map[string]int{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.HasSuffix(q.URL.Path, "/lines") {
			mu.Lock()
			asked[q.URL.Query().Get("from")]++
			mu.Unlock()
			http.Error(w, "this log is no longer kept", http.StatusNotFound)
			return
		}
		h.ServeHTTP(w, q)
	}))
	t.Cleanup(srv.Close)
	r.url = srv.URL + prefix
	b := r.tab()
	b.open("builders/b/builds/1/steps/1/logs/stdio")
	b.until(ready)
	b.keys("G")
	b.says(".lv-state", "no longer kept")
	for range 20 {
		eval[any](b, `(() => { window.told = false; document.querySelector(".lv-log").scrollBy(0, -10); requestAnimationFrame(() => { window.told = true; }); return null; })()`)
		b.until("window.told")
	}
	b.forgive("404")
	mu.Lock()
	defer mu.Unlock()
	for from, n := range asked {
		if n > 2 {
			t.Errorf("lines from %s on are asked for %d times", from, n)
		}
	}
}

// Without script the same pages have links to all there is.
func TestLogWithoutScriptInTheBrowser(t *testing.T) {
	r := newRig(t, &config.Config{Builders: []config.Builder{builder("b", "seq -f 'line %g' 1 1000; echo '"+evil+"'")}})
	r.build(runner.Request{Builder: "b"})
	b := r.tab()
	b.do(func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return chromedp.Void{}, err
	})
	b.open("builders/b/builds/1/steps/1/logs/stdio")
	b.says("#L300", "line 299")
	b.do(chromedp.Click(chromedp.CSS(`.lv-pages a[href*="from=801"]`)))
	b.says("#L1002", evil)
	b.type_("#q", "line 77\r")
	b.says("#found h2", "11 lines")
	b.do(chromedp.Click(chromedp.CSS("#found-L771 .n")))
	b.says("#L771:target mark", "line 77")
}

// The log as it is, and as a file, is where the page says.
func TestRawLogIsLinked(t *testing.T) {
	r := newRig(t, &config.Config{Builders: []config.Builder{builder("b", "printf 'a\\rb\\033[1mc\\n'")}})
	r.build(runner.Request{Builder: "b"})
	const at = "builders/b/builds/1/steps/1/logs/stdio"
	_, page := r.get(at)
	here, err := url.Parse(r.url + at)
	if err != nil {
		t.Fatal(err)
	}
	links := regexp.MustCompile(`href="([^"]*api/v2/logs/\d+/raw[^"]*)"`).FindAllStringSubmatch(page, -1)
	if len(links) != 2 {
		t.Fatalf("%d links", len(links))
	}
	for _, m := range links {
		to, err := here.Parse(m[1])
		if err != nil {
			t.Fatal(err)
		}
		resp, body := r.get(strings.TrimPrefix(to.String(), r.url))
		if resp.StatusCode != http.StatusOK || !strings.Contains(body, "a\rb\x1b[1mc\n") {
			t.Errorf("%s: %s %q", to, resp.Status, body)
		}
	}
}
