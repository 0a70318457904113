package web_test

import (
	"net/url"
	"strings"
	"testing"

	"bothy/runner"
	"bothy/runner/build"
	"bothy/runner/config"
)

// keeper is a master with a builder whose one step leaves files and a test report.
func keeper(t *testing.T) *rig {
	t.Helper()
	b := builder("test", `mkdir -p "dist/a b" && printf 12345 >"dist/a b/ü?.txt" && printf '<script>alert(1)</script>' >'dist/<b>page.html'
cat >report.xml <<'END'
<testsuite><testcase classname="Sum" name="adds" time="1.5" file="sum.x"><failure message="1 is not &lt;script&gt;alert(1)&lt;/script&gt;">at sum.x:3</failure></testcase>
<testcase name="sets up"><error message="no port"/></testcase><testcase name="fine"/></testsuite>
END`)
	b.Steps[0].Artifacts = []string{"dist/**"}
	b.Steps[0].JUnit = []string{"*.xml"}
	return newRig(t, &config.Config{Builders: []config.Builder{b, builder("plain", "true")}})
}

// The page of a build shows which tests did not pass, and its files.
func TestKeptPanels(t *testing.T) {
	r := keeper(t)
	if got := r.build(runner.Request{Builder: "test"}); got.Result != build.Success {
		t.Fatal(got.Result, got.Text)
	}
	b := r.tab()
	b.open("builders/test/builds/1")
	b.says("#steps", "finished, 3 tests, 1 failed, 1 broken")
	b.says("#tests", "3 tests, 1 failed, 1 broken in 1.5 s")
	b.says("#tests", "Sum: adds")
	b.says("#tests", "1 is not <script>alert(1)</script>")
	b.says("#tests", "no port")
	b.until(`!document.querySelector("#tests details").open`)
	b.click("#tests summary")
	b.says("#tests pre", "at sum.x:3")
	b.says("#artifacts", "2 files, 30 B")
	b.says("#artifacts", "dist/<b>page.html")
	got := eval[string](b, `[...document.querySelectorAll("#artifacts a")].map(a => new URL(a.href).pathname).join(" ")`)
	for _, want := range []string{"/builders/test/builds/1/artifacts/1/dist/a%20b/%C3%BC%3F.txt", "/builders/test/builds/1/artifacts/1/dist/%3Cb%3Epage.html"} {
		if !strings.Contains(got, want) {
			t.Errorf("no link to %s: %s", want, got)
		}
	}

	r.build(runner.Request{Builder: "plain"})
	b.open("builders/plain/builds/1")
	b.says("#steps", "finished")
	b.until(`document.querySelector("#tests").hidden && document.querySelector("#artifacts").hidden`)
}

// Files are saved, never shown: what a build put into one is no page of the
// master's.
func TestArtifactDownload(t *testing.T) {
	r := keeper(t)
	r.build(runner.Request{Builder: "test"})
	const at = "builders/test/builds/1/artifacts/1/"
	resp, body := r.get(at + "dist/a%20b/%C3%BC%3F.txt")
	if resp.StatusCode != 200 || body != "12345" {
		t.Errorf("%s, %q", resp.Status, body)
	}
	resp, body = r.get(at + url.PathEscape("dist") + "/" + url.PathEscape("<b>page.html"))
	if resp.StatusCode != 200 || body != "<script>alert(1)</script>" {
		t.Errorf("%s, %q", resp.Status, body)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := resp.Header.Get("Content-Disposition"); !strings.HasPrefix(got, "attachment; filename=") {
		t.Errorf("Content-Disposition: %q", got)
	}
	for _, path := range []string{at + "dist/none", "builders/test/builds/1/artifacts/2/dist/%3Cb%3Epage.html", "builders/test/builds/9/artifacts/1/x", at + "..%2f..%2f..%2fstate.db"} {
		if resp, _ := r.get(path); resp.StatusCode != 404 {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
}
