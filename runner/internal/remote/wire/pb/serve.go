package pb

import (
	"bothy/runner/internal/remote/wire/pb/banana"
	"bothy/runner/internal/remote/wire/pb/jelly"
)

// errNoObject is what Twisted's peers say, word for word.
var errNoObject = &Failure{Type: TypeError, Value: "Invalid Object ID"}

// serve answers the calls of one object until none is left.
func (b *Broker) serve(x *export) {
	for {
		b.mu.Lock()
		if len(x.queue) == 0 || b.err != nil {
			x.queue, x.busy = nil, false
			b.mu.Unlock()
			return
		}
		in := x.queue[0]
		x.queue[0] = inbound{} // the array outlives the call
		x.queue = x.queue[1:]
		if x.forgotten {
			b.refuse(in, errNoObject)
			b.mu.Unlock()
			continue
		}
		b.mu.Unlock()
		v, err := x.object.handler.Call(b.ended, in.method, in.args)
		b.mu.Lock()
		if err != nil {
			b.refuse(in, err)
		} else {
			b.reply(in, cmdAnswer, v)
		}
		b.mu.Unlock()
	}
}

// refuse answers a call with an error. b.mu must be held.
func (b *Broker) refuse(in inbound, err error) {
	if b.err == nil {
		for _, r := range in.refs.refs {
			b.release(r)
		}
	}
	b.reply(in, cmdError, toFailure(err))
}

// reply sends what there is to say to a call, and takes it off the backlog. b.mu
// must be held.
func (b *Broker) reply(in inbound, command string, v any) {
	b.backlog -= in.cost
	defer b.changed.Broadcast()
	if !in.answer || b.err != nil {
		return
	}
	n, err := b.append(func(out []byte, lend func(any) (jelly.Ref, bool, error)) ([]byte, error) {
		return appendReply(out, command, in.id, v, lend)
	})
	if err != nil { // v cannot be sent; the peer must be told something
		why := toFailure(err)
		n, _ = b.append(func(out []byte, _ func(any) (jelly.Ref, bool, error)) ([]byte, error) {
			return appendReply(out, cmdError, in.id, why, nil)
		})
	}
	b.backlog += n
	b.outAnswers += n
}

func appendReply(out []byte, command string, id int64, v any, lend func(any) (jelly.Ref, bool, error)) ([]byte, error) {
	out = banana.AppendString(banana.AppendList(out, 3), command)
	return jelly.Append(banana.AppendInt(out, id), v, lend)
}
