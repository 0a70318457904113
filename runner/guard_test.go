package runner

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestPanicInAHandler: it is answered 500 if that can still be, the answer is cut
// if not, and the log says what happened. What is meant to abort is left alone.
func TestPanicInAHandler(t *testing.T) {
	for _, c := range []struct {
		name   string
		handle http.HandlerFunc
		status int  // 0: no answer
		cut    bool // its body
		logged bool
	}{
		{"before the answer", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "4000")
			panic("oops")
		}, 500, false, true},
		{"after a hint", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusEarlyHints); panic("oops") }, 500, false, true},
		{"after the header", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202); panic("oops") }, 0, true, true},
		{"in the middle", func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "half of it")
			http.NewResponseController(w).Flush()
			panic("oops")
		}, 200, true, true},
		{"after a flush", func(w http.ResponseWriter, _ *http.Request) {
			http.NewResponseController(w).Flush()
			panic("oops")
		}, 200, true, true},
		{"on purpose", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0, true, false},
		{"not at all", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "fine") }, 200, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var text bytes.Buffer
			log := slog.New(slog.NewJSONHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))
			srv := httptest.NewUnstartedServer(guarded(log, c.handle))
			srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
			srv.Start()
			resp, err := srv.Client().Get(srv.URL + "/some/where?token=hidden")
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				if resp.StatusCode != c.status {
					t.Errorf("status %d, want %d", resp.StatusCode, c.status)
				}
				resp.Body.Close()
			}
			if cut := err != nil; cut != c.cut {
				t.Errorf("cut: %v, want %v (%v)", cut, c.cut, err)
			}
			srv.Close() // what it logs is there
			got := text.String()
			if !c.logged {
				if got != "" {
					t.Errorf("logged: %s", got)
				}
				return
			}
			for _, want := range []string{`"level":"ERROR"`, `"panic":"oops"`, `"path":"/some/where"`, `"level":"DEBUG"`, "guard_test.go"} {
				if !strings.Contains(got, want) {
					t.Errorf("the log does not have %s: %s", want, got)
				}
			}
			if strings.Contains(got, "hidden") {
				t.Error("the log has the query")
			}
		})
	}
}
