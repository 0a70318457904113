package web

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bothy/runner/internal/engine"
	"bothy/runner/internal/store"
)

// newLive is a hub without an engine, and what counts how often it was started
// and ended.
func newLive() (l *live, started, ended *int) {
	started, ended = new(int), new(int)
	l = &live{start: func() (func(), error) {
		*started++
		return func() { *ended++ }, nil
	}}
	return l, started, ended
}

// Changes are told at once, then at most every liveEvery, each topic once.
func TestLiveCoalesces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, started, ended := newLive()
		st, err := l.join()
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		var told []string
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				select {
				case m := <-st.news:
					told = append(told, fmt.Sprint(time.Since(began), " ", m))
				case <-st.gone:
					return
				}
			}
		}()
		l.publish([]string{"builds", "build/1"})
		synctest.Wait()
		time.Sleep(10 * time.Millisecond) // of the bubble's clock
		for range 100 {
			l.publish([]string{"builds"})
			l.publish([]string{"workers"})
		}
		time.Sleep(time.Second)
		synctest.Wait()
		l.close()
		<-done
		if want := []string{"0s build/1 builds", "250ms builds workers"}; !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
		if _, err := l.join(); err == nil {
			t.Error("a stream can begin after the end")
		}
		if *started != 1 || *ended != 1 {
			t.Errorf("started %d times, ended %d times", *started, *ended)
		}
	})
}

// More topics than fit into a message are everything, and so is what a slow
// stream has missed.
func TestLiveManyAndSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, _ := newLive()
		slow, err := l.join()
		if err != nil {
			t.Fatal(err)
		}
		many := make([]string, 2*maxTopics)
		for i := range many {
			many[i] = fmt.Sprintf("build/%d", i)
		}
		l.publish(many)
		synctest.Wait()
		time.Sleep(liveEvery)
		if m := <-slow.news; m != everything {
			t.Errorf("told %.60q of many topics", m)
		}
		for range 10 { // nobody reads
			l.publish([]string{"builds"})
			time.Sleep(2 * liveEvery)
		}
		synctest.Wait()
		var told []string
		for len(slow.news) > 0 {
			told = append(told, <-slow.news)
		}
		l.publish([]string{"builds"})
		time.Sleep(2 * liveEvery)
		if m := <-slow.news; m != everything {
			t.Errorf("a slow stream is told %q after %q, want everything", m, told)
		}
		l.leave(slow)
	})
}

func TestTopics(t *testing.T) {
	for _, c := range []struct {
		ev   engine.Event
		want string
	}{
		{engine.Event{Kind: engine.RequestNew, Request: store.Request{ID: 7, Builder: "a b"}}, "requests request/7 builder/a%20b"},
		{engine.Event{Kind: engine.BuildDone, Build: store.Build{ID: 3, Builder: "t", Worker: "w"}}, "builds build/3 builder/t worker/w"},
		{engine.Event{Kind: engine.StepUpdate, Step: store.Step{Build: 3}}, "steps build/3"},
		{engine.Event{Kind: engine.LogDone, Log: store.Log{ID: 9, Build: 3}}, "logs build/3 log/9"},
		{engine.Event{Kind: engine.LogAppend, Log: store.Log{ID: 9, Build: 3}}, "output log/9"},
		{engine.Event{Kind: engine.WorkerChanged, Worker: &engine.WorkerView{Name: "w"}}, "workers worker/w"},
		{engine.Event{Kind: engine.SchedulerChanged}, "schedulers"},
		{engine.Event{Kind: engine.MailChanged}, "mails"},
		{engine.Event{Kind: engine.Reloaded}, "config workers schedulers"},
		{engine.Event{Kind: engine.Degraded}, "master"},
		{engine.Event{Kind: engine.Lagged}, everything},
	} {
		if got := strings.Join(topics(&c.ev), " "); got != c.want {
			t.Errorf("%s changes %q, want %q", c.ev.Kind, got, c.want)
		}
	}
}
