package pb

import (
	"context"
	"fmt"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/pb/banana"
	"bothy/runner/internal/remote/wire/pb/jelly"
)

// read takes messages until the connection ends.
func (b *Broker) read() {
	for {
		// The limits may change while nothing comes.
		err := b.decoder.More()
		if err != nil {
			b.fail(lost(err))
			return
		}
		expr, err := b.decoder.Decode(*b.limits.Load())
		if err == nil {
			err = b.receive(expr, b.decoder.Cost())
		}
		if err != nil {
			b.fail(lost(err))
			return
		}
	}
}

// receive takes one message; cost is what it takes of memory.
func (b *Broker) receive(expr any, cost int) error {
	e, ok := expr.([]any)
	if !ok || len(e) == 0 {
		return protocolError("a message that is no list")
	}
	command, ok := e[0].(string)
	if !ok {
		return protocolError("a message without a command")
	}
	m := message{command, e[1:]}
	switch command {
	case cmdVersion:
		return b.receiveVersion(m)
	case cmdMessage:
		return b.receiveCall(m, cost)
	case cmdAnswer, cmdError:
		return b.receiveAnswer(m)
	case cmdDecref:
		return b.receiveDecref(m)
	case cmdDidNotUnderstand:
		return nil // we send nothing that is not understood
	}
	return b.receiveUnknown(command)
}

// message is what follows the command of a message.
type message struct {
	command string
	rest    []any
}

func (m message) want(n int) error {
	if len(m.rest) != n {
		return protocolError("%s with %d elements", m.command, len(m.rest))
	}
	return nil
}

func (m message) int(i int) (int64, error) {
	n, ok := m.rest[i].(int64)
	if !ok {
		return 0, protocolError("%s with a %T as element %d", m.command, m.rest[i], i)
	}
	return n, nil
}

func (b *Broker) receiveVersion(m message) error {
	if err := m.want(1); err != nil {
		return err
	}
	if n, err := m.int(0); err != nil || n != version {
		return protocolError("version %v, want %d", m.rest[0], version)
	}
	return nil
}

func (b *Broker) receiveDecref(m message) error {
	if err := m.want(1); err != nil {
		return err
	}
	id, err := m.int(0)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.giveBack(id, 1)
	return nil
}

func (b *Broker) receiveAnswer(m message) error {
	if err := m.want(2); err != nil {
		return err
	}
	id, err := m.int(0)
	if err != nil {
		return err
	}
	rc := &receipt{b: b}
	v, failure := jelly.Read(m.rest[1], rc)
	if failure != nil {
		failure = fmt.Errorf("read the answer: %w", failure)
	} else if m.command == cmdError {
		v, failure = nil, fromError(v)
	}
	return b.answered(id, v, failure, rc)
}

// receiveUnknown tells the peer that it was not understood, as Twisted does.
func (b *Broker) receiveUnknown(command string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.makeRoom(len(command)); err != nil {
		return err
	}
	b.answer(func(out []byte) []byte {
		out = banana.AppendString(banana.AppendList(out, 2), cmdDidNotUnderstand)
		return banana.AppendString(out, command)
	})
	return nil
}

// makeRoom waits until the backlog has room for n more bytes; what is more than
// there ever is gets in alone. b.mu must be held.
func (b *Broker) makeRoom(n int) error {
	return b.await(context.Background(), func() bool {
		return b.backlog == 0 || b.backlog+n <= b.options.backlog()
	})
}

// inbound is a call of the peer.
type inbound struct {
	id     int64
	method string
	args   Args
	answer bool
	cost   int // of the backlog
	refs   *receipt
}

func (b *Broker) receiveCall(m message, cost int) error {
	if err := m.want(6); err != nil {
		return err
	}
	id, err := m.int(0)
	if err != nil {
		return err
	}
	method, ok := m.rest[2].(string)
	if !ok {
		return protocolError("a call of a method that is a %T", m.rest[2])
	}
	answer, err := m.int(3)
	if err != nil {
		return err
	}
	in := inbound{id: id, method: method, answer: answer != 0, cost: cost, refs: &receipt{b: b}}
	unreadable := in.readArgs(m.rest[4], m.rest[5])

	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.makeRoom(cost); err != nil {
		return err
	}
	b.backlog += cost
	x := b.exported(m.rest[1])
	switch {
	case unreadable != nil:
		b.refuse(in, unreadable)
	case x == nil:
		b.refuse(in, errNoObject)
	default:
		x.queue = append(x.queue, in)
		if !x.busy {
			x.busy = true
			b.running.Go(func() { b.serve(x) })
		}
	}
	return nil
}

// exported returns the object of ours that a call is for; nil if there is none.
// b.mu must be held.
func (b *Broker) exported(id any) *export {
	switch id := id.(type) {
	case int64:
		return b.exports[id]
	case string:
		if id == rootName {
			return b.root
		}
	}
	return nil
}

// readArgs decodes the arguments.
func (in *inbound) readArgs(list, named any) error {
	v, err := jelly.Read(list, in.refs)
	if err != nil {
		return fmt.Errorf("read the arguments: %w", err)
	}
	if in.args.List, err = wire.List(v); err != nil {
		return fmt.Errorf("read the arguments: %w", err)
	}
	if v, err = jelly.Read(named, in.refs); err != nil {
		return fmt.Errorf("read the named arguments: %w", err)
	}
	if in.args.Named, err = wire.Dict(v); err != nil {
		return fmt.Errorf("read the named arguments: %w", err)
	}
	return nil
}
