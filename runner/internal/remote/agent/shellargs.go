package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/worker"
)

// backupTimeout is how long a command that was sent another signal than KILL may
// take. Buildbot: RunProcess.BACKUP_TIMEOUT.
const backupTimeout = 5 * time.Second

// process is a program to run, and what the header says of it.
type process struct {
	cmd      worker.Command
	display  string // the command line
	argv     string // the same, unambiguous
	logs     string
	environ  []string // nil: not shown
	timeout  any      // as sent
	maxTime  any
	lines    int64
	notes    []string // to be said first
	out, err bool     // are wanted
	silent   bool     // the exit code is not the command's
}

// words are the words of a command and what is shown of them.
type words struct {
	shell       bool // one word, for a shell
	real, shown []string
}

// readWords reads the argument "command": text is for a shell; a word of a list
// may be ("obfuscated", real, shown).
func readWords(v any) (w words, err error) {
	if s, err := wire.Text(v); err == nil {
		return words{true, []string{s}, []string{s}}, nil
	}
	list, err := wire.List(v)
	if err != nil || len(list) == 0 {
		return w, fmt.Errorf("argument %q: want text or a list of words", "command")
	}
	for _, e := range list {
		real, shown, err := readWord(e)
		if err != nil {
			return w, fmt.Errorf("argument %q: %w", "command", err)
		}
		w.real, w.shown = append(w.real, real), append(w.shown, shown)
	}
	return w, nil
}

func readWord(v any) (real, shown string, err error) {
	if list, err := wire.List(v); err == nil && len(list) == 3 && list[0] == "obfuscated" {
		if real, _, err = readWord(list[1]); err != nil {
			return "", "", err
		}
		shown, _, err = readWord(list[2])
		return real, shown, err
	}
	if _, ok := v.(bool); !ok {
		if n, err := wire.Int(v); err == nil {
			return fmt.Sprint(n), fmt.Sprint(n), nil
		}
	}
	real, err = wire.Text(v)
	return real, real, err
}

// argument returns what the header shows behind "argv:".
func (w words) argument() string {
	if w.shell {
		return "b" + reprBytes(w.shown[0])
	}
	list := make([]any, len(w.shown))
	for i, s := range w.shown {
		list[i] = []byte(s)
	}
	return repr(list)
}

func (w words) display() string {
	if w.shell {
		return w.shown[0]
	}
	return shellQuote(w.shown)
}

// argvFor returns the program to start, given its environment.
func (w words) argvFor(env map[string]string) []string {
	if !w.shell {
		return w.real
	}
	if runtime.GOOS != "windows" {
		return []string{"/bin/sh", "-c", w.real[0]}
	}
	comspec := env["ComSpec"]
	if comspec == "" {
		comspec = "cmd.exe"
	}
	return []string{comspec, "/c", w.real[0]}
}

var variable = regexp.MustCompile(`\$\{([0-9a-zA-Z_]*)\}`)

// environ returns the environment of a command: what is inherited, changed by the
// argument "env", whose ${NAME} stand for what is inherited.
func environ(base []string, v any, dir string) (map[string]string, error) {
	inherited := toMap(base)
	env := toMap(base)
	changes, err := argument(args{{Key: "env", Value: v}}, "env", nil, wire.Dict)
	if err != nil {
		return nil, err
	}
	for name, v := range changes.All() {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			return nil, fmt.Errorf("argument %q: %q is no name", "env", name)
		}
		if v == nil {
			delete(env, name)
			continue
		}
		value, err := wire.Text(v)
		if list, listErr := wire.Texts(v); listErr == nil {
			value, err = strings.Join(list, string(os.PathListSeparator)), nil
		}
		if err != nil || strings.Contains(value, "\x00") {
			return nil, fmt.Errorf("'env' values must be strings or lists; key '%s' is incorrect", name)
		}
		if name == "PYTHONPATH" {
			value += string(os.PathListSeparator) + "${PYTHONPATH}"
		}
		env[name] = variable.ReplaceAllStringFunc(value, func(s string) string { return inherited[s[2:len(s)-1]] })
	}
	env["PWD"] = dir
	return env, nil
}

func toList(env map[string]string) []string {
	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}

// readLogfiles reads the argument "logfiles": names, and paths or dictionaries.
func readLogfiles(v any, dir string) (files []worker.LogFile, shown string, err error) {
	if v == nil {
		return nil, "{}", nil
	}
	m, err := wire.Dict(v)
	if err != nil {
		return nil, "", fmt.Errorf("argument %q: %w", "logfiles", err)
	}
	for name, v := range m.All() {
		f := worker.LogFile{Name: name}
		if f.Path, err = wire.Text(v); err != nil {
			o, dictErr := wire.Dict(v)
			if dictErr != nil {
				return nil, "", fmt.Errorf("argument %q: %s: %w", "logfiles", name, err)
			}
			if f.Path, err = args(o).text("filename"); err == nil {
				f.Follow, err = args(o).bool("follow", false)
			}
		}
		if err != nil || f.Path == "" || name == "" {
			return nil, "", fmt.Errorf("argument %q: %s has no file name", "logfiles", name)
		}
		f.Path = join(dir, f.Path)
		files = append(files, f)
	}
	return files, repr(m), nil
}

// join is Python's os.path.join: a path that is absolute replaces the one before
// it, and nothing is cleaned.
func join(dir string, paths ...string) string {
	for _, p := range paths {
		switch {
		case p == "":
		case filepath.IsAbs(p):
			dir = p
		default:
			dir = below(dir, p)
		}
	}
	return dir
}
