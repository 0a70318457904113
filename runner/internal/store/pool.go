package store

import (
	"context"
	"database/sql"
	"sync"
)

// maxPrepared bounds the statements that are kept for reading. There are as
// many as there are kinds of questions.
const maxPrepared = 256

// pool are the connections for reading, with their statements.
type pool struct {
	db    *sql.DB
	mu    sync.RWMutex // held for reading while a statement of the map is started
	stmts map[string]*sql.Stmt
}

// QueryContext runs a prepared statement.
func (p *pool) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	p.mu.RLock()
	if stmt, ok := p.stmts[query]; ok {
		defer p.mu.RUnlock()
		return stmt.QueryContext(ctx, args...)
	}
	p.mu.RUnlock()
	if err := p.prepare(ctx, query); err != nil {
		return nil, err
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	if stmt, ok := p.stmts[query]; ok {
		return stmt.QueryContext(ctx, args...)
	}
	return p.db.QueryContext(ctx, query, args...) // the map was emptied meanwhile
}

func (p *pool) prepare(ctx context.Context, query string) error {
	stmt, err := p.db.PrepareContext(ctx, query)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.stmts[query]; ok {
		return stmt.Close()
	}
	if len(p.stmts) >= maxPrepared {
		if err := p.forget(); err != nil {
			return err
		}
	}
	p.stmts[query] = stmt
	return nil
}

// forget closes the statements; those that run do so to their end.
func (p *pool) forget() error {
	var first error
	for _, stmt := range p.stmts {
		if err := stmt.Close(); first == nil {
			first = err
		}
	}
	clear(p.stmts)
	return first
}

// Close waits for what runs.
func (p *pool) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.forget()
	if cerr := p.db.Close(); err == nil {
		err = cerr
	}
	return err
}
