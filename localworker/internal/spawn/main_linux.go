package spawn

import (
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// The spawner's ends of the two sockets to its master. Commands come by their
// own: the thread that receives one also waits for its end, and nobody needs to
// be woken for a command that runs undisturbed. Stops come by the other, which
// events go back by, and whose end is the master's.
const (
	controlSocket = 3
	commandSocket = 4
)

// oomScore is added to the chance of the OOM killer choosing a process of a
// build (-1000 to 1000), so that the master goes last. It is half the range: a
// build's process is taken unless another one uses half the memory more.
const oomScore = 500

// mainCalled tells whether this program can be re-executed as a spawner. There
// is nothing else by which a library could know.
var mainCalled atomic.Bool

// Main must be the first thing in main. In a spawner it never returns; in any
// other process it returns at once.
func Main() {
	if os.Getenv(marker) == "" {
		mainCalled.Store(true)
		return
	}
	os.Exit(spawnerMain())
}

func spawnerMain() int {
	// Who stops a service tells all its processes; the spawner's master says
	// when it is time. A handler, unlike ignoring, is not inherited.
	signal.Notify(make(chan os.Signal, 1), unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGPIPE)
	raiseOOMScore()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 1
	}
	null, err := nullFile()
	if err != nil {
		return 1
	}
	control, commands := &link{fd: controlSocket}, &link{fd: commandSocket}
	unix.CloseOnExec(control.fd)
	unix.CloseOnExec(commands.fd)
	t := &tree{pid: os.Getpid(), null: null, send: control.send, wake: make(chan struct{}, 1)}
	out := make(chan struct{})
	t.alive = func() bool { return !hungUp(control.fd) }
	go func() {
		runtime.LockOSThread() // all commands are children of this thread, and born where it is
		commands.serve(t)
		t.comeHome()
		close(out)
		unix.Shutdown(control.fd, unix.SHUT_RD) // without the one the other is of no use
	}()
	control.serve(t)
	t.end()
	t.leave(out)
	return 0
}

func raiseOOMScore() {
	const name = "/proc/self/oom_score_adj"
	now, _ := strconv.Atoi(string(trimLine(readFile(name))))
	if now < oomScore {
		writeFile(name, strconv.Itoa(oomScore))
	}
}

func trimLine(s string) string {
	if n := len(s); n > 0 && s[n-1] == '\n' {
		return s[:n-1]
	}
	return s
}

// link is the spawner's side of a socket.
type link struct {
	fd  int
	buf []byte // bytes received, not yet used
	fds []int  // descriptors received, not yet used
	out []byte
}

// send writes an event; the tree calls it with its lock held. That the master
// is gone is seen where it is read from.
func (l *link) send(e event) {
	b, err := appendFrame(l.out[:0], opEvent, &e)
	if err != nil {
		return
	}
	l.out = b
	for len(b) > 0 {
		n, err := unix.SendmsgN(l.fd, b, nil, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return
		}
		b = b[n:]
	}
}

// serve does what the master says until it is gone, or talks nonsense.
func (l *link) serve(t *tree) {
	space := make([]byte, smallBuffer)
	oob := make([]byte, unix.CmsgSpace(8*4))
	for {
		n, oobn, flags, _, err := unix.Recvmsg(l.fd, space, oob, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 || flags&unix.MSG_CTRUNC != 0 {
			return
		}
		l.take(oob[:oobn])
		l.buf = append(l.buf, space[:n]...)
		for {
			op, payload, rest, ok, err := splitFrame(l.buf)
			if err != nil {
				return
			}
			if !ok {
				break
			}
			if l.handle(t, op, payload) != nil {
				return
			}
			l.buf = l.buf[:copy(l.buf, rest)]
		}
		if len(l.buf) == 0 && cap(l.buf) > smallBuffer {
			l.buf = nil
		}
	}
}

func (l *link) take(oob []byte) {
	if len(oob) == 0 {
		return
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return
	}
	for _, m := range msgs {
		if fds, err := unix.ParseUnixRights(&m); err == nil {
			l.fds = append(l.fds, fds...)
		}
	}
}

func (l *link) handle(t *tree, op byte, payload []byte) error {
	switch op {
	case opHello:
		var h hello
		if err := decode(payload, &h); err != nil {
			return err
		}
		t.settleIn(h)
	case opRun:
		var r request
		if err := decode(payload, &r); err != nil {
			return err
		}
		fds := l.fds
		l.fds = nil
		if len(fds) != r.descriptors() {
			return errFrame
		}
		t.run(&r, fds)
		for _, fd := range fds {
			unix.Close(fd)
		}
		t.attend()
	case opStop:
		var s stop
		if err := decode(payload, &s); err != nil {
			return err
		}
		t.stop(s)
	case opDrop:
		t.drop()
	default:
		return errFrame
	}
	return nil
}

// settleIn takes the spawner's place in the cgroups, and tells the method that
// can be used from there. It runs on the thread that starts commands.
func (t *tree) settleIn(h hello) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hello = h
	if h.method == Procs && !canEnter(h.group+"/probe-"+strconv.Itoa(t.pid), h.home) {
		t.method = Leader
	}
	counter := h.oomFile
	if h.memoryLeaf != "" {
		if unix.Mkdir(h.memoryLeaf, 0o755) == nil && enterAlone(h.memoryLeaf) == nil {
			t.oomFile, counter = "", h.memoryLeaf+oomControl
		} else {
			unix.Rmdir(h.memoryLeaf)
			t.memoryLeaf = ""
		}
	}
	t.counter = openCounter(counter)
	t.send(event{kind: ready, text: string(t.method), left: t.memoryLeaf != ""})
}

// canEnter tries to go into a cgroup and back.
func canEnter(dir, home string) bool {
	if unix.Mkdir(dir, 0o755) != nil {
		return false
	}
	defer unix.Rmdir(dir)
	return enter(dir) == nil && enter(home) == nil
}

// comeHome takes the thread that starts commands out of the memory group.
func (t *tree) comeHome() {
	if t.memoryLeaf != "" {
		enterAlone(t.memoryHome)
	}
}

// leave gives up the spawner's place in the cgroups, once the thread that started
// commands has come out. If the master has gone it also gives up what was the
// master's, as far as nobody else uses it: the last spawner leaves nothing.
func (t *tree) leave(out <-chan struct{}) {
	select {
	case <-out:
	case <-time.After(time.Second): // a command withstands KILL
		return
	}
	if t.memoryLeaf != "" {
		unix.Rmdir(t.memoryLeaf)
	}
	for _, g := range t.garbage {
		removeGroup(g)
	}
	if t.alive() {
		return
	}
	if t.memoryLeaf != "" {
		unix.Rmdir(t.memoryHome + "/" + groupName(t.base, t.epoch))
	}
	if t.group != "" {
		removeGroupSoon(t.group, time.Second)
	}
	if t.handed {
		home := filepath.Dir(t.home)
		takeBack(home)
		if enter(home) == nil {
			removeGroupSoon(t.home, time.Second) // the master may be dying, and another spawner
		}
	}
}

// hungUp tells whether the other end of a socket is closed altogether, and not
// only for writing.
func hungUp(fd int) bool {
	poll := []unix.PollFd{{Fd: int32(fd)}}
	_, err := unix.Poll(poll, 0)
	return err == nil && poll[0].Revents&unix.POLLHUP != 0
}
