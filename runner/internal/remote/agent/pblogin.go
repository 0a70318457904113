package agent

import (
	"context"
	"crypto/md5" // the protocol's
	"errors"
	"fmt"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/pb"
)

// login logs in as Perspective Broker's challenge and response want it, and
// returns the master's avatar of the worker. The master calls bot before that.
func login(ctx context.Context, b *pb.Broker, name, password string, bot *pb.Object) (*pb.Ref, error) {
	v, err := b.Root().Call(ctx, "login", pb.Positional([]byte(name)))
	if err != nil {
		return nil, refusal(err)
	}
	answer, err := wire.List(v)
	if err != nil || len(answer) != 2 {
		pb.Release(v)
		return nil, fmt.Errorf("log in: the master gives no challenge")
	}
	challenge, err := wire.Bytes(answer[0])
	challenger, ok := answer[1].(*pb.Ref)
	if err != nil || !ok {
		pb.Release(v)
		return nil, fmt.Errorf("log in: the master gives no challenge")
	}
	defer challenger.Release()
	once := md5.Sum([]byte(password))
	twice := md5.Sum(append(once[:], challenge...))
	v, err = challenger.Call(ctx, "respond", pb.Positional(twice[:], bot))
	if err != nil {
		return nil, refusal(err)
	}
	avatar, ok := v.(*pb.Ref)
	if !ok {
		pb.Release(v)
		return nil, fmt.Errorf("log in: the master answers with a %T", v)
	}
	return avatar, nil
}

// refusal says what a failed login means.
func refusal(err error) error {
	f := (*pb.Failure)(nil)
	switch {
	case !errors.As(err, &f):
		return fmt.Errorf("log in: %w", err)
	case f.Type == pb.TypeUnauthorized:
		return fmt.Errorf("%w: unknown name or wrong password", ErrRefused)
	}
	// Such as "rejecting duplicate worker".
	return fmt.Errorf("%w: %s %s", ErrRefused, f.Type, f.Value)
}
