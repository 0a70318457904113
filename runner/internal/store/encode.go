package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"strings"

	"bothy/runner/build"
	"bothy/runner/worker"
)

// encodeMap writes named values as they are stored, "" for none. A value that
// JSON cannot write, which [build.Properties.Set] would not have taken, is left
// out, and said so by Commit.
func encodeMap[V any, M ~map[string]V](b *Batch, what string, id int64, m M) string {
	if len(m) == 0 {
		return ""
	}
	data, err := json.Marshal(m)
	if err == nil {
		return string(data)
	}
	rest := maps.Clone(m)
	for name, v := range m {
		if _, err := json.Marshal(v); err != nil {
			b.unwritable = append(b.unwritable, fmt.Errorf("%s %d: value %s: %w", what, id, name, err))
			delete(rest, name)
		}
	}
	if data, err = json.Marshal(rest); err != nil {
		b.unwritable = append(b.unwritable, fmt.Errorf("%s %d: values: %w", what, id, err))
		return ""
	}
	return string(data)
}

// maxEncoded bounds what is decoded from one column. Far above what
// package build lets in: a thousand properties of the largest size.
const maxEncoded = 64 << 20

var errTooLong = errors.New("too long")

func decodeProperties(s string) (build.Properties, error) {
	if s == "" {
		return nil, nil
	}
	if len(s) > maxEncoded {
		return nil, fmt.Errorf("decode properties: %w", errTooLong)
	}
	var p build.Properties
	if err := json.Unmarshal([]byte(s), &p); err != nil {
		return nil, fmt.Errorf("decode properties: %w", err)
	}
	return p, nil
}

// decodeSome decodes properties with the given names, which costs a fraction of
// decoding all of them.
func decodeSome(s string, names []string) (build.Properties, error) {
	if s == "" {
		return nil, nil
	}
	if len(s) > maxEncoded {
		return nil, fmt.Errorf("decode properties: %w", errTooLong)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal([]byte(s), &all); err != nil {
		return nil, fmt.Errorf("decode properties: %w", err)
	}
	some := build.Properties{}
	for _, name := range names {
		raw, ok := all[name]
		if !ok {
			continue
		}
		var p build.Property
		if err := json.Unmarshal(raw, &p); err != nil {
			return nil, fmt.Errorf("decode property %.100q: %w", name, err)
		}
		some[name] = p
	}
	return some, nil
}

func encodeList(list []string) string {
	if len(list) == 0 {
		return ""
	}
	data, err := json.Marshal(list)
	if err != nil {
		return "" // strings can always be written
	}
	return string(data)
}

func decodeList(s string) ([]string, error) {
	if s == "" {
		return nil, nil
	}
	if len(s) > maxEncoded {
		return nil, fmt.Errorf("decode list: %w", errTooLong)
	}
	var list []string
	if err := json.Unmarshal([]byte(s), &list); err != nil {
		return nil, fmt.Errorf("decode list: %w", err)
	}
	return list, nil
}

// decodeInfo reads numbers as int64 when they are whole and fit, else as float64.
func decodeInfo(s string) (worker.Info, error) {
	if s == "" {
		return nil, nil
	}
	if len(s) > maxEncoded {
		return nil, fmt.Errorf("decode what a worker said: %w", errTooLong)
	}
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	var info map[string]any
	if err := d.Decode(&info); err != nil {
		return nil, fmt.Errorf("decode what a worker said: %w", err)
	}
	for k, v := range info {
		info[k] = plainNumbers(v)
	}
	return info, nil
}

// plainNumbers replaces each json.Number in v, in place where it can. One that
// is out of range becomes text.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, err := v.Float64()
		switch {
		case err != nil:
			return v.String()
		case f == math.Trunc(f) && f >= math.MinInt64 && f < math.MaxInt64:
			return int64(f) // JSON writes it without a point
		}
		return f
	case []any:
		for i := range v {
			v[i] = plainNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plainNumbers(v[k])
		}
	}
	return v
}
