package wire

import (
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMap(t *testing.T) {
	m := Map{{"a", 1}, {"b", 2}, {"a", 3}}
	if v, ok := m.Get("a"); v != 3 || !ok { // the last, as in Python
		t.Errorf("%v, %v", v, ok)
	}
	if v, ok := m.Get("c"); v != nil || ok {
		t.Errorf("%v, %v", v, ok)
	}
	var seen Map
	for k, v := range m.All() {
		seen = append(seen, Field{k, v})
		if k == "b" {
			break
		}
	}
	if diff := cmp.Diff(m[:2], seen); diff != "" {
		t.Error(diff)
	}
}

// reads calls one of the functions that read a value.
func reads[T any](read func(any) (T, error)) func(any) (any, error) {
	return func(v any) (any, error) { return read(v) }
}

func TestReading(t *testing.T) {
	for name, c := range map[string]struct {
		read  func(any) (any, error)
		good  [][2]any // value, result
		wrong []any
	}{
		"Text": {reads(Text),
			[][2]any{{"ü", "ü"}, {[]byte("ü"), "ü"}},
			[]any{nil, []byte{0xff}, 1, true}},
		"Bytes": {reads(Bytes),
			[][2]any{{[]byte{0xff}, []byte{0xff}}, {"ü", []byte("ü")}},
			[]any{nil, 1, []any{}}},
		"Int": {reads(Int),
			[][2]any{{int64(-5), int64(-5)}, {5, int64(5)}, {int32(5), int64(5)}, {uint64(5), int64(5)}, {true, int64(1)}, {false, int64(0)}, {5.0, int64(5)}, {-1.0 * (1 << 62), int64(-1 << 62)}},
			[]any{nil, "5", 5.5, uint64(1 << 63), math.NaN(), math.Inf(1), math.Inf(-1), float64(1 << 63)}},
		"Float": {reads(Float),
			[][2]any{{1.5, 1.5}, {int64(2), 2.0}, {uint64(1 << 63), float64(1 << 63)}, {true, 1.0}},
			[]any{nil, "1.5", []byte("1")}},
		"Bool": {reads(Bool),
			[][2]any{{true, true}, {false, false}, {int64(0), false}, {int64(1), true}, {2, true}},
			[]any{nil, "true", []any{}}},
		"List": {reads(List),
			[][2]any{{[]any{1}, []any{1}}, {Tuple{1}, []any{1}}},
			[]any{nil, "x", Map{}}},
		"Dict": {reads(Dict),
			[][2]any{{Map{{"k", 1}}, Map{{"k", 1}}}},
			[]any{nil, []any{}, Tuple{}}},
		"Texts": {reads(Texts),
			[][2]any{{[]any{"a", []byte("b")}, []string{"a", "b"}}, {Tuple{}, []string{}}},
			[]any{nil, "a", []any{"a", 1}}},
	} {
		for _, g := range c.good {
			got, err := c.read(g[0])
			if diff := cmp.Diff(g[1], got); diff != "" || err != nil {
				t.Errorf("%s(%v): %v %s", name, g[0], err, diff)
			}
		}
		for _, v := range c.wrong {
			got, err := c.read(v)
			if wrong := new(TypeError); !errors.As(err, &wrong) {
				t.Errorf("%s(%v): %v, %v", name, v, got, err)
			}
		}
	}
}

// The error says what came, but not its content, which may be a secret.
func TestTypeError(t *testing.T) {
	for want, v := range map[string]any{
		"None": nil, "a boolean": true, "an integer": 7, "a float": 1.5, "text": "s3cret", "bytes": []byte("s3cret"),
		"a list": []any{"s3cret"}, "a tuple": Tuple{"s3cret"}, "a dictionary": Map{{"s3cret", 1}}, "chan int": make(chan int),
	} {
		if got := (&TypeError{"peace", v}).Error(); got != "want peace, got "+want {
			t.Errorf("%q", got)
		}
	}
}
