package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"bothy/runner/internal/logs"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// addLog gives step 1 of build 1 another log, which write fills.
func (r *rig) addLog(id int64, name string, write func(*logs.Writer) error) {
	r.t.Helper()
	w, err := r.logs.Create(id, worker.Token{Epoch: 9, Counter: id}, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := write(w); err != nil {
		r.t.Fatal(err)
	}
	info, err := w.Finish()
	if err != nil {
		r.t.Fatal(err)
	}
	b := store.NewBatch()
	b.PutLog(&store.Log{ID: id, Build: 1, Step: 1, Name: name, Ref: string(info.Ref), Lines: info.Lines, Bytes: info.Bytes, Complete: true})
	if err := r.store.Commit(b); err != nil {
		r.t.Fatal(err)
	}
}

func TestLogContents(t *testing.T) {
	r := newRig(t, basic())
	r.done(r.build("test"))
	r.addLog(1000, "junit report.xml", func(w *logs.Writer) error {
		for _, part := range []struct {
			s worker.Stream
			p string
		}{{worker.Stdout, "one\ntw"}, {worker.Stderr, "é \"quoted\"\n"}, {worker.Stdout, "o\n\xff\x00\ttab\r\n"}, {worker.Header, "end"}} {
			if err := w.Write(part.s, []byte(part.p)); err != nil {
				return err
			}
		}
		return nil
	})
	r.addLog(1001, "junit-report.xml", func(w *logs.Writer) error { return w.Write(worker.Stdout, []byte("x\n")) })
	r.addLog(1002, "junit_report.xml", func(*logs.Writer) error { return nil })
	slugs := map[string]any{}
	for _, l := range r.get("builds/1/steps/1/logs").rows("logs") {
		slugs[fmt.Sprint(l["name"])] = l["slug"]
	}
	for name, want := range map[string]string{
		"stdio": "stdio", "junit report.xml": "junit_report_xml", "junit-report.xml": "junit-report_xml", "junit_report.xml": "junit_report_xml_2",
	} {
		if slugs[name] != want {
			t.Errorf("the slug of %s is %v, want %s", name, slugs[name], want)
		}
	}
	const all = "one\né \"quoted\"\ntwo\n\uFFFD\x00\ttab\r\nend\n"
	for query, want := range map[string]string{
		"":                  all,
		"?limit=2":          "one\né \"quoted\"\n",
		"?offset=3&limit=1": "\uFFFD\x00\ttab\r\n",
		"?offset=9":         "",
		"?limit=0":          "",
	} {
		for _, accept := range []string{"application/json", "*/*"} {
			var got struct {
				Logchunks []struct {
					Content          *string
					Firstline, Logid int
				}
				Meta map[string]any
			}
			a := r.get("logs/1000/contents"+query, func(q *http.Request) { q.Header.Set("Accept", accept) })
			a.want(200)
			if err := json.Unmarshal(a.body, &got); err != nil {
				t.Fatalf("%s: %v in %s", query, err, a.body)
			}
			if c := got.Logchunks[0]; c.Content == nil || *c.Content != want || c.Logid != 1000 {
				t.Errorf("%s: %s, want %q", query, a.body, want)
			}
		}
	}
	r.get("logs/1000/contents?field=logid").want(200, `{"logchunks":[{"logid":1000}],"meta":{}}`)
	r.get("builds/1/steps/greet/logs/stdio/contents").want(200, `"h$ print hello\nohello\n"`)
	raw := r.get("steps/1048577/logs/junit_report_xml/raw")
	raw.want(200)
	if string(raw.body) != "one\né \"quoted\"\ntwo\n\xff\x00\ttab\r\nend\n" {
		t.Errorf("raw: %q", raw.body)
	}
	if got := raw.header.Get("Content-Disposition"); got != "attachment; filename=test_build_1_step_greet_log_junit_report_xml" {
		t.Errorf("it is called %s", got)
	}
	inline := r.get("builders/test/builds/1/steps/1/logs/stdio/raw_inline")
	inline.want(200)
	if string(inline.body) != "$ print hello\nhello\n" || inline.header.Get("Content-Disposition") != "" || inline.header.Get("Content-Type") != typeText {
		t.Errorf("inline: %q %v", inline.body, inline.header)
	}
	if head := r.do("HEAD", "/api/v2/logs/1000/raw", nil); head.status != 200 || len(head.body) != 0 {
		t.Errorf("HEAD: %d, %d bytes", head.status, len(head.body))
	}
}

// A log that is written can be read, and followed to its end.
func TestFollow(t *testing.T) {
	r := newRig(t, basic())
	r.build("hold")
	r.holds("hold")
	until(t, "the log is there", func() bool { return r.get("builds/1/steps/1/logs/stdio").status == 200 })
	r.get("builds/1/steps/1/logs/stdio").want(200, `"complete":false`, `"num_lines":1`)
	r.get("builds/1/steps/1/logs/stdio/contents").want(200, `"h$ hold\n"`)
	resp, err := r.srv.Client().Get(r.srv.URL + "/api/v2/builds/1/steps/1/logs/stdio/raw_inline?follow=1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text := bufio.NewReader(resp.Body)
	if line, err := text.ReadString('\n'); err != nil || line != "$ hold\n" {
		t.Fatalf("first comes %q, %v", line, err)
	}
	r.fleet.release()
	if rest, err := io.ReadAll(text); err != nil {
		t.Errorf("then %q, %v", rest, err)
	}
	waitDone(t, r, 1)
	r.get("builds/1/steps/1/logs/stdio/raw?follow=maybe").want(400, "invalid filter value for follow")
}

// Who follows a log and would no longer be let in after a reload is cut off; all
// others read on.
func TestFollowRevoked(t *testing.T) {
	tokens := []Token{{Name: "ann", Secret: "ann-secret"}, {Name: "bob", Secret: "bob-secret"}}
	known := NewCredentials(nil, tokens, slog.New(slog.DiscardHandler))
	r := newRig(t, basic(), rigOptions{access: known.Access(nil)})
	open := httptest.NewServer(r.api.Handler(ReadOnly())) // not by the configuration
	defer open.Close()
	r.build("hold")
	r.holds("hold")
	until(t, "the log is there", func() bool {
		resp, err := http.Get(open.URL + "/api/v2/builds/1/steps/1/logs/stdio")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode == 200
	})
	follow := func(url, token string) *bufio.Reader {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "GET", url+"/api/v2/builds/1/steps/1/logs/stdio/raw_inline?follow=1", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		text := bufio.NewReader(resp.Body)
		if line, err := text.ReadString('\n'); err != nil || line != "$ hold\n" {
			t.Fatalf("first comes %q, %v", line, err)
		}
		return text
	}
	ann, bob, anybody := follow(r.srv.URL, "ann-secret"), follow(r.srv.URL, "bob-secret"), follow(open.URL, "")
	later := NewCredentials(nil, tokens[:1], slog.New(slog.DiscardHandler)).Access(nil)
	r.api.DropListeners(func(r *http.Request) bool { _, err := later.Identify(r); return err == nil })
	if rest, err := io.ReadAll(bob); err == nil {
		t.Errorf("who was removed reads on to %q, as if that were the end", rest)
	}
	r.fleet.release()
	for name, text := range map[string]io.Reader{"who is still there": ann, "who depends on nothing": anybody} {
		if rest, err := io.ReadAll(text); err != nil {
			t.Errorf("%s: %q %v", name, rest, err)
		}
	}
	r.api.follows.mu.Lock()
	defer r.api.follows.mu.Unlock()
	if n := len(r.api.follows.all); n != 0 {
		t.Errorf("%d are not forgotten", n)
	}
}

// What is sent of a large log is not gathered first.
func TestLargeLog(t *testing.T) {
	const mib = 24
	r := newRig(t, basic())
	r.done(r.build("test"))
	line := strings.Repeat("0123456789abcde", 7) + "\n"
	chunk := bytes.Repeat([]byte(line), 1<<20/len(line))
	r.addLog(1000, "big", func(w *logs.Writer) error {
		for range mib {
			if err := w.Write(worker.Stdout, chunk); err != nil {
				return err
			}
		}
		return nil
	})
	for _, path := range []string{"logs/1000/raw", "logs/1000/contents"} {
		resp, err := r.srv.Client().Get(r.srv.URL + "/api/v2/" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var got, most uint64
		buf := make([]byte, 1<<20)
		for base := heap(); err == nil; {
			var n int
			n, err = io.ReadFull(resp.Body, buf)
			got += uint64(n)
			most = max(most, max(heap(), base)-base)
		}
		if err != io.EOF && err != io.ErrUnexpectedEOF || got < mib*uint64(len(chunk)) {
			t.Errorf("%s: %d bytes, %v", path, got, err)
		}
		if most > mib<<20/2 {
			t.Errorf("%s takes %d MiB of memory", path, most>>20)
		}
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
