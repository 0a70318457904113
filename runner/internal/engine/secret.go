package engine

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/logs"
)

// maxSecret bounds a secret's size in bytes.
const maxSecret = 64 << 10

// secrets finds the secrets a builder's steps name, so that they are masked
// from the first byte of output. A step that names one which does not exist
// fails when it is interpolated.
func (l *loop) secrets(conf *config.Builder) (*logs.Masker, func(string) (string, error)) {
	values := map[string]string{}
	faults := map[string]error{}
	for _, name := range secretNames(conf) {
		v, err := lookupSecret(l.conf, l.opt.Environ, name)
		if err != nil {
			faults[name] = err
			continue
		}
		values[name] = v
	}
	var masker *logs.Masker
	if len(values) > 0 {
		masker = logs.NewMasker(slices.Collect(maps.Values(values)))
	}
	return masker, func(name string) (string, error) {
		if v, ok := values[name]; ok {
			return v, nil
		}
		if err := faults[name]; err != nil {
			return "", err
		}
		return "", fmt.Errorf("secret %q: %w", name, ErrUnknown)
	}
}

// secretNames are the secrets that a builder's texts name.
func secretNames(conf *config.Builder) []string {
	found := map[string]bool{}
	look := func(s string) {
		if !strings.Contains(s, "%(") {
			return
		}
		t, err := build.Parse(s)
		if err != nil {
			return // said when the step is run
		}
		for _, ref := range t.Refs() {
			if ref.Selector == "secret" {
				found[ref.Key] = true
			}
		}
	}
	for _, v := range conf.Env {
		look(v)
	}
	for i := range conf.Steps {
		s := &conf.Steps[i]
		look(s.Run.Shell)
		look(s.Stdin)
		look(s.Workdir)
		look(s.DoIf)
		look(s.HideIf)
		for _, a := range s.Run.Argv {
			look(a)
		}
		for _, v := range s.Env {
			look(v)
		}
		for _, f := range s.LogFiles {
			look(f.Path)
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// lookupSecret asks the providers in order.
func lookupSecret(conf *config.Config, environ []string, name string) (string, error) {
	for _, p := range conf.Secrets {
		var v string
		var err error
		switch p.Kind {
		case config.SecretEnv:
			v, err = envSecret(environ, p.Prefix+name)
		case config.SecretDir:
			dir := p.Path
			if !filepath.IsAbs(dir) {
				dir = filepath.Join(conf.Dir, dir)
			}
			v, err = fileSecret(dir, name)
		default:
			continue
		}
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return v, err
		}
	}
	return "", fmt.Errorf("no secret provider has a secret %q", name)
}

func envSecret(environ []string, name string) (string, error) {
	for _, kv := range slices.Backward(environ) {
		if key, value, ok := strings.Cut(kv, "="); ok && key == name {
			return value, nil
		}
	}
	return "", fs.ErrNotExist
}

// fileSecret reads DIR/NAME. Like Buildbot it refuses files that others may read.
func fileSecret(dir, name string) (string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", fmt.Errorf("secret %q: %w", name, err)
	}
	defer root.Close()
	f, err := root.Open(name)
	if err != nil {
		return "", fmt.Errorf("secret %q: %w", name, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("secret %q: %w", name, err)
	}
	if runtime.GOOS != "windows" && st.Mode().Perm()&0o077 != 0 {
		path := filepath.Join(dir, name)
		return "", fmt.Errorf("secret %q: %s can be read by others: chmod 600 %s", name, path, path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("secret %q: %w", name, err)
	}
	if len(data) > maxSecret {
		return "", fmt.Errorf("secret %q is larger than %d bytes", name, maxSecret)
	}
	return strings.TrimRight(string(data), "\r\n"), nil
}
