package pb

import (
	"cmp"

	"bothy/runner/internal/remote/wire/pb/banana"
)

// Options bound what a connection may cost. The zero value means the defaults.
type Options struct {
	// Limits are those of one message of the peer. A server that does not know
	// its peer yet does well with [StrangerLimits]; see [Broker.SetLimits].
	Limits banana.Limits
	// Objects is how many objects of ours the peer may hold references to;
	// default [DefaultObjects].
	Objects int
	// Refs is how many references to objects of the peer we may hold; default
	// [DefaultRefs].
	Refs int
	// Window is how many bytes of our calls may be without answer before
	// further ones wait; default [DefaultWindow].
	Window int
	// Backlog is about how many bytes of memory the peer's calls may take that
	// are not answered yet, and the answers that are not sent yet, before the
	// connection is not read any more; default [DefaultBacklog]. It should be
	// more than the peer's Window, or two of our kind could wait for each other.
	Backlog int
}

// Defaults of [Options].
const (
	// DefaultObjects is above Twisted's own MAX_BROKER_REFS of 1024: workers
	// give references back when Python's garbage collector finds them.
	DefaultObjects = 8192
	// DefaultRefs is above what a worker of Twisted's can hand out.
	DefaultRefs = 8192
	// DefaultWindow keeps a link of 1 Gbit/s and 30 ms busy.
	DefaultWindow = 4 << 20
	// DefaultBacklog leaves room for a peer's DefaultWindow as it is decoded.
	DefaultBacklog = 16 << 20
)

// StrangerLimits are enough to log in, and not much more.
var StrangerLimits = banana.Limits{Bytes: 8 << 10, Values: 256, String: 4 << 10, List: 64}

func (o Options) objects() int { return cmp.Or(o.Objects, DefaultObjects) }
func (o Options) refs() int    { return cmp.Or(o.Refs, DefaultRefs) }
func (o Options) window() int  { return cmp.Or(o.Window, DefaultWindow) }
func (o Options) backlog() int { return cmp.Or(o.Backlog, DefaultBacklog) }
