package store

import (
	"context"
	"database/sql"
	"log/slog"
	"slices"
	"strings"
	"time"

	"bothy/runner/build"
)

// reading is a table with how a row R of it is read.
type reading[R any] struct {
	*table
	columns string // separated by ", "
	fill    func(r *R, c *cells)
}

// list reads rows; what follows the table is a constant of this package, never
// built from input.
func (t reading[R]) list(ctx context.Context, s *Store, q querier, what string, args ...any) ([]R, error) {
	return t.read(ctx, s, q, clause{"SELECT " + t.columns + " FROM " + t.name + " " + what, args}, 0)
}

// read expects a number of rows, unless there is but one.
func (t reading[R]) read(ctx context.Context, s *Store, q querier, st clause, expect int) ([]R, error) {
	c := newCells(1+strings.Count(t.columns, ", "), s.log)
	var list []R
	err := scan(ctx, q, func(rows *sql.Rows) error {
		if err := rows.Scan(c.into...); err != nil {
			return err
		}
		var r R
		t.fill(&r, c)
		if len(list) == 1 { // many questions are about one row
			list = slices.Grow(list, expect)
		}
		list = append(list, r)
		return nil
	}, st.sql, st.args...)
	return list, err
}

var buildRows = reading[ListedBuild]{
	&buildTable,
	"id, request, builder, number, worker, attempt, started, completed, result, peak_memory, cpu, cause, kept, text",
	func(r *ListedBuild, c *cells) {
		r.ID, r.Request, r.Builder, r.Number, r.Worker = c.int(0), c.int(1), c.text(2), c.int(3), c.text(4)
		r.Attempt, r.Started, r.Completed = int(c.int(5)), c.time(6), c.time(7)
		r.Result, r.PeakMemory, r.CPU = build.Result(c.int(8)), c.int(9), c.duration(10)
		r.Cause, r.Kept, r.Text = c.text(11), c.text(12), c.text(13)
	},
}

var requestRows = reading[ListedRequest]{
	&requestTable,
	"id, builder, priority, submitted, state, result, completed, attempts, retries, memory, replaced, worker, reason, text",
	func(r *ListedRequest, c *cells) {
		r.ID, r.Builder, r.Priority, r.Submitted = c.int(0), c.text(1), int(c.int(2)), c.time(3)
		r.State, r.Result, r.Completed = RequestState(c.int(4)), build.Result(c.int(5)), c.time(6)
		r.Attempts, r.Retries, r.Memory, r.Replaced = int(c.int(7)), int(c.int(8)), c.int(9), c.int(10)
		r.Worker, r.Reason, r.Text = c.text(11), c.text(12), c.text(13)
	},
}

var stepRows = reading[Step]{
	&stepTable,
	"build, number, name, started, completed, result, hidden, text",
	func(r *Step, c *cells) {
		*r = Step{
			Build: c.int(0), Number: int(c.int(1)), Name: c.text(2), Started: c.time(3), Completed: c.time(4),
			Result: build.Result(c.int(5)), Hidden: c.flag(6), Text: c.text(7),
		}
	},
}

var logRows = reading[Log]{
	&logTable,
	"id, build, step, name, ref, lines, bytes, truncated, complete",
	func(r *Log, c *cells) {
		*r = Log{
			ID: c.int(0), Build: c.int(1), Step: int(c.int(2)), Name: c.text(3), Ref: c.text(4), Lines: c.int(5), Bytes: c.int(6),
			Truncated: c.flag(7), Complete: c.flag(8),
		}
	},
}

var workerRows = reading[Worker]{
	&workerTable,
	"id, name, kind, configured, removed, last_seen, state, info",
	func(r *Worker, c *cells) {
		*r = Worker{
			ID: c.int(0), Name: c.text(1), Kind: c.text(2), Configured: c.time(3), Removed: c.time(4), LastSeen: c.time(5), State: c.blob(6),
		}
		var err error
		if r.Info, err = decodeInfo(c.text(7)); err != nil {
			c.log.Error("worker is read without what it said about itself", "worker", r.Name, "err", err)
		}
	},
}

var builderRows = reading[Builder]{
	&builderTable,
	"id, name, configured, removed, description, tags",
	func(r *Builder, c *cells) {
		*r = Builder{ID: c.int(0), Name: c.text(1), Configured: c.time(2), Removed: c.time(3), Description: c.text(4)}
		var err error
		if r.Tags, err = decodeList(c.text(5)); err != nil {
			c.log.Error("builder is read without its tags", "builder", r.Name, "err", err)
		}
	},
}

var schedulerRows = reading[Scheduler]{
	&schedulerTable,
	"id, name, enabled, changed, who, reason",
	func(r *Scheduler, c *cells) {
		*r = Scheduler{ID: c.int(0), Name: c.text(1), Enabled: c.flag(2), Changed: c.time(3), Who: c.text(4), Reason: c.text(5)}
	},
}

var mailRows = reading[Mail]{
	&mailTable,
	"id, key, kind, worker, build, recipient, created, not_before, next_try, done, state, attempts, message_id, error, payload",
	func(r *Mail, c *cells) {
		*r = Mail{
			ID: c.int(0), Key: c.text(1), Kind: c.text(2), Worker: c.text(3), Build: c.int(4), Recipient: c.text(5), Created: c.time(6),
			NotBefore: c.time(7), NextTry: c.time(8), Done: c.time(9), State: MailState(c.int(10)), Attempts: int(c.int(11)),
			MessageID: c.text(12), Error: c.text(13), Payload: c.blob(14),
		}
	},
}

var entryRows = reading[Entry]{
	&journalTable,
	"id, time, kind, name, ref, build, what, who, reason, detail",
	func(r *Entry, c *cells) {
		*r = Entry{
			ID: c.int(0), Time: c.time(1), Kind: c.text(2), Name: c.text(3), Ref: c.int(4), Build: c.int(5), What: c.text(6),
			Who: c.text(7), Reason: c.text(8), Detail: c.blob(9),
		}
	},
}

// cells are the values of one row, as the driver hands them over: scanning into
// variables of the right types would cost a reflection each.
type cells struct {
	vals []any
	into []any // pointers to vals
	log  *slog.Logger
}

func newCells(n int, log *slog.Logger) *cells {
	c := &cells{make([]any, n), make([]any, n), log}
	for i := range c.vals {
		c.into[i] = &c.vals[i]
	}
	return c
}

// The tables are STRICT: the types are those of the columns. NULL is zero.

func (c *cells) int(i int) int64 {
	n, _ := c.vals[i].(int64)
	return n
}

func (c *cells) text(i int) string {
	s, _ := c.vals[i].(string)
	return s
}

func (c *cells) time(i int) time.Time { return fromNanos(c.int(i)) }

func (c *cells) duration(i int) time.Duration { return time.Duration(c.int(i)) }

func (c *cells) flag(i int) bool { return c.int(i) != 0 }

func (c *cells) blob(i int) []byte {
	b, _ := c.vals[i].([]byte) // a copy already
	return b
}
