package agent

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/msgpack"
)

// Words as Python 3.11 writes them.
func TestRepr(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
	}{
		{nil, "None"}, {true, "True"}, {int64(-3), "-3"}, {1.0, "1.0"}, {0.25, "0.25"},
		{"it's", `"it's"`}, {`it's "x"`, `'it\'s "x"'`}, {"a\\b\n\t\x01é\u200b", `'a\\b\n\t\x01é\u200b'`},
		{[]byte("it's\xff\x00é"), `b"it's\xff\x00\xc3\xa9"`},
		{[]any{"a", int64(1)}, "['a', 1]"}, {wire.Tuple{"a"}, "('a',)"}, {wire.Tuple{"a", nil}, "('a', None)"},
		{wire.Map{{Key: "l", Value: wire.Map{{Key: "filename", Value: "f"}, {Key: "follow", Value: true}}}}, "{'l': {'filename': 'f', 'follow': True}}"},
	} {
		if got := repr(c.v); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
	if got := shellQuote([]string{"a", "", "a b", "it's", "x=1:2,3", "é"}); got != `a "" 'a b' 'it'"'"'s' x=1:2,3 'é'` {
		t.Errorf("quoted: %s", got)
	}
}

func TestEnviron(t *testing.T) {
	base := []string{"A=1", "PYTHONPATH=old", "GONE=x", "PWD=/else"}
	got, err := environ(base, wire.Map{
		{Key: "B", Value: "${A}-${NONE}-${A"}, {Key: "L", Value: []any{"x", "${A}"}}, {Key: "PYTHONPATH", Value: "new"}, {Key: "GONE", Value: nil},
	}, "/dir")
	want := []string{"A=1", "B=1--${A", "L=x" + string(os.PathListSeparator) + "1", "PWD=/dir", "PYTHONPATH=new" + string(os.PathListSeparator) + "old"}
	if err != nil || !slices.Equal(toList(got), want) {
		t.Errorf("%q (%v), want %q", toList(got), err, want)
	}
	for _, v := range []any{"text", wire.Map{{Key: "A", Value: int64(1)}}, wire.Map{{Key: "A=B", Value: "x"}}, wire.Map{{Key: "A", Value: "x\x00"}}} {
		if got, err := environ(base, v, "/dir"); err == nil {
			t.Errorf("%v: %q", v, got)
		}
	}
}

func TestShownEnviron(t *testing.T) {
	shown := shownEnviron([]string{"A=1", "HTTP_PROXY=http://u:p@host", "X=a@b"})
	if len(shown) != 2 || shown[0].Key != "A" || shown[1].Key != "X" {
		t.Errorf("the master is told %v", shown)
	}
}

func TestAbsolute(t *testing.T) {
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	text := func(kv ...string) (m wire.Map) {
		for i := 0; i < len(kv); i += 2 {
			m = append(m, wire.Field{Key: kv[i], Value: kv[i+1]})
		}
		return m
	}
	for _, c := range []struct {
		name      string
		in        wire.Map
		key, want string
	}{
		{"shell", text("workdir", "build"), "workdir", "/b/build"},
		{"shell", text("workdir", "/abs"), "workdir", "/abs"},
		{"mkdir", text("dir", "d"), "paths", "[/b/d]"},
		{"rmdir", wire.Map{{Key: "dir", Value: []any{"d", "/e"}}}, "paths", "[/b/d /e]"},
		{"cpdir", text("fromdir", "d", "todir", "e"), "to_path", "/b/e"},
		{"stat", text("file", "f"), "path", "/b/f"},
		{"stat", text("workdir", "w", "file", "f"), "path", "/b/w/f"},
		{"glob", text("path", "*.c"), "path", "/b/*.c"},
		{"listdir", text("dir", "d"), "path", "/b/d"},
		{"uploadFile", text("workdir", "w", "workersrc", "../f"), "path", "/b/w/../f"},
		{"uploadFile", text("workdir", "w", "slavesrc", "f"), "path", "/b/w/f"},
		{"downloadFile", text("workdir", "w", "workerdest", "~/f"), "path", home + "/f"},
		{"uploadDirectory", text("workdir", "w", "workersrc", ""), "path", "/b/w"},
	} {
		got, err := absolute(c.name, c.in, "/b")
		if v, _ := got.Get(c.key); err != nil || fmt.Sprint(v) != c.want {
			t.Errorf("%s %v: %s = %v (%v), want %s", c.name, c.in, c.key, v, err, c.want)
		}
	}
	for _, name := range []string{"shell", "mkdir", "cpdir", "stat", "glob", "listdir", "uploadFile", "downloadFile"} {
		if got, err := absolute(name, nil, "/b"); err == nil {
			t.Errorf("%s without arguments: %v", name, got)
		}
	}
}

// As Python's fnmatch and glob.
func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "a", true}, {"*", ".a", false}, {".*", ".a", true}, {"a*b*c", "axbxbxc", true}, {"a*b*c", "axbxbx", false},
		{"?", "é", true}, {"[a-c]x", "bx", true}, {"[!a-c]x", "bx", false}, {"[!a-c]x", "dx", true}, {"[]]", "]", true},
		{"[a", "[a", true}, {"[a-", "[a-", true}, {`\*`, `\x`, true}, {"[]", "[]", true}, {"[^a]", "^", true}, {"**", "ab", true},
	} {
		if got := matches(c.pattern, c.name); got != c.want {
			t.Errorf("matches(%q, %q) = %v", c.pattern, c.name, got)
		}
	}
	dir := t.TempDir()
	for _, f := range []string{"a.c", "b.c", ".h.c", "s/c.c", "s/t/d.c", ".x/e.c"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(f)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for pattern, want := range map[string][]string{
		"*.c": {"a.c", "b.c"}, "*/*.c": {"s/c.c"}, "**/*.c": {"a.c", "b.c", "s/c.c", "s/t/d.c"}, "a.c": {"a.c"}, "z.c": nil,
		"s/**": {"s/", "s/c.c", "s/t", "s/t/d.c"}, ".*/e.c": {".x/e.c"}, "no/*": nil,
	} {
		g := globber{command: &command{ctx: t.Context()}}
		if err := g.glob(filepath.Join(dir) + string(filepath.Separator) + filepath.FromSlash(pattern)); err != nil {
			t.Error(err)
		}
		var got []string
		for _, f := range g.found {
			got = append(got, filepath.ToSlash(f[len(dir)+1:]))
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("glob %s: %q, want %q", pattern, got, want)
		}
	}
}

// FuzzArguments reads the arguments of all commands, in both forms.
func FuzzArguments(f *testing.F) {
	add := func(name string, m wire.Map) {
		b, err := msgpack.Append(nil, msgpack.Frame{Message: &msgpack.StartCommand{CommandID: "1", Command: name, Args: m}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	add("shell", wire.Map{
		{Key: "command", Value: []any{"a", []any{"obfuscated", "b", "c"}, int64(1)}}, {Key: "workdir", Value: "/d"}, {Key: "env", Value: wire.Map{{Key: "A", Value: []any{"${B}"}}}},
		{Key: "logfiles", Value: wire.Map{{Key: "l", Value: wire.Map{{Key: "filename", Value: "f"}}}}}, {Key: "timeout", Value: 1e300}, {Key: "sigtermTime", Value: int64(5)},
		{Key: "interruptSignal", Value: "INT"}, {Key: "max_lines", Value: int64(-1)}, {Key: "usePTY", Value: true}, {Key: "initial_stdin", Value: "x"},
	})
	add("rmdir", wire.Map{{Key: "paths", Value: []any{"/d"}}, {Key: "timeout", Value: nil}})
	add("cpdir", wire.Map{{Key: "from_path", Value: "/a"}, {Key: "to_path", Value: "/b"}})
	add("upload_file", wire.Map{{Key: "path", Value: "/a"}, {Key: "blocksize", Value: int64(1) << 40}, {Key: "maxsize", Value: int64(-4)}})
	add("downloadFile", wire.Map{{Key: "path", Value: "/a"}, {Key: "workdir", Value: "~"}, {Key: "workerdest", Value: "f"}, {Key: "blocksize", Value: 1.5}})
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := msgpack.Read(b, msgpack.Limits{})
		if err != nil {
			t.Skip()
		}
		start, ok := frame.Message.(*msgpack.StartCommand)
		if !ok {
			t.Skip()
		}
		all := kinds()
		full, _ := absolute(start.Command, start.Args, "/base/b")
		for _, m := range []wire.Map{start.Args, full} {
			for name, k := range all {
				c := &command{
					id: start.CommandID, name: name, args: args(m), log: slog.New(slog.DiscardHandler), began: time.Now(), ctx: t.Context(),
					session: &session{a: &Agent{o: Options{BaseDir: "/base", Environ: []string{"PATH=/bin"}}}},
				}
				if err := c.args.need(k.class, k.needs...); err != nil {
					continue
				}
				if do, err := k.prepare(c); (do == nil) == (err == nil) {
					t.Errorf("%s: neither refused nor accepted: %v", name, err)
				}
			}
		}
	})
}
