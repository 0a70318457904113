package mail

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// maxReplies is how many bytes a relay may send in one dialogue, certificates
// included. go-smtp limits the length of a line, not the number of lines.
const maxReplies = 1 << 20

// maxTraceLine is the length in bytes of the longest line in a trace.
const maxTraceLine = 2000

var errTooMuch = errors.New("the relay says too much")

// bounded is the network connection below TLS, with the limits that go-smtp
// does not have. It is used by one goroutine; Close may be called by another.
type bounded struct {
	net.Conn
	left    int           // bytes that may still be read
	timeout time.Duration // of one Write
}

func (c *bounded) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errTooMuch
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// Write has its own deadline: go-smtp sets none while it sends a message.
func (c *bounded) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// dialogue is the connection as go-smtp's client sees it, above TLS: it writes
// down what is said.
type dialogue struct {
	net.Conn
	greeting string              // read before what the peer says
	trace    io.Writer           // nil: none
	hide     func(string) string // takes secrets out of a line
	mode     traceMode           // of what we say
	in, out  []byte              // lines that have not ended
	broken   bool                // a Write failed: the relay does not have all that was said
}

type traceMode int

const (
	traceAll traceMode = iota
	traceAuth
	traceBody
)

func (d *dialogue) Read(p []byte) (int, error) {
	if d.greeting != "" {
		n := copy(p, d.greeting)
		d.greeting = d.greeting[n:]
		return n, nil
	}
	n, err := d.Conn.Read(p)
	d.in = d.lines("S: ", d.in, p[:n], traceAll)
	return n, err
}

func (d *dialogue) Write(p []byte) (int, error) {
	d.out = d.lines("C: ", d.out, p, d.mode)
	n, err := d.Conn.Write(p)
	d.broken = d.broken || err != nil
	return n, err
}

// lines traces the lines that more ends, and returns what follows them.
func (d *dialogue) lines(who string, rest, more []byte, mode traceMode) []byte {
	if d.trace == nil || mode == traceBody {
		return nil
	}
	rest = append(rest, more...)
	for {
		line, next, ended := bytes.Cut(rest, []byte("\n"))
		if !ended && len(line) <= maxTraceLine {
			return rest
		}
		rest = next
		text := d.hide(string(line[:min(len(line), maxTraceLine)]))
		if mode == traceAuth {
			verb, mechanism, _ := strings.Cut(text, " ")
			mechanism, _, _ = strings.Cut(mechanism, " ")
			if text = "[hidden]"; verb == "AUTH" {
				text = strings.TrimSpace(verb + " " + mechanism + " [hidden]")
			}
		}
		d.note(who, text)
		if !ended {
			return nil
		}
	}
}

// note writes one line to the trace. What it cannot write is lost: sending does
// not depend on it.
func (d *dialogue) note(who, text string) {
	if d.trace != nil {
		_, _ = fmt.Fprintf(d.trace, "%s%s\n", who, oneLine(text, maxTraceLine))
	}
}

// hider returns a function that takes the password out of a text, also in the
// forms in which a relay may have got to know it.
func hider(username, password string) func(string) string {
	if len(password) < 4 { // would be found everywhere
		return func(s string) string { return s }
	}
	encode := base64.StdEncoding.EncodeToString
	r := strings.NewReplacer(
		password, "[hidden]",
		encode([]byte(password)), "[hidden]",
		encode([]byte("\x00"+username+"\x00"+password)), "[hidden]",
	)
	return r.Replace
}
