package localworker

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"bothy/localworker/internal/machine"
	"bothy/runner/worker"
)

// readEvery is how often limits, memory pressure and the memory of builds are
// looked at while builds run.
const readEvery = 2 * time.Second

// MachineOptions are the settings of the [machine] table; zero values are "auto".
type MachineOptions = machine.Options

// Capacity is what one runner may use of the machine.
type Capacity struct {
	Slots  int     // builds at the same time
	CPUs   float64 // logical CPUs
	Memory int64   // bytes, without the reserve
	// Blocked says why no build may start now; empty: one may.
	Blocked string
}

// Budget is one runner's view of what this process may use of its machine. The
// process has one machine, so all Budgets of [Shared] count the builds of each
// other. Its methods may be called from many goroutines.
type Budget struct {
	l       *ledger
	read    func() facts
	reading sync.Mutex // held during read
	changed chan struct{}
	log     *slog.Logger

	// The rest is guarded by l.mu.
	facts facts
	when  time.Time // of facts
	mine  use
	held  map[*Reservation]struct{}
	timer *time.Timer // runs while builds do
	gen   int         // of the timer: a late tick knows that it is
	told  Capacity
}

// facts are what a look at the machine found.
type facts struct {
	slots  int
	cpus   float64
	memory int64 // without the reserve
	high   bool  // memory pressure
}

// use is what builds are planned to use.
type use struct {
	builds int
	cpus   float64
	memory int64
}

func (u use) plus(n worker.Need) use {
	return use{u.builds + 1, u.cpus + n.CPUs, u.memory + n.Memory}
}

// ledger holds the budgets that share a machine.
type ledger struct {
	mu      sync.Mutex
	budgets map[*Budget]struct{}
}

// process is the ledger of this process. It is the one global variable: a
// machine's CPUs and memory belong to the process, whoever runs in it, so two
// runners that know nothing of each other must find each other here.
var process = ledger{budgets: map[*Budget]struct{}{}}

// Shared returns a view of this process's budget for one runner with its own
// [machine] settings. The runner must Close it.
func Shared(o MachineOptions, log *slog.Logger) (*Budget, error) {
	d, err := machine.NewDetector("/", o)
	if err != nil {
		return nil, fmt.Errorf("machine budget: %w", err)
	}
	return newBudget(&process, log, func() facts {
		r := d.Read()
		return facts{
			slots: r.Slots, cpus: r.CPUs.Value, memory: max(0, r.Memory.Bytes-r.Memory.Reserve),
			high: d.Pressure().High,
		}
	}), nil
}

func newBudget(l *ledger, log *slog.Logger, read func() facts) *Budget {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	b := &Budget{l: l, read: read, changed: make(chan struct{}, 1), log: log, held: map[*Reservation]struct{}{}}
	b.facts, b.when = read(), time.Now()
	// Pressure counts while builds of ours can be the cause.
	b.facts.high = false
	l.mu.Lock()
	defer l.mu.Unlock()
	l.budgets[b] = struct{}{}
	b.told = b.capacity()
	return b
}

// Close gives up the view with all its reservations.
func (b *Budget) Close() {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	b.mine, b.held = use{}, map[*Reservation]struct{}{}
	b.stopTicking()
	delete(b.l.budgets, b)
	b.l.announce()
}

// Capacity returns what this runner may use in all: what the machine grants
// less what other runners of the process hold. The runner's own builds are not
// taken off.
func (b *Budget) Capacity() Capacity {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	return b.capacity()
}

// Changed receives after Capacity has changed, be it that a limit did or that
// another runner began or ended a build. Each Budget has its own channel;
// changes that pile up are told once.
func (b *Budget) Changed() <-chan struct{} { return b.changed }

func (b *Budget) capacity() Capacity {
	c := Capacity{Slots: b.facts.slots, CPUs: b.facts.cpus, Memory: b.facts.memory}
	others := b.l.total()
	others.builds -= b.mine.builds
	if others.builds > 0 {
		c.Slots = max(0, c.Slots-others.builds)
		c.CPUs = max(0, c.CPUs-(others.cpus-b.mine.cpus))
		c.Memory = max(0, c.Memory-(others.memory-b.mine.memory))
		if c.Slots == 0 || c.CPUs == 0 || c.Memory == 0 {
			c.Blocked = "another runner of this process uses the machine"
		}
	}
	if b.facts.high {
		c.Blocked = "memory pressure is high"
	}
	return c
}

func (l *ledger) total() use {
	var u use
	for b := range l.budgets {
		u.builds += b.mine.builds
		u.cpus += b.mine.cpus
		u.memory += b.mine.memory
	}
	return u
}

// announce tells every budget whose capacity has changed. The caller holds mu.
func (l *ledger) announce() {
	for b := range l.budgets {
		if c := b.capacity(); c != b.told {
			b.told = c
			select {
			case b.changed <- struct{}{}:
			default:
			}
		}
	}
}

// Reservation is the part of the budget that one build holds. It is passed on in
// [worker.BuildSpec.Slot].
type Reservation struct {
	b    *Budget
	need worker.Need

	mu     sync.Mutex
	sample func() int64
}

// Reserve takes need out of the budget. It returns false if it does not fit
// beside what runs in this process now; a need larger than the machine fits
// when nothing else runs.
func (b *Budget) Reserve(need worker.Need) (*Reservation, bool) {
	b.refresh()
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	if _, open := b.l.budgets[b]; !open {
		return nil, false
	}
	total := b.l.total()
	if total.builds > 0 && (b.facts.high || !b.facts.hold(total.plus(need))) {
		return nil, false
	}
	r := &Reservation{b: b, need: need}
	b.held[r] = struct{}{}
	b.mine = b.mine.plus(need)
	if b.timer == nil {
		b.gen++
		b.tickLater()
	}
	b.l.announce()
	return r, true
}

// cpuSlack covers the rounding of sums of fractions of CPUs.
const cpuSlack = 1e-6

func (f facts) hold(u use) bool {
	return u.builds <= f.slots && u.cpus <= f.cpus+cpuSlack && u.memory <= f.memory
}

// Release gives the reservation back. Further calls do nothing.
func (r *Reservation) Release() {
	b := r.b
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	if _, held := b.held[r]; !held {
		return
	}
	delete(b.held, r)
	b.mine.builds--
	b.mine.cpus -= r.need.CPUs
	b.mine.memory -= r.need.Memory
	if len(b.held) == 0 {
		b.mine = use{} // no rounding errors left over
		b.stopTicking()
	}
	b.l.announce()
}

// measure sets what samples the memory of the reservation's build; nil: nothing.
// When it returns, the function before is not running.
func (r *Reservation) measure(sample func() int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sample = sample
}

// take takes a sample.
func (r *Reservation) take() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sample != nil {
		r.sample()
	}
}

// refresh looks at the machine again if nobody did lately: while nothing ran.
func (b *Budget) refresh() {
	b.l.mu.Lock()
	fresh := b.timer != nil || time.Since(b.when) < readEvery
	gen := b.gen
	b.l.mu.Unlock()
	if !fresh {
		f := b.look()
		f.high = false
		b.apply(gen, f)
	}
}

// look calls read, which may be used by one goroutine at a time.
func (b *Budget) look() facts {
	b.reading.Lock()
	defer b.reading.Unlock()
	return b.read()
}

// apply takes over what was found, unless it is late.
func (b *Budget) apply(gen int, f facts) {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	if gen != b.gen {
		return
	}
	b.facts, b.when = f, time.Now()
	b.l.announce()
}

func (b *Budget) tickLater() {
	gen := b.gen
	b.timer = time.AfterFunc(readEvery, func() { b.tick(gen) })
}

// stopTicking ends the looks at the machine. Without builds of ours, pressure is
// no reason to wait, and nobody would see it end.
func (b *Budget) stopTicking() {
	if b.timer == nil {
		return
	}
	b.timer.Stop()
	b.timer = nil
	b.gen++
	b.facts.high = false
}

// tick runs on the timer's goroutine.
func (b *Budget) tick(gen int) {
	defer func() {
		if p := recover(); p != nil {
			b.log.Error("panic while looking at the machine", "panic", p, "stack", string(debug.Stack()))
		}
		b.l.mu.Lock()
		defer b.l.mu.Unlock()
		if gen == b.gen {
			b.tickLater()
		}
	}()
	b.apply(gen, b.look())
	b.l.mu.Lock()
	running := make([]*Reservation, 0, len(b.held))
	for r := range b.held {
		running = append(running, r)
	}
	b.l.mu.Unlock()
	for _, r := range running {
		r.take()
	}
}
