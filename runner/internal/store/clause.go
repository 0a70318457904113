package store

import (
	"math"
	"strings"
	"time"
)

// kind is how a field's values are kept.
type kind uint8

const (
	number  kind = iota // an INTEGER
	text                // a TEXT
	boolean             // conditions on a column
	moment              // nanoseconds, told in seconds
	list                // a JSON list of texts
	named               // the id of a name, in a table of names
	pair                // two columns; the value is a StepID
)

// field is one field of a table as it is kept. Nothing in it comes from a caller.
type field struct {
	kind kind
	sql  string // a column, or an expression that may be NULL
	// none is the value that stands for None, nil: there is no such value.
	none any
	// yes and no are the conditions of a boolean, $ is the column.
	yes, no string
	names   string // the table of names
	second  string // the column of the number of a step
	indexed bool   // there is an index for its order
	fixed   bool   // the same for all rows: it orders nothing
	// total is what table totals counts by it; there its column is value, as
	// totalSQL reads it.
	total, totalSQL string
}

// clause is a condition with the values of its parameters.
type clause struct {
	sql  string
	args []any
}

// clause returns the condition; prefix goes before columns. A "+" there keeps
// the database from using an index.
func (f *field) clause(c Cond, prefix string) (clause, error) {
	switch c.Op {
	case Eq, In:
		return f.among(c, prefix)
	case Ne, NotIn:
		in, err := f.among(c, prefix)
		in.sql = "(" + in.sql + ") IS NOT TRUE"
		return in, err
	case Contains:
		return f.contains(c, prefix)
	}
	sign, ok := map[Op]string{Lt: "<", Le: "<=", Gt: ">", Ge: ">="}[c.Op]
	if !ok {
		return clause{}, &QueryError{Field: c.Field, Why: "there is no such operator"}
	}
	if len(c.Values) != 1 {
		return clause{}, &QueryError{Field: c.Field, Why: "the operator takes one value"}
	}
	return f.compare(c, sign, prefix)
}

// among is the condition that the field has one of the values.
func (f *field) among(c Cond, prefix string) (clause, error) {
	col := prefix + f.sql
	var args []any
	var or []string
	for _, v := range c.Values {
		if v == nil {
			if f.kind == named {
				or = append(or, "NOT EXISTS (SELECT 1 FROM "+f.names+" AS n WHERE n.name = "+f.sql+")")
			} else {
				or = append(or, f.isNone(col))
			}
			continue
		}
		if !f.fits(v) {
			return clause{}, f.misfit(c)
		}
		if v != f.none {
			args = append(args, v)
		}
	}
	if len(args) == 0 {
		return clause{sql: strings.Join(append(or, "0"), " OR ")}, nil
	}
	switch f.kind {
	case number, text:
		or = append(or, col+equals(len(args)))
	case boolean:
		for _, v := range args {
			or = append(or, "("+f.when(v == true, col)+")")
		}
		args = nil
	case moment:
		if len(args) == 1 {
			s := args[0].(int64)
			or = append(or, "("+f.isSome(col)+" AND "+col+" >= ? AND "+col+" < ?)")
			args = []any{startOf(s), endOf(s)}
			break
		}
		or = append(or, "("+f.isSome(col)+" AND "+col+" / 1000000000"+equals(len(args))+")")
	case list:
		or = append(or, "EXISTS (SELECT 1 FROM json_each(iif(json_valid("+f.sql+"), "+f.sql+", NULL)) AS e WHERE e.value"+equals(len(args))+")")
	case named:
		in := " IN "
		if len(args) == 1 {
			in = " = "
		}
		or = append(or, col+in+"(SELECT name FROM "+f.names+" WHERE id"+equals(len(args))+")")
	case pair:
		ids := args
		args = make([]any, 0, 2*len(ids))
		for _, id := range ids {
			b, n := SplitStepID(id.(int64))
			args = append(args, b, int64(n))
		}
		if len(ids) == 1 {
			or = append(or, col+" = ? AND "+prefix+f.second+" = ?")
		} else {
			or = append(or, "("+col+", "+prefix+f.second+") IN (VALUES (?, ?)"+strings.Repeat(", (?, ?)", len(ids)-1)+")")
		}
	}
	return clause{strings.Join(or, " OR "), args}, nil
}

// compare is the condition that the field is lower or higher than the value.
func (f *field) compare(c Cond, sign, prefix string) (clause, error) {
	v, col := c.Values[0], prefix+f.sql
	switch {
	case f.kind == list:
		return clause{}, &QueryError{Field: c.Field, Why: "a list is neither lower nor higher"}
	case !f.fits(v):
		return clause{}, f.misfit(c)
	}
	switch f.kind {
	case boolean:
		var or []string
		for _, have := range []bool{false, true} {
			if compareBool(have, sign, v.(bool)) {
				or = append(or, "("+f.when(have, col)+")")
			}
		}
		return clause{sql: strings.Join(append(or, "0"), " OR ")}, nil
	case moment:
		at := startOf(v.(int64))
		switch sign {
		case "<=":
			sign, at = "<", endOf(v.(int64))
		case ">":
			sign, at = ">=", endOf(v.(int64))
		}
		return clause{f.isSome(col) + " AND " + col + " " + sign + " ?", []any{at}}, nil
	case named:
		return clause{col + " IN (SELECT name FROM " + f.names + " WHERE id " + sign + " ?)", []any{v}}, nil
	case pair:
		b, n := SplitStepID(v.(int64))
		return clause{"(" + col + ", " + prefix + f.second + ") " + sign + " (?, ?)", []any{b, int64(n)}}, nil
	}
	return clause{f.isSome(col) + " AND " + col + " " + sign + " ?", []any{v}}, nil
}

// contains is the condition that a text has one of the values as a part, or
// that a list has one as an element.
func (f *field) contains(c Cond, prefix string) (clause, error) {
	switch f.kind {
	case list:
		return f.among(c, prefix)
	case text:
	default:
		return clause{}, &QueryError{Field: c.Field, Why: "the field is neither a text nor a list"}
	}
	for _, v := range c.Values {
		if !f.fits(v) {
			return clause{}, f.misfit(c)
		}
	}
	col := prefix + f.sql
	parts := "(VALUES (?)" + strings.Repeat(", (?)", len(c.Values)-1) + ")"
	return clause{f.isSome(col) + " AND EXISTS (SELECT 1 FROM " + parts + " AS part WHERE instr(" + f.sql + ", part.column1) > 0)", c.Values}, nil
}

// when is the condition of a boolean.
func (f *field) when(v bool, col string) string {
	if v {
		return strings.ReplaceAll(f.yes, "$", col)
	}
	return strings.ReplaceAll(f.no, "$", col)
}

// isNone and isSome are conditions.
func (f *field) isNone(col string) string {
	switch f.none {
	case nil:
		return col + " IS NULL"
	case "":
		return col + " = ''"
	case noResult:
		return col + " = -1"
	}
	return col + " = 0"
}

func (f *field) isSome(col string) string {
	switch f.none {
	case nil:
		return "1"
	case "":
		return col + " <> ''"
	case noResult:
		return col + " > -1"
	}
	return col + " <> 0"
}

// noResult is how [build.None] is kept.
const noResult int64 = -1

// fits reports whether a value has the type of the field.
func (f *field) fits(v any) bool {
	switch v.(type) {
	case int64:
		return f.kind == number || f.kind == moment || f.kind == named || f.kind == pair
	case string:
		return f.kind == text || f.kind == list
	case bool:
		return f.kind == boolean
	}
	return false
}

func (f *field) misfit(c Cond) error {
	want := map[kind]string{number: "a number", text: "a text", boolean: "true or false", moment: "a time", list: "a text", named: "a number", pair: "a number"}
	return &QueryError{Field: c.Field, Why: "the value is not " + want[f.kind]}
}

// sorts are the terms by which the field orders rows.
func (f *field) sorts(name string) ([]string, error) {
	if f.fixed {
		return nil, nil
	}
	switch f.kind {
	case boolean:
		return []string{"(" + f.when(true, f.sql) + ")"}, nil
	case list:
		return nil, &QueryError{Field: name, Why: "lists have no order"}
	case named:
		return []string{"(SELECT id FROM " + f.names + " AS n WHERE n.name = " + f.sql + ")"}, nil
	case pair:
		return []string{f.sql, f.second}, nil
	}
	return []string{f.sql}, nil
}

// equals is a comparison with n values.
func equals(n int) string {
	if n == 1 {
		return " = ?"
	}
	return " IN (?" + strings.Repeat(", ?", n-1) + ")"
}

// maxSecond is the last one that can be kept in nanoseconds, in the year 2262.
const maxSecond = math.MaxInt64/int64(time.Second) - 1

// startOf is when a second begins, in nanoseconds.
func startOf(second int64) int64 {
	return min(max(second, -maxSecond), maxSecond) * int64(time.Second)
}

// endOf is when the next one begins.
func endOf(second int64) int64 { return startOf(second) + int64(time.Second) }

func compareBool(a bool, sign string, b bool) bool {
	switch sign {
	case "<":
		return !a && b
	case "<=":
		return !a || b
	case ">":
		return a && !b
	}
	return a || !b
}
