package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bothy/runner/config"
	"bothy/runner/internal/queue"
	"bothy/runner/worker"
)

// attachRetry is how long a worker that could not attach is left alone.
const attachRetry = 10 * time.Second

// workerState is what the loop knows of a worker.
type workerState struct {
	name string
	conf config.Worker
	kind worker.Kind
	conn worker.Conn // nil: not connected
	info worker.Info
	why  string // why it takes no builds, "" if it does
}

// attachWorkers begins to attach every worker.
func (l *loop) attachWorkers() {
	for _, w := range l.workers {
		l.attach(w)
	}
}

// attach asks the worker's kind for a connection. Idle workers have no
// goroutine: local kinds answer at once and do not end by themselves.
func (l *loop) attach(w *workerState) {
	if l.stopping {
		return
	}
	e := l.e
	// A local worker attaches without waiting, and a thousand of them need no
	// thousand goroutines.
	if w.conf.Kind == config.WorkerLocal {
		conn, err := w.kind.Attach(context.Background())
		l.attached(w, conn, err)
		return
	}
	e.group.Add(1)
	go func() {
		defer e.group.Done()
		conn, err := w.kind.Attach(e.life)
		if !e.post(func(l *loop) { l.attached(w, conn, err) }) && err == nil {
			conn.Close() // too late to be of use to anybody
		}
	}()
}

func (l *loop) attached(w *workerState, conn worker.Conn, err error) {
	if err != nil {
		w.why = fmt.Sprintf("cannot attach: %v", err)
		l.log.Warn("worker cannot attach", "worker", w.name, "err", err)
		l.in(attachRetry, func(l *loop) {
			if l.workers[w.name] == w && w.conn == nil {
				l.attach(w)
			}
		})
	} else {
		w.conn, w.info, w.why = conn, conn.Info(), ""
		if w.conf.Kind != config.WorkerLocal { // those end only by the loop's own hand
			l.e.watch(w, conn)
		}
	}
	l.setWorker(w)
}

// watch waits for a connection's end.
func (e *Engine) watch(w *workerState, conn worker.Conn) {
	e.group.Add(1)
	go func() {
		defer e.group.Done()
		select {
		case <-conn.Done():
			e.post(func(l *loop) { l.lost(w, conn) })
		case <-e.life.Done():
		}
	}()
}

// lost takes note that a connection has ended. Its builds end by themselves
// with worker.ErrLost.
func (l *loop) lost(w *workerState, conn worker.Conn) {
	if w == nil || w.conn != conn {
		return
	}
	w.conn, w.why = nil, "not connected"
	if err := conn.Err(); err != nil {
		w.why = fmt.Sprintf("not connected: %v", err)
	}
	l.setWorker(w)
	if l.workers[w.name] == w {
		l.attach(w)
	}
}

// setWorker tells the queue what the worker can take.
func (l *loop) setWorker(w *workerState) {
	q := queue.Worker{Name: w.name, MaxBuilds: w.conf.MaxBuilds, Blocked: w.why}
	if w.conf.Kind == config.WorkerLocal {
		q.Host = localHost
	}
	l.queue.SetWorker(q)
}

// releaseWorkers closes all connections, at the end of the loop.
func (l *loop) releaseWorkers() {
	for _, w := range l.workers {
		var err error
		if w.conn != nil {
			err = w.conn.Close()
			w.conn = nil
		}
		if err = errors.Join(err, w.kind.Release(context.Background(), true)); err != nil {
			l.log.Warn("worker not released", "worker", w.name, "err", err)
		}
	}
}

// localHost is the queue's name for this machine.
const localHost = "local"
