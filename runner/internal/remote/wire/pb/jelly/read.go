package jelly

import (
	"strings"
	"unicode/utf8"

	"bothy/runner/internal/remote/wire"
)

// References says what stands for references that are read.
type References interface {
	// Remote returns what stands for an object of the peer.
	Remote(id int64) (any, error)
	// Local returns the object of ours that the peer hands back.
	Local(id int64) (any, error)
}

// Read returns the value of an expression that package banana decoded; refs may be
// nil if there must not be references. Its errors wrap [ErrValue], unless they come
// from refs. References that came before an error have been asked for.
func Read(expr any, refs References) (any, error) {
	r := reader{refs: refs}
	return r.read(expr)
}

// maxWeight is how many values a value may consist of, counting those that are
// shared as often as they appear: a few bytes of shared lists can mean billions.
const maxWeight = 1 << 20

type reader struct {
	refs   References
	shared map[int64]sharedValue
	weight int // values read so far
}

// sharedValue is what (reference n …) introduced.
type sharedValue struct {
	value  any
	weight int
}

func (r *reader) read(expr any) (any, error) {
	if r.weight++; r.weight > maxWeight {
		return nil, valueError("more than %d values", maxWeight)
	}
	switch e := expr.(type) {
	case string:
		return []byte(e), nil
	case []any:
		if len(e) == 0 {
			return nil, valueError("an expression without a type")
		}
		typ, ok := e[0].(string)
		if !ok {
			return nil, valueError("an expression whose type is a %T", e[0])
		}
		return r.typed(typ, e[1:])
	default: // int64, uint64, float64
		return e, nil
	}
}

func (r *reader) typed(typ string, e []any) (any, error) {
	switch typ {
	case typeList, typeSet, typeFrozenset:
		return r.list(e)
	case typeTuple:
		l, err := r.list(e)
		return wire.Tuple(l), err
	case typeDictionary:
		return r.dictionary(e)
	case typeNone:
		return nil, arity(typ, e, 0)
	case typeUnicode:
		s, err := text(typ, e)
		if err == nil && !utf8.ValidString(s) {
			err = valueError("text is not UTF-8")
		}
		return s, err
	case typeBoolean:
		s, err := text(typ, e)
		if err == nil && s != "true" && s != "false" {
			err = valueError("boolean %q", s)
		}
		return s == "true", err
	case typeRemote, typeLocal:
		return r.reference(typ, e)
	case typeReference:
		return r.share(e)
	case typeDereference:
		return r.sharedAgain(e)
	case typeUnpersistable:
		s, err := text(typ, e)
		return Unpersistable(s), err
	}
	if !isClass(typ) {
		return nil, valueError("type %q", typ)
	}
	if err := arity(typ, e, 1); err != nil {
		return nil, err
	}
	state, err := r.read(e[0])
	if err != nil {
		return nil, err
	}
	if typ == typeFailure {
		return failure(state), nil
	}
	return &Copy{Class: typ, State: state}, nil
}

// isClass says whether a type is that of a copy: Twisted takes any dotted name.
func isClass(typ string) bool { return strings.Contains(typ, ".") }

func arity(typ string, e []any, n int) error {
	if len(e) != n {
		return valueError("%s with %d elements, want %d", typ, len(e), n)
	}
	return nil
}

// text returns the only element, which must be a string.
func text(typ string, e []any) (string, error) {
	if err := arity(typ, e, 1); err != nil {
		return "", err
	}
	s, ok := e[0].(string)
	if !ok {
		return "", valueError("%s of a %T", typ, e[0])
	}
	return s, nil
}

// number returns the first element, which must be an integer.
func number(typ string, e []any) (int64, error) {
	n, ok := e[0].(int64)
	if !ok {
		return 0, valueError("%s of a %T", typ, e[0])
	}
	return n, nil
}

func (r *reader) list(e []any) ([]any, error) {
	l := make([]any, len(e))
	for i := range e {
		var err error
		if l[i], err = r.read(e[i]); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (r *reader) dictionary(e []any) (wire.Map, error) {
	m := make(wire.Map, len(e))
	for i := range e {
		pair, ok := e[i].([]any)
		if !ok || len(pair) != 2 {
			return nil, valueError("a dictionary's entry is no pair")
		}
		key, err := r.read(pair[0])
		if err != nil {
			return nil, err
		}
		if m[i].Key, err = wire.Text(key); err != nil {
			return nil, valueError("a dictionary's key: %w", err)
		}
		if m[i].Value, err = r.read(pair[1]); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (r *reader) reference(typ string, e []any) (any, error) {
	if err := arity(typ, e, 1); err != nil {
		return nil, err
	}
	id, err := number(typ, e)
	if err != nil {
		return nil, err
	}
	if r.refs == nil {
		return nil, valueError("a reference")
	}
	if typ == typeRemote {
		return r.refs.Remote(id)
	}
	return r.refs.Local(id)
}

// share reads (reference n value).
func (r *reader) share(e []any) (any, error) {
	if err := arity(typeReference, e, 2); err != nil {
		return nil, err
	}
	id, err := number(typeReference, e)
	if err != nil {
		return nil, err
	}
	if _, ok := r.shared[id]; ok {
		return nil, valueError("reference %d twice", id)
	}
	before := r.weight
	v, err := r.read(e[1])
	if err != nil {
		return nil, err
	}
	if r.shared == nil {
		r.shared = make(map[int64]sharedValue)
	}
	r.shared[id] = sharedValue{v, r.weight - before}
	return v, nil
}

// sharedAgain reads (dereference n). A value within itself is not known yet.
func (r *reader) sharedAgain(e []any) (any, error) {
	if err := arity(typeDereference, e, 1); err != nil {
		return nil, err
	}
	id, err := number(typeDereference, e)
	if err != nil {
		return nil, err
	}
	s, ok := r.shared[id]
	if !ok {
		return nil, valueError("dereference of %d, which is not known", id)
	}
	if r.weight += s.weight; r.weight > maxWeight {
		return nil, valueError("more than %d values", maxWeight)
	}
	return s.value, nil
}
