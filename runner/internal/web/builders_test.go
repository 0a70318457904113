package web_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"bothy/runner"
	"bothy/runner/build"
	"bothy/runner/config"
)

// release is a master with one builder and a form to force it.
func release(t *testing.T) *rig {
	t.Helper()
	return newRig(t, &config.Config{
		Builders: []config.Builder{builder("test", "echo version %(prop:version)s sign %(prop:sign)s level %(prop:level)s")},
		Schedulers: []config.Scheduler{{Name: "release", Kind: config.SchedulerForce, Builders: []string{"test"}, Force: config.Force{
			Label: "Release by hand", Button: "Release", Parameters: []config.Parameter{
				{Name: "version", Label: "Version", Required: true, Regex: "v[0-9]+$"},
				{Name: "sign", Type: config.ParameterBool, Default: true, Label: "Sign it"},
				{Name: "level", Type: config.ParameterChoice, Choices: []string{"patch", "minor"}, Default: "minor", Label: "Level"},
			},
		}}},
	})
}

// The form of a force scheduler says beside each field what is wrong with it,
// keeps what was entered, and asks for the build once it is right.
func TestForce(t *testing.T) {
	r := release(t)
	b := r.tab()
	b.open("builders/test")
	b.click("details.force summary")
	b.type_("[name=version]", "12")
	b.click("[name=sign]")
	b.click("button[value=force]")
	b.says("[data-wrong=version]", "does not match pattern")
	b.forgive("400 (Bad Request)")
	b.until(`document.activeElement.name === "version" && document.activeElement.value === "12"`)
	b.until(`document.querySelector("[name=version]").getAttribute("aria-invalid") === "true" && !document.querySelector("[name=sign]").checked`)
	eval[bool](b, `document.querySelector("[name=version]").value = "", true`)
	b.type_("[name=version]", "v12")
	b.click("button[value=force]")
	b.says("#notes", "request 1")
	b.says("#history", "#1")
	b.until(`!document.querySelector("[aria-invalid]")`)
	b.open("builders/test/builds/1")
	b.says("h1", "test #1")
	b.until(`document.querySelector("#properties table")`)
	got := eval[string](b, `document.querySelector("#properties table").textContent`)
	for _, want := range []string{"version\nv12", "signfalse", "levelminor", "ownerana", config.FormSource} {
		if !strings.Contains(strings.ReplaceAll(got, "\n", ""), strings.ReplaceAll(want, "\n", "")) {
			t.Errorf("the properties lack %q: %s", want, got)
		}
	}
}

// Without script a form that is not right comes back with what was entered.
func TestForceWithoutScript(t *testing.T) {
	r := release(t)
	resp, _ := r.post("builders/test", url.Values{"do": {"force"}, "scheduler": {"release"}, "version": {"x<y"}, "level": {"patch"}})
	if resp.StatusCode != http.StatusSeeOther {
		t.Fatal(resp.Status)
	}
	_, body := r.get("builders/test" + resp.Header.Get("Location"))
	for _, want := range []string{"does not match pattern", `value="x&lt;y"`, `<option value="patch" selected>`, `<details class="panel force" open>`, `aria-invalid="true"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(body, `value="true" checked`) {
		t.Error("the box is ticked again")
	}
	resp, _ = r.post("builders/test", url.Values{"do": {"force"}, "scheduler": {"release"}, "version": {"v1"}})
	if _, body := r.get("builders/test" + resp.Header.Get("Location")); !strings.Contains(body, "request 1") {
		t.Error("the request is not told of")
	}
}

// A builder without a force scheduler has a form all the same.
func TestPlainForce(t *testing.T) {
	r := newRig(t, &config.Config{Builders: []config.Builder{builder("test", "echo %(prop:a)s")}})
	send := func(form url.Values) string {
		form.Set("do", "force")
		resp, _ := r.post("builders/test", form)
		_, body := r.get("builders/test" + resp.Header.Get("Location"))
		return body
	}
	for _, c := range []struct{ field, value, want string }{
		{"priority", "high", "a whole number is wanted"},
		{"properties", "a", "is not NAME=VALUE"},
		{"properties", "=1", "property"},
	} {
		if body := send(url.Values{c.field: {c.value}}); !strings.Contains(body, c.want) {
			t.Errorf("%s %q: the page lacks %q", c.field, c.value, c.want)
		}
	}
	send(url.Values{"reason": {"because"}, "properties": {"a = 1\nb=x=y\n"}, "priority": {"5"}})
	b := r.tab()
	b.open("builders/test")
	b.says("#history", "#1")
	b.open("builders/test/builds/1")
	b.says("#facts", "because")
	b.says("#facts", "priority 5")
	got := eval[string](b, `document.querySelector("#properties table").textContent.replaceAll("\n", "")`)
	for _, want := range []string{"a1" + config.FormSource, "bx=y" + config.FormSource} {
		if !strings.Contains(got, want) {
			t.Errorf("the properties lack %q: %s", want, got)
		}
	}
}

// A build is followed while it runs, stopped, and asked for again.
func TestBuildPage(t *testing.T) {
	hold := newGate(t)
	defer hold.open()
	r := newRig(t, &config.Config{Builders: []config.Builder{builder("test", "echo one", "echo two; "+hold.wait)}})
	r.submit(runner.Request{Builder: "test", Reason: "to see"})
	b := r.tab()
	b.open("builders")
	b.says("#list", "test")
	b.open("builders/test")
	b.click("#running a.row")
	b.says("#steps .out", "two")
	b.says("#facts", "to see")
	b.type_("[name=reason]", "enough")
	b.click("button[value=stop]")
	b.says("#notes", "stopped")
	b.says("#top", "cancelled")
	b.says("#top", "enough")
	b.says("#journal", "by ana")
	b.until(`!document.querySelector("button[value=stop]")`)
	b.click("button[value=rebuild]")
	b.says("#notes", "request 2")
	b.open("builders/test/builds/2")
	b.says("#facts", "rebuild of test #1")
	hold.open()
	b.says("#top", "success")
	eval[bool](b, `document.querySelector("select[name=from]").selectedIndex = 1, true`)
	b.click("button[value=rebuild]")
	b.says("#notes", "request 3")
	b.open("builders/test/builds/3")
	b.says("#steps", "the build begins with")
	b.says("#top", "success")
	b.click("#steps li:nth-child(2) a.row")
	b.until(`location.pathname.includes("/steps/2/logs/")`)
}

// What a step that failed said last is on the page of its build, and what had to
// be ended.
func TestFailedBuild(t *testing.T) {
	r := newRig(t, &config.Config{Builders: []config.Builder{builder("test", "sleep 1000 & echo the reason; exit 3")}})
	if got := r.build(runner.Request{Builder: "test"}); got.Result != build.Failure {
		t.Fatal(got.Result)
	}
	b := r.tab()
	b.open("builders/test/builds/1")
	b.says("#failed", "the reason")
	b.says("#facts", "1 process had to be ended")
	b.says("#facts", "sleep 1000")
	b.open("builders/test/builds/2")
	b.says("main", "no build 2 of test")
	b.forgive("404")
}

// Requests that wait say why, change their place, and are cancelled, several at
// once.
func TestRequestsPage(t *testing.T) {
	hold := newGate(t)
	defer hold.open()
	r := newRig(t, &config.Config{
		Workers: []config.Worker{{Name: "w", MaxBuilds: 1}}, Builders: []config.Builder{builder("test", hold.wait)},
	})
	for i := range 4 {
		r.submit(runner.Request{Builder: "test", Reason: fmt.Sprint("number ", i)})
	}
	b := r.tab()
	b.open("requests")
	b.says("#waiting", "3 waiting")
	b.says("#waiting", "w:")
	b.until(`document.querySelector("button[value=cancel]").disabled`)
	b.click("tr[data-key='4'] input")
	eval[bool](b, `document.querySelector("#priority").value = 7, true`)
	b.click("button[value=priority]")
	b.says("#notes", "Request 4 has priority 7")
	b.says("#waiting tbody tr:first-child", "number 3")
	if eval[bool](b, `document.querySelector("tr[data-key='4'] input").checked`) {
		b.click("tr[data-key='4'] input")
	}
	b.click("tr[data-key='2'] input")
	b.click("tr[data-key='3'] input")
	b.click("button[value=cancel]")
	b.says("#notes", "2 requests are cancelled")
	b.says("#waiting", "1 waiting")
	b.says("#done", "cancelled")
	for _, c := range []struct {
		form url.Values
		want string
	}{
		{url.Values{"do": {"cancel"}}, "no request is chosen"},
		{url.Values{"do": {"cancel"}, "request": {"x"}}, "is no request"},
		{url.Values{"do": {"cancel"}, "request": {"99"}}, "99"},
		{url.Values{"do": {"priority"}, "request": {"4"}, "priority": {"x"}}, "whole number"},
	} {
		resp, _ := r.post("requests", c.form)
		if _, body := r.get("requests" + resp.Header.Get("Location")); !strings.Contains(body, c.want) {
			t.Errorf("%v: the page lacks %q", c.form, c.want)
		}
	}
}

// Schedulers are turned off and on by admins only, and one that is off takes no
// forms.
func TestSchedulersPage(t *testing.T) {
	r := release(t)
	b := r.tab()
	b.open("schedulers")
	b.click("button[value=off]")
	b.says("#list", "off")
	b.says("#list", "by ana")
	b.open("builders/test")
	b.says("details.force", "Release by hand")
	b.until(`document.querySelector("details.force fieldset").disabled`)
	resp, _ := r.post("builders/test", url.Values{"do": {"force"}, "scheduler": {"release"}, "version": {"v1"}})
	if _, body := r.get("builders/test" + resp.Header.Get("Location")); !strings.Contains(body, "turned off") {
		t.Error("the form was taken")
	}
	r.as.set("bob", config.Operator)
	b.open("schedulers")
	b.says("#list", "takes the role admin")
	b.until(`document.querySelector("button[value=on]").closest("fieldset").disabled`)
	resp, _ = r.post("schedulers", url.Values{"do": {"on"}, "scheduler": {"release"}})
	if _, body := r.get("schedulers" + resp.Header.Get("Location")); !strings.Contains(body, "takes the role admin") {
		t.Error("an operator has turned it on")
	}
}

// Settings show what is in force, without secrets.
func TestSettingsPage(t *testing.T) {
	r := newRig(t, &config.Config{
		Title: "Croft", Builders: []config.Builder{builder("test", "true")}, Remote: config.Remote{Listen: "127.0.0.1:0"},
		Workers: []config.Worker{{Name: "far", Kind: config.WorkerRemote, Remote: config.RemoteWorker{Password: config.Secret{Text: "geheim-geheim-geheim"}}}},
	})
	b := r.tab()
	b.open("settings")
	b.says("#all", `"Croft"`)
	b.says("#all", "keepalive_interval")
	b.says("#all", "default")
	if strings.Contains(b.text("body"), "geheim") {
		t.Error("a secret is shown")
	}
}

// Builders are found by name and tag, and their history is paged.
func TestBuildersPage(t *testing.T) {
	quick := builder("quick", "true")
	quick.Tags = []string{"fast"}
	r := newRig(t, &config.Config{Builders: []config.Builder{quick, builder("slow", "true")}})
	for range 55 {
		r.build(runner.Request{Builder: "quick"})
	}
	b := r.tab()
	b.open("builders?tag=fast")
	b.says("#list", "1 of 2")
	b.open("builders")
	b.says("#list", "2 builders")
	b.type_("#q", "slow")
	b.says("#list", "1 of 2")
	b.says("#list", "never built")
	b.open("builders/quick")
	b.says("#trend", "of the last 55 builds")
	b.until(`document.querySelectorAll("#trend rect").length === 55`)
	b.click("#history p a")
	b.says("#history", "before #6")
	b.until(`document.querySelectorAll("#history tbody tr").length === 5`)
}
