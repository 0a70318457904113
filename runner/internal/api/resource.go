package api

import (
	"context"
	"slices"
	"sort"
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

// served is what an endpoint needs of its resource.
type served interface {
	describe() *schema
	// collection returns the JSON of the rows that q selects, without the brackets
	// around the list; item appends that of one.
	collection(ctx context.Context, c *call, q *query) (body, meta, error)
	item(ctx context.Context, c *call, q *query, b []byte) ([]byte, error)
}

// newResource completes a resource of the table: fields are sorted by name, as
// Buildbot sorts the keys of its objects. Package slices would make code of its
// own for each R, 20 KB a time.
func newResource[R any](r resource[R]) *resource[R] {
	sort.Slice(r.fields, func(i, j int) bool { return r.fields[i].name < r.fields[j].name })
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

func (r *resource[R]) collection(ctx context.Context, c *call, q *query) (body, meta, error) {
	p, err := r.list(ctx, c, q)
	if err != nil {
		return nil, meta{}, err
	}
	if !p.done {
		p = r.apply(p.rows, q)
	}
	m := meta{p.total, p.atLeast}
	if r.same != nil && q.fields == nil {
		name := ""
		if q.plain() {
			name = c.path
		}
		return r.known.whole(name, keyedRows{
			len(p.rows),
			func(i int) rowKey { return r.same(&p.rows[i]) },
			func(b []byte, i int) []byte { return r.append(b, &p.rows[i], q) },
		}, c.a.etags), m, nil
	}
	b := make([]byte, 0, 4<<10)
	for i := range p.rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = r.append(b, &p.rows[i], q)
	}
	return body{c.a.etags.part(b)}, m, nil
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
		rows = r.sorted(rows, q.order)
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
	for i := range rows {
		if r.fits(&rows[i], filters) {
			kept = append(kept, rows[i])
		}
	}
	return kept
}

func (r *resource[R]) fits(row *R, filters []filter) bool {
	for i := range filters {
		f := &r.fields[filters[i].column]
		if !filters[i].match(f.kind, f.get(row)) {
			return false
		}
	}
	return true
}

// sorted returns the rows in another order. It sorts pointers, whose code is the
// same for every R.
func (r *resource[R]) sorted(rows []R, by []order) []R {
	ptrs := make([]*R, len(rows))
	for i := range rows {
		ptrs[i] = &rows[i]
	}
	slices.SortStableFunc(ptrs, func(a, b *R) int { return r.compare(a, b, by) })
	out := make([]R, len(rows))
	for i, p := range ptrs {
		out[i] = *p
	}
	return out
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
