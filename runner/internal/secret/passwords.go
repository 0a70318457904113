package secret

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"

	"bothy/runner/config"
	"bothy/runner/internal/auth"

	"golang.org/x/sync/errgroup"
)

// Passwords are those of a configuration, from wherever they are kept. They
// print without values.
type Passwords struct {
	Mail    string                    // for the relay; "" if it wants none
	Workers map[string]WorkerPassword // of workers that dial in, by name
	Users   map[string]string         // hashes of passwords, by user; each one that auth.ParseHash reads
	Tokens  map[string]string         // digests as of auth.TokenDigest, by token
}

// String says how many there are.
func (p Passwords) String() string {
	return fmt.Sprintf("passwords of %d workers, %d users and %d tokens", len(p.Workers), len(p.Users), len(p.Tokens))
}

// GoString is String, so that %#v shows no value either.
func (p Passwords) GoString() string { return p.String() }

// WorkerPassword is what a worker must know: one of the two.
type WorkerPassword struct {
	Text   string // as Perspective Broker's challenge needs it
	SHA256 string // in hex; Text is not known
}

// String says no value.
func (w WorkerPassword) String() string { return "(a worker's password)" }

// GoString is String.
func (w WorkerPassword) GoString() string { return w.String() }

// Verify reports, in constant time, whether password is the worker's. The zero
// WorkerPassword, as of a worker that does not exist, has none.
func (w WorkerPassword) Verify(password string) bool {
	if w.SHA256 != "" {
		return auth.VerifyToken(w.SHA256, password)
	}
	same := subtle.ConstantTimeCompare([]byte(auth.TokenDigest(w.Text)), []byte(auth.TokenDigest(password))) == 1
	return same && w.Text != ""
}

// lookupsAtOnce is how many passwords are looked up at the same time.
const lookupsAtOnce = 8

// Passwords looks up every password of a configuration, some at the same time.
// The error says all that could not be had, and for what.
func (c *Chain) Passwords(ctx context.Context, conf *config.Config) (*Passwords, error) {
	p := &Passwords{Workers: map[string]WorkerPassword{}, Users: map[string]string{}, Tokens: map[string]string{}}
	var asked []*question
	ask := func(s config.Secret, what string, take func(string) error) {
		if !s.IsZero() {
			asked = append(asked, &question{secret: s, what: what, take: take})
		}
	}
	ask(conf.Mail.Password, "mail: password", func(v string) error { p.Mail = v; return nil })
	for i := range conf.Web.Users {
		u := &conf.Web.Users[i]
		ask(u.PasswordHash, fmt.Sprintf("user %q: password_hash", u.Name), func(v string) error {
			p.Users[u.Name] = v
			_, err := auth.ParseHash(v)
			return err
		})
	}
	for i := range conf.Web.Tokens {
		t := &conf.Web.Tokens[i]
		ask(t.Secret, fmt.Sprintf("token %q: secret", t.Name), func(v string) error {
			if p.Tokens[t.Name] = strings.ToLower(v); !auth.IsDigest(v) {
				p.Tokens[t.Name] = auth.TokenDigest(v)
			}
			return nil
		})
	}
	for i := range conf.Workers {
		w := &conf.Workers[i]
		if w.Kind != config.WorkerRemote && !w.Kind.IsLatent() {
			continue
		}
		if w.Remote.PasswordSHA256 != "" {
			p.Workers[w.Name] = WorkerPassword{SHA256: strings.ToLower(w.Remote.PasswordSHA256)}
		}
		ask(w.Remote.Password, fmt.Sprintf("worker %q: password", w.Name), func(v string) error {
			p.Workers[w.Name] = WorkerPassword{Text: v}
			return nil
		})
	}
	if err := c.answer(ctx, asked); err != nil {
		return nil, err
	}
	return p, nil
}

// question is a secret that is asked for.
type question struct {
	secret config.Secret
	what   string             // it is for
	take   func(string) error // takes the answer; an error must not hold it
	value  string
	err    error
}

func (c *Chain) answer(ctx context.Context, asked []*question) error {
	var g errgroup.Group
	g.SetLimit(lookupsAtOnce)
	for _, q := range asked {
		g.Go(func() error {
			q.value, q.err = c.Resolve(ctx, q.secret)
			return nil
		})
	}
	_ = g.Wait() // the errors are with the questions
	var errs []error
	for _, q := range asked {
		if q.err == nil {
			q.err = q.take(q.value)
		}
		if q.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", q.what, q.err))
		}
	}
	return errors.Join(errs...)
}
