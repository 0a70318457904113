package remote

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/worker"
)

func TestPaths(t *testing.T) {
	for _, c := range []struct {
		nt   bool
		dir  string
		with []string
		want string
	}{
		{false, "/base", []string{"test", "a/b"}, "/base/test/a/b"},
		{false, "/base/", []string{"", ".", "x"}, "/base/x"},
		{false, "/", []string{"x"}, "/x"},
		{false, "/base", []string{"/abs"}, "/abs"},
		{false, "/base", []string{`a\b`}, `/base/a\b`},
		{true, `C:\base`, []string{"test", "a/b"}, `C:\base\test\a\b`},
		{true, `C:\base\`, []string{`D:\abs`}, `D:\abs`},
		{true, `C:\base`, []string{"D:/abs"}, `D:\abs`},
		{true, `C:\base`, []string{`\\server\share`}, `\\server\share`},
		{true, `C:\base`, []string{`\x`, "y"}, `C:\x\y`},
		{true, `C:\base`, []string{"/x"}, `C:\x`},
		{true, `C:\base`, []string{"c:x/y"}, `C:\base\x\y`},
		{true, `C:\base`, []string{"c:"}, `C:\base`},
		{true, `C:\base`, []string{"D:x", "y"}, `D:\x\y`},
		{true, `\\server\share\base`, []string{`\x`}, `\\server\share\x`},
		{true, `\\server\share`, []string{`\x`, `..\y`}, `\\server\share\x\..\y`},
		{true, `C:\`, []string{"x"}, `C:\x`},
	} {
		if got := (paths{nt: c.nt}).join(c.dir, c.with...); got != c.want {
			t.Errorf("join(%q, %q) = %q, want %q", c.dir, c.with, got, c.want)
		}
	}
}

func TestDirName(t *testing.T) {
	for builder, want := range map[string]string{
		"test": "test", "a.b_c-2": "a.b_c-2", "Test": "test+", "a b": "a_b+", "con": "con+", "aux.txt": "aux.txt+", "info": "info+", "..": "+",
		strings.Repeat("x", 60): strings.Repeat("x", 31) + "+",
	} {
		got := dirName(builder)
		if head, digest, hashed := strings.Cut(got, "+"); hashed && len(digest) == hashLength {
			got = head + "+"
		}
		if got != want {
			t.Errorf("dirName(%q) = %q, want %q and a digest", builder, dirName(builder), want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	env := map[string]string{"PATH": "/bin", "HOME": "/root", "PWD": "/", "SYSTEMROOT": `C:\W`}
	for _, c := range []struct {
		nt   bool
		want []string
		out  wire.Map
	}{
		{false, []string{"PATH=/bin", "HOME=/root", "SYSTEMROOT=C:\\W"}, nil},
		{false, []string{"PATH=/usr/bin", "NEW=1=2", "=odd", "odd"}, wire.Map{{Key: "PATH", Value: "/usr/bin"}, {Key: "NEW", Value: "1=2"}, {Key: "HOME"}, {Key: "SYSTEMROOT"}}},
		{true, []string{"Path=/bin", "Home=x"}, wire.Map{{Key: "Home", Value: "x"}}},
	} {
		f := facts{env: env, paths: paths{nt: c.nt}}
		got, err := f.changes(c.want)
		if err != nil || cmp.Diff(got, c.out) != "" {
			t.Errorf("%q: %v\n%s", c.want, err, cmp.Diff(c.out, got))
		}
	}
	if _, err := (&facts{}).changes([]string{"A=\xff"}); err == nil {
		t.Error("a value that is not UTF-8 was taken")
	}
}

// What Windows and POSIX workers are told of one command.
func TestShellArgs(t *testing.T) {
	for _, c := range []struct {
		nt                bool
		cmd               worker.Command
		command, dir, max any
	}{
		{false, worker.Command{Argv: []string{"/bin/sh", "-c", "a && b"}, Dir: "sub/x"}, "a && b", "/base/b/sub/x", nil},
		{true, worker.Command{Argv: []string{"/bin/sh", "-c", "a && b"}, Dir: "sub/x", MaxTime: 90 * time.Second}, "a && b", `C:\base\b\sub\x`, int64(90)},
		{true, worker.Command{Argv: []string{"make", "all"}, Dir: `D:\x`, MaxTime: 1500 * time.Millisecond}, []any{"make", "all"}, `D:\x`, 1.5},
	} {
		b := &Build{c: &Conn{facts: facts{paths: paths{nt: c.nt}}}, dir: "/base/b"}
		if c.nt {
			b.dir = `C:\base\b`
		}
		args, err := b.shellArgs(c.cmd)
		if err != nil {
			t.Fatal(err)
		}
		for key, want := range map[string]any{"command": c.command, "workdir": c.dir, "maxTime": c.max, "logEnviron": false, "initial_stdin": nil} {
			if got, ok := args.Get(key); !ok || cmp.Diff(want, got) != "" {
				t.Errorf("%s is %v, want %v", key, got, want)
			}
		}
	}
	for _, cmd := range []worker.Command{{}, {Argv: []string{"a\x00b"}}, {Argv: []string{"a"}, Stdin: []byte{0xff}}} {
		if _, err := (&Build{c: &Conn{}}).shellArgs(cmd); err == nil {
			t.Errorf("%+v was taken", cmd)
		}
	}
}

func TestPasswords(t *testing.T) {
	const digest = "2BB80D537B1DA3E38BD30361AA855686BDE0EACD7162FEF6A25FE97BF527A25B" // of "secret"
	for _, c := range []struct {
		pw    Password
		given string
		want  bool
	}{
		{Password{Text: "secret"}, "secret", true}, {Password{Text: "secret"}, "secre", false}, {Password{Text: "secret"}, "", false},
		{Password{SHA256: digest}, "secret", true}, {Password{SHA256: strings.ToLower(digest)}, "secret", true}, {Password{SHA256: digest}, digest, false},
		{Password{SHA256: "abc"}, "", false}, {Password{SHA256: "zz"}, "secret", false},
	} {
		if got := c.pw.is(c.given); got != c.want {
			t.Errorf("%+v is %q: %v", c.pw, c.given, got)
		}
	}
	text := fmt.Sprintf("%v %+v %#v", Password{Text: "hush"}, Password{Text: "hush"}, Password{SHA256: "hush"})
	if strings.Contains(text, "hush") {
		t.Errorf("passwords are shown: %s", text)
	}
	l, err := NewListener(Options{Password: func(name string) (Password, bool) { return Password{}, name == "empty" }})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := l.login("empty", func(pw Password) bool { return pw.is("") }); !errors.Is(err, errUnknown) {
		t.Errorf("a worker without a password: %v", err)
	}
}

func TestFailureReason(t *testing.T) {
	for _, c := range []struct {
		reason any
		want   worker.Stopped
	}{{"timeout", worker.MaxTimed}, {"timeout_without_output", worker.TimedOut}, {"max_lines_failure", worker.MaxLined}, {int64(1), worker.NotStopped}} {
		if got := stoppedFor(c.reason, worker.NotStopped); got != c.want {
			t.Errorf("%v: %q", c.reason, got)
		}
	}
}
