package peertest

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/pb"
	"bothy/runner/internal/remote/wire/pb/banana"
	"bothy/runner/internal/testrig"
)

// attached is a worker that has logged in to our server.
type attached struct {
	server *pb.Broker
	bot    *pb.Ref
}

// acceptPB lets buildbot-worker log in.
func acceptPB(t *testing.T, ctx context.Context, l net.Listener) attached {
	t.Helper()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	mind := make(chan *pb.Ref, 1)
	portal := &pb.Portal{Enter: func(_ context.Context, a *pb.Attempt) (any, error) {
		if a.User != name || a.Password("wrong") || !a.Password(password) {
			t.Errorf("%q wants to log in, and its password is wrong", a.User)
			return nil, pb.Unauthorized()
		}
		mind <- a.Mind
		return pb.NewObject(avatar), nil
	}}
	server, err := pb.Server(ctx, conn, portal, pb.Options{Limits: pb.StrangerLimits})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Close()
		_ = server.Wait()
	})
	select {
	case bot := <-mind:
		server.SetLimits(banana.Limits{})
		return attached{server, bot}
	case <-ctx.Done():
		t.Fatal(context.Cause(ctx))
	case <-server.Done():
		t.Fatal(server.Err())
	}
	panic("unreachable")
}

var avatar = pb.HandlerFunc(func(_ context.Context, method string, _ pb.Args) (any, error) {
	return nil, pb.NoSuchMethod(method)
})

// Call implements pb.Handler: the outcome is the command of a master.
func (o *outcome) Call(_ context.Context, method string, args pb.Args) (any, error) {
	switch method {
	case "complete":
		o.ended <- args.List[0]
		return nil, nil
	case "update":
		updates, err := wire.List(args.List[0])
		if err != nil {
			return nil, err
		}
		for _, u := range updates {
			pair, err := wire.List(u) // and a number that means nothing
			if err != nil {
				return nil, err
			}
			values, err := wire.Dict(pair[0])
			if err != nil {
				return nil, err
			}
			for _, f := range values {
				if text, ok := f.Value.(string); ok {
					o.output[f.Key] += text
				} else {
					o.values = append(o.values, f)
				}
			}
		}
		return 0, nil
	}
	return nil, pb.NoSuchMethod(method)
}

func TestRealWorkerOverPB(t *testing.T) {
	ctx := patient(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	process := startWorker(t, "pb", l.Addr())
	w := acceptPB(t, ctx, l)

	call := func(r *pb.Ref, method string, args ...any) any {
		t.Helper()
		v, err := r.Call(ctx, method, pb.Positional(args...))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	print := pb.Args{Named: wire.Map{{Key: "message", Value: "attached"}}}
	if v, err := w.bot.Call(ctx, "print", print); v != nil || err != nil {
		t.Errorf("print: %v, %v", v, err)
	}
	process.logs("message from master: attached")
	info, err := wire.Dict(call(w.bot, "getWorkerInfo"))
	if err != nil {
		t.Fatal(err)
	}
	if version, _ := info.Get("version"); version == nil {
		t.Errorf("no version in %v", info)
	}
	var failure *pb.Failure
	if _, err := w.bot.Call(ctx, "getSlaveInfo", pb.Args{}); !errors.As(err, &failure) || failure.Type != pb.TypeNoSuchMethod {
		t.Errorf("a method that is not there: %v", err)
	}

	builders, err := wire.Dict(call(w.bot, "setBuilderList", []any{wire.Tuple{builder, "dir"}}))
	if err != nil {
		t.Fatal(err)
	}
	v, _ := builders.Get(builder)
	b, ok := v.(*pb.Ref)
	if !ok {
		t.Fatalf("builders %v", builders)
	}
	defer b.Release()
	call(b, "startBuild")
	o := newOutcome()
	call(b, "startCommand", pb.NewObject(o), "1", "shell", shell("build", "echo $GREETING; echo oops >&2; exit 3"))
	o.wait(t, ctx, 3)
	if o.output["stdout"] != "hällo\n" || o.output["stderr"] != "oops\n" {
		t.Errorf("output %q", o.output)
	}
	t.Run("files", func(t *testing.T) { pbFiles(t, ctx, process, b) })
	if _, err := b.Call(ctx, "startCommand", pb.Positional(pb.NewObject(newOutcome()), "2", "dance", wire.Map{})); !errors.As(err, &failure) || !strings.Contains(failure.Type, "UnknownCommand") {
		t.Errorf("an unknown command: %v", err)
	}

	call(w.bot, "shutdown")
	<-process.ended
	if err := w.server.Wait(); !errors.Is(err, pb.ErrLost) {
		t.Errorf("the connection ended with %v", err)
	}
}

// pbFiles sends a file of many blocks down and up again.
func pbFiles(t *testing.T, ctx context.Context, process *program, b *pb.Ref) {
	content := bytes.Repeat([]byte("\x00\xff list message\n"), 20_000)
	left := content
	reader := pb.NewObject(pb.HandlerFunc(func(_ context.Context, method string, args pb.Args) (any, error) {
		if method != "read" {
			return nil, nil
		}
		n, err := wire.Int(args.List[0])
		if err != nil {
			return nil, err
		}
		block := left[:min(int(n), len(left))]
		left = left[len(block):]
		return block, nil
	}))
	var got []byte
	closed := 0
	writer := pb.NewObject(pb.HandlerFunc(func(_ context.Context, method string, args pb.Args) (any, error) {
		if method == "close" {
			closed++
			return nil, nil
		}
		block, err := wire.Bytes(args.List[0])
		got = append(got, block...)
		return nil, err
	}))
	for _, c := range []struct {
		name string
		args wire.Map
	}{
		{"downloadFile", wire.Map{{Key: "workdir", Value: "build"}, {Key: "workerdest", Value: "file"}, {Key: "reader", Value: reader}, {Key: "maxsize", Value: nil}, {Key: "blocksize", Value: 16 << 10}, {Key: "mode", Value: nil}}},
		{"uploadFile", wire.Map{{Key: "workdir", Value: "build"}, {Key: "workersrc", Value: "file"}, {Key: "writer", Value: writer}, {Key: "maxsize", Value: nil}, {Key: "blocksize", Value: 256 << 10}, {Key: "keepstamp", Value: false}}},
	} {
		o := newOutcome()
		if _, err := b.Call(ctx, "startCommand", pb.Positional(pb.NewObject(o), c.name, c.name, c.args)); err != nil {
			t.Fatal(err)
		}
		o.wait(t, ctx, 0)
	}
	if onDisk, err := os.ReadFile(filepath.Join(process.dir, "dir", "build", "file")); err != nil || !bytes.Equal(onDisk, content) {
		t.Errorf("%d bytes arrived at the worker, %v", len(onDisk), err)
	}
	if !bytes.Equal(got, content) || closed != 1 {
		t.Errorf("%d bytes came back, closed %d times", len(got), closed)
	}
}

func TestRealMasterOverPB(t *testing.T) {
	ctx := patient(t)
	m, addr, _ := startMaster(t)

	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	b, err := pb.Client(ctx, conn, pb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Close()
		_ = b.Wait()
	})
	for user, pw := range map[string]string{name: "wrong", "nobody": password} {
		var failure *pb.Failure
		if _, err := pb.Login(ctx, b, user, pw, nil); !errors.As(err, &failure) || failure.Type != pb.TypeUnauthorized {
			t.Errorf("%s with %q: %v", user, pw, err)
		}
	}
	commands := make(chan pb.Args, 1)
	ours := pb.NewObject(pb.HandlerFunc(func(_ context.Context, method string, args pb.Args) (any, error) {
		if method == "startCommand" {
			commands <- args
		}
		return nil, nil // startBuild and print
	}))
	bot := pb.NewObject(pb.HandlerFunc(func(_ context.Context, method string, args pb.Args) (any, error) {
		switch method {
		case "print":
			return nil, nil
		case "getWorkerInfo":
			return workerInfo("/w"), nil
		case "setBuilderList":
			builders, err := wire.List(args.List[0])
			if err != nil {
				return nil, err
			}
			answer := wire.Map{}
			for _, b := range builders {
				pair, err := wire.Texts(b)
				if err != nil {
					return nil, err
				}
				answer = append(answer, wire.Field{Key: pair[0], Value: ours})
			}
			return answer, nil
		}
		return nil, pb.NoSuchMethod(method)
	}))
	// Its calls come while the login waits.
	avatar, err := pb.Login(ctx, b, name, password, bot)
	if err != nil {
		t.Fatal(err)
	}
	defer avatar.Release()
	m.logs("bot attached")
	if v, err := avatar.Call(ctx, "keepalive", pb.Args{}); v != nil || err != nil {
		t.Errorf("keepalive: %v, %v", v, err)
	}

	var args pb.Args
	select {
	case args = <-commands:
	case <-ctx.Done():
		t.Fatal(context.Cause(ctx))
	}
	command := args.List[0].(*pb.Ref)
	if what, _ := args.Text(2, "command"); what != "shell" {
		t.Errorf("asked for %v", args.List[2])
	}
	shellArgs, err := wire.Dict(args.List[3])
	if err != nil {
		t.Fatal(err)
	}
	argv, _ := shellArgs.Get("command")
	if words, err := wire.Texts(argv); err != nil || strings.Join(words, " ") != "echo hello" {
		t.Errorf("asked to run %v", argv)
	}
	for _, fact := range []wire.Map{{{Key: "stdout", Value: "hello\n"}}, {{Key: "rc", Value: 0}}, {{Key: "elapsed", Value: 0.5}}} {
		if _, err := command.Start(ctx, "update", pb.Positional([]any{[]any{fact, 0}})); err != nil {
			t.Fatal(err)
		}
	}
	if v, err := command.Call(ctx, "complete", pb.Positional(nil)); v != nil || err != nil {
		t.Errorf("complete: %v, %v", v, err)
	}
	command.Release()
	m.logs("step 'shell' complete: success")
	testrig.Until(t, "the master keeps our objects", func() bool { return b.Objects() == 2 }) // bot and builder
	flush, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := b.Flush(flush); err != nil {
		t.Error(err)
	}
}
