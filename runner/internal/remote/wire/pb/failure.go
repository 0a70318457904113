package pb

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/pb/banana"
	"bothy/runner/internal/remote/wire/pb/jelly"
)

// Failure is an exception that one side tells the other about.
type Failure = jelly.Failure

// Types of failures that mean something to Twisted and Buildbot.
const (
	// TypeError is that of what a peer should know and not make a fuss about.
	TypeError = "twisted.spread.pb.Error"
	// TypeNoSuchMethod makes a master try an older method.
	TypeNoSuchMethod = "twisted.spread.flavors.NoSuchMethod"
	// TypeUnauthorized makes a worker try again later. After any other failure
	// of the login buildbot-worker exits.
	TypeUnauthorized = "twisted.cred.error.UnauthorizedLogin"
)

// NoSuchMethod is the failure of a method that there is not.
func NoSuchMethod(method string) *Failure {
	return &Failure{Type: TypeNoSuchMethod, Value: "no such method: " + method}
}

// Unauthorized is the failure of a login.
func Unauthorized() *Failure { return &Failure{Type: TypeUnauthorized} }

// toFailure returns what is sent for an error of ours.
func toFailure(err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	return &Failure{Type: TypeError, Value: strings.ToValidUTF8(err.Error(), "\ufffd")}
}

// fromError returns the error that the peer sent: mostly a failure, but classes
// that it thinks we know are sent as they are.
func fromError(v any) error {
	switch v := v.(type) {
	case *Failure:
		return v
	case *jelly.Copy:
		return &Failure{Type: v.Class}
	}
	if s, err := wire.Text(v); err == nil {
		return &Failure{Type: TypeError, Value: s}
	}
	return &Failure{Type: TypeError, Value: fmt.Sprintf("an error that is a %T", v)}
}

// lost turns an error of the connection into one that wraps ErrLost or
// ErrProtocol.
func lost(err error) error {
	switch {
	case errors.Is(err, ErrProtocol), errors.Is(err, ErrLost):
		return err
	case errors.Is(err, banana.ErrEncoding):
		return protocolError("%w", err)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: the peer closed it", ErrLost)
	}
	return fmt.Errorf("%w: %w", ErrLost, err)
}
