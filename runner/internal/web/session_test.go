package web

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bothy/runner/config"
	"bothy/runner/internal/api"
)

func credentials(names ...string) *api.Credentials {
	var users []api.User
	for _, n := range names {
		users = append(users, api.User{Name: n, Hash: "hash of " + n, Role: config.Operator})
	}
	return api.NewCredentials(users, nil, slog.New(slog.DiscardHandler))
}

// with is a request that shows a session.
func with(id string) *http.Request {
	r := &http.Request{Header: http.Header{}}
	r.AddCookie(&http.Cookie{Name: cookieName, Value: id})
	return r
}

// A session ends after some time without use, and after a longer one however
// much it is used.
func TestSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Sessions
		c := credentials("ana")
		ana, _ := c.User("ana")
		idle, used := s.begin(ana), s.begin(ana)
		for range 29 {
			time.Sleep(24 * time.Hour) // of the bubble's clock
			if _, ok := s.find(with(used), c); !ok {
				t.Fatal("a session that is used has ended")
			}
		}
		if _, ok := s.find(with(idle), c); ok {
			t.Error("a session that nobody used for weeks goes on")
		}
		time.Sleep(24 * time.Hour)
		if _, ok := s.find(with(used), c); ok {
			t.Errorf("a session lasts longer than %s", sessionTime)
		}
		if _, ok := s.find(with("made up"), c); ok {
			t.Error("a session that nobody began is one")
		}
	})
}

// There are only so many sessions, of one user and of all; those that were used
// longest ago go first.
func TestSessionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Sessions
		var names []string
		for i := range maxSessions/userSessions + 1 {
			names = append(names, fmt.Sprint("u", i))
		}
		c := credentials(names...)
		first, _ := c.User(names[0])
		oldest := s.begin(first)
		time.Sleep(time.Second)
		second := s.begin(first)
		for range userSessions - 1 {
			time.Sleep(time.Second)
			s.begin(first)
		}
		if _, ok := s.find(with(oldest), c); ok || len(s.byID) != userSessions {
			t.Errorf("%d sessions of one user; the oldest is there: %v", len(s.byID), ok)
		}
		if _, ok := s.find(with(second), c); !ok {
			t.Error("more than the oldest has ended")
		}
		for _, n := range names[1:] {
			u, _ := c.User(n)
			for range userSessions {
				s.begin(u)
			}
		}
		if len(s.byID) != maxSessions {
			t.Errorf("%d sessions, want %d", len(s.byID), maxSessions)
		}
	})
}

func TestNotesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n notes
		id := n.put(note{Text: "x"})
		if got := n.take(id); got == nil || got.Text != "x" {
			t.Errorf("took %v", got)
		}
		time.Sleep(noteTime + time.Second)
		if got := n.take(id); got != nil {
			t.Errorf("an old note is still %v", got)
		}
		for range 3 * maxNotes {
			n.put(note{Text: "x"})
		}
		if len(n.byID) > maxNotes {
			t.Errorf("%d notes are kept", len(n.byID))
		}
	})
}

// FuzzWithin: wherever a login leads, it is below the root.
func FuzzWithin(f *testing.F) {
	for _, s := range []string{"", "workers", "workers?q=a", "//evil", "/x", "http://evil", `\\evil`, "a/../../b", "?next=1", "%2e%2e/x", "x:y", "a\nb"} {
		f.Add(s)
	}
	root, err := url.Parse("http://here/ci/login")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, next string) {
		to, err := root.Parse("./" + within(next))
		if err != nil {
			return // a browser has no better idea
		}
		if to.Host != "here" || !strings.HasPrefix(to.Path, "/ci/") {
			t.Errorf("%q leads to %s", next, to)
		}
	})
}
