//go:build linux

package testrig

import (
	"context"
	"net"

	"bothy/runner/internal/basedir"
	"bothy/runner/internal/control"
)

// Master is a running "bothy serve", and a connection to it.
type Master struct {
	*Process
	*control.Client
}

// Client speaks to whichever master holds a base directory.
func (s *Scene) Client(base string) *control.Client {
	layout := s.Layout(base)
	return control.NewClient(func(ctx context.Context) (net.Conn, error) { return basedir.Dial(ctx, layout) })
}

// Serve starts a master on a base directory and waits until it answers.
func (s *Scene) Serve(base string) *Master {
	s.T.Helper()
	m := &Master{s.Prepare("serve"), s.Client(base)}
	m.Launch()
	Until(s.T, "the master does not answer", func() bool {
		select {
		case <-m.Ended:
			s.T.Fatalf("the master ended: %v\n%s", m.Cmd.ProcessState, m.All())
		default:
		}
		_, err := m.Client.Status(s.T.Context())
		return err == nil
	})
	return m
}

// Status asks the master how it is.
func (m *Master) Status() control.Status {
	m.T.Helper()
	st, err := m.Client.Status(m.T.Context())
	if err != nil {
		m.T.Fatalf("status: %v\n%s", err, m.All())
	}
	return st
}

// Submit asks for builds; they must be accepted.
func (m *Master) Submit(builders ...string) []int64 {
	m.T.Helper()
	out, err := m.Client.Submit(m.T.Context(), control.SubmitRequest{Builders: builders, Reason: "test"})
	if err != nil {
		m.T.Fatalf("submit %q: %v\n%s", builders, err, m.All())
	}
	return out.Requests
}

// Idle waits until nothing runs, nothing is pending and all can be recorded.
func (m *Master) Idle() {
	m.T.Helper()
	var st control.Status
	if !poll(Patience, func() bool {
		st = m.Status()
		return st.Pending == 0 && st.Running == 0 && st.Degraded == ""
	}) {
		m.T.Fatalf("the master is not idle within %v: %+v\n%s", Patience, st, m.All())
	}
}

// Drain ends the master when what runs has finished.
func (m *Master) Drain() {
	m.T.Helper()
	if err := m.Client.Drain(m.T.Context()); err != nil {
		m.T.Fatal(err)
	}
	m.Exits(0)
}
