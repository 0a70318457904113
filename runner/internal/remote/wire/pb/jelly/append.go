package jelly

import (
	"unicode/utf8"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/pb/banana"
)

// maxDepth is how deep values may nest. Every level takes up to two of Banana's
// lists; a few are left for the message around the value.
const maxDepth = banana.MaxDepth/2 - 4

// Append writes the expression of v, in Banana. For values of other types than
// those of this package and package wire it asks refs, which returns false for
// what is no reference; refs may be nil. Its errors wrap [ErrValue], unless they
// come from refs.
func Append(b []byte, v any, refs func(v any) (Ref, bool, error)) ([]byte, error) {
	w := writer{refs}
	return w.append(b, v, 0)
}

type writer struct {
	refs func(any) (Ref, bool, error)
}

// append writes a value that is inside depth others.
func (w *writer) append(b []byte, v any, depth int) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return appendAtom(b, typeNone, 0), nil
	case bool:
		b = appendAtom(b, typeBoolean, 1)
		if v {
			return banana.AppendString(b, "true"), nil
		}
		return banana.AppendString(b, "false"), nil
	case int64:
		return banana.AppendInt(b, v), nil
	case int:
		return banana.AppendInt(b, int64(v)), nil
	case int32:
		return banana.AppendInt(b, int64(v)), nil
	case uint64:
		return banana.AppendUint(b, v), nil
	case float64:
		return banana.AppendFloat(b, v), nil
	case string:
		return appendText(b, v)
	case []byte:
		if len(v) > banana.MaxString {
			return nil, valueError("%d bytes, more than %d", len(v), banana.MaxString)
		}
		return banana.AppendBytes(b, v), nil
	case []any:
		return w.list(b, typeList, v, depth)
	case wire.Tuple:
		return w.list(b, typeTuple, v, depth)
	case wire.Map:
		return w.dictionary(b, v, depth)
	case *Failure:
		return w.copy(b, typeFailure, v.state(), depth)
	case *Copy:
		return w.copy(b, v.Class, v.State, depth)
	case Unpersistable:
		b = appendAtom(b, typeUnpersistable, 1)
		return banana.AppendString(b, string(v)), nil
	}
	return w.reference(b, v)
}

// appendAtom starts an expression of a type, of which n elements must follow.
func appendAtom(b []byte, typ string, n int) []byte {
	return banana.AppendString(banana.AppendList(b, n+1), typ)
}

// appendText writes text. A peer that gets text which is not UTF-8 may drop the
// connection, and one that gets too much will.
func appendText(b []byte, s string) ([]byte, error) {
	if len(s) > banana.MaxString {
		return nil, valueError("text of %d bytes, more than %d", len(s), banana.MaxString)
	}
	if !utf8.ValidString(s) {
		return nil, valueError("text is not UTF-8")
	}
	return banana.AppendString(appendAtom(b, typeUnicode, 1), s), nil
}

// enter says whether something of n elements may be opened.
func enter(n, depth int) error {
	if n >= banana.MaxList {
		return valueError("%d elements, more than %d", n, banana.MaxList-1)
	}
	if depth >= maxDepth {
		return valueError("nested deeper than %d", maxDepth)
	}
	return nil
}

func (w *writer) list(b []byte, typ string, l []any, depth int) (_ []byte, err error) {
	if err := enter(len(l), depth); err != nil {
		return nil, err
	}
	b = appendAtom(b, typ, len(l))
	for _, v := range l {
		if b, err = w.append(b, v, depth+1); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (w *writer) dictionary(b []byte, m wire.Map, depth int) (_ []byte, err error) {
	if err := enter(len(m), depth); err != nil {
		return nil, err
	}
	b = appendAtom(b, typeDictionary, len(m))
	for _, f := range m {
		b = banana.AppendList(b, 2)
		if b, err = appendText(b, f.Key); err != nil {
			return nil, err
		}
		if b, err = w.append(b, f.Value, depth+1); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (w *writer) copy(b []byte, class string, state any, depth int) ([]byte, error) {
	if !isClass(class) || len(class) > banana.MaxString {
		return nil, valueError("%q is no class", class)
	}
	if err := enter(1, depth); err != nil {
		return nil, err
	}
	return w.append(appendAtom(b, class, 1), state, depth+1)
}

func (w *writer) reference(b []byte, v any) ([]byte, error) {
	if w.refs != nil {
		ref, ok, err := w.refs(v)
		if err != nil {
			return nil, err
		}
		if ok && ref.Theirs {
			return banana.AppendInt(appendAtom(b, typeLocal, 1), ref.ID), nil
		}
		if ok {
			return banana.AppendInt(appendAtom(b, typeRemote, 1), ref.ID), nil
		}
	}
	return nil, valueError("a value of type %T", v)
}
