package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"bothy/runner/config"
	"bothy/runner/internal/engine"
	"bothy/runner/worker"
)

// socket is one client of /ws.
type socket struct {
	t    testing.TB
	conn *websocket.Conn
	seen []map[string]any // events that nobody has asked for yet
}

func (r *rig) dial(edits ...func(http.Header)) *socket {
	r.t.Helper()
	h := http.Header{}
	for _, f := range edits {
		f(h)
	}
	conn, _, err := websocket.Dial(r.t.Context(), "ws"+strings.TrimPrefix(r.srv.URL, "http")+"/ws", &websocket.DialOptions{HTTPHeader: h})
	if err != nil {
		r.t.Fatal(err)
	}
	conn.SetReadLimit(1 << 20)
	r.t.Cleanup(func() { conn.CloseNow() })
	return &socket{t: r.t, conn: conn}
}

// read returns the next frame.
func (s *socket) read() map[string]any {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	_, frame, err := s.conn.Read(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(frame, &m); err != nil {
		s.t.Fatalf("%v in %s", err, frame)
	}
	return m
}

func (s *socket) send(frame string) {
	s.t.Helper()
	if err := s.conn.Write(s.t.Context(), websocket.MessageText, []byte(frame)); err != nil {
		s.t.Fatal(err)
	}
}

// ask sends a command and returns its answer.
func (s *socket) ask(frame string) map[string]any {
	s.t.Helper()
	s.send(frame)
	for {
		m := s.read()
		if _, isEvent := m["k"]; !isEvent {
			return m
		}
		s.seen = append(s.seen, m)
	}
}

func (s *socket) consume(paths ...string) {
	s.t.Helper()
	for i, p := range paths {
		if got := s.ask(fmt.Sprintf(`{"cmd":"startConsuming","path":%q,"_id":%d}`, p, i)); got["msg"] != "OK" || got["code"] != 200.0 || got["_id"] != float64(i) {
			s.t.Fatalf("startConsuming %s: %v", p, got)
		}
	}
}

// until returns the keys of the events up to the one with that key, and its object.
func (s *socket) until(key string) ([]string, map[string]any) {
	s.t.Helper()
	var keys []string
	for {
		var m map[string]any
		if len(s.seen) > 0 {
			m, s.seen = s.seen[0], s.seen[1:]
		} else {
			m = s.read()
		}
		k, _ := m["k"].(string)
		keys = append(keys, k)
		if k == key {
			object, _ := m["m"].(map[string]any)
			return keys, object
		}
	}
}

func TestSocketCommands(t *testing.T) {
	r := newRig(t, basic())
	s := r.dial()
	for _, c := range []struct{ frame, want string }{
		{`{"cmd":"ping","_id":3}`, `{"_id":3,"code":200,"msg":"pong"}`},
		{`{"cmd":"ping","_id":"x"}`, `{"_id":"x","code":200,"msg":"pong"}`},
		{`{"cmd":"ping"}`, `{"_id":null,"code":400,"error":"no '_id' in websocket frame"}`},
		{`{"cmd":"ping","_id":null}`, `{"_id":null,"code":400,"error":"no '_id' in websocket frame"}`},
		{`{"cmd":"ping","_id":[1]}`, `{"_id":null,"code":400,"error":"'_id' must be a string or a number"}`},
		{`{"_id":1}`, `{"_id":1,"code":400,"error":"no 'cmd' in websocket frame"}`},
		{`{"_id":1,"cmd":1}`, `{"_id":1,"code":400,"error":"'cmd' must be a string"}`},
		{`{"_id":1,"cmd":"dance"}`, `{"_id":1,"code":404,"error":"no such command 'dance'"}`},
		{`{"_id":1,"cmd":"startConsuming"}`, `{"_id":1,"code":400,"error":"invalid path format ''"}`},
		{`{"_id":1,"cmd":"startConsuming","path":1}`, `{"_id":1,"code":400,"error":"invalid path format '1'"}`},
		{`{"_id":1,"cmd":"startConsuming","path":"a/*"}`, `{"_id":1,"code":200,"msg":"OK"}`},
		{`{"_id":2,"cmd":"startConsuming","path":"a/*"}`, `{"_id":2,"code":200,"msg":"OK"}`},
		{`{"_id":1,"cmd":"stopConsuming","path":"a/*"}`, `{"_id":1,"code":200,"msg":"OK"}`},
		{`{"_id":1,"cmd":"stopConsuming","path":"a/*"}`, `{"_id":1,"code":400,"error":"path was not consumed 'a/*'"}`},
		{`{"_id":1,"cmd":"startConsuming","path":"` + strings.Repeat("a/", 300) + `"}`, `{"_id":1,"code":400,"error":"the path is too long"}`},
		{`[]`, `{"_id":null,"code":400,"error":"the frame is not a JSON object"}`},
		{`{`, `{"_id":null,"code":400,"error":"the frame is not a JSON object"}`},
	} {
		got, err := json.Marshal(s.ask(c.frame))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s, want %s", c.frame, got, c.want)
		}
	}
	for i := range maxPaths {
		s.consume(fmt.Sprintf("a/%d", i))
	}
	if got := s.ask(`{"_id":1,"cmd":"startConsuming","path":"one/more"}`); got["error"] != "too many paths are consumed" {
		t.Errorf("one path too many: %v", got)
	}
	s.send(strings.Repeat("x", maxFrame+1))
	if _, _, err := s.conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
		t.Errorf("after a frame that is too large: %v", err)
	}
}

// The life of a build, under every path that Buildbot's clients listen to.
func TestSocketEvents(t *testing.T) {
	r := newRig(t, basic())
	s := r.dial()
	s.consume("buildsets/*/*", "buildrequests/*/*", "builders/*/buildrequests/*/*", "builds/*/*", "builders/1/builds/*/*", "workers/*/builds/*/*",
		"builds/*/steps/*/*", "steps/*/*", "logs/*/*", "steps/*/logs/*/*", "builds/*/properties/update", "workers/*/*", "schedulers/*/*")
	k := r.build("test")
	_, b := r.done(k)
	keys, object := s.until("buildsets/1/complete")
	if object["results"] != 0.0 || object["bsid"] != 1.0 {
		t.Errorf("the buildset is %v", object)
	}
	sid := id(b.ID<<20 | 1)
	for _, want := range []string{
		"buildsets/1/new", "buildrequests/1/new", "builders/1/buildrequests/1/new", "buildrequests/1/claimed", "builds/1/new", "builders/1/builds/1/new",
		"workers/1/builds/1/new", "builds/1/steps/" + sid + "/new", "steps/" + sid + "/started", "logs/1/new", "steps/" + sid + "/logs/stdio/new",
		"builds/1/steps/" + sid + "/finished", "logs/1/finished", "builds/1/finished", "builders/1/builds/1/finished",
		"buildrequests/1/complete", "builders/1/buildrequests/1/complete",
	} {
		if n := times(keys, want); n != 1 {
			t.Errorf("%d events %s in %q", n, want, keys)
		}
	}
	if times(keys, "builds/1/properties/update") == 0 {
		t.Errorf("no properties in %q", keys)
	}
	r.call("workers/1", "pause", `{"reason":"disk"}`).is("null")
	if _, object := s.until("workers/1/state_updated"); object["paused"] != true || object["pause_reason"] != "disk" || object["workerid"] != 1.0 {
		t.Errorf("the paused worker is %v", object)
	}
	r.call("schedulers/1", "enable", `{"enabled":false}`).is("null")
	if _, object := s.until("schedulers/1/updated"); object["enabled"] != false {
		t.Errorf("the scheduler is %v", object)
	}
	r.call("workers/1", "unpause", `{}`).is("null")
	r.build("hold")
	r.holds("hold")
	r.call("buildrequests/2", "cancel", `{}`).is("null")
	keys, object = s.until("buildrequests/2/complete")
	if object["results"] != 6.0 || times(keys, "buildrequests/2/cancel") != 1 {
		t.Errorf("the cancelled request is %v, events %q", object, keys)
	}
}

func times(all []string, want string) (n int) {
	for _, s := range all {
		if s == want {
			n++
		}
	}
	return n
}

// A pattern fits paths of its own length only; nobody gets an event twice.
func TestPatterns(t *testing.T) {
	r := newRig(t, basic())
	for pattern, want := range map[string]string{
		"workers/1/state_updated":  "workers/1/state_updated",
		"workers/*/state_updated":  "workers/1/state_updated",
		"workers/1/*":              "workers/1/state_updated",
		"*/*/*":                    "workers/1/state_updated",
		"workers/2/*":              "",
		"workers/*":                "",
		"workers/1":                "",
		"*":                        "",
		"workers/1/*/*":            "",
		"workers/1/state_updated/": "",
		"":                         "",
	} {
		s := r.dial()
		s.consume(pattern, "end/*")
		r.api.hub.publish([][]string{{"workers", "1", "state_updated"}}, func() []byte { return []byte(`{}`) })
		r.api.hub.publish([][]string{{"end", "x"}}, func() []byte { return []byte(`{}`) })
		keys, _ := s.until("end/x")
		if got := strings.Join(keys[:len(keys)-1], " "); got != want {
			t.Errorf("%s: %q, want %q", pattern, got, want)
		}
		s.conn.CloseNow()
	}
	s := r.dial()
	s.consume("workers/*/*", "workers/1/*", "*/1/*", "end/*")
	r.api.hub.publish([][]string{{"workers", "1", "x"}}, func() []byte { return []byte(`{}`) })
	r.api.hub.publish([][]string{{"end", "x"}}, func() []byte { return []byte(`{}`) })
	if keys, _ := s.until("end/x"); len(keys) != 2 {
		t.Errorf("three patterns fit: %q", keys)
	}
}

// Nothing is left in the tree of patterns when everybody has gone, and the
// engine has one listener less.
func TestHubForgets(t *testing.T) {
	started, stopped := 0, 0
	h := &hub{start: func() (func(), error) { started++; return func() { stopped++ }, nil }}
	var all []*listener
	for i := range 5 {
		l, err := h.listen(i%2 == 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range []string{"a/b", "a/*", "a/b/c", fmt.Sprint("x/", i)} {
			if err := h.consume(l, p); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, l)
	}
	for i, l := range all {
		if stopped != 0 {
			t.Errorf("stopped with %d listeners left", len(all)-i)
		}
		h.leave(l)
	}
	if started != 1 || stopped != 1 || len(h.root.next) != 0 || h.count() != 0 {
		t.Errorf("started %d times, stopped %d times, %d listeners, left: %v", started, stopped, h.count(), h.root.next)
	}
	h.close()
	if _, err := h.listen(false); !errors.Is(err, errEnded) {
		t.Errorf("after the end: %v", err)
	}
	h.start = func() (func(), error) { return nil, errors.New("no") }
	h.closed = false
	if _, err := h.listen(false); err == nil {
		t.Error("a listener without events")
	}
}

// A listener that does not read is dropped, told why, and holds nobody up.
func TestSlowListener(t *testing.T) {
	h := &hub{start: func() (func(), error) { return func() {}, nil }}
	slow, err := h.listen(false)
	if err != nil {
		t.Fatal(err)
	}
	quick, err := h.listen(false)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*listener{slow, quick} {
		if err := h.consume(l, "a"); err != nil {
			t.Fatal(err)
		}
	}
	for range maxBehind + 1 {
		h.publish([][]string{{"a"}}, func() []byte { return []byte(`{}`) })
		if _, err := quick.take(nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := slow.take(nil); !errors.Is(err, errSlow) {
		t.Errorf("the slow one is told %v", err)
	}
	if h.dropped.Load() != 1 || slow.queue != nil {
		t.Errorf("dropped %d, %d frames are kept", h.dropped.Load(), len(slow.queue))
	}
	big := func() []byte { return make([]byte, maxBehindB) }
	h.publish([][]string{{"a"}}, big)
	h.publish([][]string{{"a"}}, big)
	if _, err := quick.take(nil); !errors.Is(err, errSlow) {
		t.Errorf("one that is behind by too many bytes is told %v", err)
	}
}

func TestSocketsEnd(t *testing.T) {
	r := newRig(t, basic())
	for why, c := range map[error]struct {
		drop func()
		code websocket.StatusCode
	}{
		errMissed:  {func() { r.api.publish(&engine.Event{Kind: engine.Lagged, Count: 3}) }, websocket.StatusTryAgainLater},
		errChanged: {func() { r.api.DropListeners(nil) }, websocket.StatusServiceRestart},
	} {
		s := r.dial()
		s.consume("a")
		c.drop()
		_, _, err := s.conn.Read(t.Context())
		var closed websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != c.code || closed.Reason != why.Error() {
			t.Errorf("closed with %v, want %d %v", err, c.code, why)
		}
	}
	s := r.dial()
	s.consume("a")
	r.e.Stop(engine.AtOnce)
	if _, _, err := s.conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("at the end of the master: %v", err)
	}
}

// A client that has stopped reading is dropped; nobody waits for it.
func TestSlowSocket(t *testing.T) {
	r := newRig(t, basic())
	slow, quick := r.dial(), r.dial()
	slow.consume("big/*")
	quick.consume("small/*")
	big := append(append([]byte(`"`), bytes.Repeat([]byte("x"), 1<<20)...), '"')
	n := int64(0)
	for ; r.api.hub.dropped.Load() == 0; n++ {
		if n > 200 {
			t.Fatalf("after %d MiB the slow client is still served", n)
		}
		r.api.hub.publish([][]string{{"big", "x"}}, func() []byte { return big })
		r.api.hub.publish([][]string{{"small", id(n)}}, func() []byte { return []byte(`{}`) })
	}
	keys, _ := quick.until("small/" + id(n-1))
	if len(keys) != int(n) {
		t.Errorf("the quick one got %d of %d events", len(keys), n)
	}
}

// Workers' events are Buildbot's three, and state_updated for all else.
func TestWorkerEvents(t *testing.T) {
	r := newRig(t, basic())
	s := r.dial()
	s.consume("workers/*/*")
	v := *r.e.Workers()[0]
	v.LastSeen = time.Date(2026, 11, 23, 9, 47, 9, 0, time.Local)
	conf := *v.Conf
	conf.Remote.NotifyOnMissing = []string{"a@b.cc"}
	v.Conf = &conf
	for _, c := range []struct {
		what worker.EffectKind
		want string
	}{
		{worker.Connected, "connected"}, {worker.Disconnected, "disconnected"}, {worker.WentMissing, "missing"},
		{worker.QuarantineEnded, "state_updated"}, {worker.CameBack, "state_updated"}, {worker.Ending, "state_updated"},
	} {
		r.api.publishWorker(&v, c.what)
		_, m := s.until("workers/1/" + c.want)
		if m["name"] != "w1" || (m["last_connection"] != nil) != (c.what == worker.WentMissing) {
			t.Errorf("%s: %v", c.what, m)
		}
		if c.what == worker.WentMissing && (m["last_connection"] != "Mon Nov 23 09:47:09 2026" || fmt.Sprint(m["notify"]) != "[a@b.cc]") {
			t.Errorf("missing: %v", m)
		}
	}
}

// A reload tells which builders have come and gone, and answers show it.
func TestReload(t *testing.T) {
	r := newRig(t, basic())
	s := r.dial()
	s.consume("builders/*/*")
	conf := basic()
	conf.Builders[1].Name = "other"
	conf.Schedulers = nil
	conf.Workers = []config.Worker{{Name: "w1"}, {Name: "w3"}}
	r.get("builders").want(200)
	if _, err := r.e.Reload(t.Context(), complete(t, conf)); err != nil {
		t.Fatal(err)
	}
	r.get("builders?masterids=1&field=name&field=masterids").want(200, `"name":"test"`, `"name":"other"`, `"total":2`)
	r.get("builders?removed_at__ne=null").want(200, `"name":"hold"`, `"total":1`)
	r.get("workers?removed_at__ne=null").want(200, `"name":"w2"`, `"total":1`)
	r.get("workers/w3").want(200, `"configured_on":[{"builderid":1,"masterid":1},{"builderid":3,"masterid":1}]`)
	r.get("schedulers/1").want(200, `"master":null`)
	r.get("forceschedulers").want(200, `"total":0`)
	keys, m := s.until("builders/3/started")
	if times(keys, "builders/1/update") != 1 || times(keys, "builders/2/stopped") != 1 || m["name"] != "other" {
		t.Errorf("%q, %v", keys, m)
	}
	r.call("builders/hold", "force", `{}`).failed(404, codeInvalidRequest, "not known")
	r.call("schedulers/1", "enable", `{"enabled":true}`).failed(404, codeInvalidRequest, "not known")
}

// TestRevokedWhileLoggingIn: who may listen changes while somebody's password is
// checked. What that check said no longer counts.
func TestRevokedWhileLoggingIn(t *testing.T) {
	var r *rig
	changing := Access{Revocable: true, Identify: func(*http.Request) (Identity, error) {
		r.api.DropListeners(func(*http.Request) bool { return false })
		return Identity{Name: "bob", Role: config.Viewer}, nil
	}}
	r = newRig(t, basic(), rigOptions{access: changing})
	for _, path := range []string{"/ws", "/sse/listen/builds"} {
		resp, err := r.srv.Client().Get(r.srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	r.build("hold")
	r.holds("hold")
	var text []byte
	until(t, "the log is there", func() bool {
		resp, err := r.srv.Client().Get(r.srv.URL + "/api/v2/builds/1/steps/1/logs/stdio/raw_inline?follow=1")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return false
		}
		if text, err = io.ReadAll(resp.Body); err == nil {
			t.Errorf("%q, as if that were the end", text)
		}
		return true
	})
	r.fleet.release()
}

// stream reads server-sent events: each is "EVENT DATA".
func (r *rig) stream(path string) (next func() string, end func()) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.srv.URL+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := r.srv.Client().Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		r.t.Fatalf("%s: %s %v", path, resp.Status, resp.Header)
	}
	lines := bufio.NewScanner(resp.Body)
	return func() string {
		r.t.Helper()
		var event string
		for lines.Scan() {
			switch name, value, _ := strings.Cut(lines.Text(), ": "); name {
			case "event":
				event = value
			case "data":
				return event + " " + value
			}
		}
		r.t.Fatalf("the stream has ended: %v", lines.Err())
		return ""
	}, func() { cancel(); resp.Body.Close() }
}

func TestStream(t *testing.T) {
	r := newRig(t, basic())
	for _, path := range []string{"/sse/listen/workers/*/*", "/sse/workers/1/state_updated"} {
		next, end := r.stream(path)
		kind, uuid, _ := strings.Cut(next(), " ")
		if kind != "handshake" || len(uuid) != 36 {
			t.Fatalf("%s: first comes %s %s", path, kind, uuid)
		}
		r.call("workers/1", "pause", `{}`).is("null")
		const begin = `event {"key":["workers","1","state_updated"],"message":{"blocked":"paused"`
		if got := next(); !strings.HasPrefix(got, begin) {
			t.Errorf("%s: %s", path, got)
		}
		r.call("workers/1", "unpause", `{}`).is("null")
		next()
		r.do("GET", "/sse/add/"+uuid+"/schedulers/*/*", nil).want(200, "ok")
		r.call("schedulers/1", "enable", `{"enabled":false}`).is("null")
		if got := next(); !strings.HasPrefix(got, `event {"key":["schedulers","1","updated"]`) {
			t.Errorf("%s: %s", path, got)
		}
		r.call("schedulers/1", "enable", `{"enabled":true}`).is("null")
		next()
		r.do("GET", "/sse/remove/"+uuid+"/schedulers/*/*", nil).want(200, "ok")
		r.do("GET", "/sse/remove/"+uuid+"/schedulers/*/*", nil).want(404, "not listening")
		end()
		until(t, "a stream without a client is forgotten", func() bool { return r.api.streams.get(uuid) == nil })
		r.do("GET", "/sse/add/"+uuid+"/a", nil).want(400, "unknown uuid")
	}
	r.do("GET", "/sse/add/", nil).want(400, "need uuid")
	r.do("GET", "/sse/listen/"+strings.Repeat("a/", 300), nil).want(400, "too long")
	next, end := r.stream("/sse/listen/workers/*/*?x=1")
	defer end()
	next()
	r.api.Close()
	if got := next(); got != fmt.Sprintf("end %q", errEnded.Error()) {
		t.Errorf("at the end: %s", got)
	}
	r.do("GET", "/sse/listen/a", nil).want(503, errEnded.Error())
}

func FuzzSocketFrame(f *testing.F) {
	for _, s := range []string{
		`{"cmd":"startConsuming","path":"builds/*/*","_id":1}`, `{"cmd":"stopConsuming","path":"a","_id":"x"}`, `{"cmd":"ping","_id":0}`, `[]`, `{}`, `{"_id":{}}`,
		"\xff", `{"cmd":"startConsuming","path":"////","_id":1e999}`, `{"cmd":"startConsuming","path":"\u0000/*","_id":true}`,
	} {
		f.Add([]byte(s), "builds/1/new")
	}
	f.Add([]byte("{\"_id\":\"\x93\"}"), "0")
	h := &hub{start: func() (func(), error) { return func() {}, nil }}
	f.Fuzz(func(t *testing.T, frame []byte, path string) {
		l, err := h.listen(len(frame)%2 == 0)
		if err != nil {
			t.Fatal(err)
		}
		if b := h.command(l, frame); !validJSON(b) {
			t.Errorf("%q is answered with %q", frame, b)
		}
		h.publish([][]string{strings.Split(path, "/")}, func() []byte { return []byte(`{}`) })
		l.mu.Lock()
		got := slices.Clone(l.queue)
		l.mu.Unlock()
		for _, b := range got {
			if _, data, isSSE := strings.Cut(string(b), "\ndata: "); l.sse != isSSE {
				t.Errorf("%q: %q", path, b)
			} else if isSSE {
				b = []byte(strings.TrimSuffix(data, "\n\n"))
			} else {
				b = payload(t, b)
			}
			if !validJSON([]byte(b)) || strings.Contains(string(b), "\n") {
				t.Errorf("%q: %q", path, b)
			}
		}
		h.leave(l)
		if len(h.root.next) != 0 {
			t.Errorf("%q leaves %v", frame, h.root.next)
		}
	})
}

// payload is what is in one text frame, read by the rules of RFC 6455, 5.2.
func payload(t *testing.T, b []byte) []byte {
	t.Helper()
	if len(b) < 2 || b[0] != 0x81 {
		t.Fatalf("%q is not a whole text frame", b)
	}
	n, b := uint64(b[1]), b[2:]
	switch {
	case n == 126 && len(b) >= 2:
		n, b = uint64(binary.BigEndian.Uint16(b)), b[2:]
	case n == 127 && len(b) >= 8:
		n, b = binary.BigEndian.Uint64(b), b[8:]
	}
	if uint64(len(b)) != n {
		t.Fatalf("a frame of %d bytes has %d", n, len(b))
	}
	return b
}

// Frames of all three lengths reach a client of the library's, one after the
// other and many at once.
func TestFrames(t *testing.T) {
	h := &API{hub: hub{start: func() (func(), error) { return func() {}, nil }}}
	srv := httptest.NewServer(http.HandlerFunc(h.serveWS))
	defer srv.Close()
	conn, _, err := websocket.Dial(t.Context(), "ws"+srv.URL[4:], nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	conn.SetReadLimit(1 << 20)
	ask := func(cmd, want string) {
		t.Helper()
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(cmd)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := conn.Read(t.Context()); err != nil || string(got) != want {
			t.Fatalf("%s: %q %v", cmd, got, err)
		}
	}
	ask(`{"cmd":"startConsuming","path":"a/b","_id":1}`, `{"msg":"OK","code":200,"_id":1}`)
	var want []string
	for _, n := range []int{0, 1, 107, 108, 109, 0xffff - 18, 0xffff - 17, 0xffff - 16, 1 << 18} {
		body := `"` + strings.Repeat("x", n) + `"`
		want = append(want, `{"k":"a/b","m":`+body+`}`)
		h.hub.publish([][]string{{"a", "b"}}, func() []byte { return []byte(body) })
	}
	for i, w := range want {
		if _, got, err := conn.Read(t.Context()); err != nil || string(got) != w {
			t.Fatalf("frame %d of %d bytes: %d bytes, %v", i, len(w), len(got), err)
		}
	}
	ask(`{"cmd":"ping","_id":2}`, `{"msg":"pong","code":200,"_id":2}`)
	if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("it does not close as it should: %v", err)
	}
}
