package web_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"bothy/runner"
	"bothy/runner/config"
)

// fleet is a configuration of idle local workers.
func fleet(names ...string) *config.Config {
	c := &config.Config{Builders: []config.Builder{builder("test", "true")}}
	for _, n := range names {
		c.Workers = append(c.Workers, config.Worker{Name: n, MaxBuilds: 1, Properties: map[string]any{"where": "attic-" + n}})
	}
	return c
}

// row is a selector of a worker's row.
func row(name string) string { return fmt.Sprintf(`tr[data-key=%q]`, name) }

// Actions go to all the workers that are chosen, with the reason; what came of
// them is said when it has happened, and buttons that make no sense are off.
func TestWorkerActions(t *testing.T) {
	r := newRig(t, fleet("w1", "w2", "w3"))
	b := r.tab()
	b.open("workers")
	b.says(row("w1"), "connected")
	b.until(`[...document.querySelectorAll("#act button[name=do]")].every((b) => b.disabled)`)
	b.click(row("w1") + " input")
	b.click(row("w2") + " input")
	b.says("[data-chosen]", "2 chosen")
	b.until(`document.querySelector("#act [value=unpause]").disabled && document.querySelector("#act [value=start]").disabled`)
	b.type_("#reason", "new <disk>")
	b.click("#act [value=pause]")
	b.says("#notes .note", "w1, w2: paused")
	b.says(row("w1"), "paused")
	b.says(row("w2"), "by ana: new <disk>")
	b.until(`!document.querySelector("#list input:checked") && document.querySelector("#reason").value === ""`)
	if s := b.text(row("w3")); strings.Contains(s, "paused") {
		t.Errorf("w3 was not chosen: %s", s)
	}

	b.click(row("w1") + " input")
	b.until(`document.querySelector("#act [value=pause]").disabled`)
	b.click("#act [value=unpause]")
	b.says("#notes .note", "w1: takes builds again")
	b.until(fmt.Sprintf(`!document.querySelector(%q).innerText.includes("paused")`, row("w1")))

	b.click(row("w1") + " input")
	b.click("#act [value=kill]")
	b.says("dialog[open]", "Force shutdown ends")
	b.click("dialog[open] button[value='']") // rather not
	b.until(`!document.querySelector("dialog[open]")`)
	b.click("#act [value=kill]")
	b.click("dialog[open] button[value=yes]")
	b.says("#notes .note", "w1: ended")
	b.says(row("w1"), "stopped")

	b.click(row("w1") + " input")
	b.click("#act [value=start]")
	b.says("#notes .note", "w1: started")
	b.says(row("w1"), "connected")

	b.click(row("w3") + " input")
	b.click("#act [value=stop]")
	b.says("#notes .note", "w3: ends when its builds have")
	b.says(row("w3"), "stopped")
}

// The page of a worker has the same actions, for it alone.
func TestWorkerPageActions(t *testing.T) {
	hold := newGate(t)
	c := fleet("w1")
	c.Builders = []config.Builder{builder("slow", hold.wait)}
	r := newRig(t, c)
	b := r.tab()
	b.open("workers/w1")
	r.submit(runner.Request{Builder: "slow"})
	b.says("#builds", "slow #1")
	b.until(`document.querySelector("#state [value=unpause]").disabled`)
	b.type_("#state [name=reason]", "swap")
	b.click("#state [value=pause]")
	b.says("#state", "paused")
	b.says("#state", "by ana: swap")
	b.says("#journal", "paused")
	b.until(`document.querySelector("#state [value=pause]").disabled`)
	b.click("#state [value=stop]")
	b.says("#state", "graceful")
	hold.open()
	b.says("#state", "stopped")
	b.says("#builds", "success")
	b.says("#usage", "slow")
	b.click("#state [value=start]")
	b.says("#state", "connected")
}

// A worker that is quarantined shows until when, why, and the build that was the
// reason.
func TestQuarantine(t *testing.T) {
	c := fleet("w1")
	bad := config.Builder{Name: "bad", MaxRetries: config.Off, Steps: []config.Step{config.Shell("true")}}
	bad.Source = config.Source{Kind: config.SourceGit, URL: "file:///nowhere/at/all.git"}
	c.Builders = append(c.Builders, bad)
	r := newRig(t, c)
	b := r.tab()
	b.open("")
	b.says("#care", "are well")
	q := r.submit(runner.Request{Builder: "bad"})
	b.says("#care", "quarantined")
	b.until(`document.querySelector("#care time[data-left]")`)
	b.open("workers/w1")
	b.says("#quarantines", "bad #1")
	b.says("#state", "quarantined")
	b.click("#state [value=unpause]")
	b.until(`!document.querySelector("#state").innerText.includes("quarantined")`)
	if err := q.Cancel(t.Context(), "enough"); err != nil {
		t.Log("it has ended already:", err)
	}
}

func TestWorkerSearch(t *testing.T) {
	r := newRig(t, fleet("oak", "ash", "elm"))
	b := r.tab()
	b.open("workers")
	b.says("#list", "3 workers")
	b.keys("/")
	b.until(`document.activeElement.id === "q"`)
	eval[string](b, `document.activeElement.value = ""`) // the key that a script has taken is typed all the same here
	b.keys("attic-ash")
	b.says("#list", "1 of 3")
	b.until(`!document.querySelector('tr[data-key="oak"]') && document.querySelector('tr[data-key="ash"]')`)
	b.until(`document.activeElement.id === "q" && location.search === "?q=attic-ash"`)
	if _, page := r.get("workers?q=nothing+like+it"); !strings.Contains(page, "No worker fits") {
		t.Error("a search that finds nothing does not say so")
	}
}

// A thousand workers are shown a hundred at a time.
func TestManyWorkers(t *testing.T) {
	c := &config.Config{Builders: []config.Builder{builder("test", "true")}, Workers: []config.Worker{{Name: "w", Count: 250}}}
	r := newRig(t, c)
	b := r.tab()
	b.open("workers")
	b.says("#list", "250 workers")
	if n := eval[int](b, `document.querySelectorAll("#list .row").length`); n != 100 || !strings.Contains(b.text("#list"), "Next workers") {
		t.Errorf("%d rows on the first page", n)
	}
	if _, page := r.get("workers?from=200"); strings.Count(page, `class="row name"`) != 50 || strings.Contains(page, "Next workers") {
		t.Error("the last page is not the rest")
	}
}

// Whoever may only look sees what could be done, and why not by them; a form
// that is sent all the same changes nothing.
func TestRoles(t *testing.T) {
	r := newRig(t, fleet("w1"))
	r.as.set("vic", config.Viewer)
	b := r.tab()
	b.open("workers")
	b.says("#act", "vic is a viewer; this takes the role operator")
	b.until(`document.querySelector("#act fieldset").disabled`)
	b.open("workers/w1")
	b.says("#state", "vic is a viewer")
	b.until(`document.querySelector("#state [value=pause]").matches(":disabled")`)
	form := url.Values{"do": {"pause"}, "worker": {"w1"}}
	script := func(q *http.Request) { q.Header.Set("X-Bothy", "act") }
	for _, path := range []string{"workers", "workers/w1"} {
		if resp, body := r.post(path, form, script); resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "vic is a viewer") {
			t.Errorf("%s: %s %s", path, resp.Status, body)
		}
	}
	if _, page := r.get("workers/w1"); strings.Contains(page, "paused") {
		t.Error("a viewer has paused a worker")
	}
	r.as.set("olga", config.Operator)
	if resp, body := r.post("workers", form, script); resp.StatusCode != http.StatusOK || !strings.Contains(body, "w1: paused") {
		t.Errorf("%s %s", resp.Status, body)
	}
}

// What a form asks for that cannot be is answered with the reason.
func TestWrongForms(t *testing.T) {
	r := newRig(t, fleet("w1"))
	script := func(q *http.Request) { q.Header.Set("X-Bothy", "act") }
	for name, c := range map[string]struct {
		path   string
		form   url.Values
		edit   func(*http.Request)
		status int
		says   string
	}{
		"nothing chosen":   {"workers", url.Values{"do": {"pause"}}, nil, 400, "no worker is chosen"},
		"unknown worker":   {"workers", url.Values{"do": {"pause"}, "worker": {"<b>"}}, nil, 404, "&lt;b&gt;"},
		"unknown action":   {"workers", url.Values{"do": {"dance"}, "worker": {"w1"}}, nil, 400, "knows no &#34;dance&#34;"},
		"senseless":        {"workers/w1", url.Values{"do": {"start"}}, nil, 200, "w1: started"},
		"of another site":  {"workers/w1", url.Values{"do": {"pause"}}, func(q *http.Request) { q.Header.Set("Origin", "http://evil.example.com") }, 400, "invalid origin"},
		"from another tab": {"workers/w1", url.Values{"do": {"pause"}}, func(q *http.Request) { q.Header.Set("Sec-Fetch-Site", "cross-site") }, 400, "invalid origin"},
		"too large":        {"workers", url.Values{"do": {"pause"}, "worker": {"w1"}, "reason": {strings.Repeat("x", 2<<20)}}, nil, 413, "larger"},
		"bad address":      {"workers", url.Values{"do": {"testmail"}, "to": {"not an address"}}, nil, 400, "is not an address"},
	} {
		t.Run(name, func(t *testing.T) {
			edit := func(q *http.Request) {
				script(q)
				if c.edit != nil {
					c.edit(q)
				}
			}
			if resp, body := r.post(c.path, c.form, edit); resp.StatusCode != c.status || !strings.Contains(body, c.says) {
				t.Errorf("%s %.300s, want %d with %q", resp.Status, body, c.status, c.says)
			}
		})
	}
	if _, page := r.get("workers/w1"); strings.Contains(page, `class="mark paused"`) {
		t.Error("something has paused the worker")
	}
}
