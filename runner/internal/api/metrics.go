package api

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"time"

	"bothy/runner/build"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// metric is one series or a family of them, in Prometheus' text format 0.0.4.
type metric struct {
	name, kind, help string
	samples          []sample
}

type sample struct {
	labels string // `{state="paused"}`, or ""
	value  float64
}

func gauge(name, help string, v float64) metric {
	return metric{name, "gauge", help, []sample{{value: v}}}
}

func counter(name, help string, v float64) metric {
	return metric{name, "counter", help, []sample{{value: v}}}
}

// family is a gauge with one series for each value of a label, sorted.
func family[T ~int | ~int64](name, help, label string, values map[string]T) metric {
	m := metric{name: name, kind: "gauge", help: help}
	for _, k := range slices.Sorted(maps.Keys(values)) {
		m.samples = append(m.samples, sample{fmt.Sprintf("{%s=%q}", label, k), float64(values[k])})
	}
	return m
}

func appendMetrics(b []byte, all []metric) []byte {
	for _, m := range all {
		b = fmt.Appendf(b, "# HELP %s %s\n# TYPE %s %s\n", m.name, m.help, m.name, m.kind)
		for _, s := range m.samples {
			b = append(append(b, m.name...), s.labels...)
			b = append(b, ' ')
			b = strconv.AppendFloat(b, s.value, 'f', -1, 64)
			b = append(b, '\n')
		}
	}
	return b
}

// serveMetrics answers Prometheus.
func (a *API) serveMetrics(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), flightTime)
	defer cancel()
	all, err := a.metrics(ctx)
	if err != nil {
		a.writeError(w, r, err)
		return
	}
	writeSmall(w, r, http.StatusOK, "text/plain; version=0.0.4; charset=utf-8", appendMetrics(nil, all))
}

func (a *API) metrics(ctx context.Context) ([]metric, error) {
	status, err := a.Engine.Status(ctx)
	if err != nil {
		return nil, err
	}
	results := map[string]int64{}
	for res := build.Success; res <= build.Cancelled; res++ {
		p, err := a.Store.SelectBuilds(ctx, store.Select{Where: []store.Cond{is("results", int64(res))}})
		if err != nil {
			return nil, err
		}
		results[res.String()] = p.Total
	}
	last := store.Select{Order: []store.Sort{{Field: "buildid", Desc: true}}, Limit: 1}
	builds, err := a.Store.SelectBuilds(ctx, last)
	if err != nil {
		return nil, err
	}
	last.Order[0].Field = "buildrequestid"
	requests, err := a.Store.SelectRequests(ctx, last)
	if err != nil {
		return nil, err
	}
	mails, err := a.Store.SelectMails(ctx, store.Select{Where: []store.Cond{is("done", false)}})
	if err != nil {
		return nil, err
	}
	var started, submitted int64
	if len(builds.Rows) > 0 {
		started = builds.Rows[0].ID
	}
	if len(requests.Rows) > 0 {
		submitted = requests.Rows[0].ID
	}
	m := a.Machine()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	up := 1.0
	if status.Degraded != "" || status.Stopping {
		up = 0
	}
	return []metric{
		{"bothy_info", "gauge", "Always 1.", []sample{{fmt.Sprintf("{version=%q,go=%q}", a.Version, runtime.Version()), 1}}},
		gauge("bothy_start_time_seconds", "When the master was started, in seconds since 1970.", float64(a.began.Unix())),
		gauge("bothy_accepting", "1 while requests are accepted and recorded.", up),
		family("bothy_workers", "Workers by what is so of them; they may be counted more than once.", "state", a.workerStates()),
		gauge("bothy_builds_running", "Builds that run.", float64(status.Running)),
		gauge("bothy_requests_pending", "Requests that wait for a worker.", float64(status.Pending)),
		counter("bothy_builds_started_total", "Builds that were ever started.", float64(started)),
		counter("bothy_requests_submitted_total", "Requests that were ever accepted.", float64(submitted)),
		family("bothy_builds_kept", "Finished builds in the database, by result.", "result", results),
		gauge("bothy_mails_queued", "Mails that are not sent yet.", float64(mails.Total)),
		gauge("bothy_machine_slots", "Builds that in-process workers may run at the same time.", float64(m.Slots)),
		gauge("bothy_machine_cpus", "CPUs that in-process workers may use.", m.CPUs),
		gauge("bothy_machine_memory_bytes", "Memory that in-process workers may use.", float64(m.Memory)),
		gauge("bothy_machine_blocked", "1 while nothing may start on this machine.", float64(truth(m.Blocked != "").n)),
		gauge("bothy_listeners", "Open WebSockets and event streams.", float64(a.hub.count())),
		counter("bothy_events_sent_total", "Events handed to listeners.", float64(a.hub.sent.Load())),
		counter("bothy_listeners_dropped_total", "Listeners that were too slow.", float64(a.hub.dropped.Load())),
		counter("bothy_answers_made_total", "Answers made for the data interface; those given again do not count.", float64(a.cache.made.Load())),
		counter("bothy_answers_shared_total", "Answers given again, or to several at once.", float64(a.cache.shared.Load())),
		gauge("go_goroutines", "Goroutines.", float64(runtime.NumGoroutine())),
		gauge("go_memstats_heap_inuse_bytes", "Heap in use.", float64(mem.HeapInuse)),
		gauge("go_memstats_sys_bytes", "Memory from the system.", float64(mem.Sys)),
		counter("go_gc_cycles_total", "Garbage collections.", float64(mem.NumGC)),
		counter("process_uptime_seconds_total", "How long the master runs.", time.Since(a.began).Seconds()),
	}, nil
}

// workerStates counts workers by what is so of them.
func (a *API) workerStates() map[string]int {
	n := map[string]int{
		"all": 0, "connected": 0, "busy": 0, "paused": 0, "graceful": 0, "quarantined": 0, "missing": 0, "stopped": 0,
	}
	for _, v := range a.Engine.Workers() {
		s := &v.State
		for name, is := range map[string]bool{
			"all": true, "connected": s.Connected(), "busy": len(v.Builds) > 0, "paused": s.Paused.Set(), "graceful": s.Graceful.Set(),
			"quarantined": s.Quarantined(), "missing": s.Missing(), "stopped": s.Link == worker.LinkStopped,
		} {
			if is {
				n[name]++
			}
		}
	}
	return n
}

// serveHealth says whether requests are accepted. It is for load balancers: it
// needs no identity, and tells no more than that.
func (a *API) serveHealth(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	if err := a.Engine.Healthy(ctx); err != nil {
		writeSmall(w, r, http.StatusServiceUnavailable, typeText, []byte(err.Error()+"\n"))
		return
	}
	writeSmall(w, r, http.StatusOK, typeText, []byte("ok\n"))
}
