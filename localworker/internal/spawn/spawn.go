// Package spawn runs the commands of local builds so that none of their
// processes can outlive them.
//
// On Linux a [Pool] starts one long-lived re-executed process per slot, the
// spawner ([Main]). It is a child subreaper: whatever a command starts, with
// setsid and double fork or not, stays its descendant, and when the master
// dies in any way the spawner reads the end of its socket and ends them all.
// Where cgroup v2 can be written, each command also gets a cgroup of its own,
// which is killed in one stroke and outlives a killed spawner.
//
// Every process of a build carries the environment variable [CookieName], by
// which [Sweep] finds what is left of a master and spawners that were all killed.
//
// A program that never called Main cannot be re-executed. It gets process
// groups, and cgroups where there are any, from its own process.
package spawn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
)

// Mode is how strongly process trees are held, as `bothy doctor` names it.
type Mode string

// The modes.
const (
	ModeCgroup Mode = "cgroup-v2"  // one cgroup per command
	ModeLeader Mode = "leader"     // a spawner, without cgroups
	ModeGroup  Mode = "group"      // process groups; a setsid is found by its environment
	ModeJob    Mode = "job-object" // Windows
)

// Method is a mode and the way in which commands are put into it.
type Method string

// The methods, best first.
const (
	Clone      Method = "clone3"       // spawner; born in the cgroup (CLONE_INTO_CGROUP)
	Procs      Method = "cgroup.procs" // spawner; it enters the cgroup while it forks
	Leader     Method = "leader"       // spawner without cgroups
	CloneAlone Method = "clone3-alone" // no spawner; born in the cgroup
	Group      Method = "group"        // no spawner, no cgroup
	Job        Method = "job-object"
)

// Mode returns the method's mode.
func (m Method) Mode() Mode {
	switch m {
	case Clone, Procs, CloneAlone:
		return ModeCgroup
	case Leader:
		return ModeLeader
	case Job:
		return ModeJob
	}
	return ModeGroup
}

func (m Method) spawner() bool { return m == Clone || m == Procs || m == Leader }
func (m Method) cgroup() bool  { return m.Mode() == ModeCgroup }

// Options say whose builds are run.
type Options struct {
	// BaseID names the base directory: 1 to 64 letters, digits, "_" and "-".
	BaseID string
	// Epoch rises with every start of a master on the base directory.
	Epoch int64
	// Memory limits all builds together, in bytes, where a memory controller
	// can be used; 0: no limit. What runs over it is fought out by the kernel
	// among the builds, and the master is spared.
	Memory int64
	// Early becomes the pool's first spawner, or is closed with the pool, also
	// when that cannot be opened. It may be nil.
	Early *Early
	// Only allows one method, for tests; empty: the best one that works.
	Only Method
	// Logger is told about what does not work as it should; nil: nobody is.
	Logger *slog.Logger

	shareMemory bool // for tests: as where no memory group can be made
}

func (o *Options) check() error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if len(o.BaseID) < 1 || len(o.BaseID) > 64 {
		return fmt.Errorf("base directory id %q: want 1 to 64 characters", o.BaseID)
	}
	for _, c := range []byte(o.BaseID) {
		if !isPlain(c) {
			return fmt.Errorf("base directory id %q: want letters, digits, _ and - only", o.BaseID)
		}
	}
	return nil
}

func isPlain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// Support is what this machine offers.
type Support struct {
	Mode   Mode
	Method Method
	Memory string   // "v2" or "v1" where a memory controller watches the builds, else ""
	Text   []string // for people: what is in force and why, one sentence each
}

// Pool is the containment of one master's builds. Its methods may be called
// from many goroutines.
type Pool struct {
	o     Options
	c     containment
	slots atomic.Int64
	tally tally
}

// Open finds the best containment and prepares it. The caller must Close the
// pool after its spawners.
func Open(o Options) (*Pool, error) {
	if err := o.check(); err != nil {
		return nil, errors.Join(err, o.Early.Close())
	}
	p := &Pool{o: o}
	if err := p.c.open(o); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare containment of builds: %w", err), o.Early.Close())
	}
	return p, nil
}

// Support tells what is in force. The method may still fall from [Procs] to
// [Leader] when the first spawner starts.
func (p *Pool) Support() Support { return p.c.describe() }

// Early is the process of a spawner, started when its master does not yet know
// its epoch. Unless it is given to a pool the caller must Close it.
type Early struct {
	p    *helper
	seen *survey
}

// Launch starts a spawner's process for the base directory of that id, so that
// it is ready when a pool needs one, and looks how that will contain builds. It
// returns nil where pools use no spawners.
func Launch(baseID string) (*Early, error) {
	p, err := launch(baseID, unknownEpoch)
	if p == nil || err != nil {
		return nil, err
	}
	return &Early{p, look(baseID)}, nil
}

// Close ends the process. A nil Early is closed already.
func (e *Early) Close() error {
	if e == nil {
		return nil
	}
	return e.p.close()
}

// Start starts a spawner: the place where one build at a time runs. The
// context bounds the start only. The caller must Close the spawner.
func (p *Pool) Start(ctx context.Context) (*Spawner, error) {
	e, err := p.c.start(ctx, p.slots.Add(1))
	if err != nil {
		return nil, fmt.Errorf("start spawner: %w", err)
	}
	return &Spawner{exec: e, log: p.o.Logger, tally: &p.tally}, nil
}

// Close gives back what Open made. Spawners must have been closed before.
func (p *Pool) Close() error { return p.c.close() }

// Probe finds out what [Open] and [Pool.Start] would use, and leaves no trace.
// It does not touch what a living master of the same base directory made.
func Probe(ctx context.Context, o Options) (Support, error) {
	o.BaseID = fmt.Sprintf("probe-%d", os.Getpid())
	p, err := Open(o)
	if err != nil {
		return Support{}, err
	}
	defer p.Close()
	s, err := p.Start(ctx)
	if err != nil {
		return p.Support(), err
	}
	err = s.Close()
	return p.Support(), err
}
