package bothy

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// packets are one of each kind.
func packets() []Packet {
	return []Packet{
		&Hello{Place: "3f2a", Zstd: true},
		&Hello{Token: Token{1, 15: 2}, Received: 1 << 40, Place: strings.Repeat("x", maxText)},
		&Welcome{Token: Token{7}, Epoch: 3, ID: 9, Lease: 2 * time.Minute, Window: 4 << 20, Zstd: true},
		&Welcome{Resumed: true, Received: 12, Token: Token{7}},
		&Refusal{Reason: "another master"},
		Data{Seq: 1, Done: 0, Payload: []byte("\x01abc")},
		Data{Seq: 1 << 50, Done: 300, Zipped: true, Payload: []byte{}},
		Ack{Done: 128}, Ping{ID: 1}, Pong{ID: 1 << 63}, Bye{Reason: "it was told to end"}, Bye{},
	}
}

func TestPackets(t *testing.T) {
	for _, want := range packets() {
		b := Append(nil, want)
		got, err := Read(b)
		if err != nil {
			t.Errorf("%#v: %v", want, err)
			continue
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%#v became %#v", want, got)
		}
		if _, ok := want.(Data); ok {
			continue // what is cut off its end may be payload
		}
		for n := range len(b) {
			if p, err := Read(b[:n]); !errors.Is(err, ErrPacket) {
				t.Errorf("%d bytes of %#v were read as %#v", n, want, p)
			}
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"unknown kind":         {99, 1},
		"long text":            append([]byte{kindBye, 0x81, 0x02}, make([]byte, 257)...),
		"number too large":     append([]byte{kindAck}, bytes.Repeat([]byte{0xff}, 11)...),
		"larger than a packet": make([]byte, MaxPacket+1),
		"negative lease": append(append([]byte{kindWelcome, 0, 0}, make([]byte, 18)...),
			0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0, 0),
	} {
		if p, err := Read(b); !errors.Is(err, ErrPacket) {
			t.Errorf("%s: %#v, %v", name, p, err)
		}
	}
}

func TestPayloads(t *testing.T) {
	want := Output{Command: "3.7-12", Stream: 'e', Log: "compile", Text: []byte("a\xff\x00b")}
	_, got, err := ReadPayload(append(AppendOutput(nil, want), want.Text...))
	if err != nil || !reflect.DeepEqual(*got, want) {
		t.Errorf("%#v became %#v, %v", want, got, err)
	}
	frame, out, err := ReadPayload([]byte{Frame, 0x80})
	if err != nil || out != nil || !bytes.Equal(frame, []byte{0x80}) {
		t.Errorf("frame: %x, %v, %v", frame, out, err)
	}
	for name, b := range map[string][]byte{
		"empty": {}, "unknown kind": {9}, "unknown stream": {outputKind, 0, 'x', 0},
		"name too long": append([]byte{outputKind, 0x81, 0x08}, make([]byte, maxName+10)...),
	} {
		if _, _, err := ReadPayload(b); !errors.Is(err, ErrPayload) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTokenIsNotPrinted(t *testing.T) {
	if s := (Token{0xab}).String(); strings.Contains(s, "171") || strings.Contains(s, "ab") {
		t.Error(s)
	}
}

// Whatever is read can be written, and is then read as the same.
func FuzzRead(f *testing.F) {
	for _, p := range packets() {
		f.Add(Append(nil, p))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Read(b)
		if err != nil {
			if !errors.Is(err, ErrPacket) {
				t.Fatal(err)
			}
			return
		}
		again, err := Read(Append(nil, p))
		if err != nil || !reflect.DeepEqual(p, again) {
			t.Fatalf("%#v became %#v, %v", p, again, err)
		}
	})
}

func FuzzReadPayload(f *testing.F) {
	f.Add([]byte{Frame, 0x80})
	f.Add(append(AppendOutput(nil, Output{Command: "1", Stream: 'o'}), "text\n"...))
	f.Add(append(AppendOutput(nil, Output{Command: "3.7-1", Stream: 'h', Log: "x"}), 0xff))
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, o, err := ReadPayload(b)
		switch {
		case err != nil:
			if !errors.Is(err, ErrPayload) {
				t.Fatal(err)
			}
		case o != nil:
			_, again, err := ReadPayload(append(AppendOutput(nil, *o), o.Text...))
			if err != nil || again.Command != o.Command || again.Log != o.Log || !bytes.Equal(again.Text, o.Text) {
				t.Fatalf("%#v became %#v, %v", o, again, err)
			}
		case len(frame) != len(b)-1:
			t.Fatalf("a frame of %d bytes of %d", len(frame), len(b))
		}
	})
}
