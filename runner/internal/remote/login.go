package remote

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

var (
	errUnknown  = errors.New("no worker of this name is configured")
	errPassword = errors.New("wrong password")
	errHashed   = errors.New("only the SHA-256 of its password is known: it must speak MessagePack")
)

// login finds the worker of a name whose password passes. It takes as long for a
// name that does not exist.
func (l *Listener) login(name string, passes func(Password) bool) (*Worker, error) {
	pw, known := l.o.Password(name)
	w := l.worker(name)
	switch ok := passes(pw); {
	case !known || w == nil || pw == Password{}:
		return nil, errUnknown
	case !ok:
		return nil, errPassword
	}
	return w, nil
}

// is reports whether s is the password, in constant time.
func (p Password) is(s string) bool {
	given := sha256.Sum256([]byte(s))
	want := sha256.Sum256([]byte(p.Text))
	if p.SHA256 != "" {
		digest, err := hex.DecodeString(p.SHA256)
		if err != nil || len(digest) != len(want) {
			return false
		}
		copy(want[:], digest)
	}
	return subtle.ConstantTimeCompare(given[:], want[:]) == 1
}

// refuse logs a failed login and waits as long as its answer must; false: there
// is to be none.
func (p *peer) refuse(name string, why error) bool {
	delay, answer := p.l.guard.failed(p.from)
	if !answer {
		return false
	}
	defer p.l.guard.answered(p.from)
	p.l.log.Warn("worker refused", "worker", shortName(name), "address", p.addr, "err", why)
	t := time.NewTimer(delay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.l.ctx.Done():
	}
	return true
}

// maxName is how long a worker's name can be; package config.
const maxName = 50

// shortName is a stranger's name as it is fit for a log.
func shortName(name string) string {
	if len(name) > maxName {
		return fmt.Sprintf("%.*q…", maxName, name)
	}
	return name
}
