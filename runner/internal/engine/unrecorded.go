package engine

import (
	"time"

	"bothy/runner/build"
	"bothy/runner/internal/control"
)

// unrecorded tells a session that was cancelled that it need not wait for the
// record of its end; Text says why there is none. Nobody else hears of it.
const unrecorded EventKind = "unrecorded"

// notRecorded is degrade after a try to record what there is.
func (l *loop) notRecorded(err error) {
	l.degrade(err)
	l.leaveUnrecorded()
}

// leaveUnrecorded lets sessions go that were cancelled, have no build that runs
// and wait for the disk alone. The first tries to record are waited for, unless
// the person is in a hurry.
func (l *loop) leaveUnrecorded() {
	for id, s := range l.sessions {
		if !s.cancelled || s.left || !s.hurried && time.Since(l.degradedAt) < submitPatience || l.sessionRuns(id) {
			continue
		}
		s.left = true
		l.tellSession(id, Event{Kind: unrecorded, Time: time.Now(), Text: l.degraded.Error()})
	}
}

// sessionRuns reports whether a build of a session runs.
func (l *loop) sessionRuns(id string) bool {
	for _, b := range l.builds {
		if r := l.requests[b.row.Request]; r != nil && r.row.Session == id {
			return true
		}
	}
	return false
}

// tellSession sends ev without waiting for the disk.
func (l *loop) tellSession(id string, ev Event) {
	for s := range l.subscribers {
		if s.session == id {
			s.send(ev)
		}
	}
}

// degraded tells the person why nothing ends, or without a reason that it is over.
func (t *terminal) degraded(ev Event) {
	if ev.Text == "" {
		t.note(ev.Time, "recording again")
		return
	}
	t.note(ev.Time, "nothing can be recorded: "+ev.Text+"; waiting for that to change, Ctrl-C ends without the record")
}

// endUnrecorded ends the session although the ends of its builds are not on disk.
func (t *terminal) endUnrecorded(ev Event) {
	t.note(ev.Time, "ended without the record: "+ev.Text+"; the next master takes these builds for interrupted")
	t.send(control.Update{Kind: control.End, Time: ev.Time, Result: build.Exception, Text: ev.Text, ExitCode: 3})
}

func (t *terminal) note(at time.Time, text string) {
	t.send(control.Update{Kind: control.Note, Time: at, Result: build.None, Text: text})
}
