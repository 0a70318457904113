package spawn

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"bothy/runner/worker"
)

const (
	bufferSize = 64 << 10
	// drainPatience is how long an ended command's pipe may go on telling
	// something new: it cannot be asked here what is in it.
	drainPatience = 100 * time.Millisecond

	openNow = 0 // to open a file never waits
)

// buffers are a spawner's two read buffers, kept from command to command.
type buffers [2][]byte

func (b *buffers) shrink() {}

// stdio is the master's side of a command's standard files, and until
// closeChild the command's side too.
type stdio struct {
	out   []*os.File
	files []*os.File
	in    *os.File
	stdin []byte
	to    *output
	wg    sync.WaitGroup
}

func openStdio(cmd worker.Command, _ *buffers) (*stdio, error) {
	if cmd.PTY {
		return nil, fmt.Errorf("terminal: %w", errors.ErrUnsupported)
	}
	s := &stdio{stdin: cmd.Stdin}
	for range 2 {
		r, w, err := os.Pipe()
		if err != nil {
			s.closeChild()
			s.close()
			return nil, err
		}
		s.out, s.files = append(s.out, r), append(s.files, w)
	}
	if cmd.Stdin != nil {
		r, w, err := os.Pipe()
		if err != nil {
			s.closeChild()
			s.close()
			return nil, err
		}
		s.in, s.files = w, append(s.files, r)
	}
	return s, nil
}

func (s *stdio) child() []*os.File { return s.files }

func (s *stdio) closeChild() {
	for _, f := range s.files {
		f.Close()
	}
	s.files = nil
}

func (s *stdio) close() {
	for _, f := range s.out {
		f.Close()
	}
	if s.in != nil {
		s.in.Close()
	}
}

func (s *stdio) pump(out *output) {
	s.to = out
	for i, stream := range []worker.Stream{worker.Stdout, worker.Stderr} {
		s.wg.Go(func() {
			buf := make([]byte, bufferSize)
			for {
				n, err := s.out[i].Read(buf)
				if n > 0 {
					out.write("", stream, buf[:n])
				}
				if err != nil {
					return
				}
			}
		})
	}
	if s.in != nil {
		s.wg.Go(func() {
			s.in.Write(s.stdin)
			s.in.Close()
		})
	}
}

// finish waits for the end of the output. A left-over process may hold it: then
// the readers stay until that ends, and have nothing to say any more.
func (s *stdio) finish() {
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		s.close()
		close(done)
	}()
	tick := time.NewTicker(drainPatience)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			if s.to.idle() >= drainPatience {
				s.to.close()
				return
			}
		}
	}
}

// lookPath finds the program argv[0] in the PATH of env, with the endings of
// PATHEXT. Relative names are relative to dir.
func lookPath(argv, env []string, dir string) (string, error) {
	if len(argv) == 0 || argv[0] == "" {
		return "", &StartError{Err: errors.New("no program given")}
	}
	name, path, endings := argv[0], "", ".com;.exe;.bat;.cmd"
	for _, e := range env {
		k, v, _ := strings.Cut(e, "=")
		switch strings.ToUpper(k) {
		case "PATH":
			path = v
		case "PATHEXT":
			endings = v
		}
	}
	dirs := filepath.SplitList(path)
	if strings.ContainsAny(name, `:\/`) {
		dirs = []string{""}
	}
	for _, d := range dirs {
		file := filepath.Join(d, name)
		if !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		for _, end := range append([]string{""}, strings.Split(endings, ";")...) {
			if end == "" && filepath.Ext(name) == "" {
				continue
			}
			if st, err := os.Stat(file + end); err == nil && !st.IsDir() {
				return file + end, nil
			}
		}
	}
	return "", &StartError{Name: name, Err: fmt.Errorf("executable not found in PATH %q", path)}
}

func signalName(s syscall.Signal) string { return s.String() }

// file is what a command inherits.
type file = *os.File

// close keeps late pieces from the sink.
func (o *output) close() {
	o.mu.Lock()
	o.shut = true
	o.mu.Unlock()
}
