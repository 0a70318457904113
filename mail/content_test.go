package mail

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func ExampleWorkersMissing() {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	c := WorkersMissing("Bothy", now, []Worker{{
		Name:     "linux-3",
		LastSeen: now.Add(-2 * time.Hour),
		Address:  "192.0.2.3",
		Version:  "bothy 1.2.0",
		Admin:    "Ann <ann@example.com>",
		Waiting:  3,
		URL:      "https://ci.example.com/workers/3",
	}})
	fmt.Println(c.Subject)
	fmt.Println()
	fmt.Print(c.Text)
	// Output:
	// [Bothy] worker linux-3 missing
	//
	// Worker linux-3 is missing.
	//
	//   last seen       2026-05-01 10:00:00 UTC (2 h ago)
	//   address         192.0.2.3
	//   version         bothy 1.2.0
	//   admin           Ann <ann@example.com>
	//   waiting for it  3 requests
	//
	// https://ci.example.com/workers/3
}

func ExampleWorkersMissing_several() {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	c := WorkersMissing("Bothy", now, []Worker{
		{Name: "never", Configured: now.Add(-time.Hour)},
		{Name: "old", LastSeen: now.AddDate(0, 0, -5), Waiting: 1, URL: "https://ci.example.com/workers/2"},
	})
	fmt.Println(c.Subject)
	fmt.Println()
	fmt.Print(c.Text)
	// Output:
	// [Bothy] 2 workers missing
	//
	// 2 workers are missing.
	//
	// never
	// -----
	//
	//   last seen       has never connected since it was configured on 2026-05-01 11:00:00 UTC (1 h ago)
	//   waiting for it  nothing
	//
	// old
	// ---
	//
	//   last seen       2026-04-26 12:00:00 UTC (5 days ago)
	//   waiting for it  1 request
	//
	// https://ci.example.com/workers/2
}

func ExampleWorkersReturned() {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	c := WorkersReturned("Bothy", now, []Worker{{
		Name: "linux-3", LastSeen: now.Add(-3 * time.Hour), Returned: now.Add(-time.Minute), Address: "192.0.2.3",
	}})
	fmt.Println(c.Subject)
	fmt.Println()
	fmt.Print(c.Text)
	// Output:
	// [Bothy] worker linux-3 returned
	//
	// Worker linux-3 is connected again.
	//
	//   returned  2026-05-01 11:59:00 UTC (1 min ago), away for 2 h
	//   address   192.0.2.3
}

func ExampleBuildFinished() {
	c := BuildFinished("Bothy", Build{
		Builder: "test", Number: 12, Result: "failure", Previous: "success", Worker: "linux-3",
		Reason: "push to main", Owner: "ann", Text: "2 tests failed", Duration: 83 * time.Second,
		Steps: []Step{
			{Name: "checkout", Result: "success", Duration: 1234 * time.Millisecond},
			{Name: "go test", Result: "failure", Text: "2 failed", Duration: 80 * time.Second},
		},
		Log:     LogTail{Step: "go test", Name: "stdio", Lines: []string{"--- FAIL: TestA", "\x1b[31mFAIL\x1b[0m", ""}},
		Changes: []Change{{Author: "Ann", Revision: "3f2a1c", Comment: "Faster\n\nand better"}},
		URL:     "https://ci.example.com/builders/1/builds/12",
	})
	fmt.Println(c.Subject)
	fmt.Println()
	fmt.Print(c.Text)
	// Output:
	// [Bothy] test build 12: failure
	//
	// test, build 12: failure (before: success)
	//
	//   worker    linux-3
	//   reason    push to main
	//   owner     ann
	//   result    failure (before: success), 2 tests failed
	//   duration  1m23s
	//   change    3f2a1c, Ann, Faster
	//
	// Steps
	// -----
	//
	//   checkout  success, 1.2s
	//   go test   failure, 2 failed, 1m20s
	//
	// End of go test stdio
	// --------------------
	//
	//   | --- FAIL: TestA
	//   | FAIL
	//   |
	//
	// https://ci.example.com/builders/1/builds/12
}

func ExampleTest() {
	c := Test("Bothy", time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), "build.example.com", "localhost:25")
	fmt.Println(c.Subject)
	fmt.Println()
	fmt.Print(c.Text)
	// Output:
	// [Bothy] test mail
	//
	// This is a test. Mail from here arrives.
	//
	//   sent     2026-05-01 12:00:00 UTC
	//   from     build.example.com
	//   through  localhost:25
}

func TestHTML(t *testing.T) {
	c := BuildFinished("T", Build{
		Builder: "<b>", Result: "failure", Steps: []Step{{Name: "a", Result: "failure"}},
		Log: LogTail{Step: "a", Name: "stdio", Lines: []string{"<script>x</script>", "  indented"}}, URL: "https://ci.example.com/?a=1&b=2",
	})
	for _, want := range []string{
		"<p>&lt;b&gt;, build 0: failure</p>", ">a</th><td>failure</td>", "\n&lt;script&gt;x&lt;/script&gt;\n  indented\n</pre>",
		`<a href="https://ci.example.com/?a=1&amp;b=2">https://ci.example.com/?a=1&amp;b=2</a>`, "<h3>End of a stdio</h3>",
	} {
		if !strings.Contains(c.HTML, want) {
			t.Errorf("%q is missing in:\n%s", want, c.HTML)
		}
	}
	for _, remote := range []string{"src=", "<link", "@import", "url("} {
		if strings.Contains(c.HTML, remote) {
			t.Errorf("%q is in:\n%s", remote, c.HTML)
		}
	}
}

func TestContentLimits(t *testing.T) {
	var b Build
	var workers []Worker
	for i := range 5000 {
		long := fmt.Sprintf("%d %s", i, strings.Repeat("x", 5000))
		b.Steps = append(b.Steps, Step{Name: long, Result: long})
		b.Changes = append(b.Changes, Change{Author: long, Comment: long})
		b.Log.Lines = append(b.Log.Lines, long)
		workers = append(workers, Worker{Name: long, Admin: long, URL: long})
	}
	for what, c := range map[string]Content{"build": BuildFinished("T", b), "workers": WorkersMissing("T", noon, workers)} {
		if len(c.Text)+len(c.HTML) > 1<<20 {
			t.Errorf("%s: %d bytes of text, %d of HTML", what, len(c.Text), len(c.HTML))
		}
		if !strings.Contains(c.Text, " more") {
			t.Errorf("%s does not say that it leaves out something", what)
		}
	}
	if text := BuildFinished("T", b).Text; !strings.Contains(text, "| 4999 ") || strings.Contains(text, "| 4899 ") {
		t.Error("not the last lines of the log")
	}
}

func TestWorkerJSON(t *testing.T) {
	w := Worker{Name: "a", LastSeen: noon, Configured: noon, Returned: noon, Address: "b", Version: "c", Admin: "d", Waiting: 1, URL: "e"}
	text, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	var again Worker
	if err := json.Unmarshal(text, &again); err != nil || !reflect.DeepEqual(w, again) {
		t.Errorf("got %+v, %v", again, err)
	}
}

func TestLogLine(t *testing.T) {
	for s, want := range map[string]string{
		"\x1b[1;31mred\x1b[0m\r\n": "red", " 10%\r 20%\r100%": "100%", "100%\r": "100%", "a\tb": "a\tb", "a\x00\x07b": "ab",
		"\x1b]8;;http://x\x1b\\link\x1b]8;;\x07": "link", "\x1b": "", "\x1b[": "", "\xffx": "\uFFFDx", "a\nb": "a b", "\x1b(Bx\x1b7": "x",
	} {
		if got := logLine(s); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	}
	if got := []rune(logLine(strings.Repeat("ü", 2*maxLine))); len(got) != maxLine || got[maxLine-1] != '…' {
		t.Errorf("%d runes", len(got))
	}
}

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "just now", 0: "just now", 59 * time.Second: "59 s ago", time.Minute: "1 min ago", 59*time.Minute + 59*time.Second: "59 min ago",
		2 * time.Hour: "2 h ago", 47 * time.Hour: "47 h ago", 48 * time.Hour: "2 days ago", 8760 * time.Hour: "365 days ago",
	} {
		if got := ago(d); got != want {
			t.Errorf("%s: got %q, want %q", d, got, want)
		}
	}
}
