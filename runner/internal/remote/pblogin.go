package remote

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"net"
	"time"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/pb"
	"bothy/runner/internal/remote/wire/pb/banana"
)

// refusedTime is how long the connection of a refused worker stays open: one of
// Buildbot's waits before it tries again as long as it does.
const refusedTime = 5 * time.Second

// servePB serves a peer that speaks Perspective Broker, from the handshake to the
// end of the connection.
func (p *peer) servePB(conn net.Conn) error {
	ctx, cancel := context.WithDeadline(p.l.ctx, p.deadline)
	defer cancel()
	watched := &watchedConn{Conn: conn}
	s := &pbLogin{p: p, conn: watched, broker: make(chan *pb.Broker, 1)}
	b, err := pb.Server(ctx, watched, s, pb.Options{Limits: pb.StrangerLimits, Backlog: pbBacklog})
	if err != nil {
		return err
	}
	s.broker <- b
	stop := context.AfterFunc(p.l.ctx, func() {
		if !p.admitted.Load() { // else it is closed as a worker
			b.Close()
		}
	})
	defer stop()
	err = b.Wait()
	if s.link == nil {
		return err
	}
	p.parted(s.w, s.link)
	return nil
}

// pbLogin is the root that a stranger can call: it asks for a proof of the
// password. Handlers of one object run one after the other, so it needs no lock.
type pbLogin struct {
	p      *peer
	conn   *watchedConn
	broker chan *pb.Broker // has one

	tries int
	w     *Worker // set once the password was right, and so is link
	link  *pbLink
}

// maxTries is how many challenges a connection gets.
const maxTries = 3

// Call implements [pb.Handler].
func (s *pbLogin) Call(_ context.Context, method string, args pb.Args) (any, error) {
	if method != "login" {
		return nil, pb.NoSuchMethod(method)
	}
	if s.tries++; s.tries > maxTries {
		return nil, pb.Unauthorized()
	}
	name, err := args.Text(0, "username")
	if err != nil {
		return nil, err
	}
	c := &challenge{s: s, name: name, challenge: make([]byte, 16)}
	rand.Read(c.challenge)
	return wire.Tuple{c.challenge, pb.NewObject(c)}, nil
}

// challenge is answered once with the proof of a password.
type challenge struct {
	s         *pbLogin
	name      string
	challenge []byte
	used      bool
}

// Call implements [pb.Handler].
func (c *challenge) Call(_ context.Context, method string, args pb.Args) (any, error) {
	if method != "respond" {
		return nil, pb.NoSuchMethod(method)
	}
	v, _ := args.Get(0, "response")
	response, err := wire.Bytes(v)
	if err != nil {
		return nil, err
	}
	v, _ = args.Get(1, "mind")
	bot, ok := v.(*pb.Ref)
	if !ok || c.used || c.s.link != nil {
		return nil, pb.Unauthorized()
	}
	c.used = true
	p := c.s.p
	w, err := p.l.login(c.name, func(pw Password) bool { return c.proves(pw, response) })
	if err != nil {
		if pw, _ := p.l.o.Password(c.name); pw.SHA256 != "" {
			err = errHashed
		}
		if !p.refuse(c.name, err) {
			p.conn.Close()
		}
		return nil, pb.Unauthorized()
	}
	return c.welcome(w, bot)
}

// welcome makes the stranger a worker. Any error but this one makes Buildbot's
// worker exit.
func (c *challenge) welcome(w *Worker, bot *pb.Ref) (any, error) {
	s, p := c.s, c.s.p
	b := <-s.broker
	b.SetLimits(banana.Limits{})
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

// proves reports whether a response proves the knowledge of a password:
// MD5(MD5(password) + challenge). twisted.spread.pb.respond.
func (c *challenge) proves(pw Password, response []byte) bool {
	inner := md5.Sum([]byte(pw.Text))
	want := md5.Sum(append(inner[:], c.challenge...))
	return subtle.ConstantTimeCompare(want[:], response) == 1 && pw.Text != ""
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
