package worker

import (
	"context"
	"errors"
	"io"
)

// Fetcher is a [Build] whose files the master can have. Its methods may be called
// between [Build.StartBuild] and [Build.End] while no command runs.
type Fetcher interface {
	// Find returns the files below the build's directory whose names fit one of
	// the patterns, see [Pattern]: each once, by name, at most limit of them. more
	// says that there are others. What is no regular file may be among them: Fetch
	// refuses it.
	Find(ctx context.Context, patterns []Pattern, limit int) (names []string, more bool, err error)
	// Fetch copies one of them to w: at most limit bytes, of a larger one the error
	// is [ErrTooLarge]. What is no regular file is [ErrNoFile], or [ErrDir].
	Fetch(ctx context.Context, name string, w io.Writer, limit int64) error
}

// Why a file is not fetched.
var (
	ErrTooLarge = errors.New("larger than allowed")
	ErrNoFile   = errors.New("not a regular file of the build's directory")
	ErrDir      = errors.New("a directory")
)
