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
	return b.handshake(ctx, "choose a dialect", func() error {
		offer, err := b.decoder.Decode(StrangerLimits)
		if err != nil {
			return err
		}
		if offered, ok := offer.([]any); !ok || !slices.Contains(offered, any(dialect)) {
			return protocolError("it does not offer the dialect %q", dialect)
		}
		hello := appendVersion(banana.AppendPlain(nil, dialect))
		_, err = conn.Write(hello)
		return err
	})
}

// Server makes a broker of a connection from a client, which can call root and
// nothing else at first; see [Portal]. The handshake must be done before ctx ends,
// which matters no more afterwards. The broker closes conn, also when the
// handshake fails.
func Server(ctx context.Context, conn io.ReadWriteCloser, root Handler, o Options) (*Broker, error) {
	b := newBroker(ctx, conn, root, o)
	return b.handshake(ctx, "offer dialects", func() error {
		offer := banana.AppendPlain(banana.AppendPlain(banana.AppendList(nil, 2), dialect), otherDialect)
		if _, err := conn.Write(offer); err != nil {
			return err
		}
		choice, err := b.decoder.Decode(StrangerLimits)
		if err != nil {
			return err
		}
		if choice != dialect {
			return protocolError("it does not choose the dialect %q", dialect)
		}
		_, err = conn.Write(appendVersion(nil))
		return err
	})
}

func appendVersion(b []byte) []byte {
	return banana.AppendInt(banana.AppendString(banana.AppendList(b, 2), cmdVersion), version)
}

// handshake does what is different at both ends, and starts the broker.
func (b *Broker) handshake(ctx context.Context, what string, do func() error) (*Broker, error) {
	stop := context.AfterFunc(ctx, func() { b.conn.Close() }) // ends reading and writing
	err := do()
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", what, lost(err))
		b.fail(err)
		return nil, err
	}
	b.decoder.UseVocabulary()
	b.running.Go(b.read)
	return b, nil
}
