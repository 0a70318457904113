package artifacts

import (
	"mime"
	"net/http"
	"os"
	"path"
	"time"
)

// serveStep is how long a client may take for a part of a file.
const serveStep = 30 * time.Second

// Serve answers a request with a kept file, of which the sum is known, as something
// to be saved: a page of a build's that a browser opened would speak for the master.
func Serve(w http.ResponseWriter, r *http.Request, f *os.File, name, sha256 string) {
	h := w.Header()
	disposition := mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(name)})
	if disposition == "" {
		disposition = "attachment"
	}
	h.Set("Content-Disposition", disposition)
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "private, no-cache")
	h.Set("ETag", `"`+sha256+`"`)
	http.ServeContent(&patient{w, http.NewResponseController(w)}, r, "", time.Time{}, f)
}

// patient gives each part of an answer its own time.
type patient struct {
	http.ResponseWriter
	rc *http.ResponseController
}

func (p *patient) Write(b []byte) (int, error) {
	err := p.rc.SetWriteDeadline(time.Now().Add(serveStep))
	_ = err // an embedder's server: its own time limits hold
	return p.ResponseWriter.Write(b)
}
