package worker

import (
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	// QuarantineInitial is how long the first quarantine lasts.
	// Buildbot: quarantine_initial_timeout.
	QuarantineInitial = 10 * time.Second
	// QuarantineMax is how long any lasts at most.
	// Buildbot: quarantine_max_timeout.
	QuarantineMax = time.Hour
	// MissingGrace is how long, at most, a new master waits for workers that were
	// away before it began: they need time to find it.
	MissingGrace = 5 * time.Minute
	// MaxReason bounds what is kept of a reason, in bytes.
	MaxReason = 1000
	// maxName bounds what is kept of who asked for something, in bytes.
	maxName = 200
)

// Mark says since when something is so, who wanted it, and why. The zero value:
// it is not so.
type Mark struct {
	Since  time.Time `json:"since,omitzero"`
	By     string    `json:"by,omitempty"`     // "": nobody in particular
	Reason string    `json:"reason,omitempty"` // "": none was given
}

// Set reports whether it is so.
func (m Mark) Set() bool { return !m.Since.IsZero() }

// said is the mark as words: "by ana: disk swap".
func (m Mark) said() string {
	var s string
	if m.By != "" {
		s = " by " + m.By
	}
	if m.Reason != "" {
		s += ": " + m.Reason
	}
	return s
}

// Link says how the master and the worker are connected.
type Link string

// The states of a connection.
const (
	LinkAway      Link = "away"
	LinkConnected Link = "connected"
	LinkHeld      Link = "held"    // cut off; its builds go on, see [Holder]
	LinkEnding    Link = "ending"  // connected, and told to end
	LinkStopped   Link = "stopped" // a local worker that was told to end; it attaches when it is started
)

// QuarantinePhase says where a worker is between misbehaving and being trusted.
type QuarantinePhase string

// The phases of a quarantine.
const (
	QuarantineNone    QuarantinePhase = "none"
	QuarantineHeld    QuarantinePhase = "held"    // it takes no builds until [Quarantine.Until]
	QuarantineTrial   QuarantinePhase = "trial"   // it is over; the next build, the canary, runs alone
	QuarantineTesting QuarantinePhase = "testing" // the canary runs
)

// Quarantine keeps builds from a worker that misbehaves.
type Quarantine struct {
	Phase QuarantinePhase `json:"phase"`
	// Next is how long the next one lasts: it doubles with each, up to
	// [QuarantineMax], and starts anew when a build shows that the worker works.
	Next   time.Duration `json:"next"`
	Since  time.Time     `json:"since,omitzero"`
	Until  time.Time     `json:"until,omitzero"`
	Reason string        `json:"reason,omitempty"` // the evidence
	Canary int64         `json:"-"`                // the id of the build that tries it, while it runs
}

// LossPhase says what is known of a loss.
type LossPhase string

// The phases of a loss.
const (
	LossNone LossPhase = "none"
	LossOpen LossPhase = "lost"    // it may come back before anybody is told
	LossTold LossPhase = "missing" // it was reported
)

// Loss is the time without a worker that should be there. Local workers have
// none while the master runs.
type Loss struct {
	Phase LossPhase `json:"phase"`
	// Since is when the connection was lost, or when the configuration first
	// named a worker that never connected. It tells one loss from another.
	Since  time.Time `json:"since,omitzero"`
	Told   time.Time `json:"told,omitzero"` // when it was reported
	Reason string    `json:"reason,omitempty"`
}

// Rules are what the configuration says of a worker's life.
type Rules struct {
	Local  bool // it is part of the master: attached at once, never missing
	Latent bool // it is away unless it is needed; missing only while it starts
	// MissingTimeout is how long it may be away before it is reported; ≤ 0: for ever.
	MissingTimeout time.Duration
	NoCanary       bool // after a quarantine all slots are open at once
	NoQuarantine   bool // misbehaviour has no consequences: bothy run
}

// Facts are what the master remembers of a worker when it is started again.
// They are independent of each other and of the connection. Compare with ==.
type Facts struct {
	Paused     Mark
	Graceful   Mark // it finishes its builds and then ends
	Quarantine Quarantine
	Loss       Loss
}

// State is all there is to know about a worker's life. Make one with [NewState],
// then give every event to [Step].
type State struct {
	Facts
	Rules       Rules
	MasterStart time.Time // when this master first heard of the worker
	Link        Link
	LinkSince   time.Time // since when Link is what it is
	End         Mark      // who told it to end, while it is ending or stopped
	Why         string    // why it is away, "" if there is no particular reason
	HeldUntil   time.Time // when it counts as lost, while it is held
	Builds      int       // that run on it
}

// NewState returns the state of a worker that is away. Its first event must be
// of the kind [EventConfigured].
func NewState(f Facts) State {
	if f.Quarantine.Phase == "" {
		f.Quarantine.Phase = QuarantineNone
	}
	if f.Quarantine.Next == 0 {
		f.Quarantine.Next = QuarantineInitial
	}
	if f.Loss.Phase == "" {
		f.Loss.Phase = LossNone
	}
	return State{Facts: f, Link: LinkAway}
}

// Connected reports whether the worker is there, be it about to end.
func (s State) Connected() bool { return s.Link == LinkConnected || s.Link == LinkEnding }

// Quarantined reports whether the worker takes no builds because of what it did.
func (s State) Quarantined() bool { return s.Quarantine.Phase == QuarantineHeld }

// Missing reports whether the worker was reported as missing and is still away.
func (s State) Missing() bool { return s.Loss.Phase == LossTold }

// MissingAt is when a loss is reported, zero if there is none to report.
func (s State) MissingAt() time.Time {
	timeout := s.Rules.MissingTimeout
	if s.Loss.Phase != LossOpen || timeout <= 0 {
		return time.Time{}
	}
	at, grace := s.Loss.Since.Add(timeout), s.MasterStart.Add(min(timeout, MissingGrace))
	if grace.After(at) {
		return grace
	}
	return at
}

// Wake is when an event of the kind [EventTimer] is due, zero if none is.
func (s State) Wake() time.Time {
	at := s.MissingAt()
	if s.Quarantined() && (at.IsZero() || s.Quarantine.Until.Before(at)) {
		at = s.Quarantine.Until
	}
	return at
}

// Blocked says why the worker takes no build now, "" if it takes one.
func (s State) Blocked(now time.Time) string {
	switch s.Link {
	case LinkStopped:
		return "stopped" + s.End.said()
	case LinkEnding:
		return "told to end" + s.End.said()
	case LinkHeld:
		if s.Builds > 0 {
			return "connection lost, builds held until " + s.HeldUntil.Format(time.TimeOnly)
		}
		return "connection lost, waited for until " + s.HeldUntil.Format(time.TimeOnly)
	case LinkAway:
		switch {
		case s.Why != "":
			return "not connected: " + s.Why
		case s.Loss.Phase != LossNone:
			return "not connected since " + s.Loss.Since.Format(time.DateTime)
		}
		return "not connected"
	}
	q := s.Quarantine
	switch {
	case s.Graceful.Set():
		return "ends after its builds, told to" + s.Graceful.said()
	case s.Paused.Set():
		return "paused" + s.Paused.said()
	case q.Phase == QuarantineHeld:
		return "quarantined for " + Countdown(q.Until.Sub(now)) + " more: " + q.Reason
	case q.Phase == QuarantineTesting:
		return "tries one build after its quarantine: " + q.Reason
	}
	return ""
}

// Countdown writes a time to wait for people, in whole seconds rounded up:
// "38 s", "5 min 20 s", "1 h".
func Countdown(d time.Duration) string {
	secs := int64((max(0, d) + time.Second - 1) / time.Second)
	var parts []string
	add := func(n int64, unit string) {
		if n > 0 {
			parts = append(parts, strconv.FormatInt(n, 10)+" "+unit)
		}
	}
	add(secs/3600, "h")
	add(secs/60%60, "min")
	add(secs%60, "s")
	if len(parts) == 0 {
		return "0 s"
	}
	return strings.Join(parts, " ")
}

// line makes one line of at most limit bytes out of what anybody wrote.
func line(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s))
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit-len("…")], "") + "…"
}
