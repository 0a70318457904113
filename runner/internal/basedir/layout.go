// Package basedir knows where things are in a base directory, and who holds it.
//
//   - layout.go: the places, and where the directory really is
//   - fstype*.go: file systems on which locks or shared memory cannot be trusted
//   - hold.go: one process holds a base directory
//   - socket.go, peer*.go: the control socket of the holder
//   - ballast.go: disk space set aside for the day the disk is full
package basedir

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Layout is where things are in a base directory. All paths are absolute.
type Layout struct {
	Dir string
	// Reason says why Dir is not the directory that was asked for; "" when it is.
	Reason  string
	StateDB string // the database
	LogDir  string // logs of builds
	WorkDir string // directories of workers and their builds
	RunDir  string // what matters only while a master runs
	// ArtifactDir has files of builds that are kept; it is made with the first.
	ArtifactDir string
}

func layoutOf(dir, reason string) Layout {
	return Layout{
		Dir: dir, Reason: reason,
		StateDB: filepath.Join(dir, "state.db"),
		LogDir:  filepath.Join(dir, "logs"),
		WorkDir: filepath.Join(dir, "workers"),
		RunDir:  filepath.Join(dir, "run"),

		ArtifactDir: filepath.Join(dir, "artifacts"),
	}
}

// DiskFree returns how many bytes this user may still write to the file system
// of the base directory.
func (l Layout) DiskFree() (int64, error) {
	free, err := diskFree(l.Dir)
	if err != nil {
		return 0, fmt.Errorf("free space of %s: %w", l.Dir, err)
	}
	return free, nil
}

// Resolver finds base directories. The zero value asks the system.
type Resolver struct {
	// FSType returns the name of the file system that holds an existing
	// directory when a database is not safe there, else "".
	FSType func(dir string) (string, error)
	// Getenv reads the environment.
	Getenv func(name string) string
}

// Resolve returns the layout of the base directory dir, which is made, with
// its parents, when missing: mode 0700, with a .gitignore of its own. When the
// file system of dir cannot be trusted with a database, the base directory is
// $XDG_STATE_HOME/bothy/HASH instead, and Reason says so.
func Resolve(dir string) (Layout, error) { return Resolver{}.Resolve(dir) }

// Resolve is the function [Resolve] in the resolver's world.
func (r Resolver) Resolve(dir string) (Layout, error) {
	if r.FSType == nil {
		r.FSType = unsafeFS
	}
	if r.Getenv == nil {
		r.Getenv = os.Getenv
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Layout{}, fmt.Errorf("base directory %s: %w", dir, err)
	}
	l, err := r.place(abs)
	if err != nil {
		return Layout{}, fmt.Errorf("base directory %s: %w", abs, err)
	}
	if err := prepare(l.Dir); err != nil {
		return Layout{}, fmt.Errorf("base directory %s: %w", l.Dir, err)
	}
	return l, nil
}

// place decides where the base directory is.
func (r Resolver) place(abs string) (Layout, error) {
	bad, err := r.unsafe(abs)
	if err != nil {
		return Layout{}, err
	}
	if bad == "" {
		return layoutOf(abs, ""), nil
	}
	state := r.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) { // the XDG specification: others are ignored
		home := r.Getenv(homeVariable)
		if home == "" {
			return Layout{}, fmt.Errorf("it is on %s, where a database is not safe, and neither XDG_STATE_HOME nor %s says where else to put it", bad, homeVariable)
		}
		state = filepath.Join(home, stateBelowHome)
	}
	sum := sha256.Sum256([]byte(abs))
	dir := filepath.Join(state, "bothy", hex.EncodeToString(sum[:8]))
	worse, err := r.unsafe(dir)
	if err != nil {
		return Layout{}, fmt.Errorf("use %s instead: %w", dir, err)
	}
	if worse != "" {
		return Layout{}, fmt.Errorf("it is on %s, where a database is not safe, and so is %s (%s); set basedir or XDG_STATE_HOME to a directory on a local disk", bad, dir, worse)
	}
	return layoutOf(dir, fmt.Sprintf("%s is on %s, where a database is not safe", abs, bad)), nil
}

// unsafe looks at the nearest directory above dir that exists.
func (r Resolver) unsafe(dir string) (string, error) {
	for {
		name, err := r.FSType(dir)
		parent := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || parent == dir {
			return name, err
		}
		dir = parent
	}
}

// prepare makes the directory and checks that it can be used.
func prepare(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := writable(dir); err != nil {
		return fmt.Errorf("not writable: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, ".gitignore"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString("*\n")
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name())) // an empty one would stay as it is
	}
	return nil
}
