package msgpack

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tinylib/msgp/msgp"

	"bothy/runner/internal/remote/wire"
)

// encode writes any dictionary, also what Append would not.
func encode(t testing.TB, m wire.Map) []byte {
	t.Helper()
	b, err := appendMap(nil, m, 0)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// frames that are no message: the connection is not worth keeping.
func TestNotAMessage(t *testing.T) {
	ok := encode(t, wire.Map{{Key: "op", Value: "keepalive"}, {Key: "seq_number", Value: 1}})
	if _, err := Read(ok, Limits{}); err != nil {
		t.Fatal(err)
	}
	deep := any("leaf")
	for range MaxDepth - 1 {
		deep = []any{deep}
	}
	fits := encode(t, wire.Map{{Key: "op", Value: "response"}, {Key: "seq_number", Value: 1}, {Key: "result", Value: deep}})
	if _, err := Read(fits, Limits{}); err != nil {
		t.Fatal(err)
	}
	tooDeep := bytes.Replace(fits, []byte("\x91\xa4leaf"), []byte("\x91\x91\xa4leaf"), 1)

	for name, frame := range map[string][]byte{
		"nothing":                  {},
		"a list":                   {0x90},
		"a number":                 {7},
		"a number, then ours":      append([]byte{7}, ok...),
		"trailing byte":            append(bytes.Clone(ok), 0xc0),
		"cut":                      ok[:len(ok)-1],
		"never used type":          {0xc1},
		"extension":                bytes.Replace(ok, []byte{1}, []byte{0xd4, 1, 0}, 1),
		"time":                     bytes.Replace(ok, []byte{1}, []byte{0xd6, 0xff, 0, 0, 0, 0}, 1),
		"2^31 elements":            {0xdd, 0x7f, 0xff, 0xff, 0xff},
		"2^32-1 entries":           {0xdf, 0xff, 0xff, 0xff, 0xff},
		"2^32-1 elements, inside":  append([]byte{0x81, 0xa2, 'o', 'p'}, 0xdd, 0xff, 0xff, 0xff, 0xff, 0),
		"text of 2^32-1":           append([]byte{0x81, 0xa2, 'o', 'p'}, 0xdb, 0xff, 0xff, 0xff, 0xff, 0),
		"bytes of 2^32-1":          append([]byte{0x81, 0xa2, 'o', 'p'}, 0xc6, 0xff, 0xff, 0xff, 0xff, 0),
		"length cut":               append([]byte{0x81, 0xa2, 'o', 'p'}, 0xdb, 0xff),
		"2 MB of nested lists":     append([]byte{0x81, 0xa2, 'o', 'p'}, bytes.Repeat([]byte{0x91}, 2<<20)...),
		"nested too deep":          tooDeep,
		"integer key":              {0x81, 1, 1},
		"nil key inside":           append([]byte{0x81, 0xa2, 'o', 'p'}, 0x81, 0xc0, 1),
		"list as key":              {0x81, 0x91, 1, 1},
		"bytes as key":             {0x81, 0xc4, 1, 'x', 1},
		"key is not UTF-8":         {0x81, 0xa1, 0xff, 1},
		"text is not UTF-8":        {0x81, 0xa2, 'o', 'p', 0xa1, 0xff},
		"text inside is not UTF-8": {0x81, 0xa1, 'x', 0x91, 0xa2, 'a', 0xff},
		"no op":                    encode(t, wire.Map{{Key: "seq_number", Value: 1}}),
		"no number":                encode(t, wire.Map{{Key: "op", Value: "keepalive"}}),
		"number is text":           encode(t, wire.Map{{Key: "op", Value: "keepalive"}, {Key: "seq_number", Value: "1"}}),
		"number of 2^63":           encode(t, wire.Map{{Key: "op", Value: "keepalive"}, {Key: "seq_number", Value: uint64(1 << 63)}}),
		"op is bytes":              encode(t, wire.Map{{Key: "op", Value: []byte("keepalive")}, {Key: "seq_number", Value: 1}}),
		"17 keys":                  encode(t, slices.Repeat(wire.Map{{Key: "op", Value: "keepalive"}}, 17)),
	} {
		f, err := Read(frame, Limits{})
		if !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v, %v; want that it is no message", name, f, err)
		}
	}
}

func TestLimits(t *testing.T) {
	frame := encode(t, wire.Map{{Key: "op", Value: "print"}, {Key: "message", Value: "hello"}, {Key: "seq_number", Value: 1}})
	for _, c := range []struct {
		limits Limits
		ok     bool
	}{
		{Limits{Bytes: len(frame)}, true},
		{Limits{Bytes: len(frame) - 1}, false},
		{Limits{Values: 6}, true},
		{Limits{Values: 5}, false},
	} {
		if _, err := Read(frame, c.limits); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrFrame) {
			t.Errorf("%+v: %v", c.limits, err)
		}
	}
}

// messages that are wrong in themselves: their sender is told.
func TestWrongMessages(t *testing.T) {
	for _, c := range []struct {
		op     string
		fields wire.Map
		want   string
	}{
		{"dance", nil, `message "dance": unknown operation`},
		{"print", nil, "message: missing"},
		{"print", wire.Map{{Key: "message", Value: []byte("x")}}, "message: want text, got a MessagePack bin"},
		{"update", wire.Map{{Key: "args", Value: []any{}}}, "command_id: missing"},
		{"update", wire.Map{{Key: "command_id", Value: 1}, {Key: "args", Value: []any{}}}, "command_id: want text"},
		{"update", wire.Map{{Key: "command_id", Value: "1"}, {Key: "args", Value: "x"}}, "args: want a list of pairs"},
		{"update", wire.Map{{Key: "command_id", Value: "1"}, {Key: "args", Value: []any{[]any{"rc"}}}}, "args: a list of 1, want 2"},
		{"update", wire.Map{{Key: "command_id", Value: "1"}, {Key: "args", Value: []any{[]any{1, 2}}}}, "args: want"},
		{"update", wire.Map{{Key: "command_id", Value: "1"}, {Key: "args", Value: []any{[]any{"stdout", "text"}}}}, "args: want"},
		{"update", wire.Map{{Key: "command_id", Value: "1"}, {Key: "args", Value: []any{[]any{"stdout", []any{"x\n", []any{1}}}}}}, "stdout: a list of 2, want 3"},
		{"update", wire.Map{{Key: "command_id", Value: "1"}, {Key: "args", Value: []any{[]any{"log", []any{"x\n", []any{1}, []any{1.5}}}}}}, "log: a list of 3, want 2"},
		{"complete", wire.Map{{Key: "command_id", Value: "1"}}, "args: missing"},
		{"complete", wire.Map{{Key: "command_id", Value: "1"}, {Key: "args", Value: 1}}, "args: want text"},
		{"update_upload_file_write", wire.Map{{Key: "command_id", Value: "1"}, {Key: "args", Value: "text"}}, "args: want bytes"},
		{"update_upload_directory_write", wire.Map{{Key: "command_id", Value: "1"}}, "args: missing"},
		{"update_upload_file_utime", wire.Map{{Key: "command_id", Value: "1"}, {Key: "access_time", Value: "x"}, {Key: "modified_time", Value: 1}}, "access_time: want a number"},
		{"update_read_file", wire.Map{{Key: "command_id", Value: "1"}, {Key: "length", Value: 1.5}}, "length: want an integer"},
		{"set_worker_settings", wire.Map{{Key: "args", Value: "x"}}, "args: want a dictionary"},
		{"set_worker_settings", wire.Map{{Key: "args", Value: wire.Map{}}}, "newline_re: missing"},
		{"set_worker_settings", settings(math.NaN()), "buffer_timeout: NaN seconds"},
		{"set_worker_settings", settings(-1), "buffer_timeout: -1 seconds"},
		{"set_worker_settings", settings(1e300), "buffer_timeout: 1e+300 seconds"},
		{"start_command", wire.Map{{Key: "command_id", Value: "1"}, {Key: "command_name", Value: "x"}, {Key: "args", Value: []any{}}}, "args: want a dictionary"},
		{"interrupt_command", wire.Map{{Key: "why", Value: "x"}}, "command_id: missing"},
	} {
		m := append(wire.Map{{Key: "op", Value: c.op}, {Key: "seq_number", Value: 77}}, c.fields...)
		_, err := Read(encode(t, m), Limits{})
		var wrong *MessageError
		if !errors.As(err, &wrong) || wrong.Seq != 77 || wrong.Op != c.op || errors.Is(err, ErrFrame) {
			t.Errorf("%s %v: %v", c.op, c.fields, err)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %v: %q, want %q in it", c.op, c.fields, err, c.want)
		}
	}
	_, err := Read(encode(t, wire.Map{{Key: "op", Value: "dance"}, {Key: "seq_number", Value: 1}}), Limits{})
	if !errors.Is(err, ErrUnknownOp) {
		t.Error(err)
	}
}

func settings(timeout any) wire.Map {
	return wire.Map{{Key: "args", Value: wire.Map{
		{Key: "newline_re", Value: ""}, {Key: "max_line_length", Value: 1}, {Key: "buffer_timeout", Value: timeout}, {Key: "buffer_size", Value: 1},
	}}}
}

// Peers differ in what they write for the same thing.
func TestReadsWhatPeersWrite(t *testing.T) {
	envelope := wire.Map{{Key: "seq_number", Value: 1}, {Key: "op", Value: "print"}, {Key: "op", Value: "update_upload_file_utime"}}
	f, err := Read(encode(t, append(envelope, wire.Map{ // of two, the last counts
		{Key: "command_id", Value: "7"}, {Key: "access_time", Value: 5}, {Key: "modified_time", Value: uint64(6)}, {Key: "more", Value: wire.Tuple{nil, true}},
	}...)), Limits{})
	if diff := cmp.Diff(Frame{1, &UploadUtime{"7", 5, 6}}, f); diff != "" || err != nil {
		t.Error(err, diff)
	}

	b := msgp.AppendMapHeader(nil, 3)
	b = msgp.AppendString(msgp.AppendString(b, "op"), "response")
	b = append(msgp.AppendString(b, "seq_number"), 0xd3, 0, 0, 0, 0, 0, 0, 0, 5) // as int64
	b = msgp.AppendFloat32(msgp.AppendString(b, "result"), 0.5)
	f, err = Read(b, Limits{})
	if diff := cmp.Diff(Frame{5, &Response{Result: 0.5}}, f); diff != "" || err != nil {
		t.Error(err, diff)
	}

	// The value of is_exception does not matter, and a result may be missing.
	f, err = Read(encode(t, wire.Map{{Key: "op", Value: "response"}, {Key: "seq_number", Value: 1}, {Key: "is_exception", Value: false}}), Limits{})
	if diff := cmp.Diff(Frame{1, &Response{Exception: true}}, f); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if _, err := f.Message.(*Response).Value(); err == nil {
		t.Error("no error of an exception without text")
	}
}

// Text that is not UTF-8 would make the peer drop the frame without a word.
func TestAppendRefuses(t *testing.T) {
	bad := "a\xffb"
	deep := any(nil)
	for range MaxDepth {
		deep = []any{deep}
	}
	for _, m := range []Message{
		&Print{Text: bad},
		&SetWorkerSettings{NewlineRE: bad},
		&StartCommand{CommandID: bad},
		&StartCommand{Builder: bad},
		&StartCommand{Command: bad},
		&StartCommand{Args: wire.Map{{Key: bad}}},
		&StartCommand{Args: wire.Map{{Key: "env", Value: wire.Map{{Key: "X", Value: bad}}}}},
		&StartCommand{Args: wire.Map{{Key: "x", Value: struct{}{}}}},
		&StartCommand{Args: wire.Map{{Key: "x", Value: deep}}},
		&InterruptCommand{Why: bad},
		&Update{CommandID: bad},
		&Update{Items: []Item{{Name: bad}}},
		&Update{Items: []Item{{Name: Log, Log: bad}}},
		&Update{Items: []Item{{Name: Stdout, Lines: Lines{Text: []byte(bad)}}}},
		&Complete{Failed: true, Failure: bad},
		&UploadClose{CommandID: bad},
		Failed(bad),
	} {
		_, err := Append(nil, Frame{Seq: 3, Message: m})
		var wrong *MessageError
		if !errors.As(err, &wrong) || wrong.Seq != 3 || wrong.Op != m.Op() {
			t.Errorf("%#v: %v", m, err)
		}
	}
	if _, err := Append(nil, Frame{Message: &UploadWrite{Data: []byte(bad)}}); err != nil {
		t.Errorf("bytes are not text: %v", err)
	}
}
