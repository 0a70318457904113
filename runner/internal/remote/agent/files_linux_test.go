package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bothy/runner/internal/remote/wire"
)

// The commands on files, one after the other in one directory: exit codes are
// errno's, and what is said of a failure names the path.
func TestFileCommands(t *testing.T) {
	s := rig(t)
	dir := filepath.Join(s.a.o.BaseDir, "b")
	at := func(name string) string { return filepath.Join(dir, name) }
	path := func(name string) wire.Map { return wire.Map{{Key: "path", Value: at(name)}} }
	paths := func(names ...string) wire.Map {
		var all []any
		for _, n := range names {
			all = append(all, at(n))
		}
		return wire.Map{{Key: "paths", Value: all}}
	}
	write := func(name string) {
		if err := os.WriteFile(at(name), []byte("12345"), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, command string
		args          wire.Map
		values        string // what is told, with * for any
		said          string
		then          func()
	}{
		{"one", "mkdir", paths("a"), "[rc=0]", "", func() { write("a/f") }},
		{"several, deep, and again", "mkdir", paths("a", "c/d/e", "c/empty"), "[rc=0]", "", nil},
		{"below a file", "mkdir", paths("ok", "a/f/x"), "[rc=20]", "mkdir: Not a directory: " + at("a/f/x"), nil},
		{"a directory", "listdir", path(""), "[files=[a c ok] rc=0]", "", nil},
		{"an empty one", "listdir", path("c/empty"), "[files=[] rc=0]", "", nil},
		{"none", "listdir", path("none"), "[rc=2]", "listdir: No such file or directory: " + at("none"), nil},
		{"a file", "listdir", path("a/f"), "[rc=20]", at("a/f"), nil},
		{"a file", "stat", path("a/f"), "[stat=[33184 * * 1 * * 5 * * *] rc=0]", "", nil},
		{"none", "stat", path("none"), "[rc=2]", "stat: No such file or directory: " + at("none"), nil},
		{"names", "glob", path("*"), "[files=[" + at("a") + " " + at("c") + " " + at("ok") + "] rc=0]", "", nil},
		{"below all", "glob", path("**/f"), "[files=[" + at("a/f") + "] rc=0]", "", nil},
		{"none", "glob", path("x*"), "[files=[] rc=0]", "", nil},
		{"with what is in it", "cpdir", wire.Map{{Key: "from_path", Value: at("a")}, {Key: "to_path", Value: at("copy")}}, "[rc=0]", "", nil},
		{"is there", "stat", path("copy/f"), "[stat=[33184 * * 1 * * 5 * * *] rc=0]", "", nil},
		{"none", "cpdir", wire.Map{{Key: "from_path", Value: at("none")}, {Key: "to_path", Value: at("other")}}, "[rc=1]", "", nil},
		{"a file", "rmfile", path("copy/f"), "[rc=0]", "", nil},
		{"again", "rmfile", path("copy/f"), "[rc=2]", "rmfile: No such file or directory: " + at("copy/f"), nil},
		{"a directory, which stays", "rmfile", path("c/empty"), "[rc=21]", "rmfile: Is a directory: " + at("c/empty"), nil},
		{"with what is in them", "rmdir", paths("a", "c", "none"), "[rc=0]", "", nil},
		{"the rest", "listdir", path(""), "[files=[copy ok] rc=0]", "", nil},
	} {
		t.Run(c.command+" "+c.name, func(t *testing.T) {
			h := &heard{text: map[string]string{}}
			cmd, err := s.start("1", c.command, c.args, h)
			if err != nil {
				t.Fatal(err)
			}
			<-cmd.over
			words := strings.NewReplacer("[", " ", "]", " ")
			got, want := strings.Fields(words.Replace(fmt.Sprint(h.values))), strings.Fields(words.Replace(c.values))
			same := len(got) == len(want)
			for i := range want {
				same = same && (want[i] == "*" || got[i] == want[i])
			}
			if !same || !h.done {
				t.Errorf("told %v, want %s; %q", h.values, c.values, h.text)
			}
			if !strings.Contains(h.text["header"]+h.text["stderr"], c.said) {
				t.Errorf("said %q, want %q", h.text, c.said)
			}
			if c.then != nil {
				c.then()
			}
		})
	}
}
