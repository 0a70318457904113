package wire

import (
	"fmt"
	"iter"
)

// Map is a dictionary with text keys. It keeps the order of the wire, so that a
// message that was read is written again byte for byte. A nil Map is an empty
// dictionary.
type Map []Field

// Field is one entry of a [Map].
type Field struct {
	Key   string
	Value any
}

// Get returns the value of key: of several, the last one, as Python does.
func (m Map) Get(key string) (value any, ok bool) {
	for i := len(m) - 1; i >= 0; i-- {
		if m[i].Key == key {
			return m[i].Value, true
		}
	}
	return nil, false
}

// All yields the entries in order.
func (m Map) All() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		for _, f := range m {
			if !yield(f.Key, f.Value) {
				return
			}
		}
	}
}

// Tuple is a list that Perspective Broker marks as a tuple. MessagePack writes it
// as a list.
type Tuple []any

// TypeError says that a value is not what it should be.
type TypeError struct {
	Want string // such as "text"
	Got  any
}

func (e *TypeError) Error() string {
	return fmt.Sprintf("want %s, got %s", e.Want, kind(e.Got))
}

// kind names the type of a value without the value, which may be a secret.
func kind(v any) string {
	switch v.(type) {
	case nil:
		return "None"
	case bool:
		return "a boolean"
	case int64, uint64, int, int32:
		return "an integer"
	case float64:
		return "a float"
	case string:
		return "text"
	case []byte:
		return "bytes"
	case []any:
		return "a list"
	case Tuple:
		return "a tuple"
	case Map:
		return "a dictionary"
	}
	return fmt.Sprintf("%T", v)
}
