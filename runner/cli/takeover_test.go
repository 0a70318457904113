package cli

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"bothy/runner/build"
	"bothy/runner/internal/basedir"
	"bothy/runner/internal/control"
	"bothy/runner/internal/store"
)

// dyingMaster tells a terminal that its request is finished, as it is on disk,
// and goes before it has told the exit code.
type dyingMaster struct {
	t      *testing.T
	holder *basedir.Holder
	result build.Result
}

func (m dyingMaster) RunSession(_ context.Context, req control.RunRequest, send func(control.Update) error) error {
	defer m.holder.Close()
	if req.Reattach != nil {
		m.t.Errorf("the first master is told to reattach %v", req.Reattach)
	}
	row := store.Request{
		ID: 1, Builder: "b", Session: req.Session, Submitted: time.Now(), Completed: time.Now(),
		State: store.Done, Result: m.result, Attempts: 1,
	}
	s, err := store.Open(m.holder.Layout().StateDB, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	_, err = s.Start()
	batch := store.NewBatch()
	batch.PutRequest(&row)
	if err := errors.Join(err, s.Commit(batch), s.Close()); err != nil {
		m.t.Error(err)
	}
	for _, kind := range []control.UpdateKind{control.Accepted, control.RequestOK} {
		if err := send(control.Update{Kind: kind, Time: time.Now(), Request: row.ID, Builder: row.Builder, Result: m.result}); err != nil {
			return err
		}
	}
	return errors.New("killed")
}

func (dyingMaster) Accept(control.RunRequest) error                             { return nil }
func (dyingMaster) CancelSession(context.Context, string, control.Cancel) error { return nil }
func (dyingMaster) Status(context.Context) (control.Status, error)              { return control.Status{}, nil }
func (dyingMaster) Drain()                                                      {}
func (dyingMaster) Submit(context.Context, control.SubmitRequest) (control.Submitted, error) {
	return control.Submitted{}, errors.New("not here")
}

// A master goes when all has been told but the end: the next one gives the exit
// code, and nothing runs again.
func TestTheEndIsLost(t *testing.T) {
	for _, tt := range []struct {
		result build.Result
		code   int
	}{{build.Success, exitOK}, {build.Failure, exitFailed}, {build.Cancelled, exitInterrupted}} {
		t.Run(tt.result.String(), func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "bothy.toml"), []byte("[[builders]]\nname = \"b\"\nsteps = [\"touch ran\"]\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			layout, err := basedir.Resolve(filepath.Join(dir, ".bothy"))
			if err != nil {
				t.Fatal(err)
			}
			holder, err := basedir.Hold(layout)
			if err != nil {
				t.Fatal(err)
			}
			ln, err := holder.Listen()
			if err != nil {
				t.Fatal(err)
			}
			server := control.NewServer(dyingMaster{t, holder, tt.result}, nil, slog.New(slog.DiscardHandler))
			served := make(chan error, 1)
			go func() { served <- server.Serve(ln) }()
			defer func() {
				if err := errors.Join(server.Close(), <-served); err != nil {
					t.Error(err)
				}
			}()

			var out bytes.Buffer
			env := Env{Stdout: &out, Stderr: &out, Environ: os.Environ(), Dir: dir}
			if code := Main(t.Context(), []string{"run", "--json"}, env); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			for _, kind := range []control.UpdateKind{control.Accepted, control.RequestOK, control.End} {
				if n := bytes.Count(out.Bytes(), []byte(`"kind":"`+string(kind)+`"`)); n != 1 {
					t.Errorf("%q is told %d times", kind, n)
				}
			}
			if _, err := os.Stat(filepath.Join(dir, "ran")); err == nil {
				t.Error("the builder ran")
			}
			if t.Failed() {
				t.Log("\n" + out.String())
			}
		})
	}
}
