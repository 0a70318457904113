package agent

import (
	"context"
	"errors"
	"net"
	"testing"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/pb"
)

// Buildbot's master drops the connection of a worker that holds 1024 of its
// objects: what came with a command is given back when that is over.
func TestCommandsLeaveNoReferences(t *testing.T) {
	t.Parallel()
	o := testOptions(t, "127.0.0.1:1", PB, "w")
	o.Logger = nil // a line for each command
	a, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	attached := make(chan *pb.Ref, 1)
	served := make(chan error, 1)
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		_, err := a.servePB(ctx, ctx, near, "s3cret")
		served <- err
	}()
	avatar := pb.NewObject(pb.HandlerFunc(func(context.Context, string, pb.Args) (any, error) { return nil, nil }))
	m, err := pb.Server(t.Context(), far, &pb.Portal{Enter: func(_ context.Context, at *pb.Attempt) (any, error) {
		attached <- at.Mind
		return avatar, nil
	}}, pb.Options{Objects: 1024})
	if err != nil {
		t.Fatal(err)
	}
	bot := <-attached
	ended := errors.New("the test has ended")
	defer func() {
		cancel(ended)
		if err := <-served; !errors.Is(err, ended) {
			t.Error(err)
		}
		_ = m.Wait() // the worker has closed it
		if err := a.machine.close(); err != nil {
			t.Error(err)
		}
	}()
	v, err := bot.Call(t.Context(), "setBuilderList", pb.Positional([]any{wire.Tuple{"b", "b"}}))
	if err != nil {
		t.Fatal(err)
	}
	builder, _ := v.(wire.Map).Get("b")
	call := func(command string, args wire.Map, file string) {
		over := make(chan any, 1)
		reports := pb.NewObject(pb.HandlerFunc(func(_ context.Context, method string, args pb.Args) (any, error) {
			if method == "complete" {
				over <- args.List[0]
			}
			return int64(0), nil
		}))
		if file != "" {
			args = append(args, wire.Field{Key: file, Value: pb.NewObject(pb.HandlerFunc(func(context.Context, string, pb.Args) (any, error) { return nil, nil }))})
		}
		if _, err := builder.(*pb.Ref).Call(t.Context(), "startCommand", pb.Positional(reports, "1", command, args)); err != nil {
			t.Fatal(err)
		}
		select {
		case fault := <-over:
			if fault != nil {
				t.Fatal(fault)
			}
		case <-m.Done():
			t.Fatal(m.Err())
		}
	}
	const commands = 10_000
	peak := 0
	for range commands / 2 {
		call("listdir", wire.Map{{Key: "dir", Value: "."}}, "")
		call("uploadFile", wire.Map{
			{Key: "workdir", Value: "."}, {Key: "workersrc", Value: "not-there"}, {Key: "maxsize", Value: nil},
			{Key: "blocksize", Value: int64(1 << 10)}, {Key: "keepstamp", Value: false},
		}, "writer")
		peak = max(peak, m.Objects(), m.Refs())
	}
	// The avatar, and some commands whose references are on their way back.
	if peak > 20 {
		t.Errorf("up to %d references", peak)
	}
}
