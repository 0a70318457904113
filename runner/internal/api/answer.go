package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"hash/maphash"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
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
	body  []byte
	etag  string

	once   sync.Once
	zipped []byte
}

// etags names bodies. The seed differs from start to start, which costs each
// client one full answer after a restart.
type etags struct{ seed maphash.Seed }

func (e etags) answer(ctype string, body []byte) *answer {
	sum := maphash.Bytes(e.seed, body)
	return &answer{ctype: ctype, body: body, etag: `"` + strconv.FormatUint(sum, 36) + `"`}
}

// gzip returns the body compressed. It is done once, for all who ask.
func (a *answer) gzip(pool *sync.Pool) []byte {
	a.once.Do(func() {
		var buf bytes.Buffer
		z, _ := pool.Get().(*gzip.Writer)
		if z == nil {
			z, _ = gzip.NewWriterLevel(&buf, gzip.BestSpeed) // the level is valid
		}
		z.Reset(&buf)
		_, err := z.Write(a.body)
		if err = errors.Join(err, z.Close()); err == nil {
			a.zipped = buf.Bytes()
		}
		pool.Put(z)
	})
	return a.zipped
}

// write sends an answer, or 304 to a client that has it.
func (a *API) write(w http.ResponseWriter, r *http.Request, ans *answer) {
	h := w.Header()
	h.Set("Content-Type", ans.ctype)
	h.Set("Cache-Control", "private, no-cache") // to be kept, and asked for again with the ETag
	h.Set("Vary", "Accept, Accept-Encoding, Authorization, Cookie")
	etag, body := ans.etag, ans.body
	if len(body) >= minGzip && acceptsGzip(r) {
		if z := ans.gzip(&a.zippers); z != nil {
			body = z
			etag = strings.TrimSuffix(etag, `"`) + `-gzip"`
			h.Set("Content-Encoding", "gzip")
		}
	}
	h.Set("ETag", etag)
	if matchesETag(r.Header.Get("If-None-Match"), etag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodHead {
		return
	}
	extend(w, writeTimeout)
	if _, err := w.Write(body); err != nil {
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
func (a *API) form(b []byte, compact bool) *answer {
	if compact {
		return a.etags.answer(typeJSON, b)
	}
	var buf bytes.Buffer
	buf.Grow(2 * len(b))
	if err := json.Indent(&buf, b, "", "  "); err != nil {
		return a.etags.answer(typeText, b)
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
