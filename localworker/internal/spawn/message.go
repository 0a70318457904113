package spawn

import (
	"encoding/binary"
	"errors"
	"fmt"

	"bothy/runner/worker"
)

// A frame is its payload's length (4 bytes, little endian), a byte that says
// what it is, and the payload. File descriptors of opRun travel beside it.
const (
	frameHead = 5
	// maxFrame is above what execve takes for arguments and environment
	// together: 6 MiB, three quarters of Linux' _STK_LIM.
	maxFrame   = 8 << 20
	maxStrings = 1 << 20
	// maxEnded is how many ended processes are named; a fork bomb has more.
	maxEnded = 256
)

// From the master to the spawner.
const (
	opHello byte = iota + 1 // hello
	opRun                   // request
	opStop                  // stop
	opDrop                  // nothing: the build is over, and nothing of it runs
)

// From the spawner to the master.
const opEvent byte = 0x81

// hello is the first frame: what the spawner must know.
type hello struct {
	method Method
	base   string
	epoch  int64
	// home is the directory of the cgroup that the spawner returns to, group
	// the one under which it makes cgroups for builds; empty without cgroups.
	home, group string
	buildMemory bool // builds have memory.events of their own
	handed      bool // above home are controllers that the master handed down
	memoryHome  string
	memoryLeaf  string // cgroup v1: the spawner's builds live here
	oomFile     string // a counter of OOM kills that is not ours alone
}

// request asks for one command. Descriptors: the terminal, or standard output,
// standard error and, if stdin, standard input.
type request struct {
	build, step int64
	label       string
	path, dir   string
	argv, env   []string
	tty, stdin  bool
}

type scope int64

const (
	theStep  scope = iota // the processes of the latest command
	theBuild              // all of them
)

// stop asks for the end of processes, first kindly. It is answered by one gone.
type stop struct {
	scope  scope
	kill   bool
	signal int64 // instead of TERM; 0: TERM
}

type eventKind int64

const (
	ready  eventKind = iota // the spawner runs; text is the method
	failed                  // the command could not be started: text, and errno
	exited                  // the command ended, whatever else still runs
	gone                    // nothing that was to be stopped is left
	lost                    // the executor died, and what ran on it was ended; the last event
)

// event is what an executor tells about the build's latest command.
type event struct {
	kind   eventKind
	step   int64
	text   string
	errno  int64
	status int64 // exit code, or signalled and the signal
	left   bool  // processes of the build still run
	// Usage of what was reaped: of the step with exited, of the build with gone.
	cpu, maxRSS int64 // nanoseconds, bytes
	counted     bool  // kills by the OOM killer can be seen
	oom         int64 // those in the meantime
	certain     bool  // those were ours
	struck      bool  // a process of ours was killed, and not by us
	ended       []worker.Process
}

const signalled = 1 << 32 // flag in event.status

var errFrame = errors.New("malformed frame")

// fields is the one description of a message: encoder and decoder both walk it.
type fields interface {
	num(*int64)
	flag(*bool)
	str(*string)
	strs(*[]string)
}

func (h *hello) walk(f fields) {
	f.str((*string)(&h.method))
	f.str(&h.base)
	f.num(&h.epoch)
	f.str(&h.home)
	f.str(&h.group)
	f.flag(&h.buildMemory)
	f.flag(&h.handed)
	f.str(&h.memoryHome)
	f.str(&h.memoryLeaf)
	f.str(&h.oomFile)
}

func (r *request) walk(f fields) {
	f.num(&r.build)
	f.num(&r.step)
	f.str(&r.label)
	f.str(&r.path)
	f.str(&r.dir)
	f.strs(&r.argv)
	f.strs(&r.env)
	f.flag(&r.tty)
	f.flag(&r.stdin)
}

func (s *stop) walk(f fields) {
	f.num((*int64)(&s.scope))
	f.flag(&s.kill)
	f.num(&s.signal)
}

func (e *event) walk(f fields) {
	f.num((*int64)(&e.kind))
	f.num(&e.step)
	f.str(&e.text)
	f.num(&e.errno)
	f.num(&e.status)
	f.flag(&e.left)
	f.num(&e.cpu)
	f.num(&e.maxRSS)
	f.flag(&e.counted)
	f.num(&e.oom)
	f.flag(&e.certain)
	f.flag(&e.struck)
	n := int64(len(e.ended))
	f.num(&n)
	if n < 0 || n > maxEnded {
		n = 0
	}
	if int64(len(e.ended)) != n {
		e.ended = make([]worker.Process, n)
	}
	for i := range e.ended {
		pid := int64(e.ended[i].PID)
		f.num(&pid)
		e.ended[i].PID = int(pid)
		f.str(&e.ended[i].Name)
	}
}

type message interface{ walk(fields) }

// appendFrame appends a whole frame; m may be nil.
func appendFrame(b []byte, op byte, m message) ([]byte, error) {
	start := len(b)
	b = append(b, 0, 0, 0, 0, op)
	if m != nil {
		e := encoder{b}
		m.walk(&e)
		b = e.b
	}
	n := len(b) - start - frameHead
	if n > maxFrame {
		return b[:start], fmt.Errorf("command with %d bytes of arguments and environment: at most %d are possible", n, maxFrame)
	}
	binary.LittleEndian.PutUint32(b[start:], uint32(n))
	return b, nil
}

// splitFrame returns the first frame of b, and what follows it. ok is false
// when b does not yet hold a whole one.
func splitFrame(b []byte) (op byte, payload, rest []byte, ok bool, err error) {
	if len(b) < frameHead {
		return 0, nil, b, false, nil
	}
	n := binary.LittleEndian.Uint32(b)
	if n > maxFrame {
		return 0, nil, b, false, fmt.Errorf("%w: %d bytes", errFrame, n)
	}
	if len(b) < frameHead+int(n) {
		return 0, nil, b, false, nil
	}
	end := frameHead + int(n)
	return b[4], b[frameHead:end], b[end:], true, nil
}

// decode fills m from a frame's payload, all of it.
func decode(payload []byte, m message) error {
	d := decoder{b: payload}
	m.walk(&d)
	if d.bad || len(d.b) != 0 {
		return errFrame
	}
	return nil
}

type encoder struct{ b []byte }

func (e *encoder) num(n *int64) { e.b = binary.AppendVarint(e.b, *n) }

func (e *encoder) flag(v *bool) {
	var c byte
	if *v {
		c = 1
	}
	e.b = append(e.b, c)
}

func (e *encoder) str(s *string) {
	e.b = binary.AppendUvarint(e.b, uint64(len(*s)))
	e.b = append(e.b, *s...)
}

func (e *encoder) strs(s *[]string) {
	e.b = binary.AppendUvarint(e.b, uint64(len(*s)))
	for i := range *s {
		e.str(&(*s)[i])
	}
}

// decoder reads what encoder wrote. After the first error every value is zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) fail() { d.bad, d.b = true, nil }

func (d *decoder) num(n *int64) {
	v, size := binary.Varint(d.b)
	if size <= 0 {
		*n = 0
		d.fail()
		return
	}
	*n, d.b = v, d.b[size:]
}

func (d *decoder) flag(v *bool) {
	if *v = false; len(d.b) == 0 || d.b[0] > 1 {
		d.fail()
		return
	}
	*v, d.b = d.b[0] == 1, d.b[1:]
}

// size reads a length; what it counts takes at least a byte each.
func (d *decoder) size() int {
	n, size := binary.Uvarint(d.b)
	if size <= 0 || n > uint64(len(d.b)-size) {
		d.fail()
		return 0
	}
	d.b = d.b[size:]
	return int(n)
}

func (d *decoder) str(s *string) {
	n := d.size()
	*s, d.b = string(d.b[:n]), d.b[n:]
}

func (d *decoder) strs(s *[]string) {
	n := d.size()
	if n > maxStrings {
		d.fail()
		n = 0
	}
	*s = make([]string, n)
	for i := range *s {
		d.str(&(*s)[i])
	}
}

// descriptors is how many files travel beside a request.
func (r *request) descriptors() int {
	switch {
	case r.tty:
		return 1
	case r.stdin:
		return 3
	}
	return 2
}
