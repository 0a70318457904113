package api

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"bothy/runner/config"
	"bothy/runner/internal/auth"
)

const (
	// maxPassword bounds what is hashed of a password that somebody sends.
	maxPassword = auth.MaxPassword
	// provenFor is how long a password that was right is not computed again: a
	// page makes many requests, and argon2id takes a tenth of a second.
	provenFor       = 10 * time.Minute
	maxProven       = 1000
	basicChallenge  = `Basic realm="Bothy", charset="UTF-8"`
	bearerChallenge = `Bearer realm="Bothy"`
)

// User is a user of the configuration with the hash of the password looked up.
type User struct {
	Name string
	Hash string
	Role config.Role // "": Viewer
}

// Token is a token of the configuration with its secret looked up: the token
// itself or its SHA-256 in hex.
type Token struct {
	Name   string
	Secret string
	Role   config.Role // "": Viewer
}

// Credentials checks the users and tokens of a configuration: people by HTTP
// Basic, programs by a bearer token. Its methods may be called from many
// goroutines.
type Credentials struct {
	users    map[string]User
	tokens   []Token
	verifier *auth.Verifier
	failed   *limiter
	log      *slog.Logger

	key     []byte // of the names below, random: they say nothing about passwords
	flights singleflight.Group

	mu     sync.Mutex
	proven map[[sha256.Size]byte]time.Time // until when
}

// NewCredentials makes the check of users and tokens, of which there must be
// at least one.
func NewCredentials(users []User, tokens []Token, log *slog.Logger) *Credentials {
	c := &Credentials{
		users: make(map[string]User, len(users)), tokens: tokens, failed: &limiter{}, log: log,
		key: make([]byte, sha256.Size), proven: map[[sha256.Size]byte]time.Time{},
	}
	rand.Read(c.key) // never fails: it ends the process instead
	var hashes []string
	for _, u := range users {
		c.users[u.Name] = u
		hashes = append(hashes, u.Hash)
	}
	c.verifier = auth.NewVerifier(hashes...)
	return c
}

// Access returns who may do what: whom Identify knows, by the hosts given.
func (c *Credentials) Access(hosts func(string) bool) Access {
	a := Access{Identify: c.Identify, Challenge: basicChallenge, Hosts: hosts, Revocable: true}
	if len(c.users) == 0 {
		a.Challenge = bearerChallenge
	}
	return a
}

// Open lets everybody do everything, by the hosts given. It is for a master
// without users that listens on a loopback address only: whoever can reach it
// can do as much without it.
func Open(hosts func(string) bool) Access {
	return Access{Hosts: hosts, Revocable: true, Identify: func(*http.Request) (Identity, error) { return Identity{Role: config.Admin}, nil }}
}

// Identify returns the user or token of a request. Errors wrap
// [ErrNoCredentials] or say how long to wait.
func (c *Credentials) Identify(r *http.Request) (Identity, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return Identity{}, ErrNoCredentials
	}
	addr := remoteAddr(r)
	if scheme, token, _ := strings.Cut(header, " "); strings.EqualFold(scheme, "Bearer") {
		return c.token(addr, strings.TrimSpace(token))
	}
	name, password, ok := r.BasicAuth()
	if !ok {
		return Identity{}, fmt.Errorf("neither a bearer token nor a name and password: %w", ErrNoCredentials)
	}
	return c.user(r, addr, name, password)
}

// Login checks a name and a password that came in another way than Identify
// looks for, from the sender of r.
func (c *Credentials) Login(r *http.Request, name, password string) (Identity, error) {
	return c.user(r, remoteAddr(r), name, password)
}

// User returns a user of that name, with the role that counts.
func (c *Credentials) User(name string) (User, bool) {
	u, ok := c.users[name]
	u.Role = role(u.Role)
	return u, ok
}

// HasUsers reports whether there is anybody who could log in with a password.
func (c *Credentials) HasUsers() bool { return len(c.users) > 0 }

// token knows a right one without waiting, whatever its address did before: it
// cannot be guessed, so there is nothing to slow down.
func (c *Credentials) token(addr netip.Addr, token string) (Identity, error) {
	if len(token) <= maxPassword {
		for _, t := range c.tokens {
			if auth.VerifyToken(t.Secret, token) {
				return Identity{t.Name, role(t.Role)}, nil
			}
		}
	}
	if wait := c.failed.begin(addr); wait > 0 {
		return Identity{}, slowDown{wait}
	}
	c.log.Warn("login failed", "address", addr.String(), "with", "token")
	return Identity{}, fmt.Errorf("unknown token: %w", ErrNoCredentials)
}

func (c *Credentials) user(r *http.Request, addr netip.Addr, name, password string) (Identity, error) {
	u, known := c.users[name]
	id := Identity{u.Name, role(u.Role)}
	mac := c.mac(name, password)
	if known && c.isProven(mac) {
		return id, nil
	}
	// Many requests of a page come at once: they are one attempt. It outlives a
	// client that goes away, so that this does not make the answer "wrong" for
	// those who wait for it.
	v, err, _ := c.flights.Do(string(mac[:])+addr.String(), func() (any, error) {
		if wait := c.failed.begin(addr); wait > 0 {
			return false, slowDown{wait}
		}
		return len(password) <= maxPassword && c.verifier.VerifyPassword(context.WithoutCancel(r.Context()), u.Hash, password), nil
	})
	if err != nil {
		return Identity{}, err
	}
	right, _ := v.(bool)
	if !right || !known {
		c.log.Warn("login failed", "address", addr.String(), "user", shown(name))
		return Identity{}, fmt.Errorf("wrong name or password: %w", ErrNoCredentials)
	}
	c.failed.succeeded(addr)
	c.prove(mac)
	return id, nil
}

// role is what the configuration says, and if nothing, Viewer.
func role(r config.Role) config.Role {
	if r == "" {
		return config.Viewer
	}
	return r
}

func (c *Credentials) mac(name, password string) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, c.key)
	h.Write([]byte(name))
	h.Write([]byte{0})
	h.Write([]byte(password))
	h.Sum(sum[:0])
	return sum
}

func (c *Credentials) isProven(mac [sha256.Size]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	until, ok := c.proven[mac]
	if ok && time.Now().After(until) {
		delete(c.proven, mac)
		ok = false
	}
	return ok
}

func (c *Credentials) prove(mac [sha256.Size]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.proven) >= maxProven {
		clear(c.proven)
	}
	c.proven[mac] = time.Now().Add(provenFor)
}

// remoteAddr is where a request comes from, zero where that is no IP address.
func remoteAddr(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr()
}
