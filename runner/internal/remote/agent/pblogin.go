package agent

import (
	"context"
	"errors"
	"fmt"

	"bothy/runner/internal/remote/wire/pb"
)

// login logs in, and returns the master's avatar of the worker. The master calls
// bot before that.
func login(ctx context.Context, b *pb.Broker, name, password string, bot *pb.Object) (*pb.Ref, error) {
	avatar, err := pb.Login(ctx, b, name, password, bot)
	f := (*pb.Failure)(nil)
	switch {
	case !errors.As(err, &f):
		return avatar, err
	case f.Type == pb.TypeUnauthorized:
		return nil, fmt.Errorf("%w: unknown name or wrong password", ErrRefused)
	}
	// Such as "rejecting duplicate worker".
	return nil, fmt.Errorf("%w: %s %s", ErrRefused, f.Type, f.Value)
}
