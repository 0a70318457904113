package remote

import (
	"context"
	"crypto/md5"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/pb"
)

// fakeBot is a worker over Perspective Broker, as its master can call it. It ends
// each command at once, with the exit code 0.
type fakeBot struct {
	t      testing.TB
	broker *pb.Broker
	hoards bool // it never gives a reference back, as if Python never collected its garbage

	mu       sync.Mutex
	builders map[string]*pb.Object
	list     [][]string // what setBuilderList was told last
	ran      int
}

// dialBot connects to the master and shakes hands; the caller logs in.
func dialBot(t testing.TB, p *pipes) *fakeBot {
	t.Helper()
	b, err := pb.Client(within(t), p.dial(), pb.Options{Refs: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Close()
		_ = b.Wait() // it was closed
	})
	return &fakeBot{t: t, broker: b, builders: map[string]*pb.Object{}}
}

// logIn connects a worker.
func logIn(t testing.TB, p *pipes) *fakeBot {
	t.Helper()
	f := dialBot(t, p)
	avatar, err := pb.Login(within(t), f.broker, "bot", "s3cret", pb.NewObject(f))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(avatar.Release)
	return f
}

// Call implements [pb.Handler].
func (f *fakeBot) Call(_ context.Context, method string, args pb.Args) (any, error) {
	switch method {
	case "getWorkerInfo":
		return fakeInfo, nil
	case "setBuilderList":
		list, err := wire.List(args.List[0])
		if err != nil {
			return nil, err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.list = nil
		var answer wire.Map
		for _, e := range list {
			pair, err := wire.Texts(e)
			if err != nil {
				return nil, err
			}
			f.list = append(f.list, pair)
			if f.builders[pair[0]] == nil {
				f.builders[pair[0]] = pb.NewObject(pb.HandlerFunc(f.builder))
			}
			answer = append(answer, wire.Field{Key: pair[0], Value: f.builders[pair[0]]})
		}
		return answer, nil
	}
	return nil, nil
}

// builder is the object of a builder.
func (f *fakeBot) builder(_ context.Context, method string, args pb.Args) (any, error) {
	if method != "startCommand" {
		return nil, nil
	}
	go f.run(args)
	return nil, nil
}

func (f *fakeBot) run(args pb.Args) {
	f.mu.Lock()
	hoards := f.hoards
	f.mu.Unlock()
	if !hoards {
		defer pb.Release(args.List)
	}
	reports := args.List[0].(*pb.Ref)
	updates := []any{[]any{wire.Map{{Key: "rc", Value: int64(0)}, {Key: "files", Value: []any{}}}, int64(0)}}
	if _, err := reports.Call(context.Background(), "update", pb.Positional(updates)); err != nil && f.broker.Err() == nil {
		f.t.Error(err)
	}
	if _, err := reports.Call(context.Background(), "complete", pb.Positional(nil)); err != nil && f.broker.Err() == nil {
		f.t.Error(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ran++
}

// A worker may keep every reference it gets, for as long as it is connected: the
// master forgets a command's objects when that is over.
func TestCommandsLeaveNoReferences(t *testing.T) {
	t.Parallel()
	for name, commands := range map[string]int{"given back": 1000, "kept": 10_000} {
		t.Run(name, func(t *testing.T) {
			hoards := name == "kept"
			m := newMaster(t, nil, "bot")
			k := m.kind("bot")
			f := logIn(t, m.listenPipes())
			c := attach(t, k)
			b := startBuild(t, c, "test", nil)
			f.mu.Lock()
			f.hoards = hoards
			f.mu.Unlock()
			link := c.link.(*pbLink)
			peak := 0
			for range commands / 2 {
				if _, err := b.do(within(t), "stat", nil, "x"); err != nil {
					t.Fatal(err)
				}
				if err := b.transfer(within(t), "upload_file", nil, "x", func(*ask) (any, error) { return nil, nil }); err != nil {
					t.Fatal(err)
				}
				peak = max(peak, link.broker.Objects(), link.broker.Refs())
			}
			f.mu.Lock()
			ran, asked := f.ran, len(f.builders)
			f.mu.Unlock()
			// The avatar, and a command with its file that may just be ending.
			if ran < commands-1 || peak > 1+asked+2 {
				t.Errorf("%d commands, up to %d references", ran, peak)
			}
			if n := len(link.objects); n != 0 {
				t.Errorf("the objects of %d commands are kept", n)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			if len(c.commands) != 0 {
				t.Errorf("%d commands are kept", len(c.commands))
			}
		})
	}
}

// Two right answers to two challenges on one connection make one worker.
func TestTwoLoginsOfOneConnection(t *testing.T) {
	t.Parallel()
	for range 5 {
		m := newMaster(t, nil, "bot")
		k := m.kind("bot")
		f := dialBot(t, m.listenPipes())
		bot := pb.NewObject(f)
		var passed atomic.Int32
		var wg sync.WaitGroup
		start := make(chan struct{})
		for range 2 {
			v, err := f.broker.Root().Call(within(t), "login", pb.Positional([]byte("bot")))
			if err != nil {
				t.Fatal(err)
			}
			pair := v.(wire.Tuple)
			inner := md5.Sum([]byte("s3cret"))
			response := md5.Sum(append(inner[:], pair[0].([]byte)...))
			wg.Go(func() {
				<-start
				_, err := pair[1].(*pb.Ref).Call(within(t), "respond", pb.Positional(response[:], bot))
				if err == nil {
					passed.Add(1)
				} else if f := (*pb.Failure)(nil); !errors.As(err, &f) || f.Type != pb.TypeUnauthorized {
					t.Error(err)
				}
			})
		}
		close(start)
		wg.Wait()
		if passed.Load() != 1 || attach(t, k).Err() != nil {
			t.Fatalf("%d logins", passed.Load())
		}
		m.Close()
	}
}
