package agent

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// relay copies between two connections until one ends.
func relay(a, b net.Conn) {
	var wg sync.WaitGroup
	for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
		wg.Go(func() {
			_, _ = io.Copy(pair[0], pair[1]) // it ends when either does
			a.Close()
			b.Close()
		})
	}
	wg.Wait()
}

// listenAndServe serves each connection of a listener by a function, until the
// test ends.
func listenAndServe(t *testing.T, ln net.Listener, serve func(net.Conn)) string {
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	return ln.Addr().String()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// frontTLS listens with TLS before addr, and returns its address and what trusts it.
func frontTLS(t *testing.T, addr string) (string, *tls.Config) {
	t.Helper()
	s := httptest.NewTLSServer(nil) // for its certificate
	cert, pool := s.TLS.Certificates[0], x509.NewCertPool()
	pool.AddCert(s.Certificate())
	s.Close()
	ln := tls.NewListener(listen(t), &tls.Config{Certificates: []tls.Certificate{cert}})
	return listenAndServe(t, ln, func(c net.Conn) {
		if to, err := net.Dial("tcp", addr); err == nil {
			relay(c, to)
		}
	}), &tls.Config{RootCAs: pool}
}

// httpProxy is a proxy that wants a user and password.
func httpProxy(t *testing.T, asked chan<- string) string {
	return listenAndServe(t, listen(t), func(c net.Conn) {
		req, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		asked <- req.Method + " " + req.Host
		h := http.Header{"Authorization": req.Header["Proxy-Authorization"]}
		if user, password, _ := (&http.Request{Header: h}).BasicAuth(); user != "me" || password != "secret" {
			_, _ = io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
			return
		}
		to, err := net.Dial("tcp", req.Host)
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		relay(c, to)
	})
}

// A real master behind TLS, behind a proxy.
func realTunnel(t *testing.T, m *buildbot, o Options, suffix string) {
	var front string
	front, o.TLS = frontTLS(t, m.addr(o.Protocol))
	asked := make(chan string, 10)
	o.Master = Master{Addr: front, TLS: true}
	o.Proxy = "http://me:secret@" + httpProxy(t, asked)
	startWorker(t, o)
	m.connected(o.Name, true)
	want(t, m.run("ok"+suffix), bbSuccess)
	if got := <-asked; got != "CONNECT "+front {
		t.Errorf("the proxy was asked %q", got)
	}
}

func TestDialRefusals(t *testing.T) {
	silent := listenAndServe(t, listen(t), func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	front, _ := frontTLS(t, silent)
	o := Options{Master: Master{Addr: front, TLS: true}}
	var unknown *tls.CertificateVerificationError
	if conn, err := o.dial(t.Context()); !errors.As(err, &unknown) {
		t.Errorf("an unknown certificate: %v, %v", conn, err)
	}
	o = Options{Master: Master{Addr: "127.0.0.1:1"}, Proxy: "http://me:wrong@" + httpProxy(t, make(chan string, 1))}
	if conn, err := o.dial(t.Context()); err == nil || !strings.Contains(err.Error(), "407") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("a wrong password: %v, %v", conn, err)
	}
}
