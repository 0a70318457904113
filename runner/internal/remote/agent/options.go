package agent

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"bothy/localworker"
)

// Protocol is one of the two that a worker can speak.
type Protocol string

// The protocols.
const (
	PB      Protocol = "pb"
	Msgpack Protocol = "msgpack"
)

// ParseProtocol returns the protocol of that name: "pb", "msgpack", or Buildbot's
// name for the latter.
func ParseProtocol(name string) (Protocol, error) {
	switch name {
	case "pb":
		return PB, nil
	case "msgpack", "msgpack_experimental_v7":
		return Msgpack, nil
	}
	return "", fmt.Errorf("unknown protocol %q: want pb or msgpack", name)
}

// Options describe a worker.
type Options struct {
	// Master is where the master listens; see [ParseMaster].
	Master Master
	// Proxy is the URL of an HTTP proxy that is asked to CONNECT; "": none. Its
	// user and password are sent as Basic authorization.
	Proxy string
	// TLS is used when Master.TLS says so; nil: the system's authorities.
	TLS *tls.Config
	// Name is the worker's name at the master. The colon is not allowed.
	Name string
	// Password is asked for before each connection.
	Password func() (string, error)
	// Protocol is what the master speaks; "": MessagePack if it can, which alone
	// outlives cuts between two Bothys, otherwise Perspective Broker.
	Protocol Protocol
	// Once ends the worker with its first connection.
	Once bool
	// BaseDir is the directory that holds the builders' directories and "info",
	// absolute. It is made when missing.
	BaseDir string
	// Machine limits what the worker says it has.
	Machine localworker.MachineOptions
	// Environ is what commands inherit, "NAME=value"; see [BaseEnv]. The master is
	// told about it.
	Environ []string
	// Keepalive is how often the master is called over PB; 0: never.
	Keepalive time.Duration
	// DeleteLeftoverDirs removes directories of builders that the master does not
	// know any more.
	DeleteLeftoverDirs bool
	// Spool is how many bytes of output are kept on disk, in the base directory,
	// while the connection to another Bothy is cut and memory has no more room;
	// then commands wait. 0: [DefaultSpool]; negative: none.
	Spool int64
	// Version is what the worker says of itself.
	Version string
	Logger  *slog.Logger // nil: nobody is told
}

// DefaultKeepalive is that of buildbot-worker create-worker.
const DefaultKeepalive = 10 * time.Minute

func (o *Options) check() error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Spool == 0 {
		o.Spool = DefaultSpool
	}
	switch {
	case o.Name == "":
		return errors.New("a worker needs a name")
	case strings.Contains(o.Name, ":"):
		return fmt.Errorf("worker name %q: a colon cannot be sent", o.Name)
	case o.Password == nil:
		return errors.New("a worker needs a password")
	case o.Master.Addr == "":
		return errors.New("a worker needs the address of its master")
	case o.Protocol != "" && o.Protocol != PB && o.Protocol != Msgpack:
		return fmt.Errorf("unknown protocol %q", o.Protocol)
	case !filepath.IsAbs(o.BaseDir):
		return fmt.Errorf("base directory %q is not absolute", o.BaseDir)
	}
	return nil
}
