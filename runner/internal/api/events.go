package api

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"bothy/runner/build"
	"bothy/runner/internal/engine"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// settleTime is how long a first listener waits for a commit. There is none while
// the disk is full.
const settleTime = 2 * time.Second

// follow publishes the engine's events to the hub until stop is called or the
// engine ends.
func (a *API) follow() (stop func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	events, err := a.Engine.Subscribe(ctx, "")
	if err != nil {
		cancel()
		return nil, err
	}
	told := a.names() // what listeners know of builders
	// What was decided before and is not on disk yet would be in neither.
	wait, done := context.WithTimeout(ctx, settleTime)
	defer done()
	if err := a.Engine.Settle(wait); err != nil && wait.Err() == nil {
		cancel()
		return nil, err
	}
	go func() {
		defer cancel()
		for ev := range events {
			if a.publish(&ev); ev.Kind == engine.Reloaded {
				n := a.names()
				a.publishReload(told, n)
				told = n
			}
		}
		if ctx.Err() == nil { // it is the engine that has ended
			a.hub.drop(errEnded)
		}
	}()
	return cancel, nil
}

// everything selects all fields and no properties.
var everything = &query{limit: -1}

// publish tells listeners of one event, under Buildbot's paths (the
// eventPathPatterns of data/*.py).
func (a *API) publish(ev *engine.Event) {
	n := a.names()
	switch ev.Kind {
	case engine.RequestNew:
		a.publishBuildset(n, &ev.Request, "new")
		a.publishRequest(n, &ev.Request, time.Time{}, "new")
	case engine.RequestClaimed:
		a.publishRequest(n, &ev.Request, ev.Build.Started, "claimed")
	case engine.RequestUnclaimed:
		a.publishRequest(n, &ev.Request, time.Time{}, "unclaimed")
	case engine.RequestChanged:
		a.publishRequest(n, &ev.Request, time.Time{}, "update") // not in Buildbot
	case engine.RequestDone:
		if ev.Request.Result == build.Cancelled {
			a.publishRequest(n, &ev.Request, ev.Build.Started, "cancel")
		}
		a.publishRequest(n, &ev.Request, ev.Build.Started, "complete")
		a.publishBuildset(n, &ev.Request, "complete")
	case engine.BuildNew:
		a.publishBuild(n, &ev.Build, "new")
	case engine.BuildDone:
		a.publishBuild(n, &ev.Build, "finished")
	case engine.StepNew:
		a.publishStep(&ev.Step, "new")
		a.publishStep(&ev.Step, "started")
	case engine.StepUpdate:
		a.publishStep(&ev.Step, "updated")
	case engine.StepDone:
		a.publishStep(&ev.Step, "finished")
	case engine.LogNew:
		a.publishLog(&ev.Log, "new")
	case engine.LogAppend:
		a.publishLog(&ev.Log, "append")
	case engine.LogDone:
		a.publishLog(&ev.Log, "finished")
	case engine.WorkerChanged:
		a.publishWorker(ev.Worker, worker.EffectKind(ev.What))
	case engine.SchedulerChanged:
		a.publishScheduler(n, ev.Scheduler, "updated")
	case engine.MailChanged:
		a.publishMail(ev.Mail)
	case engine.Lagged:
		a.hub.drop(errMissed)
	}
}

func id(n int64) string { return strconv.FormatInt(n, 10) }

// objectOf writes a row for an event.
func objectOf[R any](r *resource[R], row R) func() []byte {
	return func() []byte { return r.append(nil, &row, everything) }
}

func (a *API) publishRequest(n *names, r *store.Request, claimed time.Time, event string) {
	row := n.request(*r)
	row.claimedAt = claimed
	rid, bid := id(r.ID), id(row.BuilderID)
	a.hub.publish([][]string{
		{"buildrequests", rid, event},
		{"builders", bid, "buildrequests", rid, event},
		{"buildsets", rid, "builders", bid, "buildrequests", rid, event},
	}, objectOf(a.data.requests, row))
}

func (a *API) publishBuildset(n *names, r *store.Request, event string) {
	a.hub.publish([][]string{{"buildsets", id(r.ID), event}}, objectOf(a.data.buildsets, n.request(*r)))
}

func (a *API) publishBuild(n *names, b *store.Build, event string) {
	row := n.build(*b)
	a.hub.publish([][]string{
		{"builds", id(b.ID), event},
		{"builders", id(row.BuilderID), "builds", id(b.Number), event},
		{"workers", id(row.WorkerID), "builds", id(b.ID), event},
	}, objectOf(a.data.builds, row))
	if len(b.Properties) > 0 {
		a.hub.publish([][]string{{"builds", id(b.ID), "properties", "update"}}, func() []byte { return appendProperties(nil, b.Properties, "*") })
	}
}

func (a *API) publishStep(s *store.Step, event string) {
	sid := id(store.StepID(s.Build, s.Number))
	a.hub.publish([][]string{
		{"builds", id(s.Build), "steps", sid, event},
		{"steps", sid, event},
	}, objectOf(a.data.steps, *s))
}

func (a *API) publishLog(l *store.Log, event string) {
	row := logRow{*l, slugOf(l.Name)}
	a.hub.publish([][]string{
		{"logs", id(l.ID), event},
		{"steps", id(store.StepID(l.Build, l.Step)), "logs", row.slug, event},
	}, objectOf(a.data.logs, row))
}

// publishWorker tells of a change of a worker. Buildbot has events for three of
// them; the others are state_updated.
func (a *API) publishWorker(v *engine.WorkerView, what worker.EffectKind) {
	row := a.workerOf(v)
	event, body := "state_updated", objectOf(a.data.workers, row)
	switch what {
	case worker.Connected, worker.Disconnected:
		event = string(what)
	case worker.WentMissing:
		event, body = "missing", func() []byte { return appendMissing(a.data.workers.append(nil, &row, everything), v) }
	}
	a.hub.publish([][]string{{"workers", id(v.ID), event}}, body)
}

// appendMissing adds to a worker's object what Buildbot's event missing has more.
func appendMissing(b []byte, v *engine.WorkerView) []byte {
	last := ""
	if !v.LastSeen.IsZero() {
		last = v.LastSeen.Local().Format(time.ANSIC) // as ctime writes it
	}
	b = append(b[:len(b)-1], `,"last_connection":`...)
	b = appendString(b, last)
	b = append(b, `,"notify":`...)
	var notify []string
	if v.Conf != nil {
		notify = v.Conf.Remote.NotifyOnMissing
	}
	return append(appendValue(b, texts, strs(notify)), '}')
}

func (a *API) publishScheduler(n *names, s *store.Scheduler, event string) {
	a.hub.publish([][]string{{"schedulers", id(s.ID), event}}, objectOf(a.data.schedulers, schedulerRow{*s, n.scheduler(s.Name)}))
}

func (a *API) publishMail(m *store.Mail) { // not in Buildbot
	a.hub.publish([][]string{{"mails", id(m.ID), "update"}}, objectOf(a.data.mails, *m))
}

// publishReload tells which builders have come, gone or may have changed.
func (a *API) publishReload(was, n *names) {
	before := map[int64]bool{}
	for _, b := range was.builderRows {
		before[b.ID] = b.conf != nil
	}
	for _, b := range n.builderRows {
		event := ""
		switch configured := b.conf != nil; {
		case configured && !before[b.ID]:
			event = "started"
		case !configured && before[b.ID]:
			event = "stopped"
		case configured:
			event = "update"
		}
		if event == "" {
			continue
		}
		a.hub.publish([][]string{{"builders", id(b.ID), event}}, func() []byte {
			if event == "update" {
				return a.data.builders.append(nil, &b, everything)
			}
			return fmt.Appendf(nil, `{"builderid":%d,"masterid":%d,"name":%s}`, b.ID, masterID, appendString(nil, b.Name))
		})
	}
	for _, s := range n.schedulers {
		a.publishScheduler(n, &s, "updated")
	}
}
