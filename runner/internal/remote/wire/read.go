package wire

import (
	"math"
	"unicode/utf8"
)

// Text returns a value that should be text. Bytes that are UTF-8 will do: peers
// running Python 2 send nothing else over Perspective Broker.
func Text(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case []byte:
		if utf8.Valid(v) {
			return string(v), nil
		}
	}
	return "", &TypeError{Want: "text", Got: v}
}

// Bytes returns a value that should be bytes; text will do, as UTF-8.
func Bytes(v any) ([]byte, error) {
	switch v := v.(type) {
	case []byte:
		return v, nil
	case string:
		return []byte(v), nil
	}
	return nil, &TypeError{Want: "bytes", Got: v}
}

// Int returns a value that should be an integer. A boolean counts as 0 or 1 and a
// float without a fraction as an integer, as they do in Python.
func Int(v any) (int64, error) {
	switch v := v.(type) {
	case int64:
		return v, nil
	case int:
		return int64(v), nil
	case int32:
		return int64(v), nil
	case uint64:
		if v <= math.MaxInt64 {
			return int64(v), nil
		}
	case bool:
		if v {
			return 1, nil
		}
		return 0, nil
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<63 {
			return int64(v), nil
		}
	}
	return 0, &TypeError{Want: "an integer", Got: v}
}

// Float returns a value that should be a number.
func Float(v any) (float64, error) {
	switch v := v.(type) {
	case float64:
		return v, nil
	case uint64:
		return float64(v), nil
	}
	i, err := Int(v)
	if err != nil {
		return 0, &TypeError{Want: "a number", Got: v}
	}
	return float64(i), nil
}

// Bool returns a value that should be a boolean. An integer will do: a worker's
// delete_leftover_dirs is the 0 or 1 of its buildbot.tac.
func Bool(v any) (bool, error) {
	if b, ok := v.(bool); ok {
		return b, nil
	}
	i, err := Int(v)
	if err != nil {
		return false, &TypeError{Want: "a boolean", Got: v}
	}
	return i != 0, nil
}

// List returns the elements of a list or tuple.
func List(v any) ([]any, error) {
	switch v := v.(type) {
	case []any:
		return v, nil
	case Tuple:
		return v, nil
	}
	return nil, &TypeError{Want: "a list", Got: v}
}

// Dict returns a value that should be a dictionary.
func Dict(v any) (Map, error) {
	if m, ok := v.(Map); ok {
		return m, nil
	}
	return nil, &TypeError{Want: "a dictionary", Got: v}
}

// Texts returns a list of texts.
func Texts(v any) ([]string, error) {
	list, err := List(v)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(list))
	for i, e := range list {
		if texts[i], err = Text(e); err != nil {
			return nil, err
		}
	}
	return texts, nil
}
