package web_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strings"
	"testing"

	"bothy/runner"
	"bothy/runner/config"
)

// listen opens a stream and waits for its first line.
func (r *rig) listen(client *http.Client, path string) *bufio.Scanner {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	r.t.Cleanup(cancel)
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+path, nil)
		if err != nil {
			r.t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(func() { resp.Body.Close() })
		if resp.StatusCode != http.StatusOK {
			continue // the build has no log yet; ctx ends this
		}
		lines := bufio.NewScanner(resp.Body)
		if !lines.Scan() {
			r.t.Fatalf("%s: %v", path, lines.Err())
		}
		return lines
	}
}

// ends reads a stream to its end; one that was not ended by the master fails.
func ends(t *testing.T, what string, lines *bufio.Scanner) {
	t.Helper()
	for lines.Scan() {
	}
	if err := lines.Err(); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// Who may no longer look is no longer told of anything; the streams of others go
// on through a reload, and end when their session does.
func TestStreamsEndWithTheSession(t *testing.T) {
	hold := newGate(t)
	c := guarded(t, "ana", "bob")
	c.Builders = []config.Builder{builder("b", "echo hello; "+hold.wait)}
	c.Builders[0].Source.Kind = config.SourceNone
	r := serve(t, c)
	r.submit(runner.Request{Builder: "b"})
	const log = "builders/b/builds/1/steps/1/logs/stdio/follow"
	ana, _ := r.session("ana", "correct horse")
	bob, _ := r.session("bob", "correct horse")
	anas := map[string]*bufio.Scanner{"changes": r.listen(ana, "live"), "a log": r.listen(ana, log)}
	bobs := map[string]*bufio.Scanner{"changes": r.listen(bob, "live"), "a log": r.listen(bob, log)}

	next := *c
	next.Web.Users = c.Web.Users[1:]
	if _, err := r.Reload(t.Context(), &next); err != nil {
		t.Fatal(err)
	}
	for what, lines := range anas {
		ends(t, "ana, who is no user any more: "+what, lines)
	}
	for !strings.Contains(bobs["changes"].Text(), "config") {
		if !bobs["changes"].Scan() {
			t.Fatal("bob's stream has ended with a reload that is none of his business")
		}
	}
	if _, err := bob.PostForm(r.url+"logout", nil); err != nil {
		t.Fatal(err)
	}
	for what, lines := range bobs {
		ends(t, "bob, who has logged out: "+what, lines)
	}
	hold.open()
}

// Without users and tokens whoever reaches a loopback address may look; a master
// that gets some asks those who listen already.
func TestStreamsEndWhenUsersCome(t *testing.T) {
	c := fleet("w1")
	c.Builders[0].Source.Kind = config.SourceNone
	r := serve(t, c)
	lines := r.listen(&http.Client{}, "live")
	next := guarded(t, "ana")
	next.Dir, next.BaseDir = c.Dir, c.BaseDir
	if _, err := r.Reload(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	ends(t, "nobody", lines)
}

// Without users nobody may look at a master that other machines reach: those who
// listen when the last user goes are told no more.
func TestStreamsEndWhenUsersGo(t *testing.T) {
	c := guarded(t, "ana")
	r := &rig{t: t, Runner: start(t, c, runner.Options{})}
	ln, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	go r.Serve(ln)
	t.Cleanup(func() { ln.Close() })
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	r.url = "http://127.0.0.1:" + port + "/"
	ana, _ := r.session("ana", "correct horse")
	lines := r.listen(ana, "live")
	next := guarded(t)
	next.Dir, next.BaseDir = c.Dir, c.BaseDir
	if _, err := r.Reload(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	ends(t, "ana", lines)
}

// A log that is written can be asked about without following it.
func TestHeadOfAStream(t *testing.T) {
	hold := newGate(t)
	r := newRig(t, &config.Config{Builders: []config.Builder{builder("b", "echo hello; "+hold.wait)}})
	r.submit(runner.Request{Builder: "b"})
	const log = "builders/b/builds/1/steps/1/logs/stdio/follow"
	r.listen(&http.Client{}, log)
	for _, path := range []string{"live", log} {
		if resp, _ := r.do(http.MethodHead, path, nil); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	hold.open()
}
