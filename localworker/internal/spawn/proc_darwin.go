package spawn

import (
	"bytes"
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// process is one row of the kernel's table. A number alone does not name a
// process, number and start time do.
type process struct {
	pid, ppid, pgid int
	start           uint64 // microseconds
	dead            bool
	comm            string
}

// allProcesses lists this user's processes.
func allProcesses() []process {
	rows, err := unix.SysctlKinfoProcSlice("kern.proc.uid", os.Getuid())
	if err != nil {
		return nil
	}
	all := make([]process, 0, len(rows))
	for i := range rows {
		all = append(all, fromRow(&rows[i]))
	}
	return all
}

func fromRow(k *unix.KinfoProc) process {
	const zombie = 5 // SZOMB of <sys/proc.h>
	return process{
		pid: int(k.Proc.P_pid), ppid: int(k.Eproc.Ppid), pgid: int(k.Eproc.Pgid),
		start: uint64(k.Proc.P_starttime.Nano() / 1000),
		dead:  k.Proc.P_stat == zombie,
		comm:  unix.ByteSliceToString(k.Proc.P_comm[:]),
	}
}

// args returns a process's arguments and its environment (kern.procargs2:
// argc, the path, then both, each string ended by a zero).
func (p process) args() (argv, env [][]byte) {
	b, err := unix.SysctlRaw("kern.procargs2", p.pid)
	if err != nil || len(b) < 4 {
		return nil, nil
	}
	argc := int(binary.LittleEndian.Uint32(b))
	_, rest, ok := bytes.Cut(b[4:], []byte{0})
	if !ok {
		return nil, nil
	}
	all := bytes.Split(bytes.TrimLeft(rest, "\x00"), []byte{0})
	argc = min(max(argc, 0), len(all))
	return all[:argc], all[argc:]
}

func (p process) name() string {
	argv, _ := p.args()
	if len(argv) == 0 {
		return "[" + p.comm + "]"
	}
	return shorten(string(bytes.Join(argv, []byte{' '})))
}

func (p process) cookie() (cookie, bool) {
	_, env := p.args()
	for _, v := range env {
		if s, ok := bytes.CutPrefix(v, []byte(CookieName+"=")); ok {
			return parseCookie(string(s))
		}
	}
	return cookie{}, false
}

// memory is not sampled here; getrusage tells the peak afterwards.
func (p process) memory() int64 { return 0 }

// signal sends sig unless the number belongs to another process by now.
func (p process) signal(sig unix.Signal) error {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", p.pid)
	if err != nil || fromRow(k).start != p.start {
		return unix.ESRCH
	}
	return unix.Kill(p.pid, sig)
}
