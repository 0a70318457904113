package secret

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"bothy/runner/config"
)

// maxLease bounds how long a token of AppRole is used before a new one is asked
// for.
const maxLease = 24 * time.Hour

// vaultLogin has the token that requests carry: one that the configuration
// names, read anew each time since an agent may renew the file, or one that the
// auth method AppRole gives for a role and its secret, kept until it expires.
type vaultLogin struct {
	static func(context.Context) (string, error) // nil: AppRole

	roleID   string
	secretID func(context.Context) (string, error)
	post     func(ctx context.Context, body map[string]string) ([]byte, error)

	turn    chan struct{} // holds one element while nobody has its turn with the fields below
	current string
	until   time.Time // zero: for ever
}

func newVaultLogin(p *vaultProvider, c *Chain, o *config.VaultOptions) *vaultLogin {
	resolve := func(what string, s config.Secret) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) {
			v, err := c.Resolve(ctx, s)
			if err != nil {
				return "", fmt.Errorf("%s: %w", what, err)
			}
			if strings.ContainsAny(v, "\r\n\x00") { // no header can hold it
				return "", fmt.Errorf("%s: %v has more than one line", what, s)
			}
			return v, nil
		}
	}
	if o.RoleID == "" {
		return &vaultLogin{static: resolve("token", o.Token)}
	}
	l := &vaultLogin{roleID: o.RoleID, secretID: resolve("secret_id", o.SecretID), turn: make(chan struct{}, 1)}
	l.post = func(ctx context.Context, body map[string]string) ([]byte, error) {
		return p.call(ctx, http.MethodPost, []string{"v1", "auth", "approle", "login"}, "", body)
	}
	l.turn <- struct{}{}
	return l
}

// token returns a token to use, and whether it was got just now. bad is one that
// was refused, which is not returned again unless the configuration insists.
func (l *vaultLogin) token(ctx context.Context, bad string) (token string, isNew bool, err error) {
	if l.static != nil {
		token, err = l.static(ctx)
		return token, true, err
	}
	select {
	case <-l.turn:
		defer func() { l.turn <- struct{}{} }()
	case <-ctx.Done():
		return "", false, context.Cause(ctx)
	}
	if l.current != "" && l.current != bad && (l.until.IsZero() || time.Now().Before(l.until)) {
		return l.current, false, nil
	}
	l.current = ""
	secretID, err := l.secretID(ctx)
	if err != nil {
		return "", false, err
	}
	body, err := l.post(ctx, map[string]string{"role_id": l.roleID, "secret_id": secretID})
	if err != nil {
		if reason, ok := err.(absent); ok { // the method is not there, which says nothing about the secret
			err = fmt.Errorf("the server has no auth/approle: %s", string(reason))
		}
		return "", false, fmt.Errorf("log in with role_id: %w", err)
	}
	token, lease, err := vaultToken(body)
	if err != nil {
		return "", false, fmt.Errorf("log in with role_id: %w", err)
	}
	l.current, l.until = token, time.Time{}
	if lease > 0 {
		l.until = time.Now().Add(min(lease, maxLease) * 9 / 10) // a request must end before the token does
	}
	return token, true, nil
}

// vaultTransport opens a connection for each request: they are rare, and nothing
// is left to close.
func (c *Chain) vaultTransport(caCert string) (*http.Transport, error) {
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if caCert == "" {
		return t, nil
	}
	pem, err := os.ReadFile(c.abs(caCert))
	if err != nil {
		return nil, fmt.Errorf("ca_cert: %w", err)
	}
	t.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_cert: there is no certificate in %s", c.abs(caCert))
	}
	return t, nil
}
