package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
)

const (
	// maxFrame bounds what a client may send at once: commands are short.
	maxFrame = 16 << 10
	// wsWriteTime is how long a client may take to receive what is queued for it.
	wsWriteTime = 20 * time.Second
	// wsPing keeps the connection alive through proxies, and finds dead peers.
	wsPing     = 30 * time.Second
	wsPongTime = 15 * time.Second
)

// serveWS speaks Buildbot's protocol (www/ws.py): commands from the client, each
// with an _id, answers to them, and events {"k": path, "m": object}.
func (a *API) serveWS(w http.ResponseWriter, r *http.Request) {
	l, err := a.hub.listen(false)
	if err != nil {
		a.writeError(w, r, err)
		return
	}
	defer a.hub.leave(l)
	if a.outdated(r.Context()) {
		a.writeError(w, r, fail(http.StatusServiceUnavailable, codeServer, "%s", errChanged.Error()))
		return
	}
	if !mayHijack(w) {
		a.writeError(w, r, fail(http.StatusNotImplemented, codeInvalidRequest, "no WebSocket over this connection"))
		return
	}
	up := &upgrader{ResponseWriter: w}
	conn, err := websocket.Accept(up, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // guard has looked at the origin
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	conn.SetReadLimit(maxFrame)
	defer context.AfterFunc(r.Context(), func() { l.end(context.Canceled) })()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		defer conn.CloseNow()
		sendWS(conn, up.to, l)
	}()
	for {
		_, frame, err := conn.Read(r.Context())
		if err != nil {
			break
		}
		answer := a.hub.command(l, frame)
		l.put(append(textFrame(len(answer)), answer...))
	}
	l.end(context.Canceled)
	conn.CloseNow() // a client that does not read holds up no end
	<-sent
}

// sendWS sends what is queued until the listener or the connection ends.
func sendWS(conn *websocket.Conn, to *socketWriter, l *listener) {
	silent := time.AfterFunc(wsPing, l.remind)
	defer silent.Stop()
	var buf [][]byte
	for {
		frames, err := l.take(buf)
		switch {
		case errors.Is(err, context.Canceled):
			return // the connection has ended
		case err != nil:
			conn.Close(closeCode(err), err.Error())
			return
		case frames == nil:
			silent.Reset(wsPing)
			ctx, cancel := context.WithTimeout(context.Background(), wsPongTime)
			err = conn.Ping(ctx)
			cancel()
		default:
			buf = frames[:0:len(frames)]
			err = to.send(frames)
		}
		if err != nil {
			return
		}
	}
}

func closeCode(err error) websocket.StatusCode {
	switch {
	case errors.Is(err, errEnded):
		return websocket.StatusGoingAway
	case errors.Is(err, errChanged):
		return websocket.StatusServiceRestart
	}
	return websocket.StatusTryAgainLater
}

// command carries out one frame of a client and returns the answer. The texts
// are Buildbot's.
func (h *hub) command(l *listener, frame []byte) []byte {
	var c map[string]json.RawMessage
	if err := json.Unmarshal(frame, &c); err != nil || c == nil || !utf8.Valid(frame) { // the id goes back as it is
		return wsError(nil, http.StatusBadRequest, "the frame is not a JSON object")
	}
	id, ok := c["_id"]
	if !ok || string(id) == "null" {
		return wsError(nil, http.StatusBadRequest, "no '_id' in websocket frame")
	}
	if !isScalar(id) {
		return wsError(nil, http.StatusBadRequest, "'_id' must be a string or a number")
	}
	var cmd, path string
	if raw, ok := c["cmd"]; !ok {
		return wsError(id, http.StatusBadRequest, "no 'cmd' in websocket frame")
	} else if json.Unmarshal(raw, &cmd) != nil {
		return wsError(id, http.StatusBadRequest, "'cmd' must be a string")
	}
	switch cmd {
	case "ping":
		return wsAnswer(id, "pong")
	case "startConsuming", "stopConsuming":
	default:
		return wsError(id, http.StatusNotFound, fmt.Sprintf("no such command '%s'", shown(cmd)))
	}
	if json.Unmarshal(c["path"], &path) != nil || string(c["path"]) == "null" {
		return wsError(id, http.StatusBadRequest, fmt.Sprintf("invalid path format '%s'", shown(string(c["path"]))))
	}
	if cmd == "stopConsuming" {
		if !h.release(l, path) {
			return wsError(id, http.StatusBadRequest, fmt.Sprintf("path was not consumed '%s'", shown(path)))
		}
	} else if err := h.consume(l, path); err != nil {
		return wsError(id, http.StatusBadRequest, err.Error())
	}
	return wsAnswer(id, "OK")
}

// isScalar reports whether valid JSON is neither a list nor an object.
func isScalar(raw json.RawMessage) bool { return !bytes.ContainsAny(raw[:1], "[{") }

func wsAnswer(id json.RawMessage, msg string) []byte {
	b := append([]byte(`{"msg":`), appendString(nil, msg)...)
	b = append(b, `,"code":200,"_id":`...)
	return append(append(b, id...), '}')
}

func wsError(id json.RawMessage, code int, text string) []byte {
	if id == nil {
		id = json.RawMessage("null")
	}
	b := append([]byte(`{"error":`), appendString(nil, text)...)
	b = append(b, fmt.Sprintf(`,"code":%d,"_id":`, code)...)
	return append(append(b, id...), '}')
}
