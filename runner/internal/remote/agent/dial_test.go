package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// A worker that was not told asks the master what it speaks, and says nothing of
// itself.
func TestProbe(t *testing.T) {
	for _, c := range []struct {
		name  string
		serve func(net.Conn)
		want  Protocol
		fault string
	}{
		{"http", func(c net.Conn) { answer(c, "HTTP/1.1 401 Unauthorized\r\n\r\n") }, Msgpack, ""},
		{"perspective broker", func(c net.Conn) { _, _ = io.WriteString(c, "\x02\x80\x02\x82pb\x04\x82none"); read(c) }, PB, ""},
		{"closes", func(c net.Conn) { read(c) }, "", "ask the master what it speaks: EOF"},
		{"silent", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, "", "ask the master what it speaks: too late"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			served := make(chan struct{})
			go func() {
				defer close(served)
				if conn, err := ln.Accept(); err == nil {
					defer conn.Close()
					c.serve(conn)
				}
			}()
			limit := time.Minute
			if c.name == "silent" {
				limit = 100 * time.Millisecond
			}
			ctx, cancel := context.WithTimeoutCause(t.Context(), limit, errTooLate)
			defer cancel()
			o := Options{Master: Master{Addr: ln.Addr().String()}, Name: "far"}
			got, err := o.probe(ctx)
			if got != c.want || (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%q, %v; want %q, %q", got, err, c.want, c.fault)
			}
			<-served
		})
	}
}

var errTooLate = errors.New("too late")

// read takes the request.
func read(c net.Conn) string {
	buf := make([]byte, 1024)
	n, _ := c.Read(buf)
	return string(buf[:n])
}

func answer(c net.Conn, text string) {
	if request := read(c); !strings.HasPrefix(request, "GET ") || strings.Contains(request, "far") || strings.Contains(request, "Authorization") {
		text = "unexpected: " + request
	}
	_, _ = io.WriteString(c, text)
}
