package api

import (
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Limits of what a query may ask for.
const (
	maxQuery  = 16 << 10 // bytes, as sent
	maxParams = 500      // values in all
)

// column is what is known of a field without its rows.
type column struct {
	name string
	kind kind
	null bool // may be null
	new  bool // Buildbot has no such field
	doc  string
	// stored is a value of a filter as the store has it; nil: as it is.
	stored func(v value) any
}

// schema is the list of a resource's fields, sorted by name.
type schema struct {
	name, plural string
	columns      []column
	byName       map[string]int
	properties   bool // rows carry properties, which a query selects
}

// order sorts by one column.
type order struct {
	column int
	desc   bool
}

// query is what a request asks of a resource.
type query struct {
	fields     []int // selected columns, ascending; nil: all
	filters    []filter
	order      []order
	limit      int // < 0: none
	offset     int
	properties []string // names, or "*" for all
	list       bool     // it is for a list, not for one row
}

// queryError is a mistake in a query: the answer is 400 with this text. The
// texts that Buildbot has too are Buildbot's (data/connector.py).
type queryError string

func (e queryError) Error() string { return string(e) }

func badQuery(format string, args ...any) error { return queryError(fmt.Sprintf(format, args...)) }

// shown shortens what somebody sent, for an error.
func shown(s string) string {
	const most = 100
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// parseQuery reads the part of a URL after the question mark. Only a collection
// can be filtered; order and limit mean nothing elsewhere.
func parseQuery(s *schema, raw string, collection bool) (*query, error) {
	if len(raw) > maxQuery {
		return nil, badQuery("query of %d bytes, at most %d are allowed", len(raw), maxQuery)
	}
	params, err := url.ParseQuery(raw)
	if err != nil {
		return nil, badQuery("invalid query: %v", err)
	}
	q := &query{limit: -1, list: collection}
	names, values := make([]string, 0, len(params)), 0
	for name, vs := range params {
		names = append(names, name)
		values += len(vs)
	}
	if values > maxParams {
		return nil, badQuery("%d query parameters, at most %d are allowed", values, maxParams)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := q.param(s, name, params[name]); err != nil {
			return nil, err
		}
	}
	return q, q.check(collection)
}

func (q *query) param(s *schema, name string, values []string) (err error) {
	switch name {
	case "field":
		return q.selectFields(s, values)
	case "order":
		return q.orderBy(s, values)
	case "limit":
		q.limit, err = count("limit", values[0])
		return err
	case "offset":
		q.offset, err = count("offset", values[0])
		return err
	case "property":
		if s.properties {
			q.properties = values
			return nil
		}
	}
	field, op := name, opEq
	if _, ok := s.byName[name]; !ok {
		i := strings.LastIndex(name, "__")
		if i < 0 {
			return badQuery("unrecognized query parameter '%s'", shown(name))
		}
		field, op = name[:i], operator(name[i+2:])
	}
	i, ok := s.byName[field]
	if !ok {
		return badQuery("no such field '%s'", shown(field))
	}
	k := s.columns[i].kind
	if why := op.allowed(k, len(values)); why != "" {
		return badQuery("invalid operator in '%s': %s", shown(name), why)
	}
	f := filter{column: i, op: op}
	for _, v := range values {
		parsed, err := parseValue(k, v)
		if v == "null" && s.columns[i].null && k != text && k != texts && (op == opEq || op == opNe || op == opIn || op == opNotIn) {
			parsed, err = null, nil // not in Buildbot; a text may be "null"
		}
		if err != nil {
			return badQuery("invalid filter value for %s", shown(name))
		}
		f.values = append(f.values, parsed)
	}
	q.filters = append(q.filters, f)
	return nil
}

func (q *query) selectFields(s *schema, names []string) error {
	for _, name := range names {
		i, ok := s.byName[name]
		if !ok {
			return badQuery("no such field '%s'", shown(name))
		}
		q.fields = append(q.fields, i)
	}
	slices.Sort(q.fields)
	q.fields = slices.Compact(q.fields)
	return nil
}

func (q *query) orderBy(s *schema, names []string) error {
	for _, name := range names {
		name, desc := strings.CutPrefix(name, "-")
		i, ok := s.byName[name]
		if !ok {
			return badQuery("no such field '%s'", shown(name))
		}
		if !s.columns[i].kind.scalar() {
			return badQuery("cannot order on field '%s': its values have no order", name)
		}
		if !slices.ContainsFunc(q.order, func(o order) bool { return o.column == i }) {
			q.order = append(q.order, order{i, desc})
		}
	}
	return nil
}

// count reads a limit or an offset.
func count(name, s string) (int, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, badQuery("invalid %s", name)
	}
	return int(min(n, math.MaxInt32)), nil
}

// check looks at what depends on more than one parameter.
func (q *query) check(collection bool) error {
	if !collection && len(q.filters) > 0 {
		return badQuery("this is not a collection")
	}
	if q.fields == nil {
		return nil
	}
	for _, o := range q.order {
		if !slices.Contains(q.fields, o.column) {
			return badQuery("cannot order on un-selected fields")
		}
	}
	for _, f := range q.filters {
		if !slices.Contains(q.fields, f.column) {
			return badQuery("cannot filter on un-selected fields")
		}
	}
	return nil
}

// plain reports whether a query asks for all there is, in its order.
func (q *query) plain() bool {
	return q.fields == nil && len(q.filters) == 0 && len(q.order) == 0 && q.limit < 0 && q.offset == 0
}

// wants reports whether one of the fields is selected.
func (q *query) wants(s *schema, fields ...string) bool {
	return q.fields == nil || slices.ContainsFunc(fields, func(f string) bool {
		i, ok := s.byName[f]
		return ok && slices.Contains(q.fields, i)
	})
}
