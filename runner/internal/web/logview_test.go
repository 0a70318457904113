package web

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"bothy/runner/internal/logs"
	"bothy/runner/worker"
)

// What a line can hold is shown, and is only text.
func TestLogRows(t *testing.T) {
	r := newLogRig(t, logs.Options{})
	r.log("stdio", "h$ make\n",
		"o<script>alert(1)</script> & \"quoted\" 'too'\n", // 2
		"o\x1b[1;31mred", "e\x1b[48;5;21mwarning\n", "o goes on\nstill\x1b[0m plain\n", // 3 4 5
		"o10%\r20%\r100%\n",                                        // 6
		"o\x00\x07\xff\u202egpj.exe\n",                             // 7
		"osee https://example.com/a?b=c&d. ok\n",                   // 8
		"ojavascript://x https://\" onclick=\n",                    // 9
		"o\x1b[38;2;255;136;0mtrue\x1b[0m \x1b[7minverse\x1b[0m\n", // 10
		"h… the log cap of 1 KiB is reached: more output is counted, not kept\n",
		"o"+strings.Repeat("x", 70_000)+"\n", // 12 and 13
		"olast, without newline")
	body := r.want(where("stdio")+"/lines", true,
		`<div class="r own" id="L1"><a class="n" href="stdio?from=1#L1">1</a><time datetime="`,
		`id="L2"`, `<code>&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;quoted&#34; &#39;too&#39;</code>`,
		`<i title="standard error">err</i><code><span class="b b21">warning</span></code>`,
		`<code><span class="f f1 sb">red goes on</span></code>`,
		`<code><span class="f f1 sb">still</span> plain</code>`,
		`<code>100%</code><a class="more" href="stdio/line?from=6">redrawn 2 times</a>`,
		`<code><span class="ctl">␀␇\xff\u{202e}</span>gpj.exe</code>`,
		`<a href="https://example.com/a?b=c&amp;d" rel="noopener noreferrer nofollow" target="_blank">https://example.com/a?b=c&amp;d</a>. ok`,
		`<code>javascript://x https://&#34; onclick=</code>`,
		`<span class="f f208" data-f="#ff8800">true</span> <span class="fi bi">inverse</span>`,
		`<div class="r gap" id="L11">`, `63536 characters more</a><b class="more" title="the line is longer`,
		`id="L14"`, `<code>last, without newline</code>`)
	if strings.Contains(body, "id=\"L15\"") || strings.Contains(body, "<script") {
		t.Error("more rows than lines, or a script")
	}
	r.want(where("stdio")+"/line?from=6", false, `<h1>Line 6</h1>`, `<code>100%</code>`, "3 states", `<li value="1"><code>10%</code></li>`, `<li value="3"><code>100%</code></li>`)
	if long := r.want(where("stdio")+"/line?from=12", false); strings.Count(long, "x") < 2*65536 {
		t.Error("the page of a long line does not hold all of it")
	}
	r.want(where("stdio")+"/lines?written=1&from=6&n=1", true, `<code>10%<span class="ctl">␍</span>20%<span class="ctl">␍</span>100%</code>`)
	r.want(where("stdio")+"/lines?in=build&from=6&n=1", true, `id="S1-stdio-L6"`, `href="steps/1/logs/stdio?from=1#L6"`, `href="steps/1/logs/stdio/line?from=6"`)
	r.want(where("stdio")+"/text?from=3&n=6", false, "warning\nred goes on\nstill plain\n100%\n␀␇\\xff\\u{202e}gpj.exe\nsee https://")
	if _, h, all := r.get(where("stdio")+"/text", false); !strings.HasSuffix(all, strings.Repeat("x", 70_000)+"\nlast, without newline\n") || !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("text ends with %q", all[len(all)-40:])
	}
}

// All of a log can be reached without script.
func TestLogPagesWithoutScript(t *testing.T) {
	r := newLogRig(t, logs.Options{})
	r.log("stdio", "o"+numbered(1, 2345))
	first := r.want(where("stdio"), false, `id="L1"`, `id="L300"`, `<a href="?from=301">Later</a>`, `<a href="?from=2101">Last</a>`, "lines 1 to 300 of 2345", `<span class="dim">Earlier</span>`)
	if strings.Contains(first, `id="L301"`) || strings.Contains(first, "style=") {
		t.Error("too much on the first page")
	}
	seen := 0
	for at, pages := "", 0; ; pages++ {
		page := r.want(where("stdio")+at, false)
		seen += strings.Count(page, `<div class="r`)
		next := regexp.MustCompile(`<a href="(\?from=\d+)">Later</a>`).FindStringSubmatch(page)
		if next == nil || pages > 20 {
			break
		}
		at = next[1]
	}
	if seen != 2345 {
		t.Errorf("%d lines on all pages", seen)
	}
	r.want(where("stdio")+"?from=1234", false, `id="L1201"`, `id="L1500"`, `<a href="?from=901">Earlier</a>`)
	r.want(where("stdio")+"?from=99999", false, `id="L2345"`)
	r.want(where("stdio")+"?times=relative&wrap=1", false, `t-relative`, `class="lv wrap`, `data-r="+`, `href="stdio?from=1&amp;times=relative&amp;wrap=1#L1"`)
	r.want(where("stdio")+"?q=line+234", false, "7 lines", `id="found-L2340"`, `<mark>line 234</mark>`, `href="stdio?from=2301&amp;q=line+234#L2340"`)
	r.want(where("stdio")+"?q=%5Eline+..00+&re=1", false, "14 lines", `value="^line ..00 "`, "checked")
	more := r.want(where("stdio")+"?q=line", false, "100 lines so far", "Searched to line 101 of 2345", `after=101#found`)
	if strings.Contains(more, `id="found-L101"`) {
		t.Error("too much is found at once")
	}
	r.want(where("stdio")+"?q=line&after=101", false, `id="found-L101"`, `id="found-L200"`)
	r.want(where("stdio")+"?q=(&re=1", false, "no regular expression: missing closing )", `id="L1"`)
	r.want(where("stdio")+"?q=nothere", false, "No line matches")
	r.want("/builders/b/builds/7/log", false, `id="S1-stdio"`, `id="S1-stdio-L2345"`, "2305 lines before these", `href="steps/1/logs/stdio?from=1"`)
	r.want("/builders/b/builds/7/log?q=line+777", false, `id="found-S1-stdio-L777"`, "All that is found in this log")
	for path, want := range map[string]int{
		where("nolog"):                                          404,
		where("stdio") + "?from=0":                              400,
		where("stdio") + "?from=x":                              400,
		where("stdio") + "?times=x":                             400,
		where("stdio") + "/line?from=9999":                      404,
		where("stdio") + "/search":                              400,
		where("stdio") + "/search?q=(&re=1":                     400,
		where("stdio") + "/lines?q=(&re=1":                      400,
		where("stdio") + "?q=" + strings.Repeat("x", maxFind+1): 400,
		"/builders/b/builds/8/log":                              404,
		"/builders/b/builds/x/log":                              404,
		"/builders/nobody/builds/7/steps/1/logs/stdio":          404,
	} {
		if status, _, body := r.get(path, true); status != want {
			t.Errorf("%s: %d: %s", path, status, body)
		}
	}
}

func TestLogSearch(t *testing.T) {
	r := newLogRig(t, logs.Options{})
	r.log("stdio", "o"+numbered(1, 5000), "oAn \x1b[31mEr\x1b[0mror was found\nabc\rxyz\n")
	for query, want := range map[string]found{
		"q=line+4999":             {Lines: []int64{4999}, Count: 1},
		"q=LINE+4999":             {Lines: []int64{}},
		"q=error+was":             {Lines: []int64{5001}, Count: 1},
		"q=Error+was":             {Lines: []int64{5001}, Count: 1},
		"q=abc":                   {Lines: []int64{}},
		"q=xyz":                   {Lines: []int64{5002}, Count: 1},
		"q=^line+%5Cd00%5CD&re=1": {Lines: []int64{100, 200, 300, 400, 500, 600, 700, 800, 900}, Count: 9},
		"q=line&from=4999":        {Lines: []int64{4999, 5000}, Count: 2},
		"q=%C3%BCber":             {Lines: []int64{}},
	} {
		var got found
		if err := json.Unmarshal([]byte(r.want(where("stdio")+"/search?"+query, true)), &got); err != nil {
			t.Fatal(err)
		}
		want.Next, want.Total, want.Done = 5003, 5002, true
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %+v, want %+v", query, got, want)
		}
	}
	r.want(where("stdio")+"/error", true, `"lines":[5001]`)
	status, h, _ := r.get(where("stdio")+"/error", false)
	if status != http.StatusSeeOther || h.Get("Location") != "../stdio?from=5001#L5001" {
		t.Errorf("the first error: %d %s", status, h.Get("Location"))
	}
	r.log("good", "oall is fine\n")
	if _, h, _ := r.get(where("good")+"/error", false); h.Get("Location") != "../good?#noerror" {
		t.Errorf("no error: %s", h.Get("Location"))
	}
}

// A search ends with its time, says how far it came, and goes on from there.
func TestSearchIsBounded(t *testing.T) {
	r := newLogRig(t, logs.Options{})
	w := r.log("stdio", "o"+numbered(1, 50_000))
	rd, err := r.logs.Reader(w.ID(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	n := 0
	f, err := search(ctx, rd, 0, 10, false, func([]byte, *logs.Line) bool {
		if n++; n == 7000 {
			cancel(errTimeIsUp)
		}
		return true
	})
	if err != nil || f.Done || f.Next < 7001 || f.Next > 20_000 || len(f.Lines) != 10 || f.Count != f.Next-1 {
		t.Fatalf("cut off at 7000: %+v, %v", f, err)
	}
	g, err := search(t.Context(), rd, f.Next-1, 10, false, func([]byte, *logs.Line) bool { return true })
	if err != nil || !g.Done || g.Lines[0] != f.Next || f.Count+g.Count != 50_000 {
		t.Errorf("the rest: %+v, %v", g, err)
	}
	cancelled, stop := context.WithCancel(t.Context())
	stop()
	if _, err := search(cancelled, rd, 0, 10, false, func([]byte, *logs.Line) bool { return true }); err == nil {
		t.Error("a search nobody waits for goes on")
	}
}

func TestLooksWrong(t *testing.T) {
	for text, want := range map[string]bool{
		"main.c:7:3: error: expected ';'":     true,
		"Error: no such thing":                true,
		"--- FAIL: TestX (0.00s)":             true,
		"    --- FAIL: TestX/y (0.00s)":       true,
		"FAIL\tbothy/runner\t0.1s":            true,
		"panic: runtime error: index":         true,
		"make: *** [Makefile:3: all] Error 2": true,
		"npm ERR! code 1":                     true,
		"Traceback (most recent call last):":  true,
		"ValueError: bad":                     true,
		"E   assert 1 == 2":                   true,
		"sh: 1: foo: command not found":       true,
		"fatal: not a git repository":         true,
		"undefined reference to `main'":       true,
		"Segmentation fault (core dumped)":    true,
		"ERROR in ./src":                      true,
		"2 tests failed":                      true,
		"":                                    false,
		"0 errors, 3 warnings":                false,
		"no errors found":                     false,
		"Tests: 0 failed, 12 passed":          false,
		"errors: 0":                           false,
		"compiling error.c":                   false,
		"gcc -Werror -c x.c":                  false,
		"ok  \tbothy/errors\t0.1s":            false,
		"installing libgpg-error0":            false,
		"everything is failsafe":              false,
	} {
		if got := wrongText([]byte(text)); got != want {
			t.Errorf("%q looks wrong: %v", text, got)
		}
	}
}

// stream reads what a follower is sent.
type followed struct {
	First, Skipped, Total, Bytes int64
	Done                         bool
	Rows                         string
}

func (r *logRig) follow(ctx context.Context, path string) (next func() (followed, error)) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.srv.URL+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := r.srv.Client().Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		r.t.Fatalf("%s: %s", path, resp.Status)
	}
	in := bufio.NewReaderSize(resp.Body, 1<<20)
	return func() (followed, error) {
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return followed{}, err
			}
			if line == "\n" {
				continue
			}
			var m followed
			return m, json.Unmarshal([]byte(line), &m)
		}
	}
}

var code = regexp.MustCompile(`id="L(\d+)".*?<code>(.*?)</code>`)

// Who follows gets each line once, whoever else does, and the end. Who comes
// back goes on where they were.
func TestFollowLog(t *testing.T) {
	r := newLogRig(t, logs.Options{})
	w := r.begin("stdio")
	r.write(w, worker.Stdout, "one\ntwo\nthr")
	read := func(next func() (followed, error), until int64) map[string]string {
		t.Helper()
		got := map[string]string{}
		for {
			m, err := next()
			if err != nil {
				t.Fatal(err)
			}
			if m.Skipped > 0 {
				t.Errorf("%d lines are skipped", m.Skipped)
			}
			for _, row := range code.FindAllStringSubmatch(m.Rows, -1) {
				got[row[1]] = html.UnescapeString(row[2])
			}
			if m.Done || m.Total >= until && until > 0 {
				return got
			}
		}
	}
	ctx, leave := context.WithCancel(t.Context())
	first, second := r.follow(ctx, where("stdio")+"/follow"), r.follow(t.Context(), where("stdio")+"/follow")
	if got := fmt.Sprint(read(first, 3)); got != "map[1:one 2:two 3:thr]" {
		t.Errorf("at first: %s", got)
	}
	leave()
	r.write(w, worker.Stdout, "ee\nfour\n")
	r.write(w, worker.Stderr, "<five>\n")
	again := r.follow(t.Context(), where("stdio")+"/follow?from=3")
	r.end(w)
	if got := fmt.Sprint(read(again, 0)); got != "map[3:three 4:four 5:<five>]" {
		t.Errorf("again: %s", got)
	}
	if got := fmt.Sprint(read(second, 0)); got != "map[1:one 2:two 3:three 4:four 5:<five>]" {
		t.Errorf("the other: %s", got)
	}
	if _, err := second(); err != io.EOF {
		t.Errorf("behind the end comes %v", err)
	}
	if m, err := r.follow(t.Context(), where("stdio")+"/follow?from=6")(); err != nil || !m.Done || m.Rows != "" || m.Total != 5 {
		t.Errorf("a finished log: %+v, %v", m, err)
	}
	ts := &r.web.viewer.tails
	for end := time.Now().Add(time.Minute); ; runtime.Gosched() { // who follows leaves after the last message
		ts.mu.Lock()
		n, m := len(ts.open), ts.followers
		ts.mu.Unlock()
		if n == 0 && m == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d tails and %d followers are left", n, m)
		}
	}
}

// What comes faster than it is told is skipped, and said to be.
func TestFollowSkips(t *testing.T) {
	r := newLogRig(t, logs.Options{})
	w := r.begin("stdio")
	r.write(w, worker.Stdout, numbered(1, 10))
	next := r.follow(t.Context(), where("stdio")+"/follow")
	if m, err := next(); err != nil || m.First != 1 || m.Total != 10 {
		t.Fatalf("%+v, %v", m, err)
	}
	r.write(w, worker.Stdout, numbered(11, 5000))
	r.end(w)
	told, skipped, end := int64(10), int64(0), false
	for !end {
		m, err := next()
		if err != nil {
			t.Fatal(err)
		}
		if m.First != told+m.Skipped+1 {
			t.Errorf("after line %d comes %d, with %d skipped", told, m.First, m.Skipped)
		}
		n := int64(strings.Count(m.Rows, `<div class="r`))
		told, skipped, end = m.First+n-1, skipped+m.Skipped, m.Done
	}
	if told != 5010 || skipped < 4000 {
		t.Errorf("told up to line %d, %d skipped", told, skipped)
	}
}

// The end of the master ends streams, which do not say that the log is finished.
func TestFollowersEndWithTheMaster(t *testing.T) {
	r := newLogRig(t, logs.Options{})
	w := r.begin("stdio")
	r.write(w, worker.Stdout, "x\n")
	next := r.follow(t.Context(), where("stdio")+"/follow")
	if _, err := next(); err != nil {
		t.Fatal(err)
	}
	r.web.Close()
	for {
		m, err := next()
		if err == io.EOF {
			break
		}
		if err != nil || m.Done {
			t.Fatalf("%+v, %v", m, err)
		}
	}
	if status, _, _ := r.get(where("stdio")+"/follow", true); status != http.StatusServiceUnavailable {
		t.Errorf("another one gets %d", status)
	}
}

// Parts of a build, for the script of its page.
func TestLogParts(t *testing.T) {
	r := newLogRig(t, logs.Options{})
	r.log("stdio", "oa\nb\n")
	r.begin("junit report.xml")
	r.want("/builders/b/builds/7/log/parts", true,
		`{"parts":[{"key":"S1-stdio","path":"steps/1/logs/stdio","title":"test","lines":2,"done":true},`+
			`{"key":"S1-junit_report_xml","path":"steps/1/logs/junit_report_xml","title":"test · junit report.xml","lines":0,"done":false}],"over":false}`)
}

// FuzzLogRows: whatever a log holds, its rows are well-formed, hold nothing but
// the elements that rows are made of, and show all text that is no control.
func FuzzLogRows(f *testing.F) {
	f.Add([]byte("<script>alert(1)</script>\n\x1b[1;31mx\x1b[0m https://a.b/c\"d' \xff\r\x00"), "alert")
	f.Add([]byte("\x1b[38;2;1;2;3m\x1b[7m&lt;a\thttp://x"), "x")
	f.Fuzz(func(t *testing.T, b []byte, find string) {
		if len(b) > 1<<12 || len(find) > 100 {
			t.Skip("larger than needed")
		}
		w := rowWriter{path: "p", chars: 1000}
		if find != "" {
			w.find, _ = newMatcher(find, false)
		}
		var pen logs.Decoder
		for i, text := range strings.Split(string(b), "\n") {
			l := logs.Line{No: int64(i), Stream: worker.Stdout, Text: []byte(text), Pen: pen}
			w.line(&l)
			pen.Feed([]byte(text + "\n"))
		}
		rest := string(w.buf)
		var open []string
		for {
			i := strings.IndexByte(rest, '<')
			if i < 0 {
				break
			}
			tag := element.FindString(rest[i:])
			if tag == "" {
				t.Fatalf("this is no element of a row: %.60q", rest[i:])
			}
			name := strings.Trim(strings.FieldsFunc(tag, func(r rune) bool { return r == ' ' || r == '>' })[0], "</")
			if strings.HasPrefix(tag, "</") {
				if len(open) == 0 || open[len(open)-1] != name {
					t.Fatalf("%s ends %v", tag, open)
				}
				open = open[:len(open)-1]
			} else {
				open = append(open, name)
			}
			rest = rest[i+len(tag):]
		}
		if len(open) > 0 {
			t.Fatalf("open at the end: %v", open)
		}
	})
}

// element is what rows are made of. Attributes hold nothing that ends them.
var element = regexp.MustCompile(`^(?:</(?:div|a|time|i|code|span|mark|b)>|<(?:div|a|time|i|code|span|mark|b)(?: (?:class|id|href|datetime|title|rel|target|data-[rfb])="[^"<>]*")*>)`)
