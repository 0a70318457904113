package api

import (
	"slices"
	"strings"
)

// operator is what a filter does, as in FIELD__OPERATOR=VALUE.
type operator string

// The operators. Buildbot: resultspec.Filter.singular_operators.
const (
	opEq       operator = "eq"
	opNe       operator = "ne"
	opLt       operator = "lt"
	opLe       operator = "le"
	opGt       operator = "gt"
	opGe       operator = "ge"
	opContains operator = "contains"
	opIn       operator = "in"
	opNotIn    operator = "notin"
)

var operators = []operator{opEq, opNe, opLt, opLe, opGt, opGe, opContains, opIn, opNotIn}

// many reports whether the operator may be given several values. Buildbot:
// resultspec.Filter.plural_operators.
func (o operator) many() bool {
	switch o {
	case opEq, opNe, opContains, opIn, opNotIn:
		return true
	}
	return false
}

// filter keeps rows whose column compares well with the values, of which there
// is at least one. More than one of them are alternatives.
type filter struct {
	column int
	op     operator
	values []value
}

// match applies the filter to a value of its column. Null is unequal to all but
// null, and neither lower nor higher than anything.
func (f *filter) match(k kind, v value) bool {
	switch k {
	case integers, texts:
		has := slices.ContainsFunc(v.list, func(e value) bool { return f.among(e) })
		return has != (f.op == opNe || f.op == opNotIn)
	}
	switch f.op {
	case opEq, opIn:
		return f.among(v)
	case opNe, opNotIn:
		return !f.among(v)
	case opContains:
		return !v.null && slices.ContainsFunc(f.values, func(w value) bool { return strings.Contains(v.s, w.s) })
	}
	if v.null {
		return false
	}
	c := v.compare(f.values[0])
	switch f.op {
	case opLt:
		return c < 0
	case opLe:
		return c <= 0
	case opGt:
		return c > 0
	}
	return c >= 0
}

// among reports whether v is one of the values. compare finds null equal to null
// and to nothing else.
func (f *filter) among(v value) bool {
	return slices.ContainsFunc(f.values, func(w value) bool { return v.compare(w) == 0 })
}

// allowed says why an operator cannot be used on a column of kind k with n
// values, "" if it can.
func (o operator) allowed(k kind, n int) string {
	switch {
	case !slices.Contains(operators, o):
		return "there is no such operator"
	case n > 1 && !o.many():
		return "it takes one value"
	case k == object || k == span:
		return "the field cannot be filtered by"
	case !k.scalar() && !o.many():
		return "the field is a list"
	case o == opContains && k != text && k.scalar():
		return "the field is neither a text nor a list"
	}
	return ""
}
