package pb

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/pb/banana"
	"bothy/runner/internal/remote/wire/pb/jelly"
)

// recorded returns the two streams of testdata/session.txt.
func recorded(t testing.TB) (fromMaster, fromWorker []byte) {
	t.Helper()
	f, err := os.Open("testdata/session.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		direction, digits, _ := strings.Cut(lines.Text(), " ")
		if direction == "#" {
			continue
		}
		segment, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(err)
		}
		if direction == "M>W" {
			fromMaster = append(fromMaster, segment...)
		} else {
			fromWorker = append(fromWorker, segment...)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return fromMaster, fromWorker
}

// expressions splits a stream after the choice of the dialect.
func expressions(t testing.TB, stream []byte) (all []any) {
	t.Helper()
	d := banana.NewDecoder(bytes.NewReader(stream))
	if _, err := d.Decode(banana.Limits{}); err != nil {
		t.Fatal(err)
	}
	d.UseVocabulary()
	for d.More() == nil {
		e, err := d.Decode(banana.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	if len(all) < 50 {
		t.Fatalf("%d messages only", len(all))
	}
	return all
}

// asWritten keeps references as they are.
type asWritten struct{}

func (asWritten) Remote(id int64) (any, error) { return jelly.Ref{ID: id}, nil }
func (asWritten) Local(id int64) (any, error)  { return jelly.Ref{ID: id, Theirs: true}, nil }

// What Buildbot's two halves say is understood, and said again it is the same
// bytes.
func TestRecordedSession(t *testing.T) {
	master, worker := recorded(t)
	commands := map[any]int{}
	for _, stream := range [][]byte{master, worker} {
		all := expressions(t, stream)
		var again []byte
		for _, e := range all {
			again = appendExpr(again, e)
		}
		if !bytes.HasSuffix(stream, again) {
			t.Error("what was decoded is not written as it was")
		}
		for _, e := range all {
			m := e.([]any)
			commands[m[0]]++
			switch m[0] {
			case "message":
				sameAgain(t, m[5])
				sameAgain(t, m[6])
			case "answer":
				sameAgain(t, m[2])
			}
		}
	}
	for _, command := range []string{"version", "message", "answer", "decref"} {
		if commands[command] == 0 {
			t.Errorf("no %s among them", command)
		}
	}
}

func sameAgain(t *testing.T, expr any) {
	t.Helper()
	v, err := jelly.Read(expr, asWritten{})
	if err != nil {
		t.Errorf("%q: %v", expr, err)
		return
	}
	got, err := jelly.Append(nil, v, func(v any) (jelly.Ref, bool, error) {
		r, ok := v.(jelly.Ref)
		return r, ok, nil
	})
	if want := appendExpr(nil, expr); !bytes.Equal(got, want) || err != nil {
		t.Errorf("%v\n was %q\n now %q", err, want, got)
	}
}

// The recorded response is the one we would have given.
func TestRecordedLogin(t *testing.T) {
	master, worker := recorded(t)
	var challenge []byte
	for _, e := range expressions(t, master) {
		if m := e.([]any); m[0] == "answer" {
			v, err := jelly.Read(m[2], asWritten{})
			if err != nil {
				t.Fatal(err)
			}
			challenge = v.(wire.Tuple)[0].([]byte)
			break
		}
	}
	for _, e := range expressions(t, worker) {
		if m := e.([]any); m[0] == "message" && m[3] == "respond" {
			v, err := jelly.Read(m[5], asWritten{})
			if err != nil {
				t.Fatal(err)
			}
			if got := respond(challenge, md5.Sum([]byte("s3cret"))); !bytes.Equal(got, v.(wire.Tuple)[0].([]byte)) {
				t.Errorf("response %x, recorded %x", got, v)
			}
			return
		}
	}
	t.Error("no response recorded")
}

// said is one step of a conversation.
type said struct {
	byMaster bool
	hex      string
}

// trace is the start of a session of Debian's 3.7.0 pair, byte by byte: handshake,
// login, builder list, start and end of a command. The one difference: we release
// the challenger when it has answered, buildbot-worker when it was asked.
var trace = []said{
	{true, "02800282706204826e6f6e65"}, // ("pb" "none")
	{false, "02827062"},
	{false, "028013870681"}, // (version 6)
	{true, "028013870681"},
	{false, "07801a8701810482726f6f741487018102800b870482772d706201800587"},                                                              // login("w-pb")
	{true, "03801b87018103800b871082bd3f20aa7f12bde968a81f84b4e47a4f028010870181"},                                                       // challenge, challenger
	{false, "07801a87028101810782726573706f6e64018103800b871082cd9c252d8b80109af0d4bed56e2212cc02801087018101800587"},                    // respond
	{true, "07801a870181018105827072696e74018101800b8702800587028002800782756e69636f64651a8702800782756e69636f646508826174746163686564"}, // print(message="attached")
	{false, "03801b87018101800187"}, // None
	{true, "07801a87028101810e827365744275696c6465724c697374018102800b870280088703800b8702800782756e69636f64650682622d772d706202800782756e69636f64650682622d772d706201800587"},
	{false, "03801b87028102800587028002800782756e69636f64650682622d772d7062028010870281"}, // {"b-w-pb": (remote 2)}
	{true, "03801b870281028010870281"}, // the avatar
	{false, "02801d870181"},            // the challenger is released
	{true, "07801a87038102810a8273746172744275696c64018101800b8701800587"}, // startBuild()
	{false, "03801b87038101800187"},
	{true, "07801a87048102810c827374617274436f6d6d616e64018105800b8702801087038102800782756e69636f646501823002800782756e69636f646505827368656c6c0180058701800587"}, // startCommand
	{false, "03801b87048101800187"},
	{false, "07801a87038103810682757064617465018102800b87028008870380088702800587028002800782756e69636f646506827374646f757402800782756e69636f646508827061727469616c0a008101800587"},
	{true, "03801b8703810081"},
	{false, "07801a87048103810682757064617465018102800b87028008870380088702800587028002800782756e69636f646502827263008100810180" + "0587"},
	{true, "03801b8704810081"},
	{false, "07801a87058103810882636f6d706c657465018102800b870180018701800587"}, // complete(None)
	{true, "03801b87058101800187"},
}

// play speaks one side of the trace and compares what it hears with the other.
func play(t *testing.T, conn net.Conn, master bool) {
	for i, s := range trace {
		want, err := hex.DecodeString(s.hex)
		if err != nil {
			t.Fatal(err)
		}
		if s.byMaster == master {
			if _, err := conn.Write(want); err != nil {
				t.Errorf("step %d: %v", i, err)
				return
			}
			continue
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("step %d: %v\n got %x\nwant %s", i, err, got, s.hex)
			return
		}
	}
}

// Our client says what buildbot-worker said.
func TestTraceOfWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		played := make(chan struct{})
		go func() {
			defer close(played)
			play(t, far, true)
		}()
		b, err := Client(t.Context(), near, Options{})
		if err != nil {
			t.Fatal(err)
		}
		command := make(chan *Ref, 1)
		builder := NewObject(HandlerFunc(func(_ context.Context, method string, args Args) (any, error) {
			if method == "startCommand" {
				command <- args.List[0].(*Ref)
			}
			return nil, nil
		}))
		bot := NewObject(HandlerFunc(func(_ context.Context, method string, args Args) (any, error) {
			if method != "setBuilderList" {
				return nil, nil
			}
			pair := args.List[0].([]any)[0].(wire.Tuple)
			return wire.Map{{Key: pair[0].(string), Value: builder}}, nil
		}))
		if _, err := Login(t.Context(), b, "w-pb", "s3cret", bot); err != nil {
			t.Fatal(err)
		}
		c := <-command
		synctest.Wait() // the answer is on its way
		for _, m := range workerSays {
			if _, err := c.Call(t.Context(), m.method, m.args); err != nil {
				t.Error(err)
			}
		}
		<-played
		b.Close()
		_ = b.Wait()
	})
}

// workerSays are the calls of the trace's command.
var workerSays = []struct {
	method string
	args   Args
}{
	{"update", Positional([]any{[]any{wire.Map{{Key: "stdout", Value: "partial\n"}}, 0}})},
	{"update", Positional([]any{[]any{wire.Map{{Key: "rc", Value: 0}}, 0}})},
	{"complete", Positional(nil)},
}

// Our server says what Buildbot's master said.
func TestTraceOfMaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		played := make(chan struct{})
		go func() {
			defer close(played)
			play(t, far, false)
		}()
		challenge, err := hex.DecodeString("bd3f20aa7f12bde968a81f84b4e47a4f")
		if err != nil {
			t.Fatal(err)
		}
		p := &Portal{}
		avatar := make(chan *Ref, 1) // the builder
		p.Enter = func(ctx context.Context, a *Attempt) (any, error) {
			if a.User != "w-pb" || !a.Password("s3cret") {
				t.Errorf("%+v", a)
			}
			if _, err := a.Mind.Call(ctx, "print", Args{Named: wire.Map{{Key: "message", Value: "attached"}}}); err != nil {
				t.Error(err)
			}
			v, err := a.Mind.Call(ctx, "setBuilderList", Positional([]any{wire.Tuple{"b-w-pb", "b-w-pb"}}))
			if err != nil {
				t.Error(err)
			}
			builder, _ := v.(wire.Map).Get("b-w-pb")
			avatar <- builder.(*Ref)
			return NewObject(echo), nil
		}
		root := HandlerFunc(func(context.Context, string, Args) (any, error) { // as the portal, with this challenge
			return wire.Tuple{challenge, NewObject(&challenger{portal: p, user: "w-pb", challenge: challenge})}, nil
		})
		b, err := Server(t.Context(), near, root, Options{})
		if err != nil {
			t.Fatal(err)
		}
		builder := <-avatar
		synctest.Wait()
		var got []Args
		command := NewObject(HandlerFunc(func(_ context.Context, method string, args Args) (any, error) {
			got = append(got, args)
			if method == "update" {
				return 0, nil
			}
			return nil, nil
		}))
		if _, err := builder.Call(t.Context(), "startBuild", Args{}); err != nil {
			t.Error(err)
		}
		if _, err := builder.Call(t.Context(), "startCommand", Positional(command, "0", "shell", wire.Map{})); err != nil {
			t.Error(err)
		}
		<-played
		if len(got) != len(workerSays) {
			t.Errorf("got %v", got)
		}
		b.Close()
		_ = b.Wait()
	})
}
