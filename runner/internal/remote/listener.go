package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"bothy/runner/config"
	"bothy/runner/internal/remote/lasting"
	"bothy/runner/worker"
)

// Listener accepts workers. Make one with [NewListener], give it workers and
// something to listen on, and close it.
type Listener struct {
	o     Options
	log   *slog.Logger
	tls   atomic.Pointer[tls.Config]
	epoch atomic.Int64
	ids   atomic.Uint64 // of sessions
	tools *lasting.Tools
	guard guard
	group sync.WaitGroup

	ctx  context.Context // ends with Close
	stop context.CancelFunc

	mu      sync.Mutex
	workers map[string][]*Worker // the first of a name is the one that connects
	ports   map[net.Listener]bool
	peers   map[*peer]bool
	closed  bool
}

var (
	// ErrListenerClosed says that the listener was closed.
	ErrListenerClosed = errors.New("the remote listener is closed")
	errReleased       = errors.New("the worker was released")
)

// NewListener returns a Listener that does not listen yet.
func NewListener(o Options) (*Listener, error) {
	if o.Password == nil {
		return nil, errors.New("remote listener without passwords")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.KeepFailed == 0 {
		o.KeepFailed = 5
	}
	l := &Listener{o: o, log: o.Logger, workers: map[string][]*Worker{}, ports: map[net.Listener]bool{}, peers: map[*peer]bool{}}
	var err error
	if l.tools, err = lasting.NewTools(); err != nil {
		return nil, err
	}
	l.ctx, l.stop = context.WithCancel(context.Background())
	l.tls.Store(o.TLS)
	return l, nil
}

// SetEpoch says which start of the master this is. Sessions with other Bothys
// carry it.
func (l *Listener) SetEpoch(epoch int64) { l.epoch.Store(epoch) }

// SetTLS changes the certificates for peers that come from now on; nil: clear text.
func (l *Listener) SetTLS(conf *tls.Config) { l.tls.Store(conf) }

// Worker returns the kind of a worker of the configuration that dials in. If
// there is one of the name, the new one takes its place when that is released.
func (l *Listener) Worker(conf config.Worker) (worker.Kind, error) {
	if conf.Name == "" {
		return nil, errors.New("remote worker without a name")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, ErrListenerClosed
	}
	w := newWorker(l, conf)
	l.workers[conf.Name] = append(l.workers[conf.Name], w)
	return w, nil
}

// Update tells the listener's workers what a new configuration says of them. It
// does not block. Those it does not name stay until they are released, but since
// their password is gone they cannot come again.
func (l *Listener) Update(workers []config.Worker) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conf := range workers {
		for _, w := range l.workers[conf.Name] {
			w.update(conf)
		}
	}
}

// worker returns the one that connects under a name, nil if there is none.
func (l *Listener) worker(name string) *Worker {
	l.mu.Lock()
	defer l.mu.Unlock()
	if all := l.workers[name]; len(all) > 0 {
		return all[0]
	}
	return nil
}

// remove forgets a released worker.
func (l *Listener) remove(w *Worker) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var left []*Worker
	for _, other := range l.workers[w.name] {
		if other != w {
			left = append(left, other)
		}
	}
	if l.workers[w.name] = left; len(left) == 0 {
		delete(l.workers, w.name)
	}
}

// Serve accepts workers on a port until that or the Listener is closed, and
// closes the port. It may be called for several ports. The error is
// [ErrListenerClosed], or why the port does not work.
func (l *Listener) Serve(port net.Listener) error {
	defer port.Close()
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrListenerClosed
	}
	l.ports[port] = true
	l.group.Add(1)
	l.mu.Unlock()
	defer l.group.Done()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.ports, port)
	}()
	for pause := time.Duration(0); ; {
		conn, err := port.Accept()
		if err == nil {
			pause = 0
			l.meet(conn)
			continue
		}
		if l.ctx.Err() != nil {
			return ErrListenerClosed
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("accept workers: %w", err)
		}
		// Such as too many open files: it passes.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		l.log.Warn("worker cannot be accepted", "err", err, "again_in", pause)
		select {
		case <-time.After(pause):
		case <-l.ctx.Done():
		}
	}
}

// peer is somebody who has connected.
type peer struct {
	l        *Listener
	conn     net.Conn // as accepted
	addr     string
	from     netip.Prefix
	stranger *stranger
	deadline time.Time // of the login
	known    sync.Once
	linked   atomic.Bool // it has logged in
	admitted atomic.Bool // it is a worker
}

// meet deals with a new connection in a goroutine of its own.
func (l *Listener) meet(conn net.Conn) {
	addr := conn.RemoteAddr().String()
	p := &peer{l: l, conn: conn, addr: addr, from: origin(addr), deadline: time.Now().Add(LoginTime)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		p.stranger = l.guard.admit(p.from, func() { conn.Close() })
	}
	if p.stranger == nil {
		l.log.Debug("too many strangers", "address", addr)
		conn.Close()
		return
	}
	l.peers[p] = true
	l.group.Add(1)
	go func() {
		defer l.group.Done()
		defer func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			delete(l.peers, p)
		}()
		defer p.accepted()
		defer conn.Close()
		if err := p.serve(); err != nil && l.ctx.Err() == nil {
			l.log.Info("peer dropped", "address", addr, "err", err)
		}
	}()
}

// accepted says that the peer is a stranger no more.
func (p *peer) accepted() { p.known.Do(func() { p.l.guard.leave(p.stranger) }) }

// link says that the peer has logged in: its connection ends through its link.
func (p *peer) link() error {
	p.accepted()
	p.linked.Store(true)
	return p.conn.SetDeadline(time.Time{})
}

func (p *peer) serve() error {
	if err := p.conn.SetDeadline(p.deadline); err != nil {
		return err
	}
	if tcp, ok := p.conn.(*net.TCPConn); ok {
		p.watch(tcp)
	}
	conn := p.conn
	if conf := p.l.tls.Load(); conf != nil {
		var err error
		if conn, err = secure(conn, conf, p.deadline); err != nil {
			return err
		}
	}
	conn, speaks, err := sniff(conn, p.deadline)
	switch {
	case err != nil:
		return err
	case speaks == protocolMsgpack:
		return p.serveMsgpack(conn)
	}
	return p.servePB(conn)
}

// watch has the kernel look after a connection: a peer that is gone is noticed
// within DeadAfter, whether or not it is sent anything.
func (p *peer) watch(tcp *net.TCPConn) {
	const probes, every = 3, 5 * time.Second
	err := tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: DeadAfter - probes*every, Interval: every, Count: probes})
	if err == nil {
		err = setUserTimeout(tcp, DeadAfter)
	}
	if err != nil {
		p.l.log.Warn("connection is not watched", "address", p.addr, "err", err)
	}
}

// Close ends all connections, with a word to those who understand it, and
// returns when nothing of the Listener runs any more.
func (l *Listener) Close() error {
	l.mu.Lock()
	l.closed = true
	l.stop()
	var live []*Conn
	for _, all := range l.workers {
		for _, w := range all {
			if c := w.current(); c != nil {
				live = append(live, c)
			}
		}
	}
	for port := range l.ports {
		port.Close()
	}
	l.mu.Unlock()
	var wg sync.WaitGroup
	for _, c := range live {
		wg.Go(func() { c.Close() })
	}
	wg.Wait()
	l.mu.Lock()
	for p := range l.peers {
		if !p.linked.Load() { // else it is being said goodbye
			p.conn.Close()
		}
	}
	l.mu.Unlock()
	l.group.Wait()
	return nil
}
