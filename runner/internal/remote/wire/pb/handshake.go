package pb

import (
	"context"
	"fmt"
	"io"
	"slices"

	"bothy/runner/internal/remote/wire/pb/banana"
)

const (
	// dialect is that of Banana with a vocabulary; the only one Twisted's peers
	// use.
	dialect = "pb"
	// otherDialect is offered too, as Twisted does, and never spoken.
	otherDialect = "none"
	// version of the protocol; twisted.spread.pb.Broker.version.
	version = 6
)

// Client makes a broker of a connection to a server. The handshake must be done
// before ctx ends, which matters no more afterwards. The broker closes conn, also
// when the handshake fails.
func Client(ctx context.Context, conn io.ReadWriteCloser, o Options) (*Broker, error) {
	b := newBroker(ctx, conn, nil, o)
	return b.handshake(ctx, "choose a dialect", func() ([]byte, error) {
		offer, err := b.decoder.Decode(StrangerLimits)
		if err != nil {
			return nil, err
		}
		if offered, ok := offer.([]any); !ok || !slices.Contains(offered, any(dialect)) {
			return nil, protocolError("it does not offer the dialect %q", dialect)
		}
		return banana.AppendPlain(nil, dialect), nil
	})
}

// Server makes a broker of a connection from a client, which can call root and
// nothing else at first; see [Portal]. The handshake must be done before ctx ends,
// which matters no more afterwards. The broker closes conn, also when the
// handshake fails.
func Server(ctx context.Context, conn io.ReadWriteCloser, root Handler, o Options) (*Broker, error) {
	b := newBroker(ctx, conn, root, o)
	return b.handshake(ctx, "offer dialects", func() ([]byte, error) {
		offer := banana.AppendPlain(banana.AppendPlain(banana.AppendList(nil, 2), dialect), otherDialect)
		if _, err := conn.Write(offer); err != nil {
			return nil, err
		}
		choice, err := b.decoder.Decode(StrangerLimits)
		if err == nil && choice != dialect {
			err = protocolError("it does not choose the dialect %q", dialect)
		}
		return nil, err
	})
}

func appendVersion(b []byte) []byte {
	return banana.AppendInt(banana.AppendString(banana.AppendList(b, 2), cmdVersion), version)
}

// handshake does what is different at both ends, and starts the broker. agree
// returns what is to be said last.
func (b *Broker) handshake(ctx context.Context, what string, agree func() ([]byte, error)) (*Broker, error) {
	stop := context.AfterFunc(ctx, func() { b.conn.Close() }) // ends reading and writing
	last, err := agree()
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", what, lost(err))
		b.fail(err)
		return nil, err
	}
	b.decoder.UseVocabulary()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running.Go(b.read)
	b.out = appendVersion(last)
	b.kick()
	return b, nil
}
