package remote

import (
	"errors"
	"fmt"
	"net"

	"github.com/coder/websocket"

	"bothy/runner/internal/remote/lasting"
	"bothy/runner/internal/remote/wire/bothy"
)

// errHeld says that the name belongs to a worker that may come back.
var errHeld = errors.New("a worker of this name is cut off, and what it runs is held for it")

// serveLasting serves a connection of another Bothy, from its first packet to its
// end. The connection may be one of several of a session.
func (p *peer) serveLasting(w *Worker, ws *websocket.Conn, conn net.Conn) error {
	sock := lasting.NewSocket(ws, conn, p.l.tools, DeadAfter)
	defer sock.Close()
	h, err := readHello(sock)
	if err != nil {
		return err
	}
	if h.Token.Set() {
		if k := w.session(h.Token); k != nil {
			return p.resume(w, k, sock, h)
		}
		p.l.log.Warn("late worker refused: its session is over", "worker", w.name, "address", p.addr)
		if err := send(sock, &bothy.Refusal{Reason: "the session is over"}); err != nil {
			return err
		}
		if h, err = readHello(sock); err != nil {
			return err
		}
		if h.Token.Set() {
			return errors.New("it wants a session that it was refused")
		}
	}
	return p.begin(w, sock, h)
}

func readHello(c lasting.Conn) (*bothy.Hello, error) {
	b, err := c.Read()
	if err != nil {
		return nil, err
	}
	first, err := bothy.Read(b)
	if err != nil {
		return nil, err
	}
	h, ok := first.(*bothy.Hello)
	if !ok {
		return nil, fmt.Errorf("it began with a %T", first)
	}
	return h, nil
}

func send(c lasting.Conn, p bothy.Packet) error {
	return c.Write([][]byte{bothy.Append(nil, p)})
}

// session returns the worker's session of a token, nil if it is over.
func (w *Worker) session(t bothy.Token) *leasedLink {
	c := w.current()
	if c == nil {
		return nil
	}
	if k, ok := c.link.(*leasedLink); ok && k.is(t) {
		return k
	}
	return nil
}

// begin serves the first connection of a new session.
func (p *peer) begin(w *Worker, sock lasting.Conn, h *bothy.Hello) error {
	l := p.l
	w.mu.Lock()
	lease := w.lease
	w.mu.Unlock()
	log := l.log.With("worker", w.name, "address", p.addr)
	l.group.Add(1)
	k := l.newLeasedLink(h, lease, log, func(k *leasedLink) {
		defer l.group.Done()
		p.parted(w, k)
	})
	err := send(sock, &bothy.Welcome{
		Token: k.token, Epoch: l.epoch.Load(), ID: l.ids.Add(1), Lease: lease, Window: lasting.DefaultWindow, Zstd: true,
	})
	if err == nil {
		err = p.link()
	}
	if err != nil {
		k.close(err, false)
		return err
	}
	l.group.Go(func() {
		err := p.welcome(w, k)
		if err != nil && k.err() == nil {
			log.Warn("worker refused", "err", err)
			k.close(err, true)
		}
	})
	return k.serve(sock, 0)
}

// resume serves a further connection of a session. The one that there may be is
// half open, and goes.
func (p *peer) resume(w *Worker, k *leasedLink, sock lasting.Conn, h *bothy.Hello) error {
	k.stream.Disconnect(errors.New("its worker has come back"))
	k.stream.Confirm(0)
	err := send(sock, &bothy.Welcome{
		Resumed: true, Received: k.stream.Received(), Token: k.token, Epoch: p.l.epoch.Load(), Lease: k.lease,
		Window: lasting.DefaultWindow, Zstd: true,
	})
	if err == nil {
		err = p.link()
	}
	if err != nil {
		return err
	}
	return k.serve(sock, h.Received)
}

// yield decides between the worker's session, if its connection is cut, and a
// newcomer: one from the same place shows that nothing of the session runs any
// more; another has to wait until what runs is over. False: it cannot be decided
// so.
func (w *Worker) yield(old *Conn, newcomer link) (decided bool, err error) {
	k, ok := old.link.(*leasedLink)
	if !ok || !k.isCut() {
		return false, nil
	}
	if n, ok := newcomer.(*leasedLink); (ok && n.place != "" && n.place == k.place) || old.builds() == 0 {
		k.close(errors.New("its worker has begun anew"), false)
		return true, nil
	}
	hold, _ := k.Hold()
	return true, fmt.Errorf("%w until %v", errHeld, hold.Until.Format("15:04:05"))
}
