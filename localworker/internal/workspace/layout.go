package workspace

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxDirName keeps the path of a build's directory short: some tools put Unix
// sockets below it, and those paths end at 108 bytes.
const maxDirName = 40

// dirName returns a directory name for a builder: letters, digits and "_.-" stay,
// the rest becomes "%XX". Different builders have different names, also where file
// systems do not tell capitals apart or drop a "." at the end.
func dirName(builder string) string {
	var b strings.Builder
	folds := runtime.GOOS == "windows" || runtime.GOOS == "darwin"
	for i := range len(builder) {
		c := builder[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '_', c == '-',
			'A' <= c && c <= 'Z' && !folds, c == '.' && i > 0 && i < len(builder)-1:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	name := b.String()
	if len(name) > maxDirName {
		sum := sha256.Sum256([]byte(builder))
		// "+" is in no escaped name, so a short builder cannot be called the same.
		name = name[:maxDirName-17] + "+" + hex.EncodeToString(sum[:8])
	}
	if name == "" {
		return "%"
	}
	return name
}

// lastKept returns the directory of the last build among those in dir that no
// running build uses, and makes a new one if there is none. The caller holds mu.
func (a *Area) lastKept(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("looking for a kept directory: %w", err)
	}
	var last string
	var when time.Time
	highest := 0
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil || n < 1 || !e.IsDir() {
			continue
		}
		highest = max(highest, n)
		path := filepath.Join(dir, e.Name())
		if a.used[path] {
			continue
		}
		// The stamp is the time of the last use: steps change the directory's own.
		var stamp time.Time
		if info, err := os.Lstat(path + ".used"); err == nil {
			stamp = info.ModTime()
		}
		if last == "" || stamp.After(when) {
			last, when = path, stamp
		}
	}
	if last == "" {
		last = filepath.Join(dir, strconv.Itoa(highest+1))
		if err := os.MkdirAll(last, 0o755); err != nil {
			return "", fmt.Errorf("making the directory of a build: %w", err)
		}
	}
	if err := os.WriteFile(last+".used", nil, 0o644); err != nil {
		return "", fmt.Errorf("marking a kept directory as used: %w", err)
	}
	now := time.Now()
	return last, os.Chtimes(last+".used", now, now)
}

// builders returns the directories of all builders that ever ran below dir.
func builders(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, e := range entries {
		if e.IsDir() {
			dirs = append(dirs, filepath.Join(dir, e.Name()))
		}
	}
	return dirs, nil
}

// Leftovers returns what a crash left behind in a worker's directory: fresh
// directories and half-made clones. It only reads directories, and must be
// called before the first build. There is nothing left where there is no
// directory.
func Leftovers(dir string) ([]string, error) {
	dirs, err := builders(dir)
	if err != nil {
		return nil, fmt.Errorf("looking for left-over directories: %w", err)
	}
	var left []string
	for _, dir := range dirs {
		for sub, prefix := range map[string]string{"fresh": "", "git": newClone} {
			sub = filepath.Join(dir, sub)
			entries, err := os.ReadDir(sub)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("looking for left-over directories: %w", err)
			}
			for _, e := range entries {
				if strings.HasPrefix(e.Name(), prefix) {
					left = append(left, filepath.Join(sub, e.Name()))
				}
			}
		}
	}
	slices.Sort(left)
	return left, nil
}

// RemoveLeftover removes a directory that [Leftovers] or [Dir.Release] returned.
// Builds may begin meanwhile, since tokens are never used twice.
func (a *Area) RemoveLeftover(path string) error { return a.remove(path) }
