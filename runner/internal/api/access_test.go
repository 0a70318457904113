package api

import (
	"fmt"
	"golang.org/x/crypto/bcrypt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"bothy/runner/config"
	"bothy/runner/internal/auth"
)

func TestHosts(t *testing.T) {
	conf := &config.Config{URL: "https://ci.example.com:8443/bothy/", Web: config.Web{Listen: "build-box:8010"}}
	addr := func(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }
	for _, c := range []struct {
		listen string
		host   string
		want   bool
	}{
		{"127.0.0.1:8010", "127.0.0.1:8010", true},
		{"127.0.0.1:8010", "127.0.0.1", true},
		{"127.0.0.1:8010", "127.8.9.1:1", true},
		{"127.0.0.1:8010", "localhost:8010", true},
		{"127.0.0.1:8010", "LOCALHOST.", true},
		{"127.0.0.1:8010", "bothy.localhost", true},
		{"127.0.0.1:8010", "[::1]:8010", true},
		{"127.0.0.1:8010", "ci.example.com", true},
		{"127.0.0.1:8010", "CI.example.com:80", true},
		{"127.0.0.1:8010", "build-box", true},
		{"127.0.0.1:8010", "evil.example.com", false},
		{"127.0.0.1:8010", "localhost.evil.example.com", false},
		{"127.0.0.1:8010", "evillocalhost", false},
		{"127.0.0.1:8010", "192.168.1.5", false},
		{"127.0.0.1:8010", "", false},
		{"127.0.0.1:8010", "127.0.0.1.evil.example.com", false},
		{"192.168.1.5:80", "192.168.1.5", true},
		{"192.168.1.5:80", "192.168.1.6", false},
		{"0.0.0.0:80", "192.168.1.6", true},
		{"[::]:80", "[fe80::1]", true},
		{"[::]:80", "evil.example.com", false},
	} {
		allowed := Hosts(addr(c.listen), func() *config.Config { return conf })
		if got := allowed(hostname(c.host)); got != c.want {
			t.Errorf("listening on %s, called %q: %v, want %v", c.listen, c.host, got, c.want)
		}
	}
}

// everyEntry is one request for each way in.
var everyEntry = []struct{ method, path, body string }{
	{"GET", "/api/v2/workers", ""}, {"GET", "/api/openapi.json", ""}, {"GET", "/api/", ""}, {"GET", "/api/v2/logs/1/raw", ""},
	{"GET", "/metrics", ""}, {"GET", "/badges/test.svg", ""}, {"GET", "/cc.xml", ""}, {"GET", "/ws", ""}, {"GET", "/sse/listen/a", ""},
	{"POST", "/api/v2/workers/1", `{"jsonrpc":"2.0","id":1,"method":"pause","params":{}}`},
}

func TestGuardHost(t *testing.T) {
	r := newRig(t, basic(), rigOptions{access: Open(func(host string) bool { return host == "good" })})
	for _, e := range everyEntry {
		r.do(e.method, e.path, []byte(e.body), func(q *http.Request) { q.Host = "evil.example.com:80" }).want(403, "this master is not called", "evil.example.com")
	}
	r.get("workers", func(q *http.Request) { q.Host = "good:1234" }).want(200)
	r.do("GET", "/healthz", nil, func(q *http.Request) { q.Host = "10.0.0.7" }).want(200)
}

func TestGuardOrigin(t *testing.T) {
	r := newRig(t, basic())
	host := strings.TrimPrefix(r.srv.URL, "http://")
	for _, c := range []struct {
		header, value string
		post          int // status
	}{
		{"Origin", "http://" + host, 200},
		{"Origin", "http://ci.example.com", 200}, // the configured url
		{"Origin", "https://ci.example.com", 400},
		{"Origin", "http://evil.example.com", 400},
		{"Origin", "null", 400},
		{"Origin", "http://127.0.0.1", 400}, // another port
		{"Origin", "%", 400},
		{"Sec-Fetch-Site", "cross-site", 400},
		{"Sec-Fetch-Site", "same-site", 400},
		{"Sec-Fetch-Site", "same-origin", 200},
		{"Sec-Fetch-Site", "none", 200},
	} {
		edit := func(q *http.Request) { q.Header.Set(c.header, c.value) }
		a := r.call("workers/1", "unpause", `{}`, edit)
		if a.status != c.post || c.post == 400 && !strings.Contains(string(a.body), "invalid origin") {
			t.Errorf("%s: %s: %d %s", c.header, c.value, a.status, a.body)
		}
		if a := r.get("workers", edit); a.status != 200 || a.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %s: reading: %d %v", c.header, c.value, a.status, a.header)
		}
		conn, resp, err := websocket.Dial(t.Context(), "ws://"+host+"/ws", &websocket.DialOptions{HTTPHeader: http.Header{c.header: {c.value}}})
		if (err == nil) != (c.post == 200) {
			t.Errorf("%s: %s: WebSocket: %v %v", c.header, c.value, resp, err)
		}
		if err == nil {
			conn.CloseNow()
		}
	}
}

func TestReadOnly(t *testing.T) {
	r := newRig(t, basic(), rigOptions{access: ReadOnly()})
	r.get("workers").want(200)
	r.dial().consume("a")
	r.call("workers/1", "pause", `{}`).failed(403, codeInvalidRequest, `anonymous may not pause: that takes the role \"operator\"`)
	r.call("builders/test", "force", `{}`).failed(403, codeInvalidRequest, "may not force")
	r.get("workers/1").want(200, `"paused":false`)
}

// credentialsOf are users and tokens of each role; passwords are their names.
func credentialsOf(t testing.TB) *Credentials {
	t.Helper()
	var users []User
	var tokens []Token
	for _, role := range []config.Role{config.Viewer, config.Operator, config.Admin} {
		tokens = append(tokens, Token{"bot-" + string(role), auth.TokenDigest("token-" + string(role)), role})
		users = append(users, User{string(role), cheapHash(t, string(role)), role})
	}
	return NewCredentials(append(users, User{Name: "plain", Hash: cheapHash(t, "plain")}), tokens, slog.New(slog.DiscardHandler))
}

// cheapHash is a hash that costs next to nothing.
func cheapHash(t testing.TB, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(string(h), "$2a$", "$2y$", 1)
}

func TestRoles(t *testing.T) {
	r := newRig(t, basic(), rigOptions{access: credentialsOf(t).Access(nil)})
	user := func(name, password string) func(*http.Request) {
		return func(q *http.Request) { q.SetBasicAuth(name, password) }
	}
	token := func(s string) func(*http.Request) {
		return func(q *http.Request) { q.Header.Set("Authorization", s) }
	}
	for name, c := range map[string]struct {
		edit                func(*http.Request)
		read, pause, enable int
	}{
		"nobody":         {func(*http.Request) {}, 401, 401, 401},
		"viewer":         {user("viewer", "viewer"), 200, 403, 403},
		"no role":        {user("plain", "plain"), 200, 403, 403},
		"operator":       {user("operator", "operator"), 200, 200, 403},
		"admin":          {user("admin", "admin"), 200, 200, 200},
		"viewer token":   {token("Bearer token-viewer"), 200, 403, 403},
		"operator token": {token("bearer  token-operator"), 200, 200, 403},
		"admin token":    {token("Bearer token-admin"), 200, 200, 200},
		"other scheme":   {token("Digest x"), 401, 401, 401},
		"bad basic":      {token("Basic %%%"), 401, 401, 401},
	} {
		r.get("workers", c.edit).want(c.read)
		r.call("workers/1", "unpause", `{}`, c.edit).want(c.pause)
		r.call("schedulers/1", "enable", `{"enabled":true}`, c.edit).want(c.enable)
		if t.Failed() {
			t.Fatalf("as %s", name)
		}
	}
	for _, e := range everyEntry {
		a := r.do(e.method, e.path, []byte(e.body))
		a.want(401, "log in first")
		if got := a.header.Get("WWW-Authenticate"); got != basicChallenge {
			t.Errorf("%s is challenged with %q", e.path, got)
		}
	}
	r.do("GET", "/healthz", nil).want(200)
	// Who did it is kept.
	r.call("workers/1", "pause", `{"owner":"eve"}`, user("operator", "operator")).is("null")
	r.get("workers/1", user("viewer", "viewer")).want(200, `"by":"operator"`)
	r.call("forceschedulers/button", "force", `{"builderid":1,"level":1,"username":"Eve <eve@example.com>","owner":"eve"}`, token("Bearer token-operator")).is(`[1,{"1":1}]`)
	r.get("builds/1/properties", user("viewer", "viewer")).want(200, `"owner":["bot-operator","Force Build Form"]`)
	s := r.dial(func(h http.Header) { h.Set("Authorization", "Bearer token-viewer") })
	s.consume("a")
}

// Guessing is slowed down; whoever knows a token, or a password that was right
// a moment ago, does not notice.
func TestGuessing(t *testing.T) {
	r := newRig(t, basic(), rigOptions{access: credentialsOf(t).Access(nil)})
	right := func(q *http.Request) { q.SetBasicAuth("admin", "admin") }
	r.get("workers", right).want(200)
	wrong := func(q *http.Request) { q.SetBasicAuth("admin", "guess") }
	for i := range freeAttempts {
		r.get("workers", wrong).want(401, "wrong name or password")
		if t.Failed() {
			t.Fatalf("attempt %d", i)
		}
	}
	a := r.get("workers", wrong)
	a.want(429, "too many wrong passwords")
	if a.header.Get("Retry-After") == "" {
		t.Errorf("no Retry-After: %v", a.header)
	}
	r.get("workers", right).want(200)
	r.get("workers", func(q *http.Request) { q.SetBasicAuth("operator", "operator") }).want(429)
	r.get("workers", func(q *http.Request) { q.Header.Set("Authorization", "Bearer token-viewer") }).want(200)
	r.get("workers", func(q *http.Request) { q.Header.Set("Authorization", "Bearer guess") }).want(429)
}

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l limiter
		a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		for i := range freeAttempts {
			if d := l.begin(a); d != 0 {
				t.Fatalf("attempt %d waits %v", i, d)
			}
		}
		for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			want *= time.Second
			if d := l.begin(a); d != want {
				t.Errorf("waits %v, want %v", d, want)
			}
			time.Sleep(want - time.Millisecond)
			if d := l.begin(a); d != time.Millisecond {
				t.Errorf("a moment before it waits %v", d)
			}
			time.Sleep(time.Millisecond)
			if d := l.begin(a); d != 0 {
				t.Errorf("after %v it waits %v", want, d)
			}
		}
		if d := l.begin(b); d != 0 {
			t.Errorf("its neighbour waits %v", d)
		}
		time.Sleep(forgetAfter)
		if d := l.begin(a); d != 0 {
			t.Errorf("after a long time it waits %v", d)
		}
		for range freeAttempts {
			l.begin(b)
		}
		l.succeeded(b)
		if d := l.begin(b); d != 0 {
			t.Errorf("after the right password it waits %v", d)
		}
	})
}

// The memory of wrong passwords is bounded, and one IPv6 network is one address.
func TestLimiterMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l limiter
		for i := range 3 * maxAddresses {
			time.Sleep(time.Millisecond)
			l.begin(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
			if len(l.addrs) > maxAddresses {
				t.Fatalf("%d addresses", len(l.addrs))
			}
		}
		last := netip.AddrFrom4([4]byte{10, byte((3*maxAddresses - 1) >> 16), byte((3*maxAddresses - 1) >> 8 & 255), 255})
		if l.addrs[neighbourhood(last)] == nil {
			t.Error("the latest address was forgotten")
		}
		for i := range freeAttempts {
			l.begin(netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i)))
		}
		if l.begin(netip.MustParseAddr("2001:db8::ffff")) == 0 {
			t.Error("another address of the same network may go on guessing")
		}
		if l.begin(netip.MustParseAddr("2001:db8:1::1")) != 0 {
			t.Error("another network must wait")
		}
		l.begin(netip.Addr{})
	})
}

// The many requests that a page makes at once are one attempt to log in.
func TestManyAtOnce(t *testing.T) {
	c := credentialsOf(t)
	var g sync.WaitGroup
	begin := make(chan struct{})
	for range 100 {
		g.Go(func() {
			q := httptest.NewRequest(http.MethodGet, "/", nil)
			q.SetBasicAuth("admin", "admin")
			<-begin
			if id, err := c.Identify(q); err != nil || id.Name != "admin" {
				t.Errorf("%v %v", id, err)
			}
		})
	}
	close(begin)
	g.Wait()
}
