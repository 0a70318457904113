package agent

import (
	"os"

	"bothy/runner/internal/remote/wire"
)

func stat(path string) (wire.Tuple, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	mode := int64(st.Mode().Perm()) | 0o100000 // a regular file
	if st.IsDir() {
		mode = int64(st.Mode().Perm()) | 0o040000
	}
	t := st.ModTime().Unix()
	return statTuple(mode, 0, 0, 1, 0, 0, st.Size(), t, t, t), nil
}

func signalNumber(string) int { return 0 }

// killedCode is the code of what was killed and still ended with 0, as
// buildbot-worker has it.
const killedCode = 1

// fileTimes returns when a file was last read and written, in seconds since 1970;
// the first is not known here.
func fileTimes(f *os.File) (times [2]float64, err error) {
	st, err := f.Stat()
	if err != nil {
		return times, err
	}
	t := float64(st.ModTime().UnixMicro()) / 1e6
	return [2]float64{t, t}, nil
}
