package msgpack

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"bothy/runner/internal/remote/wire"
)

// recorded is one message of testdata/session.txt.
type recorded struct {
	fromMaster bool
	frame      []byte
}

func session(t testing.TB) []recorded {
	t.Helper()
	f, err := os.Open("testdata/session.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []recorded
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		direction, digits, _ := strings.Cut(lines.Text(), " ")
		if direction == "#" {
			continue
		}
		frame, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, recorded{direction == "M>W", frame})
	}
	if lines.Err() != nil || len(all) < 100 {
		t.Fatalf("%d messages, %v", len(all), lines.Err())
	}
	return all
}

// What Buildbot's two halves say is understood, and said again it is the same
// bytes.
func TestRecordedSession(t *testing.T) {
	ops := map[string]int{}
	for i, r := range session(t) {
		f, err := Read(r.frame, Limits{})
		if err != nil {
			t.Fatalf("message %d: %v\n%q", i, err, r.frame)
		}
		ops[f.Message.Op()]++
		again, err := Append(nil, f)
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if !bytes.Equal(again, r.frame) {
			t.Errorf("message %d\n was %q\n now %q", i, r.frame, again)
		}
	}
	for _, op := range []string{
		"print", "get_worker_info", "set_worker_settings", "start_command", "update", "complete", "response",
		"update_upload_file_write", "update_upload_file_close", "update_upload_file_utime",
		"update_upload_directory_write", "update_upload_directory_unpack", "update_read_file", "update_read_file_close",
	} {
		if ops[op] == 0 {
			t.Errorf("no %s among them", op)
		}
	}
}

// Every response of the recorded session answers a request of it.
func TestRecordedSessionPairs(t *testing.T) {
	sides := map[bool]*Session{true: NewSession(100), false: NewSession(100)} // by whether it is the master's
	for i, r := range session(t) {
		f, err := Read(r.frame, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if response, ok := f.Message.(*Response); ok {
			if err := sides[!r.fromMaster].Deliver(f.Seq, response); err != nil {
				t.Errorf("message %d: %v", i, err)
			}
			continue
		}
		p, err := sides[r.fromMaster].Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if p.Seq() != f.Seq {
			t.Errorf("message %d has number %d, want %d", i, f.Seq, p.Seq())
		}
	}
	for master, s := range sides {
		if n := s.InFlight(); n != 0 {
			t.Errorf("%d requests without response, master: %v", n, master)
		}
	}
}

// A few of the messages, looked at.
func TestRecordedMessages(t *testing.T) {
	var info wire.Map
	var hello, cpdir *Update
	var failed *Complete
	var refused *Response
	for _, r := range session(t) {
		f, err := Read(r.frame, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		switch m := f.Message.(type) {
		case *Response:
			if m.Exception {
				refused = m
			} else if got, ok := m.Result.(wire.Map); ok {
				info = got
			}
		case *Update:
			if hello == nil && len(m.Items) == 7 {
				hello = m
			}
			if len(m.Items) == 5 {
				cpdir = m
			}
		case *Complete:
			if m.Failed {
				failed = m
			}
		}
	}
	if v, _ := info.Get("version"); v != "3.7.0-2" {
		t.Errorf("version %v", v)
	}
	if v, _ := info.Get("numcpus"); v != int64(2) {
		t.Errorf("numcpus %v", v)
	}
	if v, _ := info.Get("environ"); len(v.(wire.Map)) != 3 {
		t.Errorf("environ %v", v)
	}
	stdout := hello.Items[1]
	if stdout.Name != Stdout || string(stdout.Lines.Text) != "hello\n" || stdout.Lines.Ends[0] != 5 || stdout.Lines.Times[0] < 1e9 {
		t.Errorf("stdout %+v", stdout)
	}
	if rc := hello.Items[3]; rc.Name != "rc" || rc.Value != int64(0) {
		t.Errorf("rc %+v", rc)
	}
	if header := cpdir.Items[0].Lines; len(header.Ends) != len(header.Times) || len(header.Ends) != bytes.Count(header.Text, []byte("\n")) {
		t.Errorf("%d ends, %d times of %q", len(header.Ends), len(header.Times), header.Text)
	}
	if !strings.HasPrefix(failed.Failure, "[Failure instance") {
		t.Errorf("failure %q", failed.Failure)
	}
	if _, err := refused.Value(); err == nil || !strings.Contains(err.Error(), "positional arguments") {
		t.Errorf("exception %v", err)
	}
}
