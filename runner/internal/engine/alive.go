package engine

import (
	"context"
	"errors"
	"time"

	"bothy/runner/internal/store"
)

// aliveEvery is how often a master that has remote workers notes that it is
// there: after a crash the next one knows until when they were connected.
// Buildbot: the heartbeat of masters, 60 s.
const aliveEvery = time.Minute

// metaAlive is where it is noted.
const metaAlive = "engine.alive"

// readAlive returns until when the master before this one was there, zero if
// nothing is known.
func readAlive(s *store.Store) (time.Time, error) {
	data, err := s.Meta(context.Background(), metaAlive)
	if errors.Is(err, store.ErrNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	var at time.Time
	if err := at.UnmarshalText(data); err != nil {
		return time.Time{}, err
	}
	return at, nil
}

// alive notes it, now and again every minute.
func (l *loop) alive() {
	for _, w := range l.workers {
		if !w.local() && w.conn != nil {
			l.noteAlive()
			break
		}
	}
	l.in(aliveEvery, (*loop).alive)
}

func (l *loop) noteAlive() {
	if data, err := time.Now().UTC().MarshalText(); err == nil && !l.opt.Foreground {
		l.batch.PutMeta(metaAlive, data)
	}
}
