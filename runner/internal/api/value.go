package api

import (
	"cmp"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// kind is the type of a field, as application.spec names it.
type kind uint8

const (
	integer kind = iota
	text
	boolean
	stamp    // seconds since 1970
	integers // a list
	texts    // a list
	object   // any JSON: it can neither be filtered nor ordered by
	span     // a length of time, shown in seconds; in a value in ms. As object
)

// String returns Buildbot's name of the type.
func (k kind) String() string {
	switch k {
	case integer:
		return "integer"
	case text:
		return "string"
	case boolean:
		return "boolean"
	case stamp:
		return "datetime"
	case integers, texts:
		return "list"
	case span:
		return "number" // not in Buildbot
	}
	return "jsonobject"
}

// scalar reports whether values of the kind have an order.
func (k kind) scalar() bool { return k <= stamp }

// value is what one field of one row holds. Which of n, s and list counts
// follows from the field's kind.
type value struct {
	null bool
	n    int64 // integer, stamp, span (ms); boolean: 0 or 1
	s    string
	list []value
}

var null = value{null: true}

func num[T ~int | ~int8 | ~int32 | ~int64](n T) value { return value{n: int64(n)} }
func str[T ~string](s T) value                        { return value{s: string(s)} }

func truth(b bool) value {
	if b {
		return value{n: 1}
	}
	return value{}
}

// orNull is s, or null where an empty text means that there is none.
func orNull[T ~string](s T) value {
	if s == "" {
		return null
	}
	return str(s)
}

func strs(list []string) value {
	v := value{list: make([]value, len(list))}
	for i, s := range list {
		v.list[i] = str(s)
	}
	return v
}

// compare orders two scalars of the same kind. Null is lowest. Buildbot: nonecmp.
func (v value) compare(o value) int {
	switch {
	case v.null && o.null:
		return 0
	case v.null:
		return -1
	case o.null:
		return 1
	}
	if c := cmp.Compare(v.n, o.n); c != 0 {
		return c
	}
	return strings.Compare(v.s, o.s)
}

var errValue = errors.New("not a value of the field's type")

// parseValue reads what a query says of a field; of a list it is one element.
func parseValue(k kind, s string) (value, error) {
	switch k {
	case integer, stamp, integers:
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return value{}, errValue
		}
		return num(n), nil
	case text, texts:
		if !utf8.ValidString(s) {
			return value{}, errValue
		}
		return str(s), nil
	case boolean:
		// Buildbot: util.string2boolean.
		switch strings.ToLower(s) {
		case "on", "true", "yes", "1":
			return truth(true), nil
		case "off", "false", "no", "0":
			return truth(false), nil
		}
	}
	return value{}, errValue
}

// at is a moment, null where there is none.
func at(t time.Time) value {
	if t.IsZero() {
		return null
	}
	return num(t.Unix())
}

// between is how long it was from one moment to another, which is now if there
// is none; null without the first.
func between(from, to time.Time) value {
	if from.IsZero() {
		return null
	}
	if to.IsZero() {
		to = time.Now()
	}
	return num(max(0, to.Sub(from).Milliseconds()))
}

// orNone is n, or null where 0 means that there is none.
func orNone[T ~int | ~int64](n T) value {
	if n == 0 {
		return null
	}
	return num(n)
}

func nums(list []int64) value {
	v := value{list: make([]value, len(list))}
	for i, n := range list {
		v.list[i] = num(n)
	}
	return v
}
