package api

import (
	"context"
	"slices"
	"strings"
	"sync"
)

// field is one field of the rows R of a resource. Scalars and lists have get,
// objects have put, which appends their JSON.
type field[R any] struct {
	column
	get func(r *R) value
	put func(b []byte, r *R, q *query) []byte
}

// page is an answer to a query: the rows, and how many there are without limit
// and offset. done says that filters, order and limit were applied already.
type page[R any] struct {
	rows    []R
	total   int64
	atLeast bool // there are more, but counting them takes long
	done    bool
}

// resource is a kind of thing that the interface shows.
type resource[R any] struct {
	schema
	fields []field[R]
	keys   []string // `"name":` of each field
	// list returns the rows below a path.
	list func(ctx context.Context, c *call, q *query) (page[R], error)
	// same, if there is one, returns what a row's JSON is made of: as long as that
	// compares equal the JSON is not written again. The zero key: it always is.
	same  func(r *R) rowKey
	known *fragments
}

// rowKey names what never changes: a pointer to what is never written to, and a
// generation of the names.
type rowKey struct {
	of  any
	gen uint64
}

// fragments are the JSON of rows by what they were made of.
type fragments struct {
	mu sync.Mutex
	m  map[rowKey][]byte
	// old are those of the time before m was last emptied. What nobody asks for
	// any more is so forgotten.
	old  map[rowKey][]byte
	size int // of the last whole list, in bytes
}

// maxFragments is how many rows there may be before the unused ones are forgotten.
const maxFragments = 1 << 12

// whole writes rows with all their fields.
func (r *resource[R]) whole(b []byte, rows []R, q *query) []byte {
	f := r.known
	f.mu.Lock()
	defer f.mu.Unlock()
	b = slices.Grow(b, f.size)
	began := len(b)
	if len(f.m) > maxFragments+2*len(rows) {
		f.m, f.old = nil, f.m
	}
	if f.m == nil {
		f.m = make(map[rowKey][]byte, len(rows))
	}
	for i := range rows {
		if i > 0 {
			b = append(b, ',')
		}
		key := r.same(&rows[i])
		if key == (rowKey{}) {
			b = r.append(b, &rows[i], q)
			continue
		}
		text, ok := f.m[key]
		if !ok {
			if text, ok = f.old[key]; !ok {
				text = r.append(nil, &rows[i], q)
			}
			f.m[key] = text
		}
		b = append(b, text...)
	}
	if len(rows) > 1 {
		f.size = len(b) - began + 1<<10
	}
	return b
}

// served is what an endpoint needs of its resource.
type served interface {
	describe() *schema
	// collection and item append the JSON of the rows that q selects, without
	// the brackets around the list.
	collection(ctx context.Context, c *call, q *query, b []byte) ([]byte, meta, error)
	item(ctx context.Context, c *call, q *query, b []byte) ([]byte, error)
}

// newResource completes a resource of the table: fields are sorted by name, as
// Buildbot sorts the keys of its objects.
func newResource[R any](r resource[R]) *resource[R] {
	slices.SortFunc(r.fields, func(a, b field[R]) int { return strings.Compare(a.name, b.name) })
	r.byName, r.known = make(map[string]int, len(r.fields)), &fragments{}
	for i := range r.fields {
		f := &r.fields[i]
		r.columns = append(r.columns, f.column)
		r.byName[f.name] = i
		r.keys = append(r.keys, `"`+f.name+`":`)
	}
	return &r
}

func (r *resource[R]) describe() *schema { return &r.schema }

// meta tells of a collection beyond its rows.
type meta struct {
	total   int64
	atLeast bool
}

func (r *resource[R]) collection(ctx context.Context, c *call, q *query, b []byte) ([]byte, meta, error) {
	p, err := r.list(ctx, c, q)
	if err != nil {
		return b, meta{}, err
	}
	if !p.done {
		p = r.apply(p.rows, q)
	}
	if r.same != nil && q.fields == nil {
		return r.whole(b, p.rows, q), meta{p.total, p.atLeast}, nil
	}
	for i := range p.rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = r.append(b, &p.rows[i], q)
	}
	return b, meta{p.total, p.atLeast}, nil
}

func (r *resource[R]) item(ctx context.Context, c *call, q *query, b []byte) ([]byte, error) {
	p, err := r.list(ctx, c, q)
	if err != nil {
		return b, err
	}
	if len(p.rows) == 0 {
		return b, notFound("no %s here", r.name)
	}
	return r.append(b, &p.rows[0], q), nil
}

// append writes one row as a JSON object.
func (r *resource[R]) append(b []byte, row *R, q *query) []byte {
	b = append(b, '{')
	n := len(r.fields)
	if q.fields != nil {
		n = len(q.fields)
	}
	for i := range n {
		at := i
		if q.fields != nil {
			at = q.fields[i]
		}
		if i > 0 {
			b = append(b, ',')
		}
		f := &r.fields[at]
		b = append(b, r.keys[at]...)
		if f.put != nil {
			b = f.put(b, row, q)
		} else {
			b = appendValue(b, f.kind, f.get(row))
		}
	}
	return append(b, '}')
}

// apply filters, orders and cuts rows that are in memory. It does not change
// the list it is given.
func (r *resource[R]) apply(rows []R, q *query) page[R] {
	if len(q.filters) > 0 {
		rows = r.filter(rows, q.filters)
	}
	if len(q.order) > 0 {
		rows = slices.Clone(rows)
		slices.SortStableFunc(rows, func(a, b R) int { return r.compare(&a, &b, q.order) })
	}
	p := page[R]{total: int64(len(rows)), done: true}
	rows = rows[min(q.offset, len(rows)):]
	if q.limit >= 0 {
		rows = rows[:min(q.limit, len(rows))]
	}
	p.rows = rows
	return p
}

func (r *resource[R]) filter(rows []R, filters []filter) []R {
	var kept []R
rows:
	for i := range rows {
		for j := range filters {
			f := &r.fields[filters[j].column]
			if !filters[j].match(f.kind, f.get(&rows[i])) {
				continue rows
			}
		}
		kept = append(kept, rows[i])
	}
	return kept
}

func (r *resource[R]) compare(a, b *R, by []order) int {
	for _, o := range by {
		get := r.fields[o.column].get
		c := get(a).compare(get(b))
		if o.desc {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	return 0
}
