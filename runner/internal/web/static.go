package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

// asset is a static file. Its address holds a hash of what is in it, so that
// browsers may keep it for ever.
type asset struct {
	ctype string
	body  []byte

	once   sync.Once
	zipped []byte
}

// staticTypes are the types of static files by their extensions: those of the
// machine's tables may be wrong.
var staticTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
	".png": "image/png",
}

func (l *look) readStatic() error {
	entries, err := fs.ReadDir(files, "static")
	if err != nil {
		return err
	}
	all := sha256.New()
	for _, e := range entries {
		body, err := fs.ReadFile(files, "static/"+e.Name())
		if err != nil {
			return err
		}
		ext := path.Ext(e.Name())
		a := &asset{ctype: staticTypes[ext], body: body}
		if a.ctype == "" {
			return fmt.Errorf("static file %s: what type is %q?", e.Name(), ext)
		}
		sum := sha256.Sum256(body)
		all.Write(sum[:])
		hashed := strings.TrimSuffix(e.Name(), ext) + "." + hex.EncodeToString(sum[:5]) + ext
		l.static[hashed] = a
		l.names[e.Name()] = hashed
	}
	l.sum = hex.EncodeToString(all.Sum(nil)[:5])
	return nil
}

// gzip returns the file compressed as much as that goes. It is done once.
func (a *asset) gzip() []byte {
	a.once.Do(func() {
		var buf bytes.Buffer
		z, _ := gzip.NewWriterLevel(&buf, gzip.BestCompression) // the level is valid
		_, err := z.Write(a.body)
		if errors.Join(err, z.Close()) == nil {
			a.zipped = buf.Bytes()
		}
	})
	return a.zipped
}

func (s *Web) serveStatic(w http.ResponseWriter, r *http.Request) {
	a := s.look().static[r.PathValue("file")]
	if a == nil {
		http.Error(w, "there is no such file; load the page again", http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Type", a.ctype)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	body := a.body
	if z := a.gzip(); len(z) > 0 && len(z) < len(body) && acceptsGzip(r) {
		h.Set("Content-Encoding", "gzip")
		body = z
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		w.Write(body) // whether it arrives is the client's matter
	}
}

// acceptsGzip reads Accept-Encoding (RFC 9110, 12.5.3) as far as browsers use it.
func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, params, _ := strings.Cut(part, ";")
		if strings.TrimSpace(name) == "gzip" {
			return strings.TrimLeft(strings.ReplaceAll(params, " ", ""), "q=0.") != "" || params == ""
		}
	}
	return false
}

// minGzip is the size from which on compressing is worth its time: below it an
// answer fits into one packet anyway.
const minGzip = 1400

// send answers with something that is made for this request.
func (c *call) send(status int, ctype string, body []byte) {
	h := c.w.Header()
	h.Set("Content-Type", ctype)
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept-Encoding, Cookie")
	if len(body) >= minGzip && acceptsGzip(c.r) {
		var buf bytes.Buffer
		z, _ := c.s.zipped.Get().(*gzip.Writer)
		if z == nil {
			z, _ = gzip.NewWriterLevel(&buf, 5) // the level is valid
		}
		z.Reset(&buf)
		_, err := z.Write(body)
		if errors.Join(err, z.Close()) == nil {
			body = buf.Bytes()
			h.Set("Content-Encoding", "gzip")
		}
		c.s.zipped.Put(z)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(status)
	if c.r.Method != http.MethodHead {
		c.w.Write(body) // whether it arrives is the client's matter
	}
}
