// Package propose writes a first bothy.toml for a directory from the build files
// it finds there.
package propose

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
)

const maxFileSize = 1 << 20 // bytes; larger build files are left out

// builder is what is proposed for one build file.
type builder struct {
	name  string
	steps []string // lines for the shell
}

// tools are the build files that are known, in the order of their builders.
var tools = []struct {
	files   []string // the first that exists is looked at
	propose func(dir string, content []byte) (builder, error)
}{
	{[]string{"go.mod"}, goModule},
	{[]string{"Cargo.toml"}, cargo},
	{[]string{"package.json"}, npm},
	{[]string{"pyproject.toml"}, python},
	{[]string{"Taskfile.yml", "Taskfile.yaml", "taskfile.yml", "taskfile.yaml"}, task},
	{[]string{"GNUmakefile", "makefile", "Makefile"}, makefile}, // the order in which make looks
}

// Dir returns a commented configuration that builds what is in dir, and the names
// of the build files it was made from. If there are none, the configuration is
// an example to begin with. A build file that cannot be read is left out, and
// the configuration says so; the error is about dir itself.
func Dir(dir string) (toml []byte, found []string, err error) {
	if info, err := os.Stat(dir); err != nil {
		return nil, nil, fmt.Errorf("looking for build files: %w", err)
	} else if !info.IsDir() {
		return nil, nil, fmt.Errorf("looking for build files: %s is not a directory", dir)
	}
	var builders []builder
	var notes []string
	for _, t := range tools {
		for _, name := range t.files {
			content, err := read(filepath.Join(dir, name))
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			var b builder
			if err == nil {
				b, err = t.propose(dir, content)
			}
			switch {
			case err != nil:
				notes = append(notes, name+" was left out: "+reason(err))
			case len(b.steps) > 0:
				builders, found = append(builders, b), append(found, name)
			}
			break
		}
	}
	return write(builders, found, notes), found, nil
}

// read returns the content of a regular file of a sane size.
func read(path string) ([]byte, error) {
	info, err := os.Stat(path) // opening a pipe would block
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err == nil && len(content) > maxFileSize {
		err = fmt.Errorf("larger than %d KiB", maxFileSize>>10)
	}
	return content, err
}

// reason writes an error as part of a comment: on one line, without the path.
func reason(err error) string {
	if bad, ok := errors.AsType[*os.PathError](err); ok {
		err = bad.Err
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, err.Error())
}

func write(builders []builder, found, notes []string) []byte {
	var b bytes.Buffer
	b.WriteString("# Bothy builds what this file says. Try: bothy run\n")
	b.WriteString("# All keys and their defaults: bothy schema. Mistakes: bothy check.\n")
	if len(found) > 0 {
		fmt.Fprintf(&b, "# Proposed from %s.\n", strings.Join(found, ", "))
	}
	for _, n := range notes {
		fmt.Fprintf(&b, "# %s\n", n)
	}
	b.WriteString(`
# A worker in this process. It runs as many builds side by side as the machine's
# CPUs and memory allow: bothy doctor.
[[workers]]
name = "bot1"
`)
	if len(builders) == 0 {
		builders = []builder{{"hello", []string{"echo hello from bothy"}}}
	}
	for i, p := range builders {
		if i == 0 {
			b.WriteString("\n# Steps run one after the other; the first that fails ends the build.")
		}
		fmt.Fprintf(&b, "\n[[builders]]\nname  = %q\nsteps = [\n", p.name)
		for _, s := range p.steps {
			fmt.Fprintf(&b, "  %s,\n", strconv.Quote(s))
		}
		b.WriteString("]\n")
	}
	b.WriteString(`# More of what a builder may say:
# env    = { CGO_ENABLED = "0" }
# memory = "512MiB"            # what one build needs; learned when absent
# A step with more to say than its command:
# { name = "unit", run = ["go", "test", "./..."], timeout = "10m" }
`)
	return b.Bytes()
}
