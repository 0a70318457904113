//go:build unix

package agent

import (
	"os"

	"golang.org/x/sys/unix"

	"bothy/runner/internal/remote/wire"
)

func stat(path string) (wire.Tuple, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nil, err
	}
	return statTuple(int64(st.Mode), int64(st.Ino), int64(st.Dev), int64(st.Nlink), int64(st.Uid), int64(st.Gid),
		st.Size, st.Atim.Sec, st.Mtim.Sec, st.Ctim.Sec), nil
}

// signalNumber returns the number of a signal that has a name; 0 if it has not.
func signalNumber(name string) int { return int(unix.SignalNum(name)) }

// killedCode is the code of what was killed and still ended with 0, as
// buildbot-worker has it.
const killedCode = -1

// fileTimes returns when a file was last read and written, in seconds since 1970.
func fileTimes(f *os.File) (times [2]float64, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return times, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	seconds := func(t unix.Timespec) float64 { return float64(t.Sec) + float64(t.Nsec)/1e9 }
	return [2]float64{seconds(st.Atim), seconds(st.Mtim)}, nil
}
