package pb

import (
	"context"

	"bothy/runner/internal/remote/wire/pb/jelly"
)

const (
	// maxUnsent is how many bytes may wait to be sent before calls wait.
	// Answers do not: their number is that of the peer's calls.
	maxUnsent = 256 << 10
	// Buffers are kept up to these sizes: by who is busy, by who is idle.
	busyBuffer = 1 << 20
	idleBuffer = 4 << 10
)

// append adds a message to what is to be sent and returns its size. If it cannot
// be written nothing is sent, and no object is lent. b.mu must be held, and the
// connection must not have ended.
func (b *Broker) append(write func(out []byte, lend func(any) (jelly.Ref, bool, error)) ([]byte, error)) (int, error) {
	var lent []int64
	lend := func(v any) (ref jelly.Ref, ok bool, err error) {
		switch v := v.(type) {
		case *Object:
			if v == nil {
				return ref, false, nil
			}
			if ref, err = b.lend(v); err == nil {
				lent = append(lent, ref.ID)
			}
			return ref, true, err
		case *Ref:
			if v == nil || v.b != b || v.id == 0 {
				return ref, false, nil
			}
			if v.released {
				return ref, false, ErrReleased
			}
			return jelly.Ref{ID: v.id, Theirs: true}, true, nil
		}
		return ref, false, nil
	}
	if b.out == nil {
		b.out, b.spare = b.spare, nil
	}
	start := len(b.out)
	out, err := write(b.out, lend)
	if err != nil {
		for _, id := range lent {
			b.giveBack(id, 1)
		}
		return 0, err
	}
	b.out = out
	b.kick()
	return len(out) - start, nil
}

// answer adds a message that counts as backlog until it is sent. b.mu must be
// held, and the connection must not have ended.
func (b *Broker) answer(write func([]byte) []byte) {
	n, _ := b.append(func(out []byte, _ func(any) (jelly.Ref, bool, error)) ([]byte, error) {
		return write(out), nil
	})
	b.backlog += n
	b.outAnswers += n
}

// kick makes sure that someone sends b.out. b.mu must be held.
func (b *Broker) kick() {
	if !b.writing {
		b.writing = true
		b.running.Go(b.write)
	}
}

// write sends until nothing is left.
func (b *Broker) write() {
	b.mu.Lock()
	for b.err == nil && len(b.out) > 0 {
		out, calls, answers := b.out, b.outCalls, b.outAnswers
		b.out, b.outCalls, b.outAnswers = nil, 0, 0
		b.mu.Unlock()
		_, err := b.conn.Write(out)
		if err != nil {
			b.fail(lost(err))
		}
		b.mu.Lock()
		b.inFlight -= calls
		b.backlog -= answers
		if b.err == nil && b.spare == nil && cap(out) <= busyBuffer {
			b.spare = out[:0]
		}
		b.changed.Broadcast()
	}
	if cap(b.spare) > idleBuffer {
		b.spare = nil
	}
	b.writing = false
	b.changed.Broadcast()
	b.mu.Unlock()
}

// Flush waits until all that was to be sent has been handed to the connection, or
// ctx ends.
func (b *Broker) Flush(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.await(ctx, func() bool { return !b.writing })
}
