//go:build linux

package testrig

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"testing"

	"bothy/runner/build"
	"bothy/runner/internal/logs"
	"bothy/runner/internal/store"
)

// Records is what is on disk when no master runs.
type Records struct {
	t     testing.TB
	Store *store.Store
	Logs  *logs.Store
}

// Records opens what is in a base directory.
func (s *Scene) Records(base string) *Records {
	s.T.Helper()
	l := s.Layout(base)
	st, err := store.Open(l.StateDB, slog.New(slog.DiscardHandler))
	if err != nil {
		s.T.Fatal(err)
	}
	lg, err := logs.Open(l.LogDir, logs.Options{})
	if err != nil {
		s.T.Fatal(errors.Join(err, st.Close()))
	}
	s.T.Cleanup(func() {
		if err := errors.Join(lg.Close(), st.Close()); err != nil {
			s.T.Error(err)
		}
	})
	return &Records{s.T, st, lg}
}

// Builds returns all builds, the oldest first.
func (r *Records) Builds() (all []store.Build) {
	r.t.Helper()
	for before := int64(0); ; {
		page, err := r.Store.Builds(r.t.Context(), store.Filter{Before: before, Limit: 500})
		if err != nil {
			r.t.Fatal(err)
		}
		if len(page) == 0 {
			slices.Reverse(all)
			return all
		}
		before = page[len(page)-1].ID
		all = append(all, page...)
	}
}

// Request returns a request.
func (r *Records) Request(id int64) store.Request {
	r.t.Helper()
	q, err := r.Store.Request(r.t.Context(), id)
	if err != nil {
		r.t.Fatalf("request %d: %v", id, err)
	}
	return q
}

// Log returns what a step printed; the log must be complete.
func (r *Records) Log(b store.Build, step int) string {
	r.t.Helper()
	rows, err := r.Store.Logs(r.t.Context(), b.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	i := slices.IndexFunc(rows, func(l store.Log) bool { return l.Step == step && l.Name == "stdio" })
	if i < 0 {
		r.t.Errorf("%s #%d has no log of step %d", b.Builder, b.Number, step)
		return ""
	}
	return r.Text(b, rows[i])
}

// Text returns what is in a log, which must be complete. A build that was cut
// off before the first byte has none.
func (r *Records) Text(b store.Build, row store.Log) string {
	r.t.Helper()
	if !row.Complete {
		r.t.Errorf("%s #%d: the log of step %d is not complete", b.Builder, b.Number, row.Step)
	}
	rd, err := r.Logs.Reader(row.ID, logs.Ref(row.Ref))
	if errors.Is(err, logs.ErrNotFound) && b.Result == build.Retry {
		return ""
	}
	if err != nil {
		r.t.Errorf("%s #%d: the log of step %d: %v", b.Builder, b.Number, row.Step, err)
		return ""
	}
	var got bytes.Buffer
	_, err = rd.WriteRaw(r.t.Context(), &got, false)
	if err = errors.Join(err, rd.Close()); err != nil {
		r.t.Errorf("%s #%d: the log of step %d: %v", b.Builder, b.Number, row.Step, err)
	}
	return got.String()
}
