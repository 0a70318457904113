// Package secret finds the values of secrets where the configuration says they
// are: in files, the environment, a password store, Vault or systemd's
// credentials. No error holds a value.
package secret

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"bothy/runner/config"
)

// maxValue bounds a secret's size in bytes.
const maxValue = 64 << 10

// ErrNotFound says that no provider has the secret.
var ErrNotFound = errors.New("not found")

// absent is a provider's answer that it does not have a secret. It says why, for
// people.
type absent string

func (a absent) Error() string { return string(a) }

// provider is a place to look for secrets.
type provider interface {
	// lookup returns a secret's value. An [absent] error makes the chain ask the
	// next provider; any other ends the search: if the first place cannot be
	// reached, what another place says may be out of date, or forged.
	lookup(ctx context.Context, name string) (string, error)
	// String says which provider this is.
	String() string
}

// Chain asks the configured providers in order. Its methods may be called from
// many goroutines; they may wait for programs and the network.
type Chain struct {
	dir       string // what relative paths are relative to
	environ   []string
	providers []provider
}

// New returns the Chain of a configuration. environ is the master's environment;
// a nil one is that of this process. Nothing is asked yet.
func New(conf *config.Config, environ []string) (*Chain, error) {
	if environ == nil {
		environ = os.Environ()
	}
	c := &Chain{dir: conf.Dir, environ: environ}
	for i := range conf.Secrets {
		p, err := c.provider(&conf.Secrets[i])
		if err != nil {
			return nil, fmt.Errorf("secrets[%d]: %w", i, err)
		}
		c.providers = append(c.providers, p)
	}
	return c, nil
}

func (c *Chain) provider(p *config.SecretProvider) (provider, error) {
	switch p.Kind {
	case config.SecretDir:
		return dirProvider{path: c.abs(p.Path)}, nil
	case config.SecretEnv:
		return envProvider{environ: c.environ, prefix: p.Prefix}, nil
	case config.SecretPass:
		return c.passProvider(p), nil
	case config.SecretVault:
		return c.vaultProvider(&p.Vault)
	case config.SecretSystemd:
		return systemdProvider{environ: c.environ}, nil
	}
	return nil, fmt.Errorf("unknown kind %q", p.Kind)
}

// abs returns a path of the configuration as an absolute one, if that can be.
func (c *Chain) abs(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	abs, err := filepath.Abs(filepath.Join(c.dir, path))
	if err != nil {
		return path
	}
	return abs
}

// Lookup returns the value of the secret with that name, from the first provider
// that has it. If none has, the error wraps [ErrNotFound].
func (c *Chain) Lookup(ctx context.Context, name string) (string, error) {
	if err := config.CheckSecretName(name); err != nil {
		return "", err
	}
	var reasons []string
	for _, p := range c.providers {
		v, err := p.lookup(ctx, name)
		if err == nil {
			return v, nil
		}
		reason, ok := errors.AsType[absent](err)
		if !ok {
			return "", fmt.Errorf("secret %q: %v: %w", name, p, err)
		}
		reasons = append(reasons, fmt.Sprintf("%v: %v", p, reason))
	}
	if len(reasons) == 0 {
		reasons = []string{"no [[secrets]] are configured"}
	}
	return "", fmt.Errorf("secret %q %w (%s)", name, ErrNotFound, strings.Join(reasons, "; "))
}

// Resolve returns the value that s is, or says where to find. An empty value is
// an error, and so is a zero s.
func (c *Chain) Resolve(ctx context.Context, s config.Secret) (value string, err error) {
	switch {
	case s.Text != "":
		return s.Text, nil
	case s.Name != "":
		value, err = c.Lookup(ctx, s.Name)
	case s.File != "":
		value, err = readFile(c.abs(s.File), privateToOwner)
	case s.Env != "":
		var ok bool
		if value, ok = getenv(c.environ, s.Env); !ok {
			err = fmt.Errorf("%v is not set", s)
		}
	default:
		return "", errors.New("no secret is named")
	}
	if err != nil {
		return "", err
	}
	if value == "" {
		return "", fmt.Errorf("%v is empty", s)
	}
	return value, nil
}

// getenv returns what an environment says of a variable; the last entry counts.
func getenv(environ []string, name string) (string, bool) {
	for _, kv := range slices.Backward(environ) {
		key, value, ok := strings.Cut(kv, "=")
		if ok && (key == name || runtime.GOOS == "windows" && strings.EqualFold(key, name)) {
			return value, true
		}
	}
	return "", false
}
