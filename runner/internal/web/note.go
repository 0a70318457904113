package web

import (
	"crypto/rand"
	"net/url"
	"sync"
	"time"
)

// note is what came of something that was asked for.
type note struct {
	Text   string
	Failed bool
	// Fields says what is wrong with each field of the form, by name, and Entered
	// is what was entered there.
	Fields  map[string]string
	Entered url.Values
	until   time.Time
}

// maxEntered bounds what is kept of a form that was not right, in bytes.
const maxEntered = 16 << 10

// Limits of what is kept for browsers that come back without having run a
// script. What a note says is not in its address: nobody can make a page say
// something by a link.
const (
	maxNotes = 512
	noteTime = 10 * time.Minute
)

// notes are those that wait to be shown. The zero value is ready.
type notes struct {
	mu   sync.Mutex
	byID map[string]note
}

// put keeps a note and returns its id.
func (n *notes) put(what note) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	if len(n.byID) >= maxNotes {
		for id, old := range n.byID {
			if now.After(old.until) {
				delete(n.byID, id)
			}
		}
		if len(n.byID) >= maxNotes {
			clear(n.byID)
		}
	}
	if n.byID == nil {
		n.byID = map[string]note{}
	}
	what.until = now.Add(noteTime)
	id := rand.Text()
	n.byID[id] = what
	return id
}

// take returns a note, nil if there is none of that id. It stays for who loads
// the page again.
func (n *notes) take(id string) *note {
	if id == "" {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	got, ok := n.byID[id]
	if !ok || time.Now().After(got.until) {
		return nil
	}
	return &got
}
