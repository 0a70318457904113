package msgpack

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"bothy/runner/internal/remote/wire"
)

// anyValue draws a value as Read returns it.
func anyValue(depth int) *rapid.Generator[any] {
	scalars := []*rapid.Generator[any]{
		rapid.Just[any](nil),
		rapid.Bool().AsAny(),
		rapid.Int64().AsAny(),
		rapid.Uint64Min(1 << 63).AsAny(),
		rapid.Float64().AsAny(),
		rapid.String().AsAny(),
		rapid.SliceOf(rapid.Byte()).AsAny(),
	}
	if depth == 0 {
		return rapid.OneOf(scalars...)
	}
	inner := anyValue(depth - 1)
	return rapid.OneOf(append(scalars,
		rapid.SliceOfN(inner, 0, 5).AsAny(),
		anyMap(inner).AsAny(),
	)...)
}

func anyMap(value *rapid.Generator[any]) *rapid.Generator[wire.Map] {
	return rapid.Map(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) wire.Field {
		return wire.Field{Key: rapid.String().Draw(t, "key"), Value: value.Draw(t, "value")}
	}), 0, 5), func(f []wire.Field) wire.Map { return f })
}

var (
	anyID    = rapid.String()
	anyBytes = rapid.SliceOf(rapid.Byte())
	anyLines = rapid.Custom(func(t *rapid.T) Lines {
		return Lines{
			Text:  []byte(rapid.String().Draw(t, "text")),
			Ends:  rapid.SliceOf(rapid.Int()).Draw(t, "ends"),
			Times: rapid.SliceOf(rapid.Float64()).Draw(t, "times"),
		}
	})
	anyItem = rapid.Custom(func(t *rapid.T) Item {
		it := Item{Name: rapid.OneOf(rapid.SampledFrom([]string{Stdout, Stderr, Header, Log, "rc"}), rapid.String()).Draw(t, "name")}
		switch {
		case it.Name == Log:
			it.Log = rapid.String().Draw(t, "log")
			fallthrough
		case isLines(it.Name):
			it.Lines = anyLines.Draw(t, "lines")
		default:
			it.Value = anyValue(2).Draw(t, "value")
		}
		return it
	})
)

var anyMessage = rapid.Custom(func(t *rapid.T) Message {
	id := func() string { return anyID.Draw(t, "id") }
	switch op := rapid.SampledFrom([]string{
		opResponse, opPrint, opKeepalive, opGetWorkerInfo, opSetWorkerSettings, opStartCommand, opInterruptCommand, opShutdown, opUpdate, opComplete,
		opUploadFileWrite, opUploadFileClose, opUploadFileUtime, opUploadDirectoryWrite, opUploadDirectoryUnpack, opReadFile, opReadFileClose,
	}).Draw(t, "op"); op {
	case opResponse:
		return &Response{anyValue(3).Draw(t, "result"), rapid.Bool().Draw(t, "exception")}
	case opPrint:
		return &Print{id()}
	case opKeepalive:
		return &Keepalive{}
	case opGetWorkerInfo:
		return &GetWorkerInfo{}
	case opSetWorkerSettings:
		timeout := time.Duration(rapid.Int64Range(0, 1e6).Draw(t, "ms")) * time.Millisecond
		return &SetWorkerSettings{id(), rapid.Int64().Draw(t, "line"), timeout, rapid.Int64().Draw(t, "size")}
	case opStartCommand:
		return &StartCommand{id(), id(), id(), anyMap(anyValue(2)).Draw(t, "args")}
	case opInterruptCommand:
		return &InterruptCommand{id(), id(), id()}
	case opShutdown:
		return &Shutdown{}
	case opUpdate:
		return &Update{id(), rapid.SliceOfN(anyItem, 0, 4).Draw(t, "items")}
	case opComplete:
		if rapid.Bool().Draw(t, "failed") {
			return &Complete{id(), true, id()}
		}
		return &Complete{CommandID: id()}
	case opUploadFileWrite:
		return &UploadWrite{id(), anyBytes.Draw(t, "data")}
	case opUploadFileClose:
		return &UploadClose{id()}
	case opUploadFileUtime:
		return &UploadUtime{id(), rapid.Float64().Draw(t, "a"), rapid.Float64().Draw(t, "m")}
	case opUploadDirectoryWrite:
		return &UploadDirectoryWrite{id(), anyBytes.Draw(t, "data")}
	case opUploadDirectoryUnpack:
		return &UploadDirectoryUnpack{id()}
	case opReadFile:
		return &ReadFile{id(), rapid.Int64().Draw(t, "length")}
	default:
		return &ReadFileClose{id()}
	}
})

// What is written is read again as what it was, and a cut or extended frame is no
// message.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Frame{Seq: rapid.Int64().Draw(t, "seq"), Message: anyMessage.Draw(t, "message")}
		frame, err := Append([]byte("before"), want)
		if err != nil {
			t.Fatal(err)
		}
		frame, ok := bytes.CutPrefix(frame, []byte("before"))
		if !ok {
			t.Fatal("what was there before is gone")
		}
		got, err := Read(frame, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); diff != "" {
			t.Fatal(diff)
		}
		cut := rapid.IntRange(0, len(frame)-1).Draw(t, "cut")
		if _, err := Read(frame[:cut], Limits{}); !errors.Is(err, ErrFrame) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		more := rapid.SliceOfN(rapid.Byte(), 1, 5).Draw(t, "more")
		if _, err := Read(append(frame, more...), Limits{}); !errors.Is(err, ErrFrame) {
			t.Fatalf("extended: %v", err)
		}
	})
}

// Whatever comes, reading ends without panic, a message that was read can be
// written, and reading that gives the same.
func FuzzRead(f *testing.F) {
	for _, r := range session(f) {
		f.Add(r.frame)
	}
	for _, frame := range [][]byte{
		{0xdd, 0x7f, 0xff, 0xff, 0xff},
		{0xdf, 0xff, 0xff, 0xff, 0xff},
		{0xdb, 0xff, 0xff, 0xff, 0xff, 0},
		bytes.Repeat([]byte{0x91}, 1000),
		{0x81, 0x01, 0x01},
		{0x81, 0xa1, 0xff, 0x01},
	} {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		first, err := Read(frame, Limits{Bytes: 1 << 20, Values: 1 << 12})
		if err != nil {
			if wrong := new(MessageError); errors.Is(err, ErrFrame) == errors.As(err, &wrong) {
				t.Fatalf("an error of no kind or of both: %v", err)
			}
			return
		}
		again, err := Append(nil, first)
		if err != nil {
			t.Fatalf("%#v was read and cannot be written: %v", first.Message, err)
		}
		second, err := Read(again, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, second, cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); diff != "" {
			t.Fatal(diff)
		}
	})
}
