package junit

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// Reports of the common dialects, as small as they can be.
var dialects = map[string]struct {
	text string
	want Report
}{
	"pytest": {`<?xml version="1.0" encoding="utf-8"?>
<testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="1" skipped="1" tests="4" time="0.05">
<testcase classname="test_a" name="test_ok" time="0.001"/>
<testcase classname="test_a" name="test_no" time="0.25"><failure message="assert 1 == 2">def test_no():
&gt;   assert 1 == 2</failure></testcase>
<testcase classname="test_a" name="test_err" time="0"><error message="failed on setup">fixture x</error></testcase>
<testcase classname="test_a" name="test_skip" time="0"><skipped type="pytest.skip" message="no"/></testcase>
</testsuite></testsuites>`, Report{Tests: 4, Failures: 1, Errors: 1, Skipped: 1, Duration: 251 * time.Millisecond, Failed: []Test{
		{Name: "test_no", Class: "test_a", Duration: 250 * time.Millisecond, Message: "assert 1 == 2", Output: "def test_no():\n>   assert 1 == 2"},
		{Name: "test_err", Class: "test_a", Error: true, Message: "failed on setup", Output: "fixture x"},
	}}},
	"surefire": {`<testsuite name="org.x.ATest" time="1,234.5" tests="2" errors="0" failures="1">
<properties><property name="a" value="b"/></properties>
<testcase name="slow" classname="org.x.ATest" time="1,234.5"><failure type="java.lang.AssertionError"><![CDATA[java.lang.AssertionError
	at org.x.ATest.slow(ATest.java:7)]]></failure><system-out>noise</system-out></testcase>
<testcase name="flaky" classname="org.x.ATest" time="0.1"><flakyFailure message="once"/></testcase>
</testsuite>`, Report{Tests: 2, Failures: 1, Duration: 1234600 * time.Millisecond, Failed: []Test{
		{Name: "slow", Class: "org.x.ATest", Duration: 1234500 * time.Millisecond, Message: "java.lang.AssertionError", Output: "java.lang.AssertionError\n\tat org.x.ATest.slow(ATest.java:7)"},
	}}},
	"jest, phpunit": {`<testsuites><testsuite name="all"><testsuite name="A" file="a.test.js"><testcase classname="A adds" name="A adds" time="0.1">
<failure>Error: expect(1).toBe(2)
    at a.test.js:3</failure></testcase></testsuite><testsuite name="B"><testcase name="b" file="b.php" line="9"><error type="E">boom</error><failure>f</failure></testcase></testsuite></testsuite></testsuites>`,
		Report{Tests: 2, Failures: 1, Errors: 1, Duration: 100 * time.Millisecond, Failed: []Test{
			{Name: "A adds", Class: "A adds", File: "a.test.js", Duration: 100 * time.Millisecond, Message: "Error: expect(1).toBe(2)", Output: "Error: expect(1).toBe(2)\n    at a.test.js:3"},
			{Name: "b", File: "b.php", Error: true, Message: "E", Output: "boom"},
		}}},
	"gtest": {`<testsuites tests="2" disabled="1"><testsuite name="S"><testcase name="a" status="run" result="completed" time="0." classname="S" file="s.cc">
<failure message="s.cc:1&#x0A;Value of: x" type=""><![CDATA[s.cc:1]]></failure><failure message="second" type="">two</failure></testcase>
<testcase name="b" status="notrun" result="suppressed" classname="S"/></testsuite></testsuites>`,
		Report{Tests: 2, Failures: 1, Skipped: 1, Failed: []Test{{Name: "a", Class: "S", File: "s.cc", Message: "s.cc:1\nValue of: x", Output: "s.cc:1"}}}},
	"gotestsum": {`<testsuites><testsuite tests="1" failures="0" time="0.000000" name="x/y" timestamp="2026-01-01T00:00:00Z"><properties><property name="go.version" value="go1.26"></property></properties>
<testcase classname="x/y" name="TestA" time="0.010000"><skipped message="=== RUN"></skipped></testcase></testsuite></testsuites>`,
		Report{Tests: 1, Skipped: 1, Duration: 10 * time.Millisecond}},
	"latin-1":  {"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><testsuite><testcase name=\"\xfc\"><failure message=\"\xe4\"/></testcase></testsuite>", Report{Tests: 1, Failures: 1, Failed: []Test{{Name: "ü", Message: "ä"}}}},
	"no tests": {`<testsuites/>`, Report{}},
}

func TestDialects(t *testing.T) {
	for name, tt := range dialects {
		var got Report
		if err := got.Read(strings.NewReader(tt.text), 10); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// What cannot be read leaves what was read before as it was.
func TestBroken(t *testing.T) {
	r := Report{Tests: 5, Failures: 1, Failed: make([]Test, 1, 10)}
	for name, text := range map[string]string{
		"empty":     "",
		"no XML":    "PASS",
		"cut off":   `<testsuite><testcase name="a"><failure/></testcase>`,
		"HTML":      `<html><body/></html>`,
		"two roots": `<testsuite/><testsuite/>`,
		"mismatch":  `<testsuite><testcase></testsuite></testcase>`,
		"entity":    `<!DOCTYPE x [<!ENTITY a "b">]><testsuite><testcase><failure>&a;</failure></testcase></testsuite>`,
		"deep":      `<testsuite>` + strings.Repeat("<a>", maxDepth) + strings.Repeat("</a>", maxDepth) + `</testsuite>`,
		"charset":   `<?xml version="1.0" encoding="EBCDIC"?><testsuite/>`,
	} {
		if err := r.Read(strings.NewReader(text), 10); err == nil {
			t.Errorf("%s: read", name)
		}
		if r.Tests != 5 || len(r.Failed) != 1 || r.Failed[:2][1].Name != "" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	broken := errors.New("broken")
	if err := r.Read(io.MultiReader(strings.NewReader("<testsuite>"), failing{broken}), 10); !errors.Is(err, broken) {
		t.Errorf("a reader that fails: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// endless gives a text again and again, and counts what was taken.
type endless struct {
	text string
	n    int64
}

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e.text[(e.n+int64(i))%int64(len(e.text))]
	}
	e.n += int64(len(p))
	return len(p), nil
}

func TestTooLarge(t *testing.T) {
	for _, text := range []string{" ", `<testcase name="a"><system-out>` + strings.Repeat("x", 20_000) + `</system-out></testcase>`} {
		var r Report
		e := &endless{text: text}
		if err := r.Read(io.MultiReader(strings.NewReader("<testsuite>"), e), 1); !errors.Is(err, ErrTooLarge) || e.n > MaxSize+1<<20 {
			t.Errorf("%q: %v after %d bytes", text, err, e.n)
		}
	}
}

// Reports add up; no more failed tests are kept than are wanted, and no more of
// each than has its place.
func TestBounds(t *testing.T) {
	long := strings.Repeat("ü", 10_000)
	text := fmt.Sprintf(`<testsuite file="%[1]s"><testcase name="%[1]s" classname="%[1]s" time="1e300"><failure message="%[1]s">%[1]s%[1]s</failure></testcase></testsuite>`, long)
	var r Report
	for range 3 {
		if err := r.Read(strings.NewReader(text), 2); err != nil {
			t.Fatal(err)
		}
	}
	if r.Tests != 3 || r.Failures != 3 || len(r.Failed) != 2 || r.Duration != 3*maxDuration {
		t.Errorf("%d tests, %d failures, %d kept, %v", r.Tests, r.Failures, len(r.Failed), r.Duration)
	}
	f := r.Failed[0]
	for what, s := range map[string]struct {
		text string
		most int
	}{"name": {f.Name, maxName}, "class": {f.Class, maxName}, "file": {f.File, maxName}, "message": {f.Message, maxMessage}, "output": {f.Output, maxOutput}} {
		if len(s.text) > s.most || len(s.text) < s.most-8 || !utf8.ValidString(s.text) || !strings.HasSuffix(s.text, "ü…") {
			t.Errorf("%s has %d bytes: …%q", what, len(s.text), s.text[max(0, len(s.text)-8):])
		}
	}
}

// Secrets are taken out before texts are cut, or half of one would be left.
func TestHide(t *testing.T) {
	const secret = "hunter2hunter2"
	text := fmt.Sprintf(`<testsuite><testcase name="a"><failure message="%s%[2]s">%[3]s%[2]s</failure></testcase></testsuite>`,
		strings.Repeat("x", maxMessage-10), secret, strings.Repeat("y", maxOutput-10))
	r := Report{Hide: func(s string) string { return strings.ReplaceAll(s, secret, "***") }}
	if err := r.Read(strings.NewReader(text), 1); err != nil {
		t.Fatal(err)
	}
	if f := r.Failed[0]; !strings.HasSuffix(f.Message, "xx***") || !strings.HasSuffix(f.Output, "yy***") {
		t.Errorf("…%q, …%q", f.Message[len(f.Message)-20:], f.Output[len(f.Output)-20:])
	}
}

func FuzzRead(f *testing.F) {
	for _, d := range dialects {
		f.Add([]byte(d.text))
	}
	f.Add([]byte(`<testsuite><testcase name="a" time="-1"><error/><failure>x</failure><testcase/></testcase></testsuite>`))
	f.Add([]byte(`<testsuites><testsuite/><a><testsuite><testcase time="NaN"/></testsuite></a></testsuites>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		const most = 3
		var r Report
		if err := r.Read(strings.NewReader(string(data)), most); err != nil && (r.Tests != 0 || r.Failed != nil) {
			t.Fatalf("%v, and yet %+v", err, r)
		}
		bad := r.Failures + r.Errors
		if r.Tests < bad+r.Skipped || r.Duration < 0 || int64(len(r.Failed)) != min(bad, most) {
			t.Fatalf("%+v", r)
		}
		for _, x := range r.Failed {
			for _, s := range []string{x.Name, x.Class, x.File, x.Message, x.Output} {
				if !utf8.ValidString(s) || len(s) > maxOutput {
					t.Fatalf("%q", s)
				}
			}
		}
	})
}
