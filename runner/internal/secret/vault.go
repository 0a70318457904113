package secret

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"bothy/runner/config"
)

const (
	vaultTimeout = 10 * time.Second // of one request
	maxResponse  = 1 << 20          // bytes; a value may have maxValue
	maxRedirects = 3                // a standby server sends us to the active one
)

// vaultProvider asks the HTTP API of Vault, or OpenBao, for entries of a
// key-value engine of version 1 or 2. A secret's name is "PATH|KEY".
type vaultProvider struct {
	base      *url.URL
	mount     string
	version   int
	namespace string
	client    *http.Client
	timeout   time.Duration
	login     *vaultLogin
}

func (c *Chain) vaultProvider(o *config.VaultOptions) (provider, error) {
	base, err := url.Parse(o.Address)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	transport, err := c.vaultTransport(o.CACert)
	if err != nil {
		return nil, err
	}
	p := &vaultProvider{
		base: base, mount: strings.Trim(o.Mount, "/"), version: o.APIVersion, namespace: o.Namespace, timeout: vaultTimeout,
		client: &http.Client{Transport: transport, CheckRedirect: checkRedirect},
	}
	p.login = newVaultLogin(p, c, o)
	return p, nil
}

func (p *vaultProvider) String() string { return "vault " + p.base.Redacted() }

func (p *vaultProvider) lookup(ctx context.Context, name string) (string, error) {
	path, key, err := splitVaultName(name)
	if err != nil {
		return "", err
	}
	where := []string{"v1", p.mount}
	if p.version == 2 {
		where = append(where, "data")
	}
	where = append(where, path)
	token, isNew, err := p.login.token(ctx, "")
	if err != nil {
		return "", err
	}
	body, err := p.call(ctx, http.MethodGet, where, token, nil)
	if refused(err) && !isNew { // it has been revoked, or was good for a few uses only
		if token, _, err = p.login.token(ctx, token); err != nil {
			return "", err
		}
		body, err = p.call(ctx, http.MethodGet, where, token, nil)
	}
	if err != nil {
		return "", err
	}
	return vaultValue(body, p.version, key)
}

// splitVaultName splits "PATH|KEY". A "\" before a character makes it part of
// the path or key. Without "|" the key is "value".
//
// Buildbot: HashiCorpVaultKvSecretProvider; there a name without "|" is an
// error, and its older SecretInVault read the key "value".
func splitVaultName(name string) (path, key string, err error) {
	parts := []string{""}
	escaped := false
	for _, r := range name {
		last := &parts[len(parts)-1]
		switch {
		case escaped:
			*last += string(r)
			escaped = false
		case r == '\\':
			escaped = true
		case r == '|':
			parts = append(parts, "")
		default:
			*last += string(r)
		}
	}
	switch {
	case len(parts) > 2:
		return "", "", absent(`there is more than one "|" in the name`)
	case len(parts) == 1:
		parts = append(parts, "value")
	}
	// What was escaped could make the path lead elsewhere.
	if config.CheckSecretName(parts[0]) != nil || parts[1] == "" {
		return "", "", absent("not a name of the form PATH|KEY")
	}
	return parts[0], parts[1], nil
}

// vaultError is an answer other than success.
type vaultError struct {
	status int
	text   string // what the server says, on one line
}

func (e *vaultError) Error() string {
	var b strings.Builder
	b.WriteString(strings.ToLower(http.StatusText(e.status)))
	if b.Len() == 0 || e.status == http.StatusServiceUnavailable {
		fmt.Fprintf(&b, " (status %d)", e.status)
	}
	if e.status == http.StatusServiceUnavailable {
		b.WriteString(", the server is sealed or in maintenance")
	}
	if e.text != "" {
		b.WriteString(": " + e.text)
	}
	return b.String()
}

func refused(err error) bool {
	e, ok := errors.AsType[*vaultError](err)
	return ok && e.status == http.StatusForbidden
}

// call makes one request and returns the body of the answer. That there is
// nothing at the path is an [absent] error.
func (p *vaultProvider) call(ctx context.Context, method string, path []string, token string, send map[string]string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.timeout, fmt.Errorf("no answer within %v", p.timeout))
	defer cancel()
	var content io.Reader
	if send != nil {
		data, err := json.Marshal(send)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, p.url(path), content)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Vault-Request", "true") // asked for by the agents of Vault against forged requests
	if token != "" {
		req.Header.Set("X-Vault-Token", token)
	}
	if p.namespace != "" {
		req.Header.Set("X-Vault-Namespace", p.namespace)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, explain(ctx, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse+1))
	switch {
	case err != nil:
		return nil, explain(ctx, err)
	case len(body) > maxResponse:
		return nil, fmt.Errorf("the answer has more than %d bytes", maxResponse)
	case resp.StatusCode == http.StatusNotFound:
		return nil, absent("there is nothing at this path")
	case resp.StatusCode != http.StatusOK:
		hide := strings.NewReplacer(hidden(token, send)...)
		return nil, &vaultError{status: resp.StatusCode, text: oneLine(hide.Replace(strings.Join(vaultTexts(body), "; ")))}
	}
	return body, nil
}

// hidden returns what an error must not repeat, and what stands for it.
func hidden(token string, sent map[string]string) (pairs []string) {
	for _, s := range slices.Concat([]string{token}, slices.Collect(maps.Values(sent))) {
		if s != "" {
			pairs = append(pairs, s, "…")
		}
	}
	return pairs
}

// explain prefers the reason a context ended to what the client makes of it.
func explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// url returns the address of a path, whose parts may have several words.
func (p *vaultProvider) url(path []string) string {
	var escaped []string
	for word := range strings.SplitSeq(strings.Join(path, "/"), "/") {
		escaped = append(escaped, url.PathEscape(word))
	}
	return strings.TrimSuffix(p.base.String(), "/") + "/" + strings.Join(escaped, "/")
}

// checkRedirect never follows from https to http: the token would go with it.
func checkRedirect(req *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case via[0].URL.Scheme == "https" && req.URL.Scheme != "https":
		return errors.New("the server redirects to an address without TLS")
	}
	return nil
}
