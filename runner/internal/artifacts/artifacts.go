// Package artifacts keeps files of builds: DIR/<build id>/<step>/<name>, each on
// disk before anybody records it. What is recorded, and for how long, is decided
// elsewhere.
package artifacts

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Store is a directory of kept files. Its methods may be called from many
// goroutines.
type Store struct {
	dir  string
	next int64
	tidy sync.Once
	err  error // of tidy
}

// Open returns the store in dir, which is made when the first file is kept. next
// is the first build id of this master: an earlier one may have given it, and
// later ones, to builds that it could not record, and what those left goes before
// the first file is kept.
func Open(dir string, next int64) *Store { return &Store{dir: dir, next: next} }

// maxName bounds names, in bytes: PATH_MAX of Linux is 4096, with room for where
// the store is, and for names that a system makes longer.
const maxName = 1024

// CheckName says why a file cannot be kept under a name, nil if it can.
func CheckName(name string) error {
	switch {
	case len(name) > maxName:
		return fmt.Errorf("its name is longer than %d bytes", maxName)
	case !utf8.ValidString(name):
		return errors.New("its name is not UTF-8")
	case !fs.ValidPath(name) || name == "." || !filepath.IsLocal(filepath.FromSlash(name)):
		return errors.New("its name cannot be one here")
	}
	for _, r := range name {
		if unicode.IsControl(r) {
			return errors.New("its name has control characters")
		}
	}
	return nil
}

// Step returns where files of a step are to be put.
func (s *Store) Step(build int64, step int) *Step {
	return &Step{s: s, dir: filepath.Join(s.dir, strconv.FormatInt(build, 10), strconv.Itoa(step)), made: map[string]bool{}}
}

// Open opens a kept file.
func (s *Store) Open(build int64, step int, name string) (*os.File, error) {
	if err := CheckName(name); err != nil {
		return nil, fmt.Errorf("%.200q: %w", name, err)
	}
	root, err := os.OpenRoot(filepath.Join(s.dir, strconv.FormatInt(build, 10), strconv.Itoa(step)))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.Open(filepath.FromSlash(name))
}

// Remove removes all files of the builds.
func (s *Store) Remove(builds ...int64) (err error) {
	for _, id := range builds {
		err = errors.Join(err, os.RemoveAll(filepath.Join(s.dir, strconv.FormatInt(id, 10))))
	}
	return err
}

// Sweep removes the files of steps of earlier masters that keep does not want,
// and the directories of builds that are then empty. It returns how many steps it
// removed.
func (s *Store) Sweep(keep func(build int64, step int) (bool, error)) (n int, err error) {
	for id, err := range numbers(s.dir) {
		if err != nil {
			return n, err
		}
		if id >= s.next {
			continue // this master's
		}
		dir := filepath.Join(s.dir, strconv.FormatInt(id, 10))
		left := 0
		for step, err := range numbers(dir) {
			if err != nil {
				return n, err
			}
			wanted, err := keep(id, int(step))
			if err != nil {
				return n, err
			}
			if wanted {
				left++
				continue
			}
			n++
			if err := os.RemoveAll(filepath.Join(dir, strconv.FormatInt(step, 10))); err != nil {
				return n, err
			}
		}
		if left == 0 {
			if err := os.RemoveAll(dir); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// numbers are the names in a directory that are numbers; none if it does not exist.
func numbers(dir string) func(func(int64, error) bool) {
	return func(yield func(int64, error) bool) {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield(0, err)
			return
		}
		for _, e := range entries {
			n, err := strconv.ParseInt(e.Name(), 10, 64)
			if err == nil && !yield(n, nil) {
				return
			}
		}
	}
}

// begin makes the directory, and removes what unrecorded builds left in it.
func (s *Store) begin() error {
	s.tidy.Do(func() {
		if s.err = os.MkdirAll(s.dir, 0o700); s.err != nil {
			return
		}
		for id, err := range numbers(s.dir) {
			if err == nil && id >= s.next {
				err = os.RemoveAll(filepath.Join(s.dir, strconv.FormatInt(id, 10)))
			}
			s.err = errors.Join(s.err, err)
		}
		s.err = errors.Join(s.err, syncDir(filepath.Dir(s.dir)))
	})
	return s.err
}

// Step is where the files of one step are put, by one goroutine.
type Step struct {
	s    *Store
	dir  string
	root *os.Root        // nil: nothing was kept yet
	made map[string]bool // directories whose names are to be made durable
	kept int
}

// Kept is a file that is on disk.
type Kept struct {
	Name   string
	Size   int64
	SHA256 string // hexadecimal
}

// Keep stores what fill writes under a name. When it returns without an error the
// bytes are on disk; the name is after [Step.Close]. After an error there is no
// such file. fill's error is in it.
func (t *Step) Keep(name string, fill func(io.Writer) error) (k Kept, err error) {
	if err := CheckName(name); err != nil {
		return k, err
	}
	if err := t.begin(); err != nil {
		return k, err
	}
	local := filepath.FromSlash(name)
	if err := t.mkdir(path.Dir(name)); err != nil {
		return k, err
	}
	f, err := t.root.OpenFile(local, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return k, err
	}
	c := &counter{w: f, sum: sha256.New()}
	err = fill(c)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return k, errors.Join(err, t.root.Remove(local))
	}
	t.kept++
	return Kept{name, c.n, hex.EncodeToString(c.sum.Sum(nil))}, nil
}

func (t *Step) begin() error {
	if t.root != nil {
		return nil
	}
	if err := t.s.begin(); err != nil {
		return err
	}
	if err := os.MkdirAll(t.dir, 0o700); err != nil {
		return err
	}
	var err error
	t.root, err = os.OpenRoot(t.dir)
	return err
}

// mkdir makes a directory with those above it, and notes them all.
func (t *Step) mkdir(dir string) error {
	for d := dir; !t.made[d]; d = path.Dir(d) {
		if t.made[d] = true; d == "." {
			break
		}
	}
	if dir == "." {
		return nil
	}
	return t.root.MkdirAll(filepath.FromSlash(dir), 0o700)
}

// Close makes the names durable. Where nothing was kept nothing is left.
func (t *Step) Close() error {
	if t.root == nil {
		return nil
	}
	err := t.root.Close()
	if t.kept == 0 {
		// The build's directory goes too, unless other steps have files in it.
		if err = errors.Join(err, os.RemoveAll(t.dir)); err == nil {
			_ = os.Remove(filepath.Dir(t.dir))
		}
		return err
	}
	for d := range t.made {
		err = errors.Join(err, syncDir(filepath.Join(t.dir, filepath.FromSlash(d))))
	}
	return errors.Join(err, syncDir(filepath.Dir(t.dir)), syncDir(t.s.dir))
}

// Drop removes what was kept, in place of Close.
func (t *Step) Drop() error {
	t.kept = 0
	return t.Close()
}

// counter writes to a file and to its sum.
type counter struct {
	w   io.Writer
	sum hash.Hash
	n   int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.sum.Write(p[:n])
	return n, err
}
