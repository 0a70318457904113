package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"bothy/runner"
	"bothy/runner/config"
)

// evil is what everything is called here that may be called anything.
const evil = `<script>alert(1)</script>`

// shown are all pages of the rig that busy makes.
var shown = []struct {
	name, path string
	ready      string // a selector that must find something
}{
	{"home", "", "#running .row"},
	{"workers", "workers", "#list .row"},
	{"worker", "workers/bot1", "h1"},
	{"builders", "builders", "#list .row"},
	{"builder", "builders/quick", "#history .row"},
	{"waiting-builder", "builders/solaris", "#waiting .row"},
	{"build", "builders/lint/builds/1", "#failed:not([hidden])"},
	{"running-build", "builders/test/builds/1", "#steps .out"},
	{"requests", "requests", "#waiting .row"},
	{"schedulers", "schedulers", "#list .row"},
	{"settings", "settings", "#all dl"},
	{"journal", "journal", "#list tr"},
	{"log", "builders/lint/builds/1/steps/1/logs/stdio", "#lv[data-ready] .r"},
	{"running-log", "builders/test/builds/1/steps/2/logs/stdio?times=absolute", "#lv[data-ready] .r"},
	{"found-in-log", "builders/lint/builds/1/steps/1/logs/stdio?q=script", "#lv[data-ready] mark"},
	{"build-log", "builders/lint/builds/1/log", "#lv[data-ready] .r"},
	{"log-line", "builders/lint/builds/1/steps/1/logs/stdio/line?from=3", "h1"},
}

// busy is a rig in which everything that pages show is there: builds that run,
// wait, went well and broke; workers that are well, paused, quarantined and
// missing. The gate lets what runs end.
func busy(t testing.TB) (*rig, gate) {
	t.Helper()
	hold := newGate(t)
	r := newRig(t, &config.Config{
		Title: "Croft CI",
		Workers: []config.Worker{
			{Name: "bot1", MaxBuilds: 2, Properties: map[string]any{"os": "debian", "note": evil}, DefaultProperties: map[string]any{"parallel_make": 10}},
			{Name: "bot2", MaxBuilds: 2},
			{Name: "bot-solaris", Kind: config.WorkerRemote, Remote: config.RemoteWorker{
				Password: config.Secret{Text: "0123456789abcdef0123456789abcdef"}, NotifyOnMissing: []string{"bob@example.com"},
			}},
		},
		Remote: config.Remote{Listen: "127.0.0.1:0"},
		Schedulers: []config.Scheduler{{Name: "release", Kind: config.SchedulerForce, Builders: []string{"quick", "test"}, Force: config.Force{
			Label: evil, Parameters: []config.Parameter{
				{Name: "version", Required: true, Tooltip: evil},
				{Name: "sign", Type: config.ParameterBool, Default: true},
				{Name: "level", Type: config.ParameterChoice, Choices: []string{"patch", evil}, Default: "patch"},
				{Name: "notes", Type: config.ParameterText},
			},
		}}},
		Builders: []config.Builder{
			builder("test", "echo vet", "echo '"+evil+"'; "+hold.wait),
			builder("lint", "echo linting; echo '"+evil+"' >&2; exit 1"),
			builder("quick", "echo one", "echo two"),
			{Name: "solaris", NoCollapse: true, Workers: []string{"bot-solaris"}, Steps: []config.Step{config.Shell("true")}, Tags: []string{evil, "slow"}, Description: evil},
		},
	})
	for range 3 {
		r.build(runner.Request{Builder: "quick", Reason: "nightly"})
	}
	r.build(runner.Request{Builder: "lint", Reason: evil})
	r.submit(runner.Request{Builder: "test", Reason: evil, Branch: evil, Worker: "bot1"})
	r.submit(runner.Request{Builder: "solaris", Reason: evil})
	resp, body := r.post("workers", url.Values{"do": {"pause"}, "worker": {"bot2"}, "reason": {evil}})
	if resp.StatusCode != http.StatusSeeOther {
		t.Fatalf("pause: %s %s", resp.Status, body)
	}
	return r, hold
}

// Every page, as it looks: on a phone and on a desk, light and dark. With
// BOTHY_SHOTS the pictures are left there. Nothing of it needs a sideways
// scroll, even where there are 320 pixels only.
func TestLooks(t *testing.T) {
	r, hold := busy(t)
	defer hold.open()
	dir := os.Getenv("BOTHY_SHOTS")
	b := r.tab()
	for _, p := range shown {
		for _, size := range []struct {
			name          string
			width, height int64
		}{{"narrow", 320, 640}, {"phone", 390, 844}, {"desk", 1280, 900}, {"wide", 3840, 2160}} {
			for _, dark := range []bool{false, true} {
				b.looks(size.width, size.height, dark)
				b.open(p.path)
				b.until(fmt.Sprintf("document.querySelector(%q)", p.ready))
				if over := eval[int](b, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); over > 0 {
					t.Errorf("%s at %d pixels is %d pixels too wide: %s", p.name, size.width, over, eval[string](b, widest))
				}
				if dir == "" || size.name == "narrow" || size.name == "wide" && dark {
					continue
				}
				scheme := map[bool]string{false: "light", true: "dark"}[dark]
				b.shot(filepath.Join(dir, p.name+"-"+size.name+"-"+scheme+".png"))
			}
		}
	}
}

// widest names what reaches furthest to the right.
const widest = `[...document.querySelectorAll("main *")].map((e) => [e.getBoundingClientRect().right, e.outerHTML.slice(0, 120)]).sort((a, b) => b[0] - a[0])[0].join(" ")`

func (b *tab) shot(file string) {
	b.t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(file, png, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// What people and programs call things is text on every page, wherever it is.
func TestNothingIsMarkup(t *testing.T) {
	r, hold := busy(t)
	defer hold.open()
	b := r.tab()
	seen := 0
	for _, p := range shown {
		b.open(p.path)
		b.until(fmt.Sprintf("document.querySelector(%q)", p.ready))
		if n := eval[int](b, `[...document.scripts].filter((s) => !s.src).length`); n != 0 {
			t.Errorf("%s: %d scripts are in the page itself", p.name, n)
		}
		if n := eval[int](b, `document.querySelectorAll("[style]:not(.lv-log *)").length`); n != 0 {
			t.Errorf("%s: %d elements have a style of their own", p.name, n)
		}
		if strings.Contains(b.text("body"), evil) {
			seen++
		}
	}
	if seen < 3 {
		t.Errorf("only %d pages show what is called %s", seen, evil)
	}
}

// No page has serious faults by axe-core, in light and in dark.
func TestAxe(t *testing.T) {
	axe := axeCore(t)
	r, hold := busy(t)
	defer hold.open()
	b := r.tab()
	for _, p := range shown {
		for _, dark := range []bool{false, true} {
			for _, width := range []int64{390, 1280} {
				b.looks(width, 900, dark)
				b.open(p.path)
				b.until(fmt.Sprintf("document.querySelector(%q)", p.ready))
				for _, f := range b.axe(axe) {
					t.Errorf("%s at %d, dark %v: %s", p.name, width, dark, f)
				}
			}
		}
	}
}

// Nor have the login, the list of keys, and what asks before something is done.
func TestAxeElsewhere(t *testing.T) {
	axe := axeCore(t)
	r := serve(t, guarded(t, "ana"))
	b := r.tab()
	look := func(what string) {
		t.Helper()
		for _, f := range b.axe(axe) {
			t.Errorf("%s: %s", what, f)
		}
	}
	b.open("login")
	look("login")
	b.type_("[name=user]", "ana")
	b.type_("[name=password]", "correct horse")
	b.click(".login .primary")
	b.at("")
	b.keys("?")
	b.says("#keymap[open]", "next, previous row")
	look("list of keys")
	b.open("workers")
	b.says("#list", "w1")
	b.click(row("w1") + " input")
	look("a worker is chosen")
	b.click("#act [value=kill]")
	b.says("dialog[open]", "Force shutdown")
	look("question")
	b.open("nothing/here")
	look("no page")
	b.forgive("404")
}

// axe returns what axe-core finds wrong with the page.
func (b *tab) axe(source string) []string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[any](source+"; null")); err != nil {
		b.t.Fatal(err)
	}
	const run = `axe.run(document, {resultTypes: ["violations"]}).then((r) => r.violations
		.filter((v) => v.impact === "serious" || v.impact === "critical")
		.map((v) => v.impact + " " + v.id + ": " + v.nodes.slice(0, 3).map((n) => n.html + " " + n.failureSummary).join("; ")))`
	found, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](run, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatal(err)
	}
	return found
}

// axeCore is the program text of axe-core, installed as the lock file says.
func axeCore(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("npm"); err != nil {
		missing(t, "npm is needed to install axe-core")
	}
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json"} {
		data, err := os.ReadFile(filepath.Join("testdata", "axe", name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte(`"resolved"`)) {
			t.Error("the lock file names a registry: npm install --omit-lockfile-registry-resolved")
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		missing(t, "axe-core cannot be installed: %v\n%s", err, out)
	}
	source, err := os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}

// maxWeight is what a page may weigh with all it needs, as it is transferred.
const maxWeight = 60 << 10

// Every page comes with the policy, and weighs little; nothing but it and what
// it names is loaded before it is shown.
func TestWeight(t *testing.T) {
	r, hold := busy(t)
	defer hold.open()
	zipped := func(q *http.Request) { q.Header.Set("Accept-Encoding", "gzip") }
	for _, p := range shown {
		resp, page := r.get(p.path)
		if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", p.name, csp)
		}
		here, err := url.Parse(r.url + p.path)
		if err != nil {
			t.Fatal(err)
		}
		_, packed := r.get(p.path, zipped)
		weight := len(packed)
		parts := map[string]int{"page": weight}
		for _, m := range regexp.MustCompile(`(?:src|href|data-worker)="([^"]*\bstatic/[^"]+)"`).FindAllStringSubmatch(page, -1) {
			from := here
			if strings.HasPrefix(m[0], "data-worker") { // as seen from the root
				if from, err = url.Parse(r.url); err != nil {
					t.Fatal(err)
				}
			}
			u, err := from.Parse(html.UnescapeString(m[1]))
			if err != nil {
				t.Fatal(err)
			}
			at, ok := strings.CutPrefix(u.String(), r.url)
			if !ok {
				t.Errorf("%s: %s is not below %s", p.name, u, r.url)
				continue
			}
			resp, body := r.get(at, zipped)
			if resp.StatusCode != http.StatusOK || !strings.Contains(resp.Header.Get("Cache-Control"), "immutable") {
				t.Errorf("%s: %s %q", at, resp.Status, resp.Header.Get("Cache-Control"))
			}
			parts[m[1]] = len(body)
			weight += len(body)
		}
		parts["all"] = weight
		text, err := json.Marshal(parts)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %s", p.name, text)
		if weight > maxWeight {
			t.Errorf("%s weighs %d bytes, at most %d are allowed", p.name, weight, maxWeight)
		}
	}
}
