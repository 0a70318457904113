package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"bothy/runner/internal/logs"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func (c *call) sendJSON(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.send(http.StatusOK, "application/json", b)
	return nil
}

// textFlush is how much text is gathered before it is sent, in bytes.
const textFlush = 64 << 10

// textWrite is how long a client may take for one such part.
const textWrite = 30 * time.Second

// serveText sends lines as a terminal shows them, without styles: what one copies.
// It is written while the log is read.
func (s *Web) serveText(c *call) error {
	q, err := parseLogQuery(c.r.URL.Query())
	if err != nil {
		return err
	}
	_, rd, err := c.openPart()
	if err != nil {
		return err
	}
	defer c.closeReader(rd)
	left := q.N
	if left == 0 {
		left = 1 << 62
	}
	h := c.w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	rc := http.NewResponseController(c.w)
	var buf []byte
	sent := false
	flush := func() error {
		if err := rc.SetWriteDeadline(time.Now().Add(textWrite)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		_, err := c.w.Write(buf)
		buf, sent = buf[:0], true
		return err
	}
	var term logs.Terminal
	for l, err := range rd.Scan(c.ctx(), max(q.From-1, 0)) {
		if left--; left < 0 {
			break
		}
		if err == nil {
			row := term.Draw(l.Text, l.Pen, logs.MaxLine)
			buf = append(buf, row.Plain()...)
			if !l.Split {
				buf = append(buf, '\n')
			}
			if len(buf) >= textFlush {
				err = flush()
			}
		}
		if err != nil && sent {
			s.log.Debug("log not sent to its end", "path", c.r.URL.Path, "err", err)
			panic(http.ErrAbortHandler) // what came is not to be taken for all
		}
		if err != nil {
			return err
		}
	}
	if err := flush(); err != nil {
		s.log.Debug("log not sent to its end", "path", c.r.URL.Path, "err", err)
	}
	return nil
}
