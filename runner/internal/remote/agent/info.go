package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bothy/runner/internal/remote/wire"
)

const (
	// infoDir holds files whose names and texts the master is told.
	infoDir = "info"
	// maxInfoFile is the largest file of infoDir that is sent, and maxInfoFiles
	// how many are.
	maxInfoFile  = 64 << 10
	maxInfoFiles = 64
)

// info returns what the worker says of itself, in the order in which Buildbot's
// workers gather it: what comes later wins.
func (a *Agent) info(conn map[string]any) wire.Map {
	facts := map[string]any{}
	files, err := readInfo(filepath.Join(a.o.BaseDir, infoDir))
	if err != nil {
		a.o.Logger.Warn("the info directory was not read as a whole", "error", err)
	}
	for name, text := range files {
		facts[name] = text
	}
	for name, v := range conn {
		// numcpus, system, version, os_*; keys without a value are not sent by
		// Buildbot's workers, and its masters do not expect them.
		if v != nil {
			facts[name] = v
		}
	}
	facts["environ"] = shownEnviron(a.o.Environ)
	facts["basedir"] = a.o.BaseDir
	facts["delete_leftover_dirs"] = a.o.DeleteLeftoverDirs
	facts["worker_commands"] = commandVersions()
	m := make(wire.Map, 0, len(facts))
	for _, name := range slices.Sorted(maps.Keys(facts)) {
		m = append(m, wire.Field{Key: name, Value: facts[name]})
	}
	return m
}

// commandVersions returns what is said of each command.
func commandVersions() wire.Map {
	var m wire.Map
	for _, name := range slices.Sorted(maps.Keys(kinds())) {
		m = append(m, wire.Field{Key: name, Value: commandVersion})
	}
	return m
}

// readInfo returns the files of a directory with their texts. What is no text, too
// large or unreadable is left out, and told by the error. A directory that is not
// there has none.
func readInfo(dir string) (map[string]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var errs []error
	files := map[string]string{}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if st, statErr := os.Stat(path); statErr != nil || !st.Mode().IsRegular() {
			continue // as Buildbot
		}
		if len(files) == maxInfoFiles {
			errs = append(errs, fmt.Errorf("%s: more than %d files", dir, maxInfoFiles))
			break
		}
		text, readErr := readText(path)
		if readErr != nil {
			errs = append(errs, readErr)
			continue
		}
		files[string(validText([]byte(e.Name())))] = text
	}
	return files, errors.Join(append(errs, err)...)
}

func readText(path string) (string, error) {
	b, err := readLimited(path, maxInfoFile)
	if err != nil {
		return "", err
	}
	return string(validText(b)), nil
}

// readLimited reads a file of at most limit bytes.
func readLimited(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("read %s: more than %d bytes", path, limit)
	}
	return b, nil
}

// shownEnviron returns the environment that the master is told: that of commands,
// without URLs that carry a password.
func shownEnviron(environ []string) wire.Map {
	env := toMap(environ)
	m := wire.Map{}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		value := env[name]
		if u, err := url.Parse(value); strings.Contains(value, "@") && (err != nil || u.User != nil) {
			continue
		}
		m = append(m, wire.Field{Key: string(validText([]byte(name))), Value: string(validText([]byte(value)))})
	}
	return m
}
