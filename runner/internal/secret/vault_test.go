package secret

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bothy/runner/config"
)

// fakeVault answers as the HTTP API of Vault does (developer.hashicorp.com,
// "KV secrets engine" versions 1 and 2, "AppRole auth method").
type fakeVault struct {
	*httptest.Server
	ca string // file

	mu     sync.Mutex
	tokens map[string]int // uses left; -1: any number
	issued int            // tokens of AppRole so far
	uses   int            // of a token of AppRole
	lease  int            // seconds
	asked  []string       // paths
	sealed bool
}

func startVault(t *testing.T) *fakeVault {
	t.Helper()
	v := &fakeVault{tokens: map[string]int{"root": -1}, uses: -1, lease: 3600}
	v.Server = httptest.NewTLSServer(v)
	t.Cleanup(v.Close)
	v.ca = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: v.Certificate().Raw})
	if err := os.WriteFile(v.ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return v
}

var fakeSecrets = map[string]string{ // by path below /v1/
	"secret/data/db":       `{"data": {"data": {"password": "s3cret", "value": "main", "port": 5432, "tls": true, "none": null, "list": ["a"], "": "x"}, "metadata": {"version": 1}}}`,
	"secret/data/a|b/c d":  `{"data": {"data": {"k|\\": "odd"}, "metadata": {"version": 1}}}`,
	"secret/data/large":    `{"data": {"data": {"value": "` + strings.Repeat("x", maxValue+1) + `"}, "metadata": {}}}`,
	"secret/data/huge":     `{"data": {"data": {"value": "` + strings.Repeat("x", maxResponse) + `"}, "metadata": {}}}`,
	"secret/data/garbage":  `{"data": {"data": "s3cret"`,
	"secret/data/list":     `["s3cret"]`,
	"secret/data/notmap":   `{"data": {"data": "s3cret", "metadata": {}}}`,
	"secret/data/emptied":  `{"data": {"data": null, "metadata": {"deletion_time": "2026-01-01T00:00:00Z"}}}`,
	"kv/db":                `{"data": {"password": "old s3cret"}}`,
	"kv/data/db":           `{"data": {"password": "old s3cret"}}`, // version 1, asked as version 2
	"secret/data/team/web": `{"data": {"data": {"value": "of a namespace"}, "metadata": {}}}`,
}

func (v *fakeVault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	v.asked = append(v.asked, path)
	fail := func(status int, text string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"errors": [%q]}`, text)
	}
	token := r.Header.Get("X-Vault-Token")
	switch {
	case r.Header.Get("X-Vault-Request") != "true":
		fail(http.StatusPreconditionFailed, "missing required Vault header")
	case v.sealed:
		fail(http.StatusServiceUnavailable, "Vault is sealed")
	case path == "auth/approle/login":
		v.logIn(w, r, fail)
	case v.tokens[token] == 0:
		fail(http.StatusForbidden, "permission denied for token "+token) // Vault does not repeat it, but who knows
	case path == "secret/data/team/web" && r.Header.Get("X-Vault-Namespace") != "ns1":
		fail(http.StatusNotFound, "no handler for route")
	case fakeSecrets[path] == "":
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"errors": []}`)
	default:
		v.tokens[token]--
		io.WriteString(w, fakeSecrets[path])
	}
}

func (v *fakeVault) logIn(w http.ResponseWriter, r *http.Request, fail func(int, string)) {
	var sent struct {
		Role   string `json:"role_id"`
		Secret string `json:"secret_id"`
	}
	if err := json.NewDecoder(r.Body).Decode(&sent); err != nil || r.Method != http.MethodPost || sent.Role != "bothy" || sent.Secret != "role s3cret" {
		fail(http.StatusBadRequest, "invalid role or secret ID\n"+sent.Secret)
		return
	}
	v.issued++
	token := fmt.Sprintf("hvs.%d", v.issued)
	v.tokens[token] = v.uses
	fmt.Fprintf(w, `{"auth": {"client_token": %q, "lease_duration": %d, "renewable": true}}`, token, v.lease)
}

// revoke makes every token invalid.
func (v *fakeVault) revoke() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.tokens)
}

func (v *fakeVault) logins() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.issued
}

// options are those of a client that trusts the server.
func (v *fakeVault) options() config.VaultOptions {
	return config.VaultOptions{Address: v.URL, CACert: v.ca, Token: config.Secret{Text: "root"}}
}

func (v *fakeVault) approle() config.VaultOptions {
	o := v.options()
	o.Token, o.RoleID, o.SecretID = config.Secret{}, "bothy", config.Secret{Env: "SECRET_ID"}
	return o
}

func vaultChain(t *testing.T, o config.VaultOptions) *Chain {
	t.Helper()
	return chain(t, "", []string{"SECRET_ID=role s3cret", "WRONG=wrong s3cret"}, config.SecretProvider{Kind: config.SecretVault, Vault: o})
}

func TestVault(t *testing.T) {
	v := startVault(t)
	two := vaultChain(t, v.options())
	for name, want := range map[string]string{
		"db|password": "s3cret", "db": "main", "db|port": "5432", "db|tls": "true", `a\|b/c d|k\|\\`: "odd",
		`db\`: "main", // Buildbot ignores it too
	} {
		if got, err := two.Lookup(t.Context(), name); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"nowhere|x", "db|nothing", "db|none", "a|b|c", "db|", `\|x`, "emptied", "team/web"} {
		if got, err := two.Lookup(t.Context(), name); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %q, %v; want not found", name, got, err)
		}
	}
	for name, want := range map[string]string{
		"db|list": "is not a text", "large": "more than 65536 bytes", "huge": "more than 1048576 bytes", "garbage": errAnswer.Error(),
		"list": errAnswer.Error(), "notmap": errAnswer.Error(),
	} {
		got, err := two.Lookup(t.Context(), name)
		if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, ErrNotFound) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %.50q, %v; want %q", name, got, err, want)
		}
	}

	o := v.options()
	o.Mount, o.APIVersion = "/kv/", 1
	if got, err := vaultChain(t, o).Lookup(t.Context(), "db|password"); err != nil || got != "old s3cret" {
		t.Errorf("version 1: %q, %v", got, err)
	}
	o.APIVersion = 2
	if _, err := vaultChain(t, o).Lookup(t.Context(), "db|password"); err == nil || !strings.Contains(err.Error(), "api_version = 1") {
		t.Errorf("version 1 asked as version 2: %v", err)
	}
	o = v.options()
	o.Namespace = "ns1"
	if got, err := vaultChain(t, o).Lookup(t.Context(), "team/web"); err != nil || got != "of a namespace" {
		t.Errorf("in a namespace: %q, %v", got, err)
	}
}

// What escapes in a name hide must not lead out of the mount.
func TestVaultPathsStayInside(t *testing.T) {
	v := startVault(t)
	c := vaultChain(t, v.options())
	for _, name := range []string{`.\./x`, `a/\../b`, `\/x`, `a/\.`} {
		if got, err := c.Lookup(t.Context(), name); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
	if len(v.asked) > 0 {
		t.Errorf("the server was asked for %q", v.asked)
	}
}

func TestVaultAppRole(t *testing.T) {
	v := startVault(t)
	c := vaultChain(t, v.approle())
	get := func(what string, logins int) {
		t.Helper()
		if got, err := c.Lookup(t.Context(), "db|password"); err != nil || got != "s3cret" {
			t.Fatalf("%s: %q, %v", what, got, err)
		}
		if n := v.logins(); n != logins {
			t.Fatalf("%s: %d logins so far, want %d", what, n, logins)
		}
	}
	get("first", 1)
	get("the token is kept", 1)
	v.revoke()
	get("the token was revoked", 2)

	v.mu.Lock()
	v.uses = 1
	v.tokens["hvs.2"] = 1
	v.mu.Unlock()
	get("the last use", 2)
	get("a token for one use", 3)
	get("another one", 4)

	v.mu.Lock()
	v.uses, v.lease = -1, 0
	v.mu.Unlock()
	get("a token without a lease", 5)
	get("it does not expire", 5)

	// The server refuses every token: one new login, then the answer stands.
	v.mu.Lock()
	v.uses = 0
	clear(v.tokens)
	v.mu.Unlock()
	_, err := c.Lookup(t.Context(), "db|password")
	if err == nil || !strings.Contains(err.Error(), "forbidden: permission denied") || strings.Contains(err.Error(), "hvs.") {
		t.Errorf("refused: %v", err)
	}
	if n := v.logins(); n != 6 {
		t.Errorf("%d logins, want 6", n)
	}
}

func TestVaultTokenExpires(t *testing.T) {
	v := startVault(t)
	c := vaultChain(t, v.approle())
	p := c.providers[0].(*vaultProvider)
	for i := range 2 {
		if _, err := c.Lookup(t.Context(), "db"); err != nil {
			t.Fatal(err)
		}
		if left := time.Until(p.login.until); left <= 0 || left > 54*time.Minute {
			t.Errorf("a token of an hour is used for %v, want 54 min at most", left)
		}
		if n := v.logins(); n != i+1 {
			t.Errorf("%d logins, want %d", n, i+1)
		}
		p.login.until = time.Now() // nobody else looks at it here
	}
}

func TestVaultLogsInOnceForMany(t *testing.T) {
	v := startVault(t)
	c := vaultChain(t, v.approle())
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if _, err := c.Lookup(t.Context(), "db"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := v.logins(); n != 1 {
		t.Errorf("%d logins, want 1", n)
	}
}

func TestVaultRefusals(t *testing.T) {
	v := startVault(t)
	with := func(change func(*config.VaultOptions)) config.VaultOptions {
		o := v.options()
		change(&o)
		return o
	}
	role := v.approle()
	role.SecretID.Env = "WRONG"
	untrusted := v.options()
	untrusted.CACert = ""
	sealed := startVault(t)
	sealed.sealed = true
	gone := startVault(t)
	gone.Close()
	for want, o := range map[string]config.VaultOptions{
		"forbidden: permission denied":                                  with(func(o *config.VaultOptions) { o.Token.Text = "wrong s3cret" }),
		"log in with role_id: bad request: invalid role or secret ID …": role,
		"environment variable NOWHERE is not set":                       with(func(o *config.VaultOptions) { o.Token = config.Secret{Env: "NOWHERE"} }),
		"token: (in clear) has more than one line":                      with(func(o *config.VaultOptions) { o.Token.Text = "s3cret\nX-Evil: 1" }),
		"certificate": untrusted,
		"sealed or in maintenance: Vault is sealed": sealed.options(),
		"connect": gone.options(),
		"server gave HTTP response to HTTPS client": with(func(o *config.VaultOptions) { o.Address = plainServer(t, http.NotFoundHandler()).tls }),
		"the server has no auth/approle": func() config.VaultOptions {
			r := v.approle()
			r.Address = plainServer(t, http.NotFoundHandler()).URL
			return r
		}(),
		"log in with role_id: the answer is not what Vault": func() config.VaultOptions { r := v.approle(); r.Address = plainServer(t, text("{}")).URL; return r }(),
		"internal server error":                             with(func(o *config.VaultOptions) { o.Address = plainServer(t, status(http.StatusInternalServerError)).URL }),
	} {
		got, err := vaultChain(t, o).Lookup(t.Context(), "db|password")
		if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, ErrNotFound) || got != "" {
			t.Errorf("%q, %v; want %q", got, err, want)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("a secret is in the error: %v", err)
		}
	}
}

type plain struct {
	*httptest.Server
	tls string // its address, said to speak TLS
}

func plainServer(t *testing.T, h http.Handler) plain {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return plain{s, "https" + strings.TrimPrefix(s.URL, "http")}
}

func text(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, s) })
}

func status(n int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(n) })
}

func TestVaultRedirects(t *testing.T) {
	v := startVault(t)
	standby := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, v.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	standby.StartTLS()
	defer standby.Close()
	o := v.approle()
	o.Address = standby.URL
	if got, err := vaultChain(t, o).Lookup(t.Context(), "db|password"); err != nil || got != "s3cret" {
		t.Errorf("from a standby server: %q, %v", got, err)
	}

	clear := plainServer(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("asked without TLS, token %q", r.Header.Get("X-Vault-Token"))
	}))
	down := httptest.NewTLSServer(http.RedirectHandler(clear.URL, http.StatusTemporaryRedirect))
	defer down.Close()
	o = v.options()
	o.Address = down.URL
	if _, err := vaultChain(t, o).Lookup(t.Context(), "db"); err == nil || !strings.Contains(err.Error(), "without TLS") {
		t.Errorf("redirected to http: %v", err)
	}

	loop := httptest.NewTLSServer(http.RedirectHandler("/v1/again", http.StatusTemporaryRedirect))
	defer loop.Close()
	o.Address = loop.URL
	if _, err := vaultChain(t, o).Lookup(t.Context(), "db"); err == nil || !strings.Contains(err.Error(), "more than 3 redirects") {
		t.Errorf("redirected for ever: %v", err)
	}
}

func TestVaultIsSilent(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer silent.Close()
	c := vaultChain(t, config.VaultOptions{Address: silent.URL, Token: config.Secret{Text: "root"}})
	p := c.providers[0].(*vaultProvider)
	p.timeout = time.Millisecond
	if _, err := c.Lookup(t.Context(), "db"); err == nil || !strings.Contains(err.Error(), "no answer within 1ms") {
		t.Errorf("got %v", err)
	}
	p.timeout = time.Hour
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the master stops"))
	if _, err := c.Lookup(ctx, "db"); err == nil || !strings.Contains(err.Error(), "the master stops") {
		t.Errorf("got %v", err)
	}
}

func TestVaultCA(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "empty.pem"), "nothing\n", 0o644)
	for file, want := range map[string]string{"gone.pem": "gone.pem", "empty.pem": "no certificate"} {
		_, err := New(&config.Config{Dir: dir, Secrets: []config.SecretProvider{{
			Kind: config.SecretVault, Vault: config.VaultOptions{Address: "https://x", CACert: file},
		}}}, nil)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "secrets[0]: ca_cert") {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func FuzzVaultAnswer(f *testing.F) {
	for _, body := range fakeSecrets {
		if len(body) < 1000 {
			f.Add([]byte(body), "password")
		}
	}
	f.Add([]byte(`{"auth": {"client_token": "hvs.1", "lease_duration": 99999999999}}`), "")
	f.Add([]byte(`{"auth": {"client_token": "a\u0000b", "lease_duration": -1}}`), "")
	f.Add([]byte(`{"errors": ["a\nb", "`+strings.Repeat("x", 500)+`"]}`), "")
	f.Add([]byte(`{"data": {"k": 1e999}}`), "k")
	f.Fuzz(func(t *testing.T, body []byte, key string) {
		for version := 1; version <= 2; version++ {
			if v, err := vaultValue(body, version, key); err == nil && len(v) > maxValue || err != nil && v != "" {
				t.Errorf("version %d: %.100q, %v", version, v, err)
			}
		}
		token, lease, err := vaultToken(body)
		if err == nil && (token == "" || strings.ContainsAny(token, "\r\n") || lease < 0 || lease > maxLease) {
			t.Errorf("token %q for %v", token, lease)
		}
		if s := oneLine(strings.Join(vaultTexts(body), "; ")); len([]rune(s)) > maxWords || strings.ContainsAny(s, "\r\n") {
			t.Errorf("texts %q", s)
		}
	})
}
