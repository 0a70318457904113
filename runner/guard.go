package runner

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
)

// guarded has a panic in h end one request and nothing else: it is logged, its
// stack at level debug, and answered with 500 if there was no answer yet. A
// part of an answer is cut, so that nobody takes it for the whole.
func guarded(log *slog.Logger, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		a := &answer{ResponseWriter: w}
		defer func() {
			p := recover()
			switch {
			case p == nil:
				return
			case p == http.ErrAbortHandler:
				panic(p)
			}
			log.Error("panic while a request was answered", "method", req.Method, "path", req.URL.Path, "panic", fmt.Sprint(p))
			log.Debug("stack of the panic", "stack", string(debug.Stack()))
			if a.begun {
				panic(http.ErrAbortHandler)
			}
			http.Error(w, "a fault of bothy's: its log says more", http.StatusInternalServerError)
		}()
		h.ServeHTTP(a, req)
	})
}

// answer knows whether it was begun. It is not for those who take the connection
// over: whether they can is for the one below to say.
type answer struct {
	http.ResponseWriter
	begun bool
}

// Unwrap is for [http.ResponseController].
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader begins the answer, unless the status is one of those that come before.
func (a *answer) WriteHeader(status int) {
	a.begun = a.begun || status >= 200 || status == http.StatusSwitchingProtocols
	a.ResponseWriter.WriteHeader(status)
}

// Write begins the answer.
func (a *answer) Write(p []byte) (int, error) {
	a.begun = true
	return a.ResponseWriter.Write(p)
}

// FlushError begins the answer.
func (a *answer) FlushError() error {
	a.begun = true
	return http.NewResponseController(a.ResponseWriter).Flush()
}
