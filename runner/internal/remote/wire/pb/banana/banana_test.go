package banana

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// appendValue writes what Decode returns.
func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case int64:
		return AppendInt(b, v)
	case uint64:
		return AppendUint(b, v)
	case float64:
		return AppendFloat(b, v)
	case string:
		return AppendString(b, v)
	case []any:
		b = AppendList(b, len(v))
		for _, e := range v {
			b = appendValue(b, e)
		}
		return b
	}
	panic(fmt.Sprintf("%T", v))
}

func decoder(b []byte) *Decoder {
	d := NewDecoder(bytes.NewReader(b))
	d.UseVocabulary()
	return d
}

// Tokens as Twisted 22.4.0 writes them: twisted.spread.banana.encode, and the
// messages of the reference trace.
func TestEncoding(t *testing.T) {
	for _, c := range []struct {
		value any
		hex   string
	}{
		{int64(0), "0081"},
		{int64(1), "0181"},
		{int64(127), "7f81"},
		{int64(128), "000181"},
		{int64(1200), "300981"},
		{int64(math.MaxInt32), "7f7f7f7f0781"},
		{int64(math.MaxInt32 + 1), "000000000885"},
		{int64(math.MaxInt64), "7f7f7f7f7f7f7f7f7f85"},
		{uint64(math.MaxInt64 + 1), "0000000000000000000185"},
		{uint64(math.MaxUint64), "7f7f7f7f7f7f7f7f7f0185"},
		{int64(-1), "0183"},
		{int64(math.MinInt32), "000000000883"},
		{int64(math.MinInt32 - 1), "010000000886"},
		{int64(math.MinInt64), "0000000000000000000186"},
		{0.05629682540893555, "843facd2f000000000"},
		{math.Inf(-1), "84fff0000000000000"},
		{"", "0082"},
		{"pb", "02827062"},
		{"root", "0482726f6f74"},
		{"None", "0187"},
		{"uncache", "1f87"},
		{"none", "04826e6f6e65"},
		{"unpersistable!", "0e82" + hex.EncodeToString([]byte("unpersistable!"))},
		{"\xff\x00", "0282ff00"},
		{[]any{}, "0080"},
		{[]any{"version", int64(6)}, "028013870681"},
		{[]any{"answer", int64(7), []any{"None"}}, "03801b87078101800187"},
	} {
		if got := hex.EncodeToString(appendValue(nil, c.value)); got != c.hex {
			t.Errorf("%v is written %s, want %s", c.value, got, c.hex)
		}
		b, err := hex.DecodeString(c.hex)
		if err != nil {
			t.Fatal(err)
		}
		d := decoder(b)
		got, err := d.Decode(Limits{})
		if diff := cmp.Diff(c.value, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", c.hex, err, diff)
		}
		if err := d.More(); err != io.EOF {
			t.Errorf("%s: something is left: %v", c.hex, err)
		}
	}
}

func TestAppendBytesIsAppendString(t *testing.T) {
	for _, s := range append(vocabulary[:], "unpersistable!", strings.Repeat("x", 1000)) {
		if a, b := AppendString(nil, s), AppendBytes(nil, []byte(s)); !bytes.Equal(a, b) {
			t.Errorf("%q: %x and %x", s, a, b)
		}
	}
}

func TestPlainAndUnknownWords(t *testing.T) {
	plain := AppendPlain(nil, "None")
	if want := "04824e6f6e65"; hex.EncodeToString(plain) != want {
		t.Errorf("%x, want %s", plain, want)
	}
	if v, err := NewDecoder(bytes.NewReader(plain)).Decode(Limits{}); v != "None" || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	word := AppendString(nil, "None")
	if _, err := NewDecoder(bytes.NewReader(word)).Decode(Limits{}); !errors.Is(err, ErrEncoding) {
		t.Errorf("a word before the dialect was agreed on: %v", err)
	}
	for _, n := range []byte{0, 32, 127} {
		if _, err := decoder([]byte{n, typeVocab}).Decode(Limits{}); !errors.Is(err, ErrEncoding) {
			t.Errorf("word %d: %v", n, err)
		}
	}
}

func TestNotBanana(t *testing.T) {
	zeros := func(n int) []byte { return make([]byte, n) }
	for name, b := range map[string][]byte{
		"type 0x88":               {1, 0x88},
		"type 0xff":               {0xff},
		"65 digits":               append(zeros(65), typeInt),
		"endless digits":          zeros(1000),
		"2^64":                    append(append(zeros(9), 2), typeLongInt),
		"2^70":                    append(append(zeros(10), 1), typeLongInt),
		"-2^63-1":                 append([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 1}, typeLongNeg),
		"list of 655361":          append(appendNumber(nil, MaxList+1), typeList),
		"string of 655361":        append(appendNumber(nil, MaxString+1), typeString),
		"list of 2^63":            append(append(zeros(9), 1), typeList),
		"string of 2^63":          append(append(zeros(9), 1), typeString),
		"lists of lists of lists": bytes.Repeat([]byte{1, typeList}, 1<<20),
		"many lists":              append(AppendList(nil, MaxList), bytes.Repeat([]byte{0, typeList}, MaxList)...),
	} {
		if v, err := decoder(b).Decode(Limits{}); !errors.Is(err, ErrEncoding) {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
	// High digits of 0 say nothing; Twisted takes them.
	if v, err := decoder(append(append([]byte{5}, zeros(63)...), typeInt)).Decode(Limits{}); v != int64(5) || err != nil {
		t.Errorf("64 digits: %v, %v", v, err)
	}
}

func TestLimits(t *testing.T) {
	b := appendValue(nil, []any{"hello", []any{int64(1), 2.5}})
	for _, c := range []struct {
		limits Limits
		ok     bool
	}{
		{Limits{Bytes: len(b)}, true},
		{Limits{Bytes: len(b) - 1}, false},
		{Limits{Values: 5}, true},
		{Limits{Values: 4}, false},
		{Limits{String: 5}, true},
		{Limits{String: 4}, false},
		{Limits{List: 2}, true},
		{Limits{List: 1}, false},
	} {
		if _, err := decoder(b).Decode(c.limits); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrEncoding) {
			t.Errorf("%+v: %v", c.limits, err)
		}
	}
	// They are those of one message, not of the stream.
	d := decoder(bytes.Repeat(b, 3))
	for range 3 {
		if _, err := d.Decode(Limits{Bytes: len(b), Values: 5}); err != nil {
			t.Error(err)
		}
		if d.Cost() < len(b) {
			t.Errorf("cost %d of %d bytes", d.Cost(), len(b))
		}
	}
}

// A header that promises much costs nothing until it keeps its word.
func TestHeadersAreNotBelieved(t *testing.T) {
	for _, b := range [][]byte{
		append(appendNumber(nil, MaxString), typeString),
		AppendList(nil, MaxList),
		bytes.Repeat(AppendList(nil, MaxList), MaxDepth),
	} {
		d := decoder(b)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := d.Decode(Limits{}); err != io.ErrUnexpectedEOF {
			t.Errorf("%v", err)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 4*firstBytes {
			t.Errorf("%d bytes allocated for %d", n, len(b))
		}
	}
}

func TestLongStrings(t *testing.T) {
	for _, n := range []int{readAhead - 1, readAhead, readAhead + 1, firstBytes, firstBytes + 1, 3 * firstBytes, MaxString} {
		want := strings.Repeat("0123456789abcdef", n/16+1)[:n]
		b := AppendInt(AppendString(nil, want), 7)
		for _, r := range []io.Reader{bytes.NewReader(b), iotest.HalfReader(bytes.NewReader(b))} {
			d := NewDecoder(r)
			if v, err := d.Decode(Limits{}); v != want || err != nil {
				t.Errorf("%d bytes: not what was written, %v", n, err)
			}
			if v, err := d.Decode(Limits{}); v != int64(7) || err != nil {
				t.Errorf("after %d bytes: %v, %v", n, v, err)
			}
		}
	}
}

func TestStreamErrors(t *testing.T) {
	b := appendValue(nil, []any{"hello", 2.5, strings.Repeat("x", 10000)})
	for cut := range len(b) {
		want := io.ErrUnexpectedEOF
		if cut == 0 {
			want = io.EOF
		}
		if _, err := decoder(b[:cut]).Decode(Limits{}); err != want {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
	broken := errors.New("broken")
	d := NewDecoder(io.MultiReader(bytes.NewReader(b[:3]), iotest.ErrReader(broken)))
	if _, err := d.Decode(Limits{}); err != broken {
		t.Errorf("%v", err)
	}
}

func anyValue(depth int) *rapid.Generator[any] {
	kinds := []*rapid.Generator[any]{
		rapid.Int64().AsAny(),
		rapid.Uint64Min(1 << 63).AsAny(),
		rapid.Float64().AsAny(),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) any { return string(b) }),
		rapid.SampledFrom(vocabulary[1:]).AsAny(),
	}
	if depth > 0 {
		kinds = append(kinds, rapid.SliceOfN(anyValue(depth-1), 0, 5).AsAny())
	}
	return rapid.OneOf(kinds...)
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(anyValue(4), 1, 4).Draw(t, "values")
		var b []byte
		for _, v := range values {
			b = appendValue(b, v)
		}
		d := NewDecoder(iotest.OneByteReader(bytes.NewReader(b)))
		d.UseVocabulary()
		for _, want := range values {
			got, err := d.Decode(Limits{})
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); diff != "" || err != nil {
				t.Fatal(err, diff)
			}
		}
		if err := d.More(); err != io.EOF {
			t.Fatalf("something is left: %v", err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, v := range []any{int64(-5), uint64(math.MaxUint64), 1.5, "None", "x", []any{[]any{"message", int64(1)}, "\xff"}} {
		f.Add(appendValue(nil, v))
	}
	f.Add(bytes.Repeat([]byte{1, typeList}, 100))
	f.Add(AppendList(nil, MaxList))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 2, typeLongInt})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := decoder(b).Decode(Limits{Bytes: 1 << 20, Values: 1 << 12})
		if err != nil {
			if !errors.Is(err, ErrEncoding) && err != io.EOF && err != io.ErrUnexpectedEOF {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		again, err := decoder(appendValue(nil, v)).Decode(Limits{})
		if diff := cmp.Diff(v, again, cmpopts.EquateNaNs()); diff != "" || err != nil {
			t.Fatal(err, diff)
		}
	})
}

func BenchmarkDecodeString(b *testing.B) {
	for _, n := range []int{5, 1 << 10, 64 << 10, MaxString} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			stream := AppendString(nil, strings.Repeat("x", n))
			r := bytes.NewReader(stream)
			d := NewDecoder(r)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				r.Reset(stream)
				if _, err := d.Decode(Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
