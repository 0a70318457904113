package store

import "fmt"

// Op is how a filter compares a field with its values.
type Op string

// The operators. Several values are alternatives, and fit Eq, Ne, Contains, In
// and NotIn. None (nil) equals None, and is neither lower nor higher than
// anything. Contains looks for a part of a text or an element of a list; on a
// list Eq and In do so too, Ne and NotIn want none of the values.
const (
	Eq       Op = "eq"
	Ne       Op = "ne"
	Lt       Op = "lt"
	Le       Op = "le"
	Gt       Op = "gt"
	Ge       Op = "ge"
	Contains Op = "contains"
	In       Op = "in"
	NotIn    Op = "notin"
)

// Cond is one condition. Values are int64, also of times, in seconds since
// 1970; string; bool; or nil.
type Cond struct {
	Field  string
	Op     Op
	Values []any
}

// Sort orders by one field, None lowest; times to the nanosecond.
type Sort struct {
	Field string
	Desc  bool
}

// NoLimit is a [Select.Limit] without one.
const NoLimit = -1

// Select says which rows are wanted. Fields have the names of the REST
// interface.
type Select struct {
	Where []Cond // all must hold
	Order []Sort // what it leaves open, and all of it when empty, is by id
	// Limit is how many rows are returned at most; 0: none, only their number.
	Limit int
	// Offset is how many rows are passed over, at about 100 ns each; the rows
	// below an id are reached at once.
	Offset int
	// Properties names the properties that builds and requests are to have;
	// "*" is all of them, none of them is the cheapest.
	Properties []string
}

// Page is what a [Select] found.
type Page[T any] struct {
	Rows []T
	// Total is how many rows there are without limit and offset, counted right
	// after the rows were read. AtLeast: there are more, but counting them would
	// take long.
	Total   int64
	AtLeast bool
}

// Limits of a [Select].
const (
	maxConds  = 100
	maxValues = 1000 // of all conditions together
	maxSorts  = 20
)

// QueryError says why a [Select] cannot be.
type QueryError struct {
	Field   string // "": it is not about a field
	Unknown bool   // there is no such field
	Why     string
}

// Error names the field.
func (e *QueryError) Error() string {
	if e.Field == "" {
		return e.Why
	}
	return fmt.Sprintf("field %.100q: %s", e.Field, e.Why)
}

func unknownField(name string) error {
	return &QueryError{Field: name, Unknown: true, Why: "there is no such field"}
}

func (sel *Select) check() error {
	values := 0
	for _, c := range sel.Where {
		values += len(c.Values)
		if len(c.Values) == 0 {
			return &QueryError{Field: c.Field, Why: "a condition without a value"}
		}
	}
	switch {
	case len(sel.Where) > maxConds:
		return &QueryError{Why: fmt.Sprintf("%d conditions, at most %d are allowed", len(sel.Where), maxConds)}
	case values > maxValues:
		return &QueryError{Why: fmt.Sprintf("%d values, at most %d are allowed", values, maxValues)}
	case len(sel.Order) > maxSorts:
		return &QueryError{Why: fmt.Sprintf("order by %d fields, at most %d are allowed", len(sel.Order), maxSorts)}
	case sel.Offset < 0:
		return &QueryError{Why: "negative offset"}
	}
	return nil
}

// StepID is the id of a step: its build's in the upper bits, its number in the
// lower 20.
func StepID(buildID int64, number int) int64 { return buildID<<stepBits | int64(number) }

// SplitStepID returns what [StepID] was made of.
func SplitStepID(id int64) (buildID int64, number int) {
	return id >> stepBits, int(id & (1<<stepBits - 1))
}

const stepBits = 20
