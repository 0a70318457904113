package store

import "context"

// logReserve is how many log ids are set aside at a time. A log exists as a
// file before its row is committed, so after a crash ids may have been used
// that no row tells of; they are skipped, since the id of a log is unique for ever.
const logReserve = 1 << 16

// logIDs keeps count of log ids.
type logIDs struct {
	last      int64 // the highest that is known to be in use
	reserved  int64 // ids up to it may be in use; in counters as 'log'
	unsettled bool  // the last commit failed: files may exist that have no row
}

const setLogCounter = `INSERT INTO counters (name, value) VALUES ('log', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`

// reserveLogIDs raises the reservation when half of it is used up.
func (w *writer) reserveLogIDs() error {
	if w.lastLog+logReserve/2 <= w.s.logs.reserved || w.lastLog == 0 {
		return nil
	}
	w.reserved = w.lastLog + logReserve
	return w.s.run(w.ctx, setLogCounter, w.reserved)
}

func (l *logIDs) committed(last, reserved int64) {
	l.last = max(l.last, last)
	l.reserved = max(l.reserved, reserved)
}

// settleLogIDs gives back what was reserved and not used.
func (s *Store) settleLogIDs(ctx context.Context) error {
	if s.logs.unsettled || s.logs.reserved == 0 || s.conn == nil {
		return nil
	}
	// Closing syncs it; until then it may be lost, which wastes ids only.
	err := s.exec(ctx, "PRAGMA synchronous = NORMAL")
	if err == nil {
		err = s.transact(ctx, func() error { return s.run(ctx, setLogCounter, s.logs.last) })
	}
	return s.explain(err)
}
