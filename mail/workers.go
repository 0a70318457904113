package mail

import (
	"fmt"
	"time"
)

// maxWorkers is how many workers one mail describes.
const maxWorkers = 100

// Worker is what a mail says of a worker that went missing or came back. It has
// a JSON form, so that a queue can keep it until it is known which losses go
// into one mail.
type Worker struct {
	Name       string
	LastSeen   time.Time // zero: it has never connected
	Configured time.Time // the first time a configuration named it
	Returned   time.Time // of WorkersReturned only
	Address    string    // of its last connection; empty: unknown, as below
	Version    string
	Admin      string // as the worker reported it
	Waiting    int    // requests that could run there, and wait
	URL        string // of its page
}

// WorkersMissing is the mail that workers, of which there is at least one, are
// missing. title is that of the master; times are told in the zone of now.
func WorkersMissing(title string, now time.Time, workers []Worker) Content {
	return workerMail(title, "missing", "is missing.", "are missing.", workers, func(w Worker) []fact {
		facts := []fact{{"last seen", lastSeen(w, now)}, {"address", w.Address}, {"version", w.Version}, {"admin", w.Admin}}
		if w.Waiting == 0 {
			return append(facts, fact{"waiting for it", "nothing"})
		}
		return append(facts, fact{"waiting for it", counted(w.Waiting, "request")})
	})
}

// WorkersReturned is the mail that workers which were missing are connected
// again.
func WorkersReturned(title string, now time.Time, workers []Worker) Content {
	return workerMail(title, "returned", "is connected again.", "are connected again.", workers, func(w Worker) []fact {
		back := instant(w.Returned, now)
		if away := w.Returned.Sub(w.LastSeen); !w.LastSeen.IsZero() && away > 0 {
			back += ", away for " + span(away)
		}
		return []fact{{"returned", back}, {"address", w.Address}, {"version", w.Version}, {"admin", w.Admin}}
	})
}

func lastSeen(w Worker, now time.Time) string {
	if w.LastSeen.IsZero() {
		return "has never connected since it was configured on " + instant(w.Configured, now)
	}
	return instant(w.LastSeen, now)
}

func workerMail(title, what, is, are string, workers []Worker, facts func(Worker) []fact) Content {
	if len(workers) == 1 {
		w := workers[0]
		name := oneLine(w.Name, maxName)
		p := page{{Para: "Worker " + name + " " + is}, {Facts: facts(w)}}
		if w.URL != "" {
			p = append(p, block{Link: w.URL})
		}
		return p.content(title, "worker "+name+" "+what)
	}
	p := page{{Para: fmt.Sprintf("%d workers %s", len(workers), are)}}
	for i, w := range workers {
		if i == maxWorkers {
			p = append(p, block{Para: fmt.Sprintf("… and %d more.", len(workers)-i)})
			break
		}
		p = append(p, block{Heading: oneLine(w.Name, maxName)}, block{Facts: facts(w)})
		if w.URL != "" {
			p = append(p, block{Link: w.URL})
		}
	}
	return p.content(title, fmt.Sprintf("%d workers %s", len(workers), what))
}

// Test is the mail that shows that mail arrives: sent at now through the relay,
// HOST:PORT, from the machine host.
func Test(title string, now time.Time, host, relay string) Content {
	return page{
		{Para: "This is a test. Mail from here arrives."},
		{Facts: []fact{{"sent", stamp(now, now)}, {"from", host}, {"through", relay}}},
	}.content(title, "test mail")
}
