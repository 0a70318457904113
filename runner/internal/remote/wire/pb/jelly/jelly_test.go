package jelly

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/pb/banana"
)

// identities stand for references with the references themselves. A value keeps
// its ID in the peer's eyes: what is remote when read is local when sent.
type identities struct{}

func (identities) Remote(id int64) (any, error) { return Ref{ID: id}, nil }
func (identities) Local(id int64) (any, error)  { return Ref{ID: id, Theirs: true}, nil }

func sendRef(v any) (Ref, bool, error) {
	r, ok := v.(Ref)
	return r, ok, nil
}

// decode reads an expression.
func decode(t testing.TB, b []byte) any {
	t.Helper()
	d := banana.NewDecoder(bytes.NewReader(b))
	d.UseVocabulary()
	expr, err := d.Decode(banana.Limits{Bytes: 1 << 30, Values: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	return expr
}

// list is an expression.
func list(e ...any) []any { return e }

func TestValues(t *testing.T) {
	for _, c := range []struct {
		value any
		expr  any
	}{
		{nil, list("None")},
		{true, list("boolean", "true")},
		{false, list("boolean", "false")},
		{int64(7), int64(7)},
		{uint64(math.MaxUint64), uint64(math.MaxUint64)},
		{1.5, 1.5},
		{"ünï", list("unicode", "ünï")},
		{"", list("unicode", "")},
		{"message", list("unicode", "message")},
		{[]byte("\xff\x00"), "\xff\x00"},
		{[]byte("list"), "list"},
		{[]any{}, list("list")},
		{[]any{int64(1), "x"}, list("list", int64(1), list("unicode", "x"))},
		{wire.Tuple{}, list("tuple")},
		{wire.Tuple{nil}, list("tuple", list("None"))},
		{wire.Map{}, list("dictionary")},
		{wire.Map{{Key: "a", Value: nil}, {Key: "b", Value: []any{true}}}, list("dictionary", list(list("unicode", "a"), list("None")), list(list("unicode", "b"), list("list", list("boolean", "true"))))},
		{Ref{ID: 5}, list("remote", int64(5))},
		{Ref{ID: 6, Theirs: true}, list("local", int64(6))},
		{Unpersistable("no way"), list("unpersistable", "no way")},
		{&Copy{Class: "a.B", State: int64(1)}, list("a.B", int64(1))},
	} {
		b, err := Append(nil, c.value, sendRef)
		if err != nil {
			t.Errorf("%v: %v", c.value, err)
			continue
		}
		if diff := cmp.Diff(c.expr, decode(t, b)); diff != "" {
			t.Errorf("%v: %s", c.value, diff)
		}
		got, err := Read(c.expr, identities{})
		if diff := cmp.Diff(c.value, got, cmpopts.EquateEmpty()); diff != "" || err != nil {
			t.Errorf("%v: %v %s", c.expr, err, diff)
		}
	}
}

// What is read but never written.
func TestReadsWhatPeersWrite(t *testing.T) {
	shared := list("reference", int64(1), list("list", list("unicode", "x")))
	for name, c := range map[string]struct {
		expr, want any
	}{
		"keys of Python 2":   {list("dictionary", list("key", int64(1))), wire.Map{{Key: "key", Value: int64(1)}}},
		"set":                {list("set", int64(1), int64(2)), []any{int64(1), int64(2)}},
		"frozenset":          {list("frozenset"), []any{}},
		"shared":             {list("tuple", shared, list("dereference", int64(1))), wire.Tuple{[]any{"x"}, []any{"x"}}},
		"failure, strangely": {list(typeFailure, list("None")), &Failure{}},
		"failure of Python 2": {list(typeFailure, list("dictionary", list("type", "exceptions.KeyError"), list("value", "'x'"), list("parents", int64(3)))),
			&Failure{Type: "exceptions.KeyError", Value: "'x'"}},
	} {
		got, err := Read(c.expr, identities{})
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
}

func TestFailure(t *testing.T) {
	for _, want := range []*Failure{
		{Type: "a.B", Value: "it broke", Traceback: "Traceback:\n", Parents: []string{"a.B", "builtins.object"}},
		{Type: "a.B"},
	} {
		b, err := Append(nil, want, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Read(decode(t, b), nil)
		if err != nil {
			t.Fatal(err)
		}
		complete := *want
		if complete.Traceback == "" {
			complete.Traceback = "Traceback unavailable\n"
			complete.Parents = []string{"a.B", "builtins.Exception", "builtins.BaseException", "builtins.object"}
		}
		if diff := cmp.Diff(&complete, got); diff != "" {
			t.Error(diff)
		}
	}
	for f, want := range map[*Failure]string{
		{Type: "a.B", Value: "why"}: "the peer raised a.B: why",
		{Type: "a.B"}:               "the peer raised a.B",
	} {
		if f.Error() != want {
			t.Errorf("%q, want %q", f.Error(), want)
		}
	}
}

func TestNoValue(t *testing.T) {
	bomb := list("list", list("reference", int64(0), list("list", int64(1), int64(1))))
	for i := range int64(40) {
		last := list("dereference", i)
		bomb = append(bomb, list("reference", i+1, list("list", last, last)))
	}
	for name, expr := range map[string]any{
		"no type":                     list(),
		"type is a number":            list(int64(1)),
		"unknown type":                list("complex", int64(1)),
		"class":                       list("class", "os.system"),
		"function":                    list("function", "os.system"),
		"instance":                    list("instance", list("class", "a.B"), list("None")),
		"date":                        list("date", "2026 1 1"),
		"None of something":           list("None", int64(1)),
		"unicode of nothing":          list("unicode"),
		"unicode of two":              list("unicode", "a", "b"),
		"unicode of a number":         list("unicode", int64(1)),
		"unicode is not UTF-8":        list("unicode", "\xff"),
		"boolean maybe":               list("boolean", "maybe"),
		"boolean 1":                   list("boolean", int64(1)),
		"dictionary of one":           list("dictionary", list("a")),
		"dictionary of text":          list("dictionary", "a"),
		"dictionary with number":      list("dictionary", list(int64(1), int64(1))),
		"dictionary key not UTF-8":    list("dictionary", list("\xff", int64(1))),
		"dictionary with bad key":     list("dictionary", list(list(), int64(1))),
		"dictionary with bad value":   list("dictionary", list("a", list())),
		"remote of nothing":           list("remote"),
		"remote of text":              list("remote", "root"),
		"local of 2^63":               list("local", uint64(1<<63)),
		"copy of nothing":             list("a.B"),
		"copy of a bad state":         list("a.B", list()),
		"dereference of unknown":      list("dereference", int64(1)),
		"dereference of text":         list("dereference", "x"),
		"dereference of nothing":      list("dereference"),
		"reference of nothing":        list("reference", int64(1)),
		"reference by text":           list("reference", "x", int64(1)),
		"reference to a bad value":    list("reference", int64(1), list()),
		"reference twice":             list("list", list("reference", int64(1), int64(1)), list("reference", int64(1), int64(1))),
		"reference to itself":         list("reference", int64(1), list("list", list("dereference", int64(1)))),
		"references that mean 2^40":   bomb,
		"bad element":                 list("tuple", list()),
		"bad element of a failure":    list(typeFailure, list()),
		"unpersistable without words": list("unpersistable"),
	} {
		if v, err := Read(expr, identities{}); !errors.Is(err, ErrValue) {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
	if _, err := Read(list("remote", int64(1)), nil); !errors.Is(err, ErrValue) {
		t.Errorf("a reference where none may be: %v", err)
	}
}

func TestAppendRefuses(t *testing.T) {
	deep := any(nil)
	for range maxDepth + 1 {
		deep = []any{deep}
	}
	long := strings.Repeat("x", banana.MaxString+1)
	for name, v := range map[string]any{
		"text not UTF-8":      "\xff",
		"key not UTF-8":       wire.Map{{Key: "\xff"}},
		"value not UTF-8":     wire.Map{{Key: "a", Value: "\xff"}},
		"long text":           long,
		"long key":            wire.Map{{Key: long}},
		"long bytes":          []byte(long),
		"long list":           make([]any, banana.MaxList),
		"long dictionary":     make(wire.Map, banana.MaxList),
		"deep":                deep,
		"a struct":            struct{}{},
		"a class without dot": &Copy{Class: "list"},
		"failure without dot": &Copy{Class: ""},
		"failure's text":      &Failure{Type: "a.B", Value: "\xff"},
	} {
		if _, err := Append(nil, v, sendRef); !errors.Is(err, ErrValue) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Append(nil, Ref{}, nil); !errors.Is(err, ErrValue) {
		t.Errorf("a reference where none may be: %v", err)
	}
	why := errors.New("too many")
	if _, err := Append(nil, []any{Ref{}}, func(any) (Ref, bool, error) { return Ref{}, false, why }); err != why {
		t.Errorf("%v, want what refs said", err)
	}
	// What is as deep as may be can be read again.
	b, err := Append(nil, deep.([]any)[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Read(decode(t, b), nil); err != nil {
		t.Error(err)
	}
}

func anyValue(depth int) *rapid.Generator[any] {
	kinds := []*rapid.Generator[any]{
		rapid.Just[any](nil),
		rapid.Bool().AsAny(),
		rapid.Int64().AsAny(),
		rapid.Uint64Min(1 << 63).AsAny(),
		rapid.Float64().AsAny(),
		rapid.String().AsAny(),
		rapid.SliceOf(rapid.Byte()).AsAny(),
		rapid.Map(rapid.Int64(), func(id int64) any { return Ref{ID: id} }),
		rapid.Map(rapid.Int64(), func(id int64) any { return Ref{ID: id, Theirs: true} }),
		rapid.Map(rapid.String(), func(s string) any { return Unpersistable(s) }),
	}
	if depth == 0 {
		return rapid.OneOf(kinds...)
	}
	inner := anyValue(depth - 1)
	values := rapid.SliceOfN(inner, 0, 4)
	return rapid.OneOf(append(kinds,
		values.AsAny(),
		rapid.Map(values, func(l []any) any { return wire.Tuple(l) }),
		rapid.Custom(func(t *rapid.T) any {
			m := wire.Map{}
			for _, v := range values.Draw(t, "values") {
				m = append(m, wire.Field{Key: rapid.String().Draw(t, "key"), Value: v})
			}
			return m
		}),
		rapid.Map(inner, func(v any) any { return &Copy{Class: "a.B", State: v} }),
	)...)
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyValue(4).Draw(t, "value")
		b, err := Append(nil, want, sendRef)
		if err != nil {
			t.Fatal(err)
		}
		d := banana.NewDecoder(bytes.NewReader(b))
		d.UseVocabulary()
		expr, err := d.Decode(banana.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := Read(expr, identities{})
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); diff != "" || err != nil {
			t.Fatal(err, diff)
		}
	})
}

// FuzzRead reads any expression; what is a value can be sent, and is read again as
// the same.
func FuzzRead(f *testing.F) {
	for _, v := range []any{nil, true, "text", []byte("bytes"), []any{int64(1)}, wire.Tuple{1.5}, wire.Map{{Key: "k", Value: Ref{ID: 1}}}, &Failure{Type: "a.B"}, &Copy{Class: "a.B"}} {
		b, err := Append(nil, v, sendRef)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("\x03\x80\x0b\x87\x03\x80\x04\x87\x01\x81\x01\x80\x08\x87\x02\x80\x03\x87\x01\x81")) // (tuple (reference 1 (list)) (dereference 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := banana.NewDecoder(bytes.NewReader(b))
		d.UseVocabulary()
		expr, err := d.Decode(banana.Limits{Bytes: 1 << 16, Values: 1 << 10})
		if err != nil {
			return
		}
		v, err := Read(expr, identities{})
		if err != nil {
			if !errors.Is(err, ErrValue) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		first, err := Append(nil, v, sendRef)
		if err != nil {
			return // a failure's words, or depth, need not be what may be sent
		}
		v, err = Read(decode(t, first), identities{})
		if err != nil {
			t.Fatal(err)
		}
		second, err := Append(nil, v, sendRef)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Fatalf("%q became %q", first, second)
		}
	})
}

// update is what a worker sends for 64 KiB of output.
func update() any {
	text := strings.Repeat(strings.Repeat("x", 79)+"\n", 64<<10/80)
	return wire.Tuple{[]any{[]any{wire.Map{{Key: "stdout", Value: text}}, int64(0)}}}
}

func BenchmarkAppendUpdate(b *testing.B) {
	v := update()
	b.SetBytes(64 << 10)
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		var err error
		if buf, err = Append(buf[:0], v, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadUpdate(b *testing.B) {
	stream, err := Append(nil, update(), nil)
	if err != nil {
		b.Fatal(err)
	}
	r := bytes.NewReader(stream)
	d := banana.NewDecoder(r)
	d.UseVocabulary()
	b.SetBytes(64 << 10)
	b.ReportAllocs()
	for b.Loop() {
		r.Reset(stream)
		expr, err := d.Decode(banana.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Read(expr, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleAppend() {
	b, err := Append(nil, wire.Map{{Key: "message", Value: "ping"}}, nil)
	fmt.Printf("%x %v\n", b, err)
	// Output: 02800587028002800782756e69636f64651a8702800782756e69636f6465048270696e67 <nil>
}
