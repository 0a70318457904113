package store

import (
	"slices"
	"strings"
)

// maxArms bounds how many values of a condition are looked up one by one.
const maxArms = 16

// windowMost is how many rows of a span of time are sorted rather than looked
// for among all.
const windowMost = 2000

// way is how the rows of a query are found.
type way struct {
	driven int  // the condition that is looked up in an index, -1: none
	narrow bool // few rows are in the span of time that is asked for
}

// where returns the conditions of sel joined, " WHERE …" or "". In place of
// the driving condition, alone is used.
func (t *table) where(sel *Select, w way, alone Cond) (clause, error) {
	var parts []string
	var args []any
	for i, c := range sel.Where {
		f, ok := t.fields[c.Field]
		if !ok {
			return clause{}, unknownField(c.Field)
		}
		if i == w.driven {
			c = alone
		}
		cl, err := f.clause(c, t.prefix(sel, i, w))
		if err != nil {
			return clause{}, err
		}
		parts = append(parts, "("+cl.sql+")")
		args = append(args, cl.args...)
	}
	if len(parts) == 0 {
		return clause{}, nil
	}
	return clause{" WHERE " + strings.Join(parts, " AND "), args}, nil
}

// prefix keeps the database from using an index for condition i when another
// way is better: it knows nothing about how many rows have a value, and would
// rather sort a million of them than read a hundred in their order.
func (t *table) prefix(sel *Select, i int, w way) string {
	name := sel.Where[i].Field
	var use bool
	switch {
	case w.driven >= 0:
		use = i == w.driven || slices.Contains(t.driver(sel.Where[w.driven]).with, name)
	case t.fields[name].indexed:
		use = w.narrow || !t.byKey(sel)
	default:
		use = name == t.id
	}
	if use {
		return ""
	}
	return "+"
}

// byKey reports whether rows are wanted in the order of their key.
func (t *table) byKey(sel *Select) bool { return len(sel.Order) == 0 || sel.Order[0].Field == t.id }

// driver returns the index for a condition, nil if there is none.
func (t *table) driver(c Cond) *driver {
	for i := range t.drivers {
		d := &t.drivers[i]
		if d.field != c.Field || c.Op != Eq && c.Op != In || slices.Contains(c.Values, nil) {
			continue
		}
		if d.only == nil || len(c.Values) == 1 && c.Values[0] == d.only {
			return d
		}
	}
	return nil
}

// choose returns which condition is to be looked up in an index, -1: none.
func (t *table) choose(sel *Select) int {
	ordered := len(sel.Order) > 0 && t.fields[sel.Order[0].Field].indexed
	for i := range t.drivers {
		for j, c := range sel.Where {
			if t.driver(c) == &t.drivers[i] && !(ordered && t.drivers[i].weak) {
				return j
			}
		}
	}
	return -1
}

// order returns " ORDER BY …".
func (t *table) order(sel *Select, key []string) (string, error) {
	var terms []string
	add := func(cols []string, desc bool) {
		for _, c := range cols {
			if desc {
				c += " DESC"
			}
			terms = append(terms, c)
		}
	}
	desc, keyed := false, false
	for _, s := range sel.Order {
		f, ok := t.fields[s.Field]
		if !ok {
			return "", unknownField(s.Field)
		}
		cols, err := f.sorts(s.Field)
		if err != nil {
			return "", err
		}
		if s.Field == t.id {
			cols, keyed = key, true
		}
		desc = s.Desc
		add(cols, desc)
	}
	if !keyed {
		add(key, desc)
	}
	return " ORDER BY " + strings.Join(terms, ", "), nil
}

// window returns the statement that counts the rows in the spans of time of
// sel, up to one more than windowMost, if the way depends on their number.
func (t *table) window(sel *Select) (clause, bool, error) {
	if t.choose(sel) >= 0 || !t.byKey(sel) {
		return clause{}, false, nil
	}
	var spans Select
	for _, c := range sel.Where {
		if t.fields[c.Field].indexed && len(c.Values) == 1 && c.Op != Ne && c.Op != NotIn {
			spans.Where = append(spans.Where, c)
		}
	}
	if len(spans.Where) == 0 {
		return clause{}, false, nil
	}
	st, err := t.count(&spans, windowMost+1)
	return st, true, err
}

// rows returns the statement that reads columns of the rows of sel.
func (t *table) rows(sel *Select, columns string, narrow bool) (clause, error) {
	w := way{t.choose(sel), narrow}
	key := t.key
	if narrow {
		key = []string{"+id"} // sort them
	}
	var alone Cond
	if w.driven >= 0 {
		alone = sel.Where[w.driven]
		d := t.driver(alone)
		if many := len(alone.Values); many > 1 && many <= maxArms && t.byKey(sel) && d.field != t.id && len(t.key) == 1 && sel.Limit >= 0 {
			return t.armed(sel, columns, w)
		}
		if len(alone.Values) == 1 && d.key != "" {
			key = []string{d.key}
		}
	}
	order, err := t.order(sel, key)
	if err != nil {
		return clause{}, err
	}
	where, err := t.where(sel, w, alone)
	return clause{
		"SELECT " + columns + " FROM " + t.name + where.sql + order + " LIMIT ? OFFSET ?",
		append(where.args, int64(sel.Limit), int64(sel.Offset)),
	}, err
}

// armed reads rows by a driving condition with several values: the first rows
// of each value come from the index in the order of the key, and what is wanted
// is among them.
func (t *table) armed(sel *Select, columns string, w way) (clause, error) {
	d := t.driver(sel.Where[w.driven])
	key := t.key
	if d.key != "" {
		key = []string{d.key}
	}
	inner, err := t.order(sel, key)
	if err != nil {
		return clause{}, err
	}
	outer, err := t.order(sel, t.key)
	if err != nil {
		return clause{}, err
	}
	var arms []string
	var args []any
	for _, v := range sel.Where[w.driven].Values {
		where, err := t.where(sel, w, Cond{Field: d.field, Op: Eq, Values: []any{v}})
		if err != nil {
			return clause{}, err
		}
		arms = append(arms, "SELECT id FROM (SELECT id FROM "+t.name+where.sql+inner+" LIMIT ?)")
		args = append(append(args, where.args...), int64(sel.Limit)+int64(sel.Offset))
	}
	return clause{
		"SELECT " + columns + " FROM " + t.name + " WHERE id IN (" + strings.Join(arms, " UNION ALL ") + ")" + outer + " LIMIT ? OFFSET ?",
		append(args, int64(sel.Limit), int64(sel.Offset)),
	}, nil
}

// known returns the statement that looks the number of rows up in table totals,
// if that holds it.
func (t *table) known(sel *Select) (clause, bool, error) {
	of := t.name
	switch {
	case t.name != buildTable.name && t.name != requestTable.name:
		return clause{}, false, nil
	case len(sel.Where) == 0:
		return clause{"SELECT n FROM totals WHERE of = ? AND value = ''", []any{of}}, true, nil
	}
	var parts []string
	var args []any
	for i, c := range sel.Where {
		f, ok := t.fields[c.Field]
		if !ok {
			return clause{}, false, unknownField(c.Field)
		}
		if f.total == "" || i > 0 && f.total != of {
			return clause{}, false, nil
		}
		of = f.total
		f.sql = f.totalSQL
		cl, err := f.clause(c, "")
		if err != nil {
			return clause{}, false, err
		}
		parts = append(parts, "("+cl.sql+")")
		args = append(args, cl.args...)
	}
	return clause{"SELECT ifnull(sum(n), 0) FROM totals WHERE of = ? AND " + strings.Join(parts, " AND "), append([]any{of}, args...)}, true, nil
}

// count returns the statement that counts rows, up to most of them.
func (t *table) count(sel *Select, most int64) (clause, error) {
	w := way{t.choose(sel), true}
	var alone Cond
	if w.driven >= 0 {
		alone = sel.Where[w.driven]
	}
	where, err := t.where(sel, w, alone)
	return clause{"SELECT count(*) FROM (SELECT 1 FROM " + t.name + where.sql + " LIMIT ?)", append(where.args, most)}, err
}
