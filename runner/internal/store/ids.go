package store

import (
	"context"
	"database/sql"
)

// nameIDs are the ids of names. They never change, but new names come.
type nameIDs struct {
	version           uint64 // of the names, before they were read
	builders, workers map[string]int64
}

// naming is called before and after a commit that may bring names: while it
// runs, the version is odd.
func (s *Store) naming(b *Batch) {
	if len(b.builders.list)+len(b.workers.list) > 0 {
		s.named.Add(1)
	}
}

// ids looks ids up by name, and reads them anew when one is missing that may
// have come since they were read.
func (s *Store) ids(ctx context.Context, q querier) *idLookup {
	return &idLookup{ctx: ctx, s: s, q: q, known: s.names.Load()}
}

// idLookup is for the rows of one query, which were read before it was made.
type idLookup struct {
	ctx   context.Context
	s     *Store
	q     querier
	known *nameIDs
	fresh bool // known was read by this lookup
	err   error
}

func (l *idLookup) builder(name string) int64 {
	return l.lookup(name, func(n *nameIDs) map[string]int64 { return n.builders })
}

func (l *idLookup) worker(name string) int64 {
	return l.lookup(name, func(n *nameIDs) map[string]int64 { return n.workers })
}

func (l *idLookup) lookup(name string, of func(*nameIDs) map[string]int64) int64 {
	if l.known != nil {
		if id, ok := of(l.known)[name]; ok {
			return id
		}
	}
	if name == "" || l.err != nil || l.fresh {
		return 0
	}
	version := l.s.named.Load()
	if l.known != nil && version%2 == 0 && version == l.known.version {
		return 0
	}
	known, err := readNameIDs(l.ctx, l.q)
	if err != nil {
		l.err = err
		return 0
	}
	known.version, l.known, l.fresh = version, known, true
	l.s.names.Store(known)
	return of(known)[name]
}

func readNameIDs(ctx context.Context, q querier) (*nameIDs, error) {
	n := &nameIDs{builders: map[string]int64{}, workers: map[string]int64{}}
	err := scan(ctx, q, func(rows *sql.Rows) error {
		var builder bool
		var id int64
		var name string
		if err := rows.Scan(&builder, &id, &name); err != nil {
			return err
		}
		if builder {
			n.builders[name] = id
		} else {
			n.workers[name] = id
		}
		return nil
	}, "SELECT true, id, name FROM builders UNION ALL SELECT false, id, name FROM workers")
	return n, err
}
