package api

import (
	"encoding/json"
	"iter"
	"maps"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"bothy/runner/build"
)

// Rows are written by hand into a buffer: a page polls lists of a thousand rows,
// and reflection would be most of what the master does then.

const hexDigits = "0123456789abcdef"

// appendString writes a JSON string. What is not UTF-8 becomes U+FFFD.
func appendString[T ~string | ~[]byte](b []byte, s T) []byte {
	b = append(b, '"')
	b = appendEscaped(b, s)
	return append(b, '"')
}

// appendEscaped writes what stands between the quotes.
func appendEscaped[T ~string | ~[]byte](b []byte, s T) []byte {
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := decodeRune(s[i:])
			if r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
			b = append(b, s[start:i]...)
			b = append(b, "\uFFFD"...)
			i++
			start = i
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(b, s[start:]...)
}

func decodeRune[T ~string | ~[]byte](s T) (rune, int) {
	var tmp [utf8.UTFMax]byte
	n := copy(tmp[:], s)
	return utf8.DecodeRune(tmp[:n])
}

// appendValue writes one field.
func appendValue(b []byte, k kind, v value) []byte {
	if v.null {
		return append(b, "null"...)
	}
	switch k {
	case integer, stamp:
		return strconv.AppendInt(b, v.n, 10)
	case boolean:
		return strconv.AppendBool(b, v.n != 0)
	case span:
		return strconv.AppendFloat(b, float64(v.n)/1000, 'f', -1, 64)
	case text:
		return appendString(b, v.s)
	case integers, texts:
		of := text
		if k == integers {
			of = integer
		}
		b = append(b, '[')
		for i := range v.list {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendValue(b, of, v.list[i])
		}
		return append(b, ']')
	}
	return append(b, "null"...)
}

// appendAny writes a value that came out of JSON or TOML. What JSON cannot say
// becomes null.
func appendAny(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return append(b, "null"...)
		}
		return strconv.AppendFloat(b, v, 'g', -1, 64)
	case string:
		return appendString(b, v)
	}
	data, err := json.Marshal(v)
	if err != nil {
		return append(b, "null"...)
	}
	return append(b, data...)
}

// appendProperties writes properties as Buildbot does: name → [value, source].
// names selects; "*" selects all, nothing selects none.
func appendProperties(b []byte, p build.Properties, names ...string) []byte {
	first := true
	b = append(b, '{')
	for name, prop := range sortedProperties(p, names) {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendString(b, name)
		b = append(b, ':', '[')
		b = appendAny(b, prop.Value)
		b = append(b, ',')
		b = appendString(b, prop.Source)
		b = append(b, ']')
	}
	return append(b, '}')
}

// sortedProperties yields those of the properties that names selects, by name.
func sortedProperties(p build.Properties, names []string) iter.Seq2[string, build.Property] {
	return func(yield func(string, build.Property) bool) {
		var all []string
		if slices.Contains(names, "*") {
			all = slices.AppendSeq(make([]string, 0, len(p)), maps.Keys(p))
		} else {
			for _, name := range names {
				if _, ok := p[name]; ok {
					all = append(all, name)
				}
			}
		}
		slices.Sort(all)
		for _, name := range slices.Compact(all) {
			if !yield(name, p[name]) {
				return
			}
		}
	}
}
