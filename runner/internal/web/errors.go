package web

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"bothy/runner/config"
	"bothy/runner/internal/api"
)

// problem is an answer that is not what was asked for.
type problem struct {
	status int // of HTTP
	text   string
}

func (p *problem) Error() string { return p.text }

func notFound(format string, args ...any) error {
	return &problem{http.StatusNotFound, fmt.Sprintf(format, args...)}
}

func badRequest(format string, args ...any) error {
	return &problem{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

func refused(format string, args ...any) error {
	return &problem{http.StatusForbidden, fmt.Sprintf(format, args...)}
}

// statusOf says how an error is answered, and how long to wait before the next
// attempt.
func statusOf(err error) (status int, text string, wait time.Duration) {
	if p, ok := errors.AsType[*problem](err); ok {
		return p.status, p.text, 0
	}
	if _, ok := errors.AsType[config.FormError](err); ok {
		return http.StatusBadRequest, "The form is not right yet:", 0
	}
	return api.StatusOf(err)
}

func conflict(format string, args ...any) error {
	return &problem{http.StatusConflict, fmt.Sprintf(format, args...)}
}
