package spawn

import (
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"bothy/runner/worker"
)

// logFilePoll is how often files are looked at while a command runs. Buildbot
// looks every 2 s (LogFileWatcher.POLL_INTERVAL).
const logFilePoll = 500 * time.Millisecond

// logFiles copies files into logs of their own while a command runs.
type logFiles struct {
	stop chan struct{}
	wg   sync.WaitGroup
}

func follow(files []worker.LogFile, dir string, out *output) *logFiles {
	l := &logFiles{stop: make(chan struct{})}
	for _, f := range files {
		path := f.Path
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		w := &logFile{name: f.Name, path: path, out: out}
		if st, err := os.Stat(path); err == nil && f.Follow {
			w.at, w.known = st.Size(), st
		}
		l.wg.Go(func() { w.run(l.stop) })
	}
	return l
}

// finish copies what is there now, and returns when nothing more will come.
func (l *logFiles) finish() {
	close(l.stop)
	l.wg.Wait()
}

type logFile struct {
	name, path string
	out        *output
	at         int64       // how far it was copied
	known      os.FileInfo // the file that at belongs to
}

func (w *logFile) run(stop <-chan struct{}) {
	tick := time.NewTicker(logFilePoll)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.copy()
		case <-stop:
			w.copy()
			return
		}
	}
}

// copy passes on what is new. A file that was replaced or cut begins anew. The
// command may put anything in its place at any time: opening it never waits, as
// it would for the writer of a named pipe.
func (w *logFile) copy() {
	f, err := os.OpenFile(w.path, os.O_RDONLY|openNow, 0)
	if err != nil {
		return // not there yet
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return
	}
	if w.known != nil && (!os.SameFile(w.known, st) || st.Size() < w.at) {
		w.at = 0
	}
	w.known = st
	n, _ := io.Copy(w, io.NewSectionReader(f, w.at, st.Size()-w.at))
	w.at += n
}

// Write makes a logFile the target of its own copy.
func (w *logFile) Write(p []byte) (int, error) {
	w.out.write(w.name, worker.Stdout, p)
	return len(p), nil
}
