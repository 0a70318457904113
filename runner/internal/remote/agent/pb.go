package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/pb"
)

const (
	// loginTime is how long logging in may take: the master asks for the worker's
	// facts meanwhile, and may have many workers to look after.
	loginTime = 2 * time.Minute
	// pbFlush is how old output gets before it is sent. buildbot-worker's 5 s
	// cannot be changed by a master, and is long for who watches.
	pbFlush = 500 * time.Millisecond
	// goodbye is how long after the answer to "shutdown" the worker goes on, so
	// that it arrives; buildbot-worker waits as long.
	goodbye = 200 * time.Millisecond
)

// pbSession is a connection over Perspective Broker. It is the object that
// Buildbot calls the bot.
type pbSession struct {
	a        *Agent
	broker   *pb.Broker
	commands *session
	log      *slog.Logger
	shutdown chan struct{} // receives when the master wants the worker to end

	mu       sync.Mutex
	builders map[string]*pbBuilder
}

// servePB serves a connection, which it closes.
func (a *Agent) servePB(ctx, dialing context.Context, conn net.Conn, password string) (attached bool, err error) {
	broker, err := pb.Client(dialing, conn, pb.Options{})
	if err != nil {
		return false, err
	}
	defer broker.Wait()
	defer broker.Close()
	commands, err := a.newSession(ctx, settings{
		size: defaultSize, timeout: pbFlush, maxLine: defaultMaxLine, cursor: true,
	})
	if err != nil {
		return false, err
	}
	s := &pbSession{
		a: a, broker: broker, commands: commands, log: a.o.Logger,
		shutdown: make(chan struct{}, 1), builders: map[string]*pbBuilder{},
	}
	defer func() { commands.close(err) }()
	in, cancel := context.WithTimeoutCause(ctx, loginTime, fmt.Errorf("not logged in within %v", loginTime))
	defer cancel()
	avatar, err := login(in, broker, a.o.Name, password, pb.NewObject(s))
	if err != nil {
		return false, err
	}
	s.log.Info("attached", "name", a.o.Name)
	return true, s.wait(ctx, avatar)
}

// wait returns when the connection has ended, or is to end.
func (s *pbSession) wait(ctx context.Context, avatar *pb.Ref) error {
	var tick <-chan time.Time
	if s.a.o.Keepalive > 0 {
		t := time.NewTicker(s.a.o.Keepalive)
		defer t.Stop()
		tick = t.C
	}
	leaving := s.a.leaving
	for {
		select {
		case <-s.broker.Done():
			return s.broker.Err()
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.shutdown:
			wait(ctx, goodbye)
			return errShutdown
		case <-tick:
			p, err := avatar.Start(ctx, "keepalive", pb.Args{})
			if err != nil {
				return err
			}
			p.Abandon()
		case <-leaving:
			leaving = nil
			s.log.Info("telling the master that the worker is to end when its builds have")
			if _, err := avatar.Call(ctx, "shutdown", pb.Args{}); err != nil {
				return fmt.Errorf("ask the master for a shutdown: %w", err)
			}
		}
	}
}

// Call implements [pb.Handler].
func (s *pbSession) Call(_ context.Context, method string, a pb.Args) (any, error) {
	switch method {
	case "print":
		return nil, s.print(a)
	case "getWorkerInfo":
		return s.a.info(s.commands.places.conn.Info()), nil
	case "getCommands":
		return commandVersions(), nil
	case "getVersion":
		return s.a.o.Version, nil
	case "setBuilderList":
		return s.setBuilderList(a)
	case "shutdown":
		s.log.Info("the master wants the worker to end")
		select {
		case s.shutdown <- struct{}{}:
		default:
		}
		return nil, nil
	}
	pb.Release(a.List)
	pb.Release(a.Named)
	return nil, pb.NoSuchMethod(method)
}

func (s *pbSession) print(a pb.Args) error {
	text, err := a.Text(0, "message")
	if err == nil {
		s.log.Info("message from master: " + text)
	}
	return err
}

// setBuilderList makes the builders' directories, and returns an object for each.
func (s *pbSession) setBuilderList(a pb.Args) (any, error) {
	v, _ := a.Get(0, "wanted")
	wanted, err := wire.List(v)
	if err != nil {
		return nil, fmt.Errorf("list of builders: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	builders := map[string]*pbBuilder{}
	dirs := map[string]bool{infoDir: true, stateDir: true}
	var answer wire.Map
	for _, w := range wanted {
		pair, err := wire.Texts(w)
		if err != nil || len(pair) != 2 {
			return nil, errors.New("list of builders: want pairs of name and directory")
		}
		name, dir := pair[0], pair[1]
		dirs[dir] = true
		b := s.builders[name]
		if b == nil {
			b = &pbBuilder{s: s, name: name}
			b.object = pb.NewObject(b)
		}
		if err := b.setDir(join(s.a.o.BaseDir, dir)); err != nil {
			return nil, err
		}
		builders[name] = b
		answer = append(answer, wire.Field{Key: name, Value: b.object})
	}
	for name, b := range s.builders {
		if builders[name] == nil {
			b.stop()
		}
	}
	s.builders = builders
	s.a.clearLeftovers(dirs)
	return answer, nil
}

// clearLeftovers removes, or names, the directories that no builder has.
func (a *Agent) clearLeftovers(wanted map[string]bool) {
	entries, err := os.ReadDir(a.o.BaseDir)
	if err != nil {
		a.o.Logger.Warn("looking for left-over directories", "error", err)
		return
	}
	for _, e := range entries {
		if !e.IsDir() || wanted[e.Name()] {
			continue
		}
		if !a.o.DeleteLeftoverDirs {
			a.o.Logger.Info("a directory that no builder of the master has; it can be removed", "dir", e.Name())
			continue
		}
		a.o.Logger.Info("removing a directory that no builder of the master has", "dir", e.Name())
		if err := os.RemoveAll(filepath.Join(a.o.BaseDir, e.Name())); err != nil {
			a.o.Logger.Warn("removing a directory", "error", err)
		}
	}
}

// pbBuilder is a builder at a worker: one command runs at a time.
type pbBuilder struct {
	s      *pbSession
	name   string
	object *pb.Object

	mu      sync.Mutex
	dir     string
	current *command
}

func (b *pbBuilder) setDir(dir string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dir = dir
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("directory of builder %s: %w", b.name, err)
	}
	return nil
}

// Call implements [pb.Handler].
func (b *pbBuilder) Call(_ context.Context, method string, a pb.Args) (any, error) {
	switch method {
	case "startBuild":
		return nil, nil // of no meaning, but masters call it
	case "startCommand":
		return nil, b.startCommand(a)
	case "interruptCommand":
		v, _ := a.Get(1, "why")
		why, _ := wire.Text(v) // only for the log
		b.interrupt(why)
		return nil, nil
	case "print":
		return nil, b.s.print(a)
	}
	pb.Release(a.List)
	pb.Release(a.Named)
	return nil, pb.NoSuchMethod(method)
}

// interrupt ends what runs, whatever its id: there is only one.
func (b *pbBuilder) interrupt(why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current != nil {
		b.current.log.Info("asked to interrupt a command", "why", why)
		b.current.cancel(errInterrupted)
	}
}

// stop ends what runs, of which the master hears no more.
func (b *pbBuilder) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current != nil {
		b.current.silence()
		b.current = nil
	}
}

func (b *pbBuilder) startCommand(a pb.Args) error {
	v, _ := a.Get(0, "command_ref")
	ref, ok := v.(*pb.Ref)
	if !ok {
		return errors.New("startCommand: want a reference first")
	}
	id, err := a.Text(1, "stepId")
	if err != nil {
		return err
	}
	name, err := a.Text(2, "command")
	if err != nil {
		return err
	}
	v, _ = a.Get(3, "args")
	m, err := wire.Dict(v)
	if err != nil {
		return fmt.Errorf("startCommand: arguments: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	quick := b.s.commands.kinds[name].quick
	if b.current != nil && !quick {
		b.s.log.Warn("a command was left, and is ended for the next one", "builder", b.name, "id", b.current.id)
		b.current.silence()
		b.current = nil
	}
	full, err := absolute(name, m, b.dir)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	to := newPBMaster(ref, m)
	c, err := b.s.commands.start(id, name, full, to)
	if err != nil {
		return err
	}
	if !quick {
		b.current = c
	}
	go func() {
		<-c.over
		to.release()
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.current == c {
			b.current = nil
		}
	}()
	return nil
}
