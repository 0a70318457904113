package api

import (
	"bytes"
	"encoding/json"
	"hash/maphash"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	typeJSON = "application/json; charset=utf-8"
	typeText = "text/plain; charset=utf-8"
)

// minGzip is the size from which on compressing is worth its time: below it an
// answer fits into one packet anyway.
const minGzip = 1400

// answer is the body of a response that is known in whole. It does not change,
// and many requests may share it.
type answer struct {
	ctype string
	body  body
	etag  string

	once   sync.Once
	zipped [][]byte
	length int // of zipped
}

// etags names bodies. The seed differs from start to start, which costs each
// client one full answer after a restart.
type etags struct{ seed maphash.Seed }

func (e etags) part(text []byte) *part { return &part{text: text, sum: maphash.Bytes(e.seed, text)} }

func (e etags) answer(ctype string, text []byte) *answer {
	return e.answerOf(ctype, body{e.part(text)})
}

func (e etags) answerOf(ctype string, b body) *answer {
	return &answer{ctype: ctype, body: b, etag: `"` + strconv.FormatUint(b.sum(e.seed), 36) + `"`}
}

// gzip returns the body compressed, and its length. It is done once, for all who
// ask.
func (a *answer) gzip(z *zippers) ([][]byte, int) {
	a.once.Do(func() {
		a.zipped = a.body.gzip(z)
		for _, p := range a.zipped {
			a.length += len(p)
		}
	})
	return a.zipped, a.length
}

// write sends an answer, or 304 to a client that has it.
func (a *API) write(w http.ResponseWriter, r *http.Request, ans *answer) {
	h := w.Header()
	h.Set("Content-Type", ans.ctype)
	h.Set("Cache-Control", "private, no-cache") // to be kept, and asked for again with the ETag
	h.Set("Vary", "Accept, Accept-Encoding, Authorization, Cookie")
	etag, length := ans.etag, ans.body.size()
	var zipped [][]byte
	if length >= minGzip && acceptsGzip(r) {
		zipped, length = ans.gzip(&a.zippers)
		etag = strings.TrimSuffix(etag, `"`) + `-gzip"`
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("ETag", etag)
	if matchesETag(r.Header.Get("If-None-Match"), etag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(length))
	if r.Method == http.MethodHead {
		return
	}
	extend(w, writeTimeout)
	var err error
	for i := 0; i < len(zipped) && err == nil; i++ {
		_, err = w.Write(zipped[i])
	}
	for i := 0; i < len(ans.body) && err == nil && zipped == nil; i++ {
		_, err = w.Write(ans.body[i].text)
	}
	if err != nil {
		a.log.Debug("answer not sent", "path", r.URL.Path, "err", err)
	}
}

// writeTimeout is how long a client may take to receive one write.
const writeTimeout = 30 * time.Second

// extend gives the next write its time, where the server below knows how.
func extend(w http.ResponseWriter, d time.Duration) {
	err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d))
	_ = err // an embedder's server: its own time limits hold
}

func matchesETag(header, etag string) bool {
	for tag := range strings.SplitSeq(header, ",") {
		if tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/"); tag == etag || tag == "*" {
			return true
		}
	}
	return false
}

// acceptsGzip reads Accept-Encoding (RFC 9110, 12.5.3).
func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		if name = strings.TrimSpace(name); name != "gzip" && name != "*" {
			continue
		}
		q, ok := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
		if f, err := strconv.ParseFloat(q, 64); ok && (err != nil || f == 0) {
			return false
		}
		return true
	}
	return false
}

// wantsCompact is Buildbot's rule: JSON in one line to those who say that they
// take it, and in many lines, as text, to people.
func wantsCompact(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "application/json")
}

// form makes an answer out of compact JSON.
func (a *API) form(b body, compact bool) *answer {
	if compact {
		return a.etags.answerOf(typeJSON, b)
	}
	text := b.bytes()
	var buf bytes.Buffer
	buf.Grow(2 * len(text))
	if err := json.Indent(&buf, text, "", "  "); err != nil {
		return a.etags.answer(typeText, text)
	}
	return a.etags.answer(typeText, buf.Bytes())
}

// writeError answers a GET that failed. Buildbot: _write_rest_error.
func (a *API) writeError(w http.ResponseWriter, r *http.Request, err error) {
	e := errorOf(err)
	if e.status >= http.StatusInternalServerError {
		a.logFailed(r, err)
	}
	b := append([]byte(`{"error": `), appendString(nil, e.text)...)
	writeSmall(w, r, e.status, typeText, append(b, '}'))
}

// logFailed says what went wrong, unless it is only that the client has gone.
func (a *API) logFailed(r *http.Request, err error) {
	level := slog.LevelWarn
	if r.Context().Err() != nil {
		level = slog.LevelDebug
	}
	a.log.Log(r.Context(), level, "request failed", "method", r.Method, "path", r.URL.Path, "err", err)
}

// writeSmall sends what is not worth an ETag.
func writeSmall(w http.ResponseWriter, r *http.Request, status int, ctype string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", ctype)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		io.Copy(w, bytes.NewReader(body)) // whether it arrives is the client's matter
	}
}
