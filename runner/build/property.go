package build

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of properties. Names and sources: Buildbot's columns.
const (
	MaxNameLen   = 256       // bytes of a property's name
	MaxSourceLen = 256       // bytes of a property's source
	MaxValueLen  = 64 << 10  // bytes of a property's value, written as text
	maxRawValue  = 512 << 10 // bytes of JSON that are looked at: MaxValueLen with every byte escaped, and some
)

// Property is a value and where it came from. In JSON it is [value, source].
type Property struct {
	// Value is nil, bool, int64, float64, string, []any or map[string]any.
	Value  any
	Source string
}

// Text returns the value as it is written into text: a string as it is, a number
// without exponent, true or false, lists and maps as JSON, nil as "".
func (p Property) Text() string {
	s, err := text(p.Value)
	if err != nil {
		return "" // not a value that Set accepts
	}
	return s
}

// MarshalJSON writes [value, source].
func (p Property) MarshalJSON() ([]byte, error) {
	// Nearly all are plain text, and every build writes some twenty of them twice.
	if v, ok := p.Value.(string); ok && isPlain(v) && isPlain(p.Source) {
		b := make([]byte, 0, len(v)+len(p.Source)+len(`["",""]`))
		b = append(append(b, `["`...), v...)
		b = append(append(b, `","`...), p.Source...)
		return append(b, `"]`...), nil
	}
	return json.Marshal([2]any{p.Value, p.Source})
}

// isPlain tells whether encoding/json writes s between quotes as it is.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || strings.IndexByte("\"\\<>&", c) >= 0 {
			return false
		}
	}
	return true
}

// UnmarshalJSON reads [value, source], within the limits of [Properties.Set].
func (p *Property) UnmarshalJSON(data []byte) error {
	if len(data) > maxRawValue {
		return fmt.Errorf("decoding property: %d bytes, at most %d allowed", len(data), maxRawValue)
	}
	var pair []json.RawMessage
	if err := json.Unmarshal(data, &pair); err != nil {
		return fmt.Errorf("decoding property: %w", err)
	}
	if len(pair) != 2 {
		return fmt.Errorf("decoding property: want [value, source], got %d elements", len(pair))
	}
	var source string
	if err := json.Unmarshal(pair[1], &source); err != nil {
		return fmt.Errorf("decoding property: source: %w", err)
	}
	value, err := decodeValue(pair[0])
	if err != nil {
		return fmt.Errorf("decoding property: %w", err)
	}
	if err := checkProperty(value, source); err != nil {
		return fmt.Errorf("decoding property: %w", err)
	}
	*p = Property{Value: value, Source: source}
	return nil
}

// Properties are the named values of a build. A nil map reads as empty.
type Properties map[string]Property

// Set sets a property. The value may be anything that JSON can write; numbers
// are kept as int64 when they are whole and fit, else as float64, bytes that
// are not UTF-8 become U+FFFD. The value is copied.
func (p Properties) Set(name string, value any, source string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	v, err := normalise(value)
	if err == nil {
		err = checkProperty(v, source)
	}
	if err != nil {
		return fmt.Errorf("property %s: %w", name, err)
	}
	p[name] = Property{Value: v, Source: source}
	return nil
}

// SetDefault sets a property that is absent. A property that is null is present.
func (p Properties) SetDefault(name string, value any, source string) error {
	if _, ok := p[name]; ok {
		return nil
	}
	return p.Set(name, value, source)
}

// Clone returns a copy to which properties may be added. Values are shared: they
// are never changed in place.
func (p Properties) Clone() Properties {
	if p == nil {
		return Properties{}
	}
	return maps.Clone(p)
}

// UnmarshalJSON reads an object of properties and checks their names.
func (p *Properties) UnmarshalJSON(data []byte) error {
	var m map[string]Property
	if err := json.Unmarshal(data, &m); err != nil {
		return err
	}
	for name := range m {
		if err := CheckName(name); err != nil {
			return fmt.Errorf("decoding properties: %w", err)
		}
	}
	*p = m
	return nil
}

// Get returns the value of a property, nil if it is absent or null.
func (p Properties) Get(name string) any { return p[name].Value }

// CheckName returns an error unless name may name a property: letters, digits,
// '_', '.' and '-', so that a template can refer to it.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("property without a name")
	case len(name) > MaxNameLen:
		return fmt.Errorf("property name of %d bytes, at most %d allowed", len(name), MaxNameLen)
	}
	for i := range len(name) {
		if !isNameByte(name[i]) {
			return fmt.Errorf("property name %q: only letters, digits, '_', '.' and '-' are allowed", name)
		}
	}
	return nil
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '-'
}

func checkProperty(value any, source string) error {
	if len(source) > MaxSourceLen {
		return fmt.Errorf("source of %d bytes, at most %d allowed", len(source), MaxSourceLen)
	}
	t, err := text(value)
	if err != nil {
		return err
	}
	if len(t) > MaxValueLen {
		return fmt.Errorf("value of %d bytes, at most %d allowed", len(t), MaxValueLen)
	}
	return nil
}

// normalise returns a value as decodeValue would after a trip through JSON, so
// that a property is the same before and after it was stored.
func normalise(value any) (any, error) {
	switch v := value.(type) {
	case nil, bool:
		return v, nil
	case int:
		return int64(v), nil
	case int64:
		return v, nil
	case string:
		if len(v) > MaxValueLen {
			return nil, fmt.Errorf("value of %d bytes, at most %d allowed", len(v), MaxValueLen)
		}
		return strings.ToValidUTF8(v, string(utf8.RuneError)), nil
	}
	data, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	if len(data) > maxRawValue {
		return nil, fmt.Errorf("value of %d bytes as JSON, at most %d allowed", len(data), maxRawValue)
	}
	return decodeValue(data)
}

func decodeValue(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return plainNumbers(v)
}

// plainNumbers replaces each json.Number in v, in place where it can.
func plainNumbers(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case json.Number:
		return plainNumber(v)
	case []any:
		for i := range v {
			if v[i], err = plainNumbers(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k := range v {
			if v[k], err = plainNumbers(v[k]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

func plainNumber(n json.Number) (any, error) {
	if i, err := n.Int64(); err == nil {
		return i, nil
	}
	f, err := n.Float64()
	if err != nil {
		return nil, fmt.Errorf("number %.40s is out of range", n)
	}
	// JSON writes a whole float64 without a point, which would be read as an int64.
	if f == math.Trunc(f) && f >= math.MinInt64 && f < math.MaxInt64 {
		return int64(f), nil
	}
	return f, nil
}

// text writes a value into text. It fails only for what JSON cannot write.
func text(value any) (string, error) {
	switch v := value.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case int:
		return strconv.Itoa(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case json.Number:
		return v.String(), nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// truthy is the truth of a value for the operators ":~" and ":#?": nil, "", 0,
// false and what is empty are false, as in Python.
func truthy(value any) bool {
	switch v := value.(type) {
	case nil:
		return false
	case string:
		return v != ""
	case bool:
		return v
	case int:
		return v != 0
	case int64:
		return v != 0
	case float64:
		return v != 0
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	t, err := text(value)
	return err == nil && t != "" && t != "0" && t != "false" && t != "[]" && t != "{}" && t != "null" && t != `""`
}

// Truthy is the truth of interpolated text, for do_if and hide_if: "", "0",
// "false" and "no", in any case and with space around, are false.
func Truthy(s string) bool {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "", "0", "false", "no":
		return false
	}
	return true
}
