package remote

import (
	"context"
	"errors"
	"net"
	"time"

	"bothy/runner/internal/remote/wire/pb"
	"bothy/runner/internal/remote/wire/pb/banana"
)

// refusedTime is how long the connection of a refused worker stays open: one of
// Buildbot's waits before it tries again as long as it does.
const refusedTime = 5 * time.Second

// strangerBacklog is what is kept of a stranger's calls and their answers.
const strangerBacklog = 32 << 10

// servePB serves a peer that speaks Perspective Broker, from the handshake to the
// end of the connection.
func (p *peer) servePB(conn net.Conn) error {
	ctx, cancel := context.WithDeadline(p.l.ctx, p.deadline)
	defer cancel()
	s := &pbLogin{p: p, conn: &watchedConn{Conn: conn}, broker: make(chan *pb.Broker, 1)}
	b, err := pb.Server(ctx, s.conn, &pb.Portal{Enter: s.enter}, pb.Options{Limits: pb.StrangerLimits, Backlog: strangerBacklog})
	if err != nil {
		return err
	}
	s.broker <- b
	closing := context.AfterFunc(p.l.ctx, func() {
		if !p.admitted.Load() { // else it is closed as a worker
			b.Close()
		}
	})
	defer closing()
	// One that does not read what it is told is not read from either, and so
	// misses the connection's deadline.
	late := context.AfterFunc(ctx, func() {
		if !p.linked.Load() {
			b.Close()
		}
	})
	defer late()
	err = b.Wait()
	if s.link == nil {
		return err
	}
	p.parted(s.w, s.link)
	return nil
}

// pbLogin is the login of one connection. Attempts come one at a time.
type pbLogin struct {
	p      *peer
	conn   *watchedConn
	broker chan *pb.Broker // has one

	w    *Worker // set once the password was right, and so is link
	link *pbLink
}

// enter decides about an attempt; see [pb.Portal].
func (s *pbLogin) enter(_ context.Context, a *pb.Attempt) (any, error) {
	p := s.p
	// The name is not known to be a worker's, but it takes as long for any.
	w, err := p.l.login(a.User, func(pw Password) bool { return a.Password(pw.Text) && pw.Text != "" })
	if err == nil && a.Mind == nil {
		err = errNoMind
	}
	if err != nil {
		if pw, _ := p.l.o.Password(a.User); pw.SHA256 != "" {
			err = errHashed
		}
		if !p.refuse(a.User, err) {
			p.conn.Close()
		}
		return nil, pb.Unauthorized()
	}
	return s.welcome(w, a.Mind)
}

// errNoMind says that there is nothing that could be told to build.
var errNoMind = errors.New("it has no object that the master can call")

// welcome makes the stranger a worker. Any error but this one makes Buildbot's
// worker exit.
func (s *pbLogin) welcome(w *Worker, bot *pb.Ref) (any, error) {
	p := s.p
	b := <-s.broker
	b.SetLimits(banana.Limits{})
	b.SetBacklog(pbBacklog)
	var known []string
	if p.l.o.Builders != nil {
		known = p.l.o.Builders(w.name)
	}
	s.w, s.link = w, newPBLink(b, bot, s.conn, known)
	err := p.link()
	if err == nil {
		err = p.welcome(w, s.link)
	}
	if err != nil {
		if s.link.err() == nil {
			p.l.log.Warn("worker refused", "worker", w.name, "address", p.addr, "err", err)
		}
		_ = p.conn.SetReadDeadline(time.Now().Add(refusedTime)) // it ends either way
		f := pb.Unauthorized()
		f.Value = err.Error()
		return nil, f
	}
	return pb.NewObject(&avatar{p.l, w}), nil
}

// avatar is what a worker that has logged in can call.
type avatar struct {
	l *Listener
	w *Worker
}

// errNotTaken answers a worker that wants to end when nobody takes care of it.
var errNotTaken = errors.New("the master does not end workers that ask for it")

// Call implements [pb.Handler].
func (a *avatar) Call(_ context.Context, method string, _ pb.Args) (any, error) {
	switch method {
	case "keepalive":
		return nil, nil
	case "shutdown": // a person asked the worker to end when its builds have
		if a.l.o.Graceful == nil {
			return nil, errNotTaken
		}
		a.l.o.Graceful(a.w.name)
		return nil, nil
	}
	return nil, pb.NoSuchMethod(method)
}
