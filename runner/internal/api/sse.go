package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"
)

// sseComment keeps a silent stream alive through proxies. HTML, "Server-sent
// events", advises one about every 15 s.
const sseComment = 15 * time.Second

// streams are the open streams of server-sent events by their ids, so that
// another request can add paths to one. The zero value is ready.
type streams struct {
	mu   sync.Mutex
	byID map[string]*listener
}

func (s *streams) add(id string, l *listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID == nil {
		s.byID = map[string]*listener{}
	}
	s.byID[id] = l
}

func (s *streams) remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, id)
}

func (s *streams) get(id string) *listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[id]
}

// newUUID is a random UUID (RFC 9562, 5.4). Whoever knows that of a stream may
// change what it gets.
func newUUID() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails: it ends the process instead
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b)
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// serveSSE answers what lies below /sse/ (Buildbot: www/sse.py): listen/PATH or
// just PATH begins a stream, add/ID/PATH and remove/ID/PATH change one.
func (a *API) serveSSE(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(r.PathValue("path"), "/")
	switch verb, rest, _ := strings.Cut(path, "/"); verb {
	case "listen":
		a.listenSSE(w, r, rest)
	case "add", "remove":
		a.changeSSE(w, r, verb, rest)
	default:
		a.listenSSE(w, r, path)
	}
}

func (a *API) changeSSE(w http.ResponseWriter, r *http.Request, verb, rest string) {
	answer := func(status int, text string) { writeSmall(w, r, status, typeText, []byte(text)) }
	id, path, _ := strings.Cut(rest, "/")
	if id == "" {
		answer(http.StatusBadRequest, "need uuid")
		return
	}
	l := a.streams.get(id)
	if l == nil {
		answer(http.StatusBadRequest, "unknown uuid")
		return
	}
	if verb == "remove" {
		if !a.hub.release(l, path) {
			answer(http.StatusNotFound, "consumer is not listening to this event")
			return
		}
	} else if err := a.hub.consume(l, path); err != nil {
		answer(http.StatusBadRequest, err.Error())
		return
	}
	answer(http.StatusOK, "ok")
}

func (a *API) listenSSE(w http.ResponseWriter, r *http.Request, path string) {
	l, err := a.hub.listen(true)
	if err != nil {
		a.writeError(w, r, err)
		return
	}
	defer a.hub.leave(l)
	if a.outdated(r.Context()) {
		a.writeError(w, r, fail(http.StatusServiceUnavailable, codeServer, "%s", errChanged.Error()))
		return
	}
	if path != "" {
		if err := a.hub.consume(l, path); err != nil {
			a.writeError(w, r, badRequest("%s", err.Error()))
			return
		}
	}
	id := newUUID()
	a.streams.add(id, l)
	defer a.streams.remove(id)

	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return
	}
	if a.sendSSE(w, rc, []byte("event: handshake\ndata: "+id+"\n\n")) != nil {
		return
	}
	a.streamSSE(w, r, rc, l)
}

func (a *API) streamSSE(w http.ResponseWriter, r *http.Request, rc *http.ResponseController, l *listener) {
	silent := time.AfterFunc(sseComment, l.remind)
	defer silent.Stop()
	defer context.AfterFunc(r.Context(), func() { l.end(context.Canceled) })()
	var buf [][]byte
	for {
		frames, err := l.take(buf)
		switch {
		case errors.Is(err, context.Canceled):
			return // the connection has ended
		case err != nil:
			// The stream's client connects again by itself after this.
			why := append([]byte("event: end\ndata: "), appendString(nil, err.Error())...)
			err = a.sendSSE(w, rc, append(why, "\n\n"...))
			_ = err // it ends one way or the other
			return
		case frames == nil:
			silent.Reset(sseComment)
			frames = [][]byte{[]byte(": \n\n")}
		default:
			buf = frames
		}
		if a.sendSSE(w, rc, frames...) != nil {
			return
		}
	}
}

func (a *API) sendSSE(w http.ResponseWriter, rc *http.ResponseController, frames ...[]byte) error {
	extend(w, wsWriteTime)
	for _, f := range frames {
		if _, err := w.Write(f); err != nil {
			return err
		}
	}
	return rc.Flush()
}
