package msgpack

import (
	"bytes"
	"fmt"
	"testing"
	"unicode/utf8"
)

// output is an update of about 64 KiB of lines of some length, as
// buildbot-worker sends it.
func output(line int) *Update {
	var l Lines
	text := append(bytes.Repeat([]byte{'x'}, line-1), '\n')
	for at := 0; len(l.Text) < 64<<10; at += line {
		l.Text = append(l.Text, text...)
		l.Ends = append(l.Ends, at+line-1)
		l.Times = append(l.Times, 1.75e9)
	}
	return &Update{CommandID: "4711", Items: []Item{{Name: Stdout, Lines: l}}}
}

func BenchmarkAppendUpdate(b *testing.B) {
	for _, line := range []int{4, 80, 4096} {
		b.Run(fmt.Sprintf("lines of %d", line), func(b *testing.B) {
			m := output(line)
			b.SetBytes(int64(len(m.Items[0].Lines.Text)))
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				var err error
				if buf, err = Append(buf[:0], Frame{Message: m}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReadUpdate(b *testing.B) {
	for _, line := range []int{4, 80, 4096} {
		b.Run(fmt.Sprintf("lines of %d", line), func(b *testing.B) {
			m := output(line)
			frame, err := Append(nil, Frame{Message: m})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(m.Items[0].Lines.Text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Read(frame, Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkValidUTF8 is the yardstick: no reader of text can be faster.
func BenchmarkValidUTF8(b *testing.B) {
	text := output(80).Items[0].Lines.Text
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if !utf8.Valid(text) {
			b.Fatal("not UTF-8")
		}
	}
}

func BenchmarkReadResponse(b *testing.B) {
	frame, err := Append(nil, Frame{Seq: 1000, Message: &Response{}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read(frame, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
