package web_test

import (
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"golang.org/x/crypto/bcrypt"

	"bothy/runner"
	"bothy/runner/config"
)

// guarded is a configuration whose users prove who they are.
func guarded(t testing.TB, users ...string) *config.Config {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("correct horse"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	c := fleet("w1")
	for _, u := range users {
		c.Web.Users = append(c.Web.Users, config.User{Name: u, PasswordHash: config.Secret{Text: string(hash)}, Role: config.Operator})
	}
	c.Builders[0].Source.Kind = config.SourceNone
	return c
}

// serve starts a master that serves the page itself, as the configuration says.
func serve(t testing.TB, c *config.Config) *rig {
	t.Helper()
	r := &rig{t: t, Runner: start(t, c, runner.Options{})}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- r.Serve(ln) }()
	t.Cleanup(func() { // before the master ends
		if err := ln.Close(); err != nil {
			t.Log(err)
		}
	})
	r.url = "http://" + ln.Addr().String() + "/"
	return r
}

// People log in, are known by their names, and log out; a reload that removes
// them ends their sessions, and no other's.
func TestLogin(t *testing.T) {
	c := guarded(t, "ana", "bob")
	r := serve(t, c)
	b := r.tab()
	b.open("workers/w1?span=24h")
	b.says("h1", "Log in to Bothy")
	b.type_("[name=user]", "ana")
	b.type_("[name=password]", "battery staple")
	b.click(".login .primary")
	b.says(".note.failure", "wrong name or password")
	b.forgive("401")
	b.type_("[name=password]", "correct horse")
	b.click(".login .primary")
	b.at("workers/w1")
	b.until(`location.search === "?span=24h"`)
	b.says(".who", "ana")
	b.click("#state [value=pause]")
	b.says("#state", "by ana")
	b.says("#live", "live")
	if cookies := eval[string](b, "document.cookie"); cookies != "" {
		t.Errorf("a script can read %q", cookies)
	}

	next := guarded(t, "ana")
	next.Web.Users[0].PasswordHash = c.Web.Users[0].PasswordHash
	next.Dir, next.BaseDir = c.Dir, c.BaseDir
	if _, err := r.Reload(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	b.open("workers")
	b.says(".who", "ana")
	b.click(".who form button")
	b.says("h1", "Log in")
	b.open("workers")
	b.says("h1", "Log in")
}

// session logs in without a browser and returns a client that has the cookie.
func (r *rig) session(user, password string) (*http.Client, *http.Response) {
	r.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	client := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.PostForm(r.url+"login", url.Values{"user": {user}, "password": {password}, "next": {"workers"}})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		r.t.Fatal(err)
	}
	return client, resp
}

// status is that of a GET.
func status(t testing.TB, client *http.Client, url string) int {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

// A session is a cookie that counts for the page and for REST; it ends with the
// user, with the password and with logging out.
func TestSessions(t *testing.T) {
	c := guarded(t, "ana", "bob")
	r := serve(t, c)
	ana, resp := r.session("ana", "correct horse")
	bob, _ := r.session("bob", "correct horse")
	cookie := resp.Header.Get("Set-Cookie")
	for _, part := range []string{"HttpOnly", "SameSite=Lax", "Max-Age="} {
		if !strings.Contains(cookie, part) {
			t.Errorf("cookie %q has no %s", cookie, part)
		}
	}
	if strings.Contains(cookie, "Path=") || resp.Header.Get("Location") != "./workers" {
		t.Errorf("cookie %q, location %q: the prefix is not known", cookie, resp.Header.Get("Location"))
	}
	check := func(who string, client *http.Client, page, rest int) {
		t.Helper()
		if p, q := status(t, client, r.url+"workers"), status(t, client, r.url+"api/v2/workers"); p != page || q != rest {
			t.Errorf("%s: page %d, REST %d, want %d and %d", who, p, q, page, rest)
		}
	}
	check("ana", ana, 200, 200)
	check("bob", bob, 200, 200)
	check("nobody", &http.Client{CheckRedirect: ana.CheckRedirect}, 303, 401)

	next := guarded(t, "bob") // with another password than before, and without ana
	next.Dir, next.BaseDir = c.Dir, c.BaseDir
	if _, err := r.Reload(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	check("ana, who is no user any more", ana, 303, 401)
	check("bob, whose password is another", bob, 303, 401)
	bob, _ = r.session("bob", "correct horse")
	check("bob", bob, 200, 200)
	if _, err := bob.PostForm(r.url+"logout", nil); err != nil {
		t.Fatal(err)
	}
	check("bob, who has logged out", bob, 303, 401)
}

// Who tries passwords must wait; who asks for the login to lead elsewhere is led
// home.
func TestLoginIsGuarded(t *testing.T) {
	r := serve(t, guarded(t, "ana"))
	slowed := false
	for range 12 {
		if _, resp := r.session("ana", "wrong"); resp.StatusCode == http.StatusTooManyRequests {
			slowed = true
		}
	}
	if !slowed {
		t.Error("twelve wrong passwords in a row are not slowed down")
	}
	for _, next := range []string{"http://evil.example.com/", "//evil.example.com", "/etc", `\\evil.example.com`, "../up", "javascript:alert(1)"} {
		if _, page := r.get("login?next=" + url.QueryEscape(next)); !strings.Contains(page, `name="next" value=""`) {
			t.Errorf("the login leads to %s", next)
		}
	}
	if _, page := r.get("login?next=workers%3Fq%3Da"); !strings.Contains(page, `name="next" value="workers?q=a"`) {
		t.Error("the login does not lead back")
	}
	if resp, _ := r.post("login", url.Values{"user": {"ana"}, "password": {"x"}}, func(q *http.Request) { q.Header.Set("Origin", "http://evil.example.com") }); resp.StatusCode != 400 {
		t.Errorf("a login from another site: %s", resp.Status)
	}
}

// An embedded page without anybody who may act shows what could be done, and why
// it cannot.
func TestEmbeddedReadOnly(t *testing.T) {
	r := &rig{t: t, Runner: start(t, fleet("w1"), runner.Options{})}
	r.mount()
	b := r.tab()
	b.open("workers")
	b.says("#act", "nobody can act here")
	b.until(`document.querySelector("#act [value=pause]").matches(":disabled")`)
	if resp, _ := r.post("workers", url.Values{"do": {"pause"}, "worker": {"w1"}}, func(q *http.Request) { q.Header.Set("X-Bothy", "act") }); resp.StatusCode != 403 {
		t.Error(resp.Status)
	}
	if n := eval[int](b, `document.querySelectorAll(".login, .who form").length`); n != 0 {
		t.Error("there is a login where nobody can log in")
	}
	b.do(chromedp.Navigate(b.url + "nothing/like/it"))
	b.says("main", "no page at this address")
	b.forgive("404")
	b.click("main a")
	b.at("")
}
