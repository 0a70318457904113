package engine

import (
	"testing"
	"time"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// TestNeverConnected, scenario 14: a worker that never connects is reported
// once, an hour after the configuration first named it, also over restarts.
func TestNeverConnected(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &post{}
		conf := watchedWorkers("w")
		conf.Workers[0].Remote.NotifyOnMissing = []string{"bob@example.com", "ann@example.com", "bob@example.com"}
		r := newRig(t, conf)
		r.absent(withPost(p))
		r.start()
		began := time.Now()
		k := r.build("b")
		pass(time.Hour - time.Second)
		if len(r.mails()) != 0 || r.w().State.Missing() {
			t.Error("reported too early")
		}
		pass(2 * time.Second)
		if len(r.mails()) != 2 || !r.w().State.Missing() {
			t.Errorf("%+v", r.mails())
		}
		pass(time.Minute)
		ls := p.letters()
		mustEqual(t, "mails", sorted(ls), []string{"ann@example.com: [Bothy] worker w missing", "bob@example.com: [Bothy] worker w missing"})
		for _, l := range ls {
			if d := l.at.Sub(began); d != time.Hour+time.Minute {
				t.Errorf("sent after %s", d)
			}
			mustContain(t, l.body, "has never connected since it was configured on 2000-01-01", "1 request", "http://127.0.0.1:8010/workers/w")
		}
		pass(100 * time.Hour)
		for range 3 {
			r.stop(Requeue)
			r.start()
			pass(100 * time.Hour)
		}
		if n := len(p.letters()); n != 2 {
			t.Errorf("%d mails, want 2", n)
		}
		for _, m := range r.mails() {
			if m.State != store.MailSent || m.Attempts != 1 || m.Done.IsZero() {
				t.Errorf("%+v", m)
			}
		}
		r.fleet.kind("w").comes()
		pass(time.Second)
		if row := r.row(k.ID); row.Result != build.Success {
			t.Errorf("%+v", row)
		}
	})
}

// TestOneMailPerLoss, scenario 15: each loss is reported once, with the time
// when the worker was really there last.
func TestOneMailPerLoss(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &post{}
		r := newRig(t, watchedWorkers("w"), withPost(p))
		r.start()
		for i := range 2 {
			pass(time.Hour)
			back := r.fleet.kind("w").lose(true)
			settle()
			pass(30 * time.Minute)
			r.fleet.kind("w").comes() // not long enough
			pass(time.Minute)
			r.fleet.kind("w").lose(true)
			settle()
			last := time.Now()
			pass(3 * time.Hour)
			ls := p.letters()
			if len(ls) != i+1 {
				t.Fatalf("loss %d: %v", i, subjects(ls))
			}
			mustContain(t, ls[i].body, last.Format("2006-01-02 15:04:05"), "192.0.2.7:5000", "4.1", "Ann <ann@example.com>")
			if d := ls[i].at.Sub(last); d != time.Hour+time.Minute {
				t.Errorf("sent after %s", d)
			}
			back()
			settle()
		}
		if v := r.w(); v.State.Missing() || v.State.Loss.Phase != worker.LossNone {
			t.Errorf("%+v", v.State)
		}
	})
}

// TestLocalIsNeverMissing, scenario 16.
func TestLocalIsNeverMissing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &post{}
		conf := localBuilder(step("work", "true"))
		conf.Workers[0].Remote = config.RemoteWorker{MissingTimeout: time.Minute, NotifyOnMissing: []string{"bob@example.com"}}
		r := newRig(t, conf, withPost(p))
		r.start()
		pass(100 * time.Hour)
		r.control(worker.Stop)
		pass(100 * time.Hour)
		if len(r.mails()) != 0 || r.w().State.Loss.Phase != worker.LossNone {
			t.Errorf("%+v, %+v", r.mails(), r.w().State)
		}
	})
}

// TestRestartIsNoLoss: workers that were connected when the master ended have
// time to find the new one; one that does not is told of with the time when it
// was last there.
func TestRestartIsNoLoss(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &post{}
		r := newRig(t, watchedWorkers("w", "x"), withPost(p))
		r.start()
		pass(10*time.Hour + 30*time.Second)
		last := time.Now()
		r.crash(false)
		pass(5 * time.Hour)
		r.absent(withPost(p))
		r.start()
		began := time.Now()
		pass(4 * time.Minute)
		r.fleet.kind("x").comes()
		pass(10 * time.Hour)
		ls := p.letters()
		mustEqual(t, "mails", subjects(ls), []string{"bob@example.com: [Bothy] worker w missing"})
		if d := ls[0].at.Sub(began); d != 6*time.Minute {
			t.Errorf("sent after %s", d)
		}
		mustContain(t, ls[0].body, last.Add(-30*time.Second).Format("2006-01-02 15:04:05"))
	})
}

// TestDigest: losses within a minute are one mail for each recipient.
func TestDigest(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &post{}
		conf := watchedWorkers("a", "b", "c", "d")
		conf.Workers[1].Remote.NotifyOnMissing = []string{"ann@example.com", "bob@example.com"}
		r := newRig(t, conf, withPost(p))
		r.start()
		settle()
		for i, secs := range []int{20, 30, 70, 0} { // at 0, 20, 50 and 120 s
			r.fleet.kind(string(rune('a' + i))).lose(true)
			pass(time.Duration(secs) * time.Second)
		}
		pass(2 * time.Hour)
		ls := p.letters()
		mustEqual(t, "mails", sorted(ls), []string{
			"ann@example.com: [Bothy] worker b missing", "bob@example.com: [Bothy] 3 workers missing", "bob@example.com: [Bothy] worker d missing",
		})
		mustContain(t, ls[0].body, "workers/a", "workers/b", "workers/c")
		if rows := r.mails(); len(rows) != 5 || rows[0].MessageID != rows[2].MessageID || rows[0].MessageID == rows[4].MessageID {
			t.Errorf("%+v", rows)
		}
	})
}

// TestNotifyOnReturn: only if it is wanted, and only after a report.
func TestNotifyOnReturn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &post{}
		conf := watchedWorkers("w")
		conf.Workers[0].Remote.NotifyOnReturn = true
		r := newRig(t, conf, withPost(p))
		r.start()
		settle()
		for _, away := range []time.Duration{time.Minute, 3 * time.Hour} {
			back := r.fleet.kind("w").lose(true)
			pass(away)
			back()
			pass(time.Hour)
		}
		ls := p.letters()
		mustEqual(t, "mails", subjects(ls), []string{"bob@example.com: [Bothy] worker w missing", "bob@example.com: [Bothy] worker w returned"})
		mustContain(t, ls[1].body, "away for 3 h")
	})
}
