package leasetest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// proxy is what lies between a worker and its master.
type proxy struct {
	t    testing.TB
	port net.Listener
	addr string

	mu     sync.Mutex
	target string
	open   bool // it connects
	live   map[net.Conn]bool
	hole   chan struct{} // while it is not closed, nothing goes through; nil: all does
	conns  int
	wait   sync.WaitGroup
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, port: port, addr: port.Addr().String(), target: target, open: true, live: map[net.Conn]bool{}}
	p.wait.Go(func() {
		for {
			c, err := port.Accept()
			if err != nil {
				return
			}
			p.wait.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		port.Close()
		p.mend()
		p.cut()
		p.wait.Wait()
	})
	return p
}

func (p *proxy) serve(c net.Conn) {
	p.mu.Lock()
	target, open := p.target, p.open
	p.mu.Unlock()
	if !open {
		c.Close()
		return
	}
	up, err := net.Dial("tcp", target)
	if err != nil {
		c.Close()
		return
	}
	p.mu.Lock()
	p.live[c], p.live[up] = true, true
	p.conns++
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.copy(up, c) })
	both.Go(func() { p.copy(c, up) })
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.live, c)
	delete(p.live, up)
}

// copy passes on what comes until either end is closed.
func (p *proxy) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		hole := p.hole
		p.mu.Unlock()
		if hole != nil {
			<-hole
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if err != io.EOF {
				return
			}
			return
		}
	}
}

// cut resets all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.live {
		_ = c.(*net.TCPConn).SetLinger(0) // best effort
		c.Close()
	}
}

// shut cuts, and lets nobody through until it is opened.
func (p *proxy) shut() {
	p.mu.Lock()
	p.open = false
	p.mu.Unlock()
	p.cut()
}

// lead opens the proxy, to a master.
func (p *proxy) lead(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target, p.open = target, true
}

// stall swallows what comes until mend; the connections stay.
func (p *proxy) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hole == nil {
		p.hole = make(chan struct{})
	}
}

func (p *proxy) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hole != nil {
		close(p.hole)
		p.hole = nil
	}
}

// connections is how many there were.
func (p *proxy) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conns
}
