package runner_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"golang.org/x/crypto/bcrypt"

	"bothy/runner"
	"bothy/runner/config"
)

// request sends a request and returns the status and the body of its answer. A
// body makes it a POST.
func request(t *testing.T, url, body string, edits ...func(*http.Request)) (int, string) {
	t.Helper()
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for _, f := range edits {
		f(req)
	}
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

const pause = `{"jsonrpc":"2.0","id":1,"method":"pause","params":{"reason":"web"}}`

func oneWorker() *config.Config {
	return &config.Config{
		Workers:  []config.Worker{{Name: "w"}},
		Builders: []config.Builder{{Name: "b", Steps: []config.Step{config.Shell("exit 0")}}},
	}
}

// An embedded handler lets everybody look and nobody act.
func TestHandlerIsReadOnly(t *testing.T) {
	r := start(t, oneWorker(), runner.Options{})
	srv := httptest.NewServer(http.StripPrefix("/ci", r.Handler()))
	defer srv.Close()
	if code, body := request(t, srv.URL+"/ci/api/v2/workers/w", ""); code != 200 || !strings.Contains(body, `"name": "w"`) {
		t.Errorf("looking: %d %s", code, body)
	}
	if code, body := request(t, srv.URL+"/ci/api/v2/workers/w", pause); code != 403 {
		t.Errorf("acting: %d %s", code, body)
	}
	if code, body := request(t, srv.URL+"/ci/healthz", ""); code != 200 || body != "ok\n" {
		t.Errorf("health: %d %s", code, body)
	}
}

// A panic in what the embedding program brings along ends one request.
func TestHandlerSurvivesAPanic(t *testing.T) {
	auth := func(r *http.Request) (runner.Identity, error) {
		if r.Header.Get("X-User") == "eve" {
			panic("who?")
		}
		return runner.Identity{Name: "ana", Role: config.Viewer}, nil
	}
	srv := httptest.NewServer(start(t, oneWorker(), runner.Options{Auth: auth}).Handler())
	defer srv.Close()
	eve := func(r *http.Request) { r.Header.Set("X-User", "eve") }
	for _, path := range []string{"/api/v2/workers", "/workers"} {
		if code, _ := request(t, srv.URL+path, "", eve); code != 500 {
			t.Errorf("%s: %d", path, code)
		}
		if code, _ := request(t, srv.URL+path, ""); code != 200 {
			t.Errorf("%s after it: %d", path, code)
		}
	}
}

func TestHandlerAuth(t *testing.T) {
	auth := func(r *http.Request) (runner.Identity, error) {
		switch name := r.Header.Get("X-User"); name {
		case "":
			return runner.Identity{}, runner.ErrNoCredentials
		case "eve":
			return runner.Identity{}, errors.New("not eve")
		case "guest":
			return runner.Identity{Name: name}, nil
		default:
			return runner.Identity{Name: name, Role: config.Role(name)}, nil
		}
	}
	r := start(t, oneWorker(), runner.Options{Auth: auth})
	srv := httptest.NewServer(r.Handler())
	defer srv.Close()
	for name, want := range map[string][2]int{ // looking, acting
		"": {401, 401}, "eve": {403, 403}, "guest": {403, 403}, "viewer": {200, 403}, "operator": {200, 200}, "admin": {200, 200},
	} {
		as := func(q *http.Request) { q.Header.Set("X-User", name) }
		look, _ := request(t, srv.URL+"/api/v2/workers", "", as)
		act, body := request(t, srv.URL+"/api/v2/workers/w", pause, as)
		if look != want[0] || act != want[1] {
			t.Errorf("%q: %d and %d, want %d; %s", name, look, act, want, body)
		}
	}
}

// serve serves r on a loopback port until it ends.
func serve(t *testing.T, r *runner.Runner) (url string, served <-chan error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- r.Serve(ln) }()
	return "http://" + ln.Addr().String(), done
}

// What [web] says counts for Serve: nobody is asked on loopback without users;
// with them, names and passwords count, those of the present configuration.
func TestServe(t *testing.T) {
	cfg := oneWorker()
	r := start(t, cfg, runner.Options{})
	url, served := serve(t, r)
	if code, body := request(t, url+"/api/v2/workers/w", pause); code != 200 {
		t.Errorf("acting without users: %d %s", code, body)
	}
	if code, body := request(t, url+"/api/v2/workers", "", func(q *http.Request) { q.Host = "evil.example.com" }); code != 403 {
		t.Errorf("by another name: %d %s", code, body)
	}
	listen := func() *websocket.Conn {
		t.Helper()
		conn, _, err := websocket.Dial(t.Context(), url+"/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	conn := listen()
	defer conn.CloseNow()

	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	next := oneWorker()
	next.Dir, next.BaseDir = cfg.Dir, cfg.BaseDir
	next.Builders[0].Source.Kind = config.SourceTree
	next.Web.Users = []config.User{{Name: "ana", PasswordHash: config.Secret{Text: string(hash)}, Role: config.Operator}}
	next.Web.Tokens = []config.Token{{Name: "bot", Secret: config.Secret{Text: "0123456789abcdef0123456789abcdef"}}}
	if _, err := r.Reload(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusServiceRestart {
		t.Errorf("who listened when anybody might: %v", err)
	}
	for name, c := range map[string]struct {
		edit      func(*http.Request)
		look, act int
	}{
		"nobody":         {func(*http.Request) {}, 401, 401},
		"a user":         {func(q *http.Request) { q.SetBasicAuth("ana", "secret") }, 200, 200},
		"wrong password": {func(q *http.Request) { q.SetBasicAuth("ana", "secret2") }, 401, 401},
		"a token":        {func(q *http.Request) { q.Header.Set("Authorization", "Bearer 0123456789abcdef0123456789abcdef") }, 200, 403},
	} {
		look, _ := request(t, url+"/api/v2/workers", "", c.edit)
		act, body := request(t, url+"/api/v2/workers/w", pause, c.edit)
		if look != c.look || act != c.act {
			t.Errorf("%s: %d and %d, want %d and %d; %s", name, look, act, c.look, c.act, body)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Stop(ctx); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve returned %v", err)
	}
}

// What a change needs a restart for is said as long as it waits for one, and not
// when it was taken back.
func TestReloadSaysWhatNeedsARestart(t *testing.T) {
	r := start(t, oneWorker(), runner.Options{})
	basedir := r.BaseDir()
	for _, tt := range []struct {
		listen, title string
		want          bool
	}{
		{"127.0.0.1:8011", "", true},
		{"127.0.0.1:8011", "other", true}, // still
		{"127.0.0.1:8011", "other", true},
		{"", "other", false}, // taken back
		{"127.0.0.1:8012", "other", true},
		{"127.0.0.1:8010", "", false},
	} {
		next := oneWorker()
		next.BaseDir, next.Web.Listen, next.Title = basedir, tt.listen, tt.title
		changes, err := r.Reload(t.Context(), next)
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Contains(changes, "web.listen counts from the next start on"); got != tt.want {
			t.Errorf("listen %q: %q", tt.listen, changes)
		}
	}
}
