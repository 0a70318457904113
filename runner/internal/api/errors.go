package api

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"bothy/runner/internal/engine"
	"bothy/runner/internal/store"
)

// JSON-RPC codes, from the specification; codeServer is the first of those it
// leaves to servers.
const (
	codeParse          = -32700
	codeInvalidRequest = -32600
	codeNoMethod       = -32601
	codeInvalidParams  = -32602
	codeInternal       = -32603
	codeServer         = -32000
)

// apiError is an answer that is not what was asked for.
type apiError struct {
	status int // of HTTP
	code   int // of JSON-RPC
	text   string
	fields map[string]string // of a form: what is wrong with each
}

func (e *apiError) Error() string { return e.text }

func fail(status, code int, format string, args ...any) *apiError {
	return &apiError{status: status, code: code, text: fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) *apiError {
	return fail(http.StatusNotFound, codeInvalidRequest, format, args...)
}

func badRequest(format string, args ...any) *apiError {
	return fail(http.StatusBadRequest, codeInvalidRequest, format, args...)
}

func badParam(format string, args ...any) *apiError {
	return fail(http.StatusBadRequest, codeInvalidParams, format, args...)
}

func invalidPath(path string) *apiError { return notFound("Invalid path: %s", shown(path)) }

// errorOf says how an error is answered.
func errorOf(err error) *apiError {
	if e, ok := errors.AsType[*apiError](err); ok {
		return e
	}
	if e, ok := errors.AsType[queryError](err); ok {
		return badRequest("%s", string(e))
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return fail(http.StatusRequestEntityTooLarge, codeInvalidRequest, "the request is larger than %d bytes", maxBody)
	}
	status, code := http.StatusInternalServerError, codeInternal
	switch {
	case errors.Is(err, engine.ErrUnknown), errors.Is(err, store.ErrNotFound):
		status, code = http.StatusNotFound, codeInvalidRequest
	case errors.Is(err, engine.ErrConflict):
		status, code = http.StatusConflict, codeServer
	case errors.Is(err, engine.ErrDegraded), errors.Is(err, engine.ErrStopped), errors.Is(err, store.ErrClosed), errors.Is(err, errEnded):
		status, code = http.StatusServiceUnavailable, codeServer
	}
	if code == codeInternal { // it may tell of files, or hold a stack: that is for the log
		return fail(status, code, "internal error; the master's log says more")
	}
	return fail(status, code, "%s", err.Error())
}

// StatusOf says how an error is answered: the status of HTTP, the words, and for
// how long whoever tries passwords must wait before the next one.
func StatusOf(err error) (status int, text string, wait time.Duration) {
	if e, ok := errors.AsType[slowDown](err); ok {
		return http.StatusTooManyRequests, e.Error(), e.wait
	}
	switch {
	case errors.Is(err, ErrNoCredentials):
		return http.StatusUnauthorized, err.Error(), 0
	case errors.Is(err, ErrForbidden):
		return http.StatusForbidden, err.Error(), 0
	}
	e := errorOf(err)
	return e.status, e.text, 0
}
