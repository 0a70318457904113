package remote

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/pb"
)

// pbBacklog bounds what a worker may ask over one connection before it is
// answered; its commands' output waits in there too.
const pbBacklog = 4 << 20

// pbLink is a [link] over Perspective Broker.
type pbLink struct {
	broker *pb.Broker
	bot    *pb.Ref
	conn   *watchedConn
	known  []string     // builders to announce at first
	unread atomic.Int64 // handlers that wait for a log

	announcing sync.Mutex // held while builders are announced

	mu       sync.Mutex
	why      error
	builders map[string]pbBuilder
	objects  map[*command][]*pb.Object
}

// pbBuilder is a builder, or a lane of one, that the worker was told of.
type pbBuilder struct {
	dir string
	ref *pb.Ref
}

func newPBLink(b *pb.Broker, bot *pb.Ref, conn *watchedConn, known []string) *pbLink {
	return &pbLink{broker: b, bot: bot, conn: conn, known: known, builders: map[string]pbBuilder{}, objects: map[*command][]*pb.Object{}}
}

func (k *pbLink) protocol() protocol    { return protocolPB }
func (k *pbLink) done() <-chan struct{} { return k.broker.Done() }
func (k *pbLink) sign() (uint64, bool)  { return k.conn.heard.Load(), k.unread.Load() > 0 }

func (k *pbLink) err() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.why == nil {
		k.why = k.broker.Err()
	}
	return k.why
}

func (k *pbLink) close(why error, _ bool) {
	k.mu.Lock()
	if k.why == nil {
		k.why = why
	}
	k.mu.Unlock()
	k.broker.Close()
}

func (k *pbLink) info(ctx context.Context) (wire.Map, error) {
	v, err := k.bot.Call(ctx, "getWorkerInfo", pb.Args{})
	if err != nil {
		return nil, err
	}
	pb.Release(v)
	return wire.Dict(v)
}

func (k *pbLink) settle(ctx context.Context) error {
	dirs := map[string]string{}
	for _, name := range k.known {
		dirs[name] = dirName(name)
	}
	return k.setBuilders(ctx, dirs)
}

func (k *pbLink) announce(ctx context.Context, lane, dir string) error {
	k.announcing.Lock()
	defer k.announcing.Unlock()
	dirs := map[string]string{}
	k.mu.Lock()
	known := k.builders[lane].dir == dir
	for name, b := range k.builders {
		dirs[name] = b.dir
	}
	k.mu.Unlock()
	if known {
		return nil
	}
	dirs[lane] = dir
	return k.setBuilders(ctx, dirs)
}

// setBuilders tells the worker of all builders: it forgets those not named.
func (k *pbLink) setBuilders(ctx context.Context, dirs map[string]string) error {
	var list []any
	for _, name := range slices.Sorted(maps.Keys(dirs)) {
		list = append(list, wire.Tuple{name, dirs[name]})
	}
	v, err := k.bot.Call(ctx, "setBuilderList", pb.Positional(list))
	if err != nil {
		return fmt.Errorf("announce builders: %w", err)
	}
	refs, err := wire.Dict(v)
	if err != nil {
		pb.Release(v)
		return fmt.Errorf("announce builders: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, v := range refs.All() {
		ref, ok := v.(*pb.Ref)
		dir, asked := dirs[name]
		old, known := k.builders[name]
		switch {
		case !ok || !asked:
			pb.Release(v)
		case known:
			ref.Release() // it is the same object again
			k.builders[name] = pbBuilder{dir, old.ref}
		default:
			k.builders[name] = pbBuilder{dir, ref}
		}
	}
	for name := range dirs {
		if _, ok := k.builders[name]; !ok {
			return fmt.Errorf("announce builders: the worker did not take %q", name)
		}
	}
	return nil
}

func (k *pbLink) builder(lane string) (*pb.Ref, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	b, ok := k.builders[lane]
	if !ok {
		return nil, fmt.Errorf("builder %q was not announced", lane)
	}
	return b.ref, nil
}

func (k *pbLink) start(ctx context.Context, c *command, args wire.Map) <-chan error {
	started := make(chan error, 1)
	ref, err := k.builder(c.lane)
	if err != nil {
		started <- err
		return started
	}
	name, args, file := pbArgs(c.name, args)
	reports := pb.NewObject(&pbReports{k, c})
	objects := []*pb.Object{reports}
	if file != "" {
		o := pb.NewObject(&pbFile{k, c})
		objects = append(objects, o)
		args = append(args, wire.Field{Key: file, Value: o})
	}
	k.mu.Lock()
	k.objects[c] = objects
	k.mu.Unlock()
	p, err := ref.Start(ctx, "startCommand", pb.Positional(reports, c.id, name, args))
	if err != nil {
		started <- err
		return started
	}
	go func() {
		v, err := p.Wait(context.Background()) // the link's end ends it
		pb.Release(v)
		started <- err
	}()
	return started
}

func (k *pbLink) interrupt(ctx context.Context, c *command, why string) error {
	ref, err := k.builder(c.lane)
	if err != nil {
		return err
	}
	_, err = ref.Call(ctx, "interruptCommand", pb.Positional(c.id, why))
	return err
}

func (k *pbLink) forget(c *command) {
	k.mu.Lock()
	objects := k.objects[c]
	delete(k.objects, c)
	k.mu.Unlock()
	for _, o := range objects {
		k.broker.Forget(o)
	}
}

func (k *pbLink) print(ctx context.Context, text string) error {
	_, err := k.bot.Call(ctx, "print", pb.Args{Named: wire.Map{{Key: "message", Value: text}}})
	return err
}

func (k *pbLink) keepalive(ctx context.Context) error { return k.print(ctx, "keepalive") }

func (k *pbLink) shutdown(ctx context.Context) error {
	_, err := k.bot.Call(ctx, "shutdown", pb.Args{})
	return err
}

// put hands an event on. It blocks while the log is slow, and the connection is
// not read once the backlog is full.
func (k *pbLink) put(c *command, ev event) {
	k.unread.Add(1)
	c.in.put(ev, k.done())
	k.unread.Add(-1)
}

// pbReports is what a worker tells about a command.
type pbReports struct {
	k *pbLink
	c *command
}

// Call implements [pb.Handler].
func (r *pbReports) Call(_ context.Context, method string, args pb.Args) (any, error) {
	first, _ := args.Get(0, "")
	defer pb.Release(first)
	switch method {
	case "update":
		ev, err := pbUpdate(first)
		if err != nil {
			return nil, err
		}
		r.k.put(r.c, ev)
		return int64(0), nil // the highest number, of those that are always 0
	case "complete":
		ev := event{ended: true}
		if first != nil {
			ev.fault = "failed"
			if f, ok := first.(*pb.Failure); ok {
				ev.fault = f.Error()
			}
		}
		r.k.put(r.c, ev)
		return nil, nil
	}
	return nil, pb.NoSuchMethod(method)
}

// pbUpdate reads a list of pairs: a dictionary and a number that means nothing.
func pbUpdate(v any) (event, error) {
	updates, err := wire.List(v)
	if err != nil {
		return event{}, fmt.Errorf("updates: %w", err)
	}
	var ev event
	for _, u := range updates {
		pair, err := wire.List(u)
		if err != nil || len(pair) == 0 {
			return event{}, errors.New("an update that is no pair")
		}
		values, err := wire.Dict(pair[0])
		if err != nil {
			return event{}, fmt.Errorf("update: %w", err)
		}
		for name, v := range values.All() {
			it, err := pbItem(name, v)
			if err != nil {
				return event{}, fmt.Errorf("update: %s: %w", name, err)
			}
			ev.items = append(ev.items, it)
			ev.size += len(it.text) + itemSize
		}
	}
	return ev, nil
}

// itemSize is about what an item takes beyond its text.
const itemSize = 128

func pbItem(name string, v any) (item, error) {
	it := item{name: name}
	switch name {
	default:
		it.value = v
		return it, nil
	case "log":
		pair, err := wire.List(v)
		if err != nil || len(pair) != 2 {
			return item{}, errors.New("not a name and text")
		}
		if it.log, err = wire.Text(pair[0]); err != nil {
			return item{}, err
		}
		v = pair[1]
	case "stdout", "stderr", "header":
	}
	var err error
	it.text, err = wire.Bytes(v) // of peers with Python 2 it may be anything
	if it.text == nil {
		it.text = []byte{}
	}
	return it, err
}

// pbFile is what a worker writes a file to, or reads one from.
type pbFile struct {
	k *pbLink
	c *command
}

// Call implements [pb.Handler].
func (f *pbFile) Call(ctx context.Context, method string, args pb.Args) (any, error) {
	first, _ := args.Get(0, "")
	defer pb.Release(first)
	a := ask{op: askEnd}
	var err error
	switch method {
	case "write":
		a.op = askWrite
		a.data, err = wire.Bytes(first)
	case "read":
		a.op = askRead
		a.n, err = wire.Int(first)
	case "close", "utime", "unpack":
	default:
		return nil, pb.NoSuchMethod(method)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	answered := make(chan any, 1)
	a.reply = func(result any) { answered <- result }
	f.k.put(f.c, event{ask: &a, size: len(a.data) + itemSize})
	select {
	case result := <-answered:
		return result, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// watchedConn counts what comes, and gives up a peer that does not read.
type watchedConn struct {
	net.Conn
	heard atomic.Uint64
}

func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.heard.Add(1)
	}
	return n, err
}

func (c *watchedConn) Write(p []byte) (int, error) {
	if err := c.Conn.SetWriteDeadline(time.Now().Add(DeadAfter)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
