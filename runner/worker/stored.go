package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// maxStored bounds the stored form of [Facts], in bytes.
const maxStored = 64 << 10

// storedVersion is that of the stored form.
const storedVersion = 1

// stored is the stored form of Facts. Nothing in it says whether the worker is
// connected: that is never restored.
type stored struct {
	Version    int               `json:"version"`
	Paused     *Mark             `json:"paused,omitempty"`
	Graceful   *Mark             `json:"graceful,omitempty"`
	Quarantine *storedQuarantine `json:"quarantine,omitempty"`
	Loss       *storedLoss       `json:"loss,omitempty"`
}

type storedQuarantine struct {
	Phase  QuarantinePhase `json:"phase"`
	Next   string          `json:"next"` // as time.Duration prints it
	Since  time.Time       `json:"since,omitzero"`
	Until  time.Time       `json:"until,omitzero"`
	Reason string          `json:"reason,omitempty"`
}

type storedLoss struct {
	Phase  LossPhase `json:"phase"`
	Since  time.Time `json:"since"`
	Told   time.Time `json:"told,omitzero"`
	Reason string    `json:"reason,omitempty"`
}

// Encode writes the facts as they are stored; those of a worker that nothing
// was ever said about are nil.
func (f Facts) Encode() []byte {
	s := stored{Version: storedVersion, Paused: f.Paused.stored(), Graceful: f.Graceful.stored()}
	q := f.Quarantine
	if q.Phase == QuarantineTesting {
		q.Phase = QuarantineTrial // its canary does not outlive the master
	}
	if q.Phase != QuarantineNone && q.Phase != "" || q.Next > QuarantineInitial {
		s.Quarantine = &storedQuarantine{q.Phase, q.Next.String(), q.Since.UTC(), q.Until.UTC(), q.Reason}
	}
	if l := f.Loss; l.Phase != LossNone && l.Phase != "" {
		s.Loss = &storedLoss{l.Phase, l.Since.UTC(), l.Told.UTC(), l.Reason}
	}
	if s == (stored{Version: storedVersion}) {
		return nil
	}
	data, err := json.Marshal(s)
	if err != nil {
		// A time outside the years 0 to 9999: no clock shows one.
		return nil
	}
	return data
}

func (m Mark) stored() *Mark {
	if !m.Set() {
		return nil
	}
	m.Since = m.Since.UTC()
	return &m
}

// DecodeFacts reads what [Facts.Encode] wrote. It takes nothing else: what it
// returns without an error is a state that [Step] can lead to. now bounds how
// long a quarantine may still last, and since when a worker is lost, should the
// clock have been set back.
func DecodeFacts(data []byte, now time.Time) (Facts, error) {
	f := NewState(Facts{}).Facts
	if len(data) == 0 {
		return f, nil
	}
	s, err := decodeStored(data)
	if err != nil {
		return f, fmt.Errorf("decode the state of a worker: %w", err)
	}
	if s.Paused != nil {
		f.Paused = *s.Paused
	}
	if s.Graceful != nil {
		f.Graceful = *s.Graceful
	}
	if q := s.Quarantine; q != nil {
		next, _ := time.ParseDuration(q.Next) // checked by decodeStored
		f.Quarantine = Quarantine{Phase: q.Phase, Next: next, Since: q.Since, Until: q.Until, Reason: q.Reason}
		if latest := now.Add(QuarantineMax); f.Quarantine.Until.After(latest) {
			f.Quarantine.Until = latest
		}
	}
	if l := s.Loss; l != nil {
		f.Loss = Loss{Phase: l.Phase, Since: l.Since, Told: l.Told, Reason: l.Reason}
		if l.Phase == LossOpen && l.Since.After(now) { // or it would be reported only then
			f.Loss.Since = now
		}
	}
	return f, nil
}

func decodeStored(data []byte) (stored, error) {
	var s stored
	if len(data) > maxStored {
		return s, fmt.Errorf("%d bytes, at most %d are taken", len(data), maxStored)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return s, errors.New("more than one value")
	}
	if s.Version != storedVersion {
		return s, fmt.Errorf("version %d, known is %d", s.Version, storedVersion)
	}
	return s, errors.Join(s.Paused.check("paused"), s.Graceful.check("graceful"), s.Quarantine.check(), s.Loss.check())
}

func (m *Mark) check(what string) error {
	if m == nil {
		return nil
	}
	if !m.Set() {
		return fmt.Errorf("%s: since when is missing", what)
	}
	return errors.Join(checkText(what+": by", m.By, maxName), checkText(what+": reason", m.Reason, MaxReason))
}

func (q *storedQuarantine) check() error {
	if q == nil {
		return nil
	}
	next, err := time.ParseDuration(q.Next)
	switch {
	case err != nil:
		return fmt.Errorf("quarantine: next: %w", err)
	case next < QuarantineInitial || next > QuarantineMax:
		return fmt.Errorf("quarantine: next is %s, not between %s and %s", next, QuarantineInitial, QuarantineMax)
	}
	switch q.Phase {
	case QuarantineNone:
		if !q.Since.IsZero() || !q.Until.IsZero() || q.Reason != "" {
			return errors.New("quarantine: there is none, but words about it")
		}
	case QuarantineHeld, QuarantineTrial:
		if q.Since.IsZero() || q.Until.IsZero() {
			return errors.New("quarantine: since or until is missing")
		}
	default:
		return fmt.Errorf("quarantine: no phase %q", q.Phase)
	}
	return checkText("quarantine: reason", q.Reason, MaxReason)
}

func (l *storedLoss) check() error {
	if l == nil {
		return nil
	}
	switch {
	case l.Since.IsZero():
		return errors.New("loss: since when is missing")
	case l.Phase == LossOpen && !l.Told.IsZero(), l.Phase == LossTold && l.Told.IsZero():
		return fmt.Errorf("loss: %s, told at %q", l.Phase, l.Told)
	case l.Phase != LossOpen && l.Phase != LossTold:
		return fmt.Errorf("loss: no phase %q", l.Phase)
	}
	return checkText("loss: reason", l.Reason, MaxReason)
}

func checkText(what, s string, limit int) error {
	if s != line(s, limit) {
		return fmt.Errorf("%s: not one line of at most %d bytes", what, limit)
	}
	return nil
}
