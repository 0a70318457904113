package spawn

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"bothy/runner/worker"
)

const oomControl = "/memory.oom_control"

// closePatience is how long a closed spawner may take to end its processes and
// itself until it is killed.
const closePatience = 3 * time.Second

// client is the master's side of a spawner: an executor.
type client struct {
	hello
	*helper
	near    *neighbours // nil: the counter of OOM kills is ours alone, or all the machine's
	ev      chan event
	build   atomic.Int64 // the latest one
	idle    atomic.Int64 // cgroup v1: memory in use when it began
	sampled atomic.Bool  // since idle was read

	out []byte // frame under construction; one caller at a time

	mu   sync.Mutex
	why  error
	once sync.Once
	done chan struct{} // the spawner was waited for
	// orderly: it ended by itself, after everything it had started. Set by once.
	orderly bool
}

// startClient makes p, or a new process if it is nil, a spawner and waits until
// it is ready.
func startClient(ctx context.Context, h hello, p *helper, near *neighbours) (*client, error) {
	if p == nil {
		var err error
		if p, err = launch(h.base, h.epoch); err != nil {
			return nil, err
		}
	}
	c := &client{hello: h, helper: p, near: near, ev: make(chan event, 4), done: make(chan struct{})}
	go c.read()
	if err := c.write(c.commands, opHello, &h, nil); err != nil {
		c.close()
		return nil, err
	}
	select {
	case e, ok := <-c.ev:
		if !ok || e.kind != ready {
			c.close()
			return nil, c.err()
		}
		c.method = Method(e.text)
		if !e.left {
			c.memoryLeaf = ""
		}
		c.sampled.Store(true)
		return c, nil
	case <-ctx.Done():
		c.close()
		return nil, ctx.Err()
	}
}

func (c *client) write(conn *net.UnixConn, op byte, m message, fds []int) error {
	b, err := appendFrame(c.out[:0], op, m)
	if err != nil {
		return err
	}
	if c.out = b; cap(b) > smallBuffer {
		c.out = nil
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	n, _, err := conn.WriteMsgUnix(b, oob, nil)
	if err == nil && n < len(b) {
		_, err = conn.Write(b[n:])
	}
	if err != nil {
		return c.fail(fmt.Errorf("write to it: %w", err))
	}
	return nil
}

// read passes on events until the spawner is gone; then it ends what may be
// left of its processes.
func (c *client) read() {
	defer close(c.ev)
	var b []byte
	space := make([]byte, 4<<10)
	err := func() error {
		for {
			n, err := c.control.Read(space)
			if err != nil {
				return err
			}
			b = append(b, space[:n]...)
			for {
				op, payload, rest, ok, err := splitFrame(b)
				if err != nil {
					return err
				}
				if !ok {
					break
				}
				var e event
				if op != opEvent {
					return errFrame
				}
				if err := decode(payload, &e); err != nil {
					return err
				}
				if c.err() == nil { // of a closed spawner's doings only its end is told
					c.ev <- e
				}
				b = b[:copy(b, rest)]
			}
		}
	}()
	c.fail(err)
	c.ev <- event{kind: lost, ended: c.wreck()}
}

// fail remembers why the spawner is not used any more.
func (c *client) fail(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.why == nil {
		c.why = fmt.Errorf("%w: %w", ErrSpawner, err)
	}
	return c.why
}

func (c *client) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.why
}

func (c *client) start(r *request, fds []int) error {
	if c.build.Swap(r.build) != r.build && c.memoryLeaf != "" && c.sampled.Swap(false) {
		c.idle.Store(memoryStat(c.memoryLeaf, "total_rss", "total_shmem"))
	}
	return c.write(c.commands, opRun, r, fds)
}

func (c *client) stop(s stop) error    { return c.write(c.control, opStop, &s, nil) }
func (c *client) events() <-chan event { return c.ev }

// drop wakes the spawner only where there is something to remove: otherwise
// the next build's first command is word enough.
func (c *client) drop() error {
	if !c.buildMemory {
		return c.err()
	}
	return c.write(c.commands, opDrop, nil, nil)
}

// memory asks the memory controller where there is one: it counts shared pages once.
func (c *client) memory(build int64) (n int64) {
	switch {
	case c.buildMemory:
		return memoryStat(buildGroup(c.group, build), "anon", "shmem")
	case c.memoryLeaf != "":
		c.sampled.Store(true)
		return max(0, memoryStat(c.memoryLeaf, "total_rss", "total_shmem")-c.idle.Load())
	}
	all, _ := descendants(c.proc.pid)
	for _, p := range all {
		n += p.memory()
	}
	return n
}

func memoryStat(group string, keys ...string) (n int64) {
	b := []byte(readFile(group + "/memory.stat"))
	for _, k := range keys {
		n += value(b, k)
	}
	return n
}

// alone tells whether a kill by the shared counter can only have been the build's.
func (c *client) alone() bool { return c.near != nil && c.near.undisturbed(c.mine) }

// limit looks for the tightest limit from the build's group upwards, or from the
// one it shares.
func (c *client) limit(build int64) (at, limit int64) {
	dir := ""
	switch {
	case c.buildMemory:
		dir = buildGroup(c.group, build)
	case c.memoryLeaf != "":
		dir = c.memoryLeaf
	case c.near != nil:
		dir = c.near.dir
	default:
		return 0, 0
	}
	name, peak := "/memory.max", "/memory.peak"
	if exists(dir + oomControl) { // version 1
		name, peak = "/memory.limit_in_bytes", "/memory.max_usage_in_bytes"
	}
	limit = math.MaxInt64
	for ; exists(dir + name); dir = filepath.Dir(dir) {
		// "max" in version 2, about 2^63 in version 1.
		if n, err := strconv.ParseInt(strings.TrimSpace(readFile(dir+name)), 10, 64); err == nil && n < limit && n < 1<<60 {
			limit = n
			at, _ = strconv.ParseInt(strings.TrimSpace(readFile(dir+peak)), 10, 64)
		}
	}
	if limit == math.MaxInt64 {
		return 0, 0
	}
	return at, limit
}

// wreck ends the processes of a spawner that is no more: they are nobody's
// descendants now, but in its build's cgroup, or known by their environment.
// What the spawner did itself on its way out finds nothing to do here.
func (c *client) wreck() []worker.Process {
	c.commands.Close()
	c.control.Close()
	c.reap()
	build := c.build.Load()
	if c.orderly || build == 0 {
		// It has ended its processes and removed their groups, or had none: no
		// cookie is its own before its first build.
		return nil
	}
	var groups []string
	if c.method.cgroup() {
		groups = groupsOfBuild(&c.hello, build)
	}
	ended, _ := settle(&strays{base: c.base, self: os.Getpid(), groups: groups, ours: func(k cookie) bool {
		return k.epoch == c.epoch && k.counter == build
	}}, func() bool { return true }, nil)
	if c.memoryLeaf != "" {
		groups = append(groups, c.memoryLeaf)
	}
	for _, g := range groups {
		removeGroupSoon(g, time.Second)
	}
	return ended
}

// reap waits for the spawner to end, and kills it when it takes too long.
func (c *client) reap() {
	c.once.Do(func() {
		late := time.AfterFunc(closePatience, c.proc.kill)
		c.orderly, _ = c.proc.wait() // an error: somebody else waited for it
		late.Stop()
		close(c.done)
	})
}

func (c *client) close() error {
	c.fail(errors.New("closed"))
	c.commands.Close()
	// It sees the end of what we say, and that we are still there.
	err := c.control.CloseWrite()
	c.reap()
	<-c.done
	for range c.ev {
		// The channel is closed when the last process was ended.
	}
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
