package engine

import (
	"fmt"
	"strings"
	"time"

	"pgregory.net/rapid"

	"bothy/runner/worker"
)

type opKind string

const (
	opSubmit  opKind = "submit"
	opCancel  opKind = "cancel"
	opControl opKind = "control a worker"
	opPass    opKind = "pass"
	opLose    opKind = "lose a worker"
	opBack    opKind = "worker comes back"
	opCrash   opKind = "crash"
	opRestart opKind = "restart"
	opFull    opKind = "disk full"
	opRoom    opKind = "disk has room"
	opSlots   opKind = "machine changes"
	opReload  opKind = "reload"
)

// op is one thing that happens. Who it happens to is a number, so that any list
// of them makes sense.
type op struct {
	kind     opKind
	who      int
	builder  string
	worker   string
	action   worker.Action
	priority int
	plan     string // of a build: what its attempts do, "ok:3s,lost:1s"
	dur      time.Duration
	flag     bool
	mode     StopMode
	check    bool // look around afterwards, rather than go on at once
}

func (o op) String() string {
	switch o.kind {
	case opSubmit:
		return fmt.Sprintf("submit %s pinned to %q, priority %d: %s", o.builder, o.worker, o.priority, o.plan)
	case opCancel:
		return fmt.Sprintf("cancel %d, now %v", o.who, o.flag)
	case opControl:
		return fmt.Sprintf("%s %s", o.action, o.worker)
	case opPass:
		return fmt.Sprintf("pass %s", o.dur)
	case opLose:
		return fmt.Sprintf("lose %s, it stays away: %v", o.worker, o.flag)
	case opCrash:
		return fmt.Sprintf("crash after %d commits, the last is on disk: %v", o.who, o.flag)
	case opRestart:
		return fmt.Sprintf("restart, mode %d", o.mode)
	case opSlots:
		return fmt.Sprintf("%d slots", o.who)
	case opReload:
		return fmt.Sprintf("reload variant %b", o.who)
	}
	return string(o.kind)
}

func drawOp(rt *rapid.T) op {
	o := op{check: rapid.Bool().Draw(rt, "check")}
	o.kind = rapid.SampledFrom([]opKind{
		opSubmit, opSubmit, opSubmit, opSubmit, opSubmit, opSubmit, opPass, opPass, opPass, opPass,
		opCancel, opCancel, opControl, opControl, opLose, opBack, opCrash, opCrash, opRestart, opFull, opRoom, opSlots, opReload,
	}).Draw(rt, "kind")
	switch o.kind {
	case opSubmit:
		o.builder = rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(rt, "builder")
		o.worker = rapid.SampledFrom([]string{"", "", "", "l1", "r1"}).Draw(rt, "worker")
		o.priority = rapid.IntRange(0, 2).Draw(rt, "priority")
		o.plan = strings.Join(rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) string {
			how := rapid.SampledFrom([]string{"ok", "ok", "fail", "broken", "oom", "lost", "retry", "stuck"}).Draw(rt, "how")
			return fmt.Sprintf("%s:%ds", how, rapid.IntRange(0, 20).Draw(rt, "seconds"))
		}), 1, 5).Draw(rt, "plan"), ",")
	case opCancel:
		o.who, o.flag = rapid.IntRange(0, 30).Draw(rt, "who"), rapid.Bool().Draw(rt, "now")
	case opControl:
		o.worker = rapid.SampledFrom([]string{"l1", "l2", "r1", "r2"}).Draw(rt, "worker")
		o.action = rapid.SampledFrom(worker.Actions()).Draw(rt, "action")
	case opPass:
		o.dur = time.Duration(rapid.IntRange(0, 30_000).Draw(rt, "ms")) * time.Millisecond
	case opLose:
		o.worker, o.flag = rapid.SampledFrom([]string{"r1", "r2"}).Draw(rt, "worker"), rapid.Bool().Draw(rt, "stays away")
	case opCrash:
		o.who, o.flag = rapid.IntRange(0, 6).Draw(rt, "commits"), rapid.Bool().Draw(rt, "last")
	case opRestart:
		o.mode = rapid.SampledFrom([]StopMode{Drain, Requeue, AtOnce}).Draw(rt, "mode")
	case opSlots:
		o.who = rapid.IntRange(0, 3).Draw(rt, "slots")
	case opReload:
		o.who = rapid.IntRange(0, variants-1).Draw(rt, "variant")
	}
	return o
}
