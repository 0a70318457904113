package remote

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/msgpack"
	"bothy/runner/worker"
)

// A worker that says its system is "nt" is told paths, commands and an environment
// as Windows has them, whatever the master runs on.
func TestWindowsWorker(t *testing.T) {
	bubble(t, func(t *testing.T, m *master, p *pipes) {
		k := m.kind("bot")
		var f *fakeWorker
		dialled := make(chan struct{})
		f, _ = dialFake(t, p, "bot", "s3cret", func(fr msgpack.Frame) bool {
			<-dialled
			if _, ok := fr.Message.(*msgpack.GetWorkerInfo); ok {
				go f.send(msgpack.Frame{Seq: fr.Seq, Message: &msgpack.Response{Result: wire.Map{
					{Key: "system", Value: "nt"}, {Key: "basedir", Value: `C:\bb`}, {Key: "version", Value: "fake"},
					{Key: "environ", Value: wire.Map{{Key: "Path", Value: `C:\bin`}, {Key: "SystemRoot", Value: `C:\W`}, {Key: "Home", Value: `C:\h`}}},
				}}})
				return false
			}
			if s, ok := fr.Message.(*msgpack.StartCommand); ok {
				go f.complete(s.CommandID, 0, msgpack.Item{Name: "files", Value: []any{"fresh-old", "keep"}})
			}
			return true
		})
		close(dialled)
		c := attach(t, k)
		b := startBuild(t, c, "test", nil)
		dir := `C:\bb\test\fresh-` + b.spec.Token.String()
		if b.Dir() != dir {
			t.Errorf("directory %s, want %s", b.Dir(), dir)
		}
		run(t, b, worker.Command{Argv: []string{"/bin/sh", "-c", "dir"}, Dir: "sub/deep", Env: []string{`PATH=C:\bin`, "NEW=1"}})
		run(t, b, worker.Command{Argv: []string{"make"}, Dir: `D:\x`, Env: c.Environ()})
		if err := b.Upload(t.Context(), "out/log.txt", &bytes.Buffer{}, 10); err != nil {
			t.Error(err)
		}
		if err := b.Download(t.Context(), `\tmp\x`, strings.NewReader(""), 10, 0o644); err != nil {
			t.Error(err)
		}
		if r := end(t, b, worker.RetainDir); !strings.HasPrefix(r.Kept, `C:\bb\test\failed-`) {
			t.Errorf("kept %q", r.Kept)
		}
		synctest.Wait()
		var told []any
		for _, s := range f.commands() {
			for _, key := range []string{"path", "paths", "command", "workdir"} {
				if v, ok := s.Args.Get(key); ok {
					told = append(told, s.Command+" "+key, v)
				}
			}
			if v, ok := s.Args.Get("env"); ok && len(told) > 0 && s.Command == "shell" {
				told = append(told, "env", v)
			}
		}
		want := []any{
			"listdir path", `C:\bb\test`, "rmdir paths", []any{`C:\bb\test\fresh-old`}, "mkdir paths", []any{dir},
			"shell command", "dir", "shell workdir", dir + `\sub\deep`, "env", wire.Map{{Key: "NEW", Value: "1"}, {Key: "HOME"}},
			"shell command", []any{"make"}, "shell workdir", `D:\x`, "env", wire.Map{},
			"upload_file path", dir + `\out\log.txt`, "download_file path", `C:\tmp\x`,
		}
		if diff := cmp.Diff(want, told[:min(len(want), len(told))]); diff != "" {
			t.Error(diff)
		}
		moved := told[len(want):]
		if line, ok := moved[1].([]any); !ok || len(line) != 5 || line[0] != "cmd.exe" || line[2] != "move" || line[3] != dir {
			t.Errorf("moved by %q", moved)
		}
	})
}

// Over Perspective Broker a second build of a builder has a name of its own, and no
// announcement takes back an earlier one.
func TestBuilderAliases(t *testing.T) {
	t.Parallel()
	m := newMaster(t, func(o *Options) { o.Builders = func(string) []string { return []string{"other"} } }, "bot")
	k := m.kind("bot")
	f := logIn(t, m.listenPipes())
	c := attach(t, k)
	one, two := startBuild(t, c, "test", nil), startBuild(t, c, "test", nil)
	third := startBuild(t, c, "Third", nil)
	end(t, one, worker.DropDir)
	again := startBuild(t, c, "test", nil)
	if one.lane != "test" || two.lane != "test~2" || again.lane != "test" {
		t.Errorf("lanes %q, %q, %q", one.lane, two.lane, again.lane)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	want := [][]string{{"Third", dirName("Third")}, {"other", "other"}, {"test", "test"}, {"test~2", "test"}}
	if diff := cmp.Diff(want, f.list); diff != "" || third.lane != "Third" {
		t.Error(diff)
	}
}
