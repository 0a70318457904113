package spawn

import (
	"reflect"
	"strings"
	"testing"

	"bothy/runner/worker"
)

func messages() map[byte]message {
	return map[byte]message{
		opHello: &hello{method: Clone, base: "b", epoch: -3, home: "/h", group: "/g", buildMemory: true, handed: true, memoryHome: "/m", memoryLeaf: "/m/l", oomFile: "/o"},
		opRun:   &request{build: 1, step: 2, label: "3.1", path: "/bin/sh", dir: "/", argv: []string{"sh", "", "é"}, env: []string{"A=b"}, tty: true, stdin: true},
		opStop:  &stop{scope: theBuild, kill: true, signal: 2},
		opEvent: &event{kind: gone, step: 1 << 40, text: "x", errno: 2, status: signalled | 9, left: true, cpu: 5, maxRSS: 6, counted: true, oom: 7, certain: true, struck: true, ended: []worker.Process{{PID: 8, Name: "n"}}},
	}
}

func TestFramesComeBack(t *testing.T) {
	var stream []byte
	for _, op := range []byte{opHello, opRun, opStop, opEvent} {
		var err error
		if stream, err = appendFrame(stream, op, messages()[op]); err != nil {
			t.Fatal(err)
		}
	}
	for cut := range stream { // no prefix makes more frames than it holds, and none an error
		b := stream[:cut]
		for ok := true; ok; {
			var err error
			if _, _, b, ok, err = splitFrame(b); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 4 {
		op, payload, rest, ok, err := splitFrame(stream)
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		want := messages()[op]
		got := reflect.New(reflect.TypeOf(want).Elem()).Interface().(message)
		if err := decode(payload, got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
		if decode(append(payload[:len(payload):len(payload)], 0), got) == nil || decode(payload[:len(payload)-1], got) == nil {
			t.Errorf("%T of another length was taken", got)
		}
		stream = rest
	}
}

func TestFrameLimit(t *testing.T) {
	if _, err := appendFrame(nil, opRun, &request{path: strings.Repeat("x", maxFrame)}); err == nil {
		t.Error("too large a frame was made")
	}
	if _, _, _, _, err := splitFrame([]byte{0xff, 0xff, 0xff, 0xff, opRun}); err == nil {
		t.Error("too large a frame was announced and taken")
	}
}

func FuzzFrames(f *testing.F) {
	for op, m := range messages() {
		b, err := appendFrame(nil, op, m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{6, 0, 0, 0, opRun, 0, 0, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, b []byte) {
		for {
			op, payload, rest, ok, err := splitFrame(b)
			if !ok || err != nil {
				return
			}
			want, known := messages()[op]
			if known {
				m := reflect.New(reflect.TypeOf(want).Elem()).Interface().(message)
				again := reflect.New(reflect.TypeOf(want).Elem()).Interface().(message)
				if decode(payload, m) == nil {
					out, err := appendFrame(nil, op, m)
					if err != nil {
						t.Fatal(err)
					}
					if err := decode(out[frameHead:], again); err != nil || !reflect.DeepEqual(m, again) {
						t.Fatalf("%+v, %v, want %+v", again, err, m)
					}
				}
			}
			b = rest
		}
	})
}

func FuzzCookie(f *testing.F) {
	f.Add("base.1.2.3")
	f.Add("a.b.c.d")
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := parseCookie(s)
		if !ok {
			return
		}
		if again, ok := parseCookie(c.String()); !ok || again != c {
			t.Errorf("%q: %+v, then %+v", s, c, again)
		}
	})
}

func TestShorten(t *testing.T) {
	for in, want := range map[string]string{
		"sh -c true":            "sh -c true",
		"a\nb\x1b[0m":           "a b [0m",
		strings.Repeat("é", 50): strings.Repeat("é", 40) + "…",
		"\xff":                  "�",
	} {
		if got := shorten(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestCountLines(t *testing.T) {
	for _, c := range []struct {
		max    int
		pieces []string
		want   string
		over   bool
	}{
		{2, []string{"a\nb\n"}, "a\nb\n", false},
		{2, []string{"a\nb\nc"}, "a\nb\n", true},
		{2, []string{"a\n", "b\n", "c"}, "a\nb\n", true},
		{1, []string{"no end", " yet\n"}, "no end yet\n", false},
		{0, []string{"a\n", "b\n"}, "a\nb\n", false},
	} {
		var s text
		o := newOutput(&s, c.max)
		for _, p := range c.pieces {
			o.write("", worker.Stdout, []byte(p))
		}
		if string(s) != c.want || (len(o.trouble) == 1) != c.over {
			t.Errorf("%d of %q: %q, trouble %d", c.max, c.pieces, s, len(o.trouble))
		}
	}
}

type text []byte

func (t *text) Output(_ string, _ worker.Stream, p []byte) error {
	*t = append(*t, p...)
	return nil
}
