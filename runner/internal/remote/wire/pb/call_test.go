package pb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/pb/jelly"
)

func TestCall(t *testing.T) {
	type call struct {
		method string
		args   Args
	}
	var got call
	root := HandlerFunc(func(_ context.Context, method string, args Args) (any, error) {
		got = call{method, args}
		return wire.Tuple{"answer", []byte{0xff}, int64(-1)}, nil
	})
	client, _ := pair(t, root, Options{}, Options{})
	for _, want := range []call{
		{"print", Args{Named: wire.Map{{Key: "message", Value: "attached"}}}},
		{"message", Args{List: []any{nil, true, 1.5, "text", []byte("bytes"), []any{}, wire.Tuple{}, wire.Map{}}}},
		{"", Args{}},
	} {
		v, err := client.Root().Call(t.Context(), want.method, want.args)
		if diff := cmp.Diff(any(wire.Tuple{"answer", []byte{0xff}, int64(-1)}), v); diff != "" || err != nil {
			t.Errorf("answer: %v %s", err, diff)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(call{}), cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestArgs(t *testing.T) {
	a := Args{List: []any{"first", 2, []byte("third"), []byte{0xff}}, Named: wire.Map{{Key: "name", Value: "named"}}}
	for _, c := range []struct {
		i    int
		name string
		want string
		err  string
	}{
		{0, "name", "first", ""},
		{1, "x", "", `argument "x": want text, got an integer`},
		{2, "x", "third", ""},
		{3, "x", "", `argument "x": want text, got bytes`},
		{4, "name", "named", ""},
		{4, "x", "", `argument "x" is missing`},
	} {
		got, err := a.Text(c.i, c.name)
		if got != c.want || fmt.Sprint(err) != c.err && (err != nil || c.err != "") {
			t.Errorf("%d %s: %q, %v", c.i, c.name, got, err)
		}
	}
}

func TestErrorsArriveAsFailures(t *testing.T) {
	sent := &Failure{Type: "a.B", Value: "why", Traceback: "here\n", Parents: []string{"a.B"}}
	for name, c := range map[string]struct {
		err  error
		want *Failure
	}{
		"a failure":         {sent, sent},
		"a wrapped failure": {fmt.Errorf("do it: %w", sent), sent},
		"an error":          {errors.New("disk full\xff"), &Failure{Type: TypeError, Value: "disk full\ufffd", Traceback: "Traceback unavailable\n", Parents: parents(TypeError)}},
		"no such method":    {NoSuchMethod("dance"), &Failure{Type: TypeNoSuchMethod, Value: "no such method: dance", Traceback: "Traceback unavailable\n", Parents: parents(TypeNoSuchMethod)}},
	} {
		t.Run(name, func(t *testing.T) {
			client, _ := pair(t, HandlerFunc(func(context.Context, string, Args) (any, error) { return nil, c.err }), Options{}, Options{})
			_, err := client.Root().Call(t.Context(), "x", Args{})
			var got *Failure
			if !errors.As(err, &got) {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func parents(of string) []string {
	return []string{of, "builtins.Exception", "builtins.BaseException", "builtins.object"}
}

// What else peers send as an error.
func TestErrorsOfPeers(t *testing.T) {
	for _, c := range []struct {
		sent any
		want string
	}{
		{[]any{"a.B", []any{"None"}}, "the peer raised a.B"},
		{"it broke", "the peer raised " + TypeError + ": it broke"},
		{[]any{"unicode", "it broke"}, "the peer raised " + TypeError + ": it broke"},
		{7, "the peer raised " + TypeError + ": an error that is a int64"},
		{[]any{"strange"}, `read the answer: cannot be exchanged: type "strange"`},
	} {
		synctest.Test(t, func(t *testing.T) {
			b, p := withPeer(t, nil, Options{})
			go func() {
				p.read()
				p.say("error", 1, c.sent)
			}()
			if _, err := b.Root().Call(t.Context(), "x", Args{}); err == nil || err.Error() != c.want {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// An answer that cannot be sent is an error for the peer, not silence.
func TestUnsendableAnswer(t *testing.T) {
	for name, v := range map[string]any{"a struct": struct{}{}, "no text": "\xff", "an object, then a struct": []any{NewObject(echo), struct{}{}}} {
		t.Run(name, func(t *testing.T) {
			client, server := pair(t, HandlerFunc(func(context.Context, string, Args) (any, error) { return v, nil }), Options{}, Options{})
			_, err := client.Root().Call(t.Context(), "x", Args{})
			var failure *Failure
			if !errors.As(err, &failure) || failure.Type != TypeError {
				t.Errorf("%v", err)
			}
			if n := server.Objects(); n != 0 {
				t.Errorf("%d objects lent by what was not sent", n)
			}
		})
	}
}

func TestUnsendableCall(t *testing.T) {
	client, _ := pair(t, echo, Options{}, Options{})
	for _, v := range []any{struct{}{}, "\xff", (*Object)(nil), (*Ref)(nil), client.Root()} {
		if _, err := client.Root().Call(t.Context(), "x", Positional(NewObject(echo), v)); !errors.Is(err, jelly.ErrValue) {
			t.Errorf("%#v: %v", v, err)
		}
	}
	if n := client.Objects(); n != 0 {
		t.Errorf("%d objects lent by what was not sent", n)
	}
	if v, err := client.Root().Call(t.Context(), "x", Positional("still there")); v != "still there" || err != nil {
		t.Errorf("%v, %v", v, err)
	}
}

// Calls of one object are answered in their order, however many are sent at once.
func TestCallsKeepTheirOrder(t *testing.T) {
	const n = 2000
	var got []int64
	root := HandlerFunc(func(_ context.Context, _ string, args Args) (any, error) {
		i := args.List[0].(int64)
		got = append(got, i)
		return i, nil
	})
	client, _ := pair(t, root, Options{}, Options{})
	var last *Pending
	for i := range n {
		if i%3 == 2 {
			if err := client.Root().Notify(t.Context(), "x", Positional(i)); err != nil {
				t.Fatal(err)
			}
			continue
		}
		p, err := client.Root().Start(t.Context(), "x", Positional(i))
		if err != nil {
			t.Fatal(err)
		}
		last = p
	}
	if v, err := last.Wait(t.Context()); v != int64(n-1) || err != nil {
		t.Fatal(v, err)
	}
	for i := range n {
		if got[i] != int64(i) {
			t.Fatalf("call %d came as number %d", got[i], i)
		}
	}
}

// Calls of different objects do not wait for each other, and a handler may call
// the peer.
func TestObjectsAreServedSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := newGate()
		got := make(keeper, 1)
		client, server := pair(t, got, Options{}, Options{})
		callBack := HandlerFunc(func(ctx context.Context, _ string, args Args) (any, error) {
			return args.List[0].(*Ref).Call(ctx, "again", Positional("from the handler"))
		})
		if _, err := client.Root().Call(t.Context(), "x", Positional(NewObject(slow), NewObject(callBack), NewObject(echo))); err != nil {
			t.Fatal(err)
		}
		refs := (<-got).List
		waiting, err := refs[0].(*Ref).Start(t.Context(), "slow", Args{})
		if err != nil {
			t.Fatal(err)
		}
		<-slow.entered
		v, err := refs[1].(*Ref).Call(t.Context(), "x", Positional(NewObject(echo)))
		if v != "from the handler" || err != nil {
			t.Errorf("%v, %v", v, err)
		}
		if v, err := refs[2].(*Ref).Call(t.Context(), "x", Positional("quick")); v != "quick" || err != nil {
			t.Errorf("%v, %v", v, err)
		}
		slow.open <- struct{}{}
		if v, err := waiting.Wait(t.Context()); v != "slow" || err != nil {
			t.Errorf("%v, %v", v, err)
		}
		for _, r := range refs {
			Release(r)
		}
		synctest.Wait()
		if client.Objects() != 0 || server.Refs() != 0 {
			t.Errorf("%d objects, %d references left", client.Objects(), server.Refs())
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := newGate()
		client, _ := pair(t, slow, Options{}, Options{})
		p, err := client.Root().Start(t.Context(), "x", Args{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("bored")
		cancel(why)
		if _, err := p.Wait(ctx); err != why {
			t.Errorf("%v", err)
		}
		slow.open <- struct{}{}
		for range 2 {
			if v, err := p.Wait(t.Context()); v != "x" || err != nil {
				t.Errorf("%v, %v", v, err)
			}
		}
		if v, err := p.Wait(ctx); v != "x" || err != nil {
			t.Errorf("an answer that is there: %v, %v", v, err)
		}
	})
}

func TestUnknownCommandAndObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, p := withPeer(t, echo, Options{})
		go p.say("cachemessage", 1)
		p.want([]any{"didNotUnderstand", "cachemessage"})
		go p.say("didNotUnderstand", "x") // no answer, no end
		for id, object := range []any{5, "toor", 1.5} {
			go p.say("message", id, object, "x", 1, []any{"tuple"}, []any{"dictionary"})
			if failure := p.read().([]any); failure[0] != "error" || failure[1] != int64(id) {
				t.Errorf("object %v: %q", object, failure)
			}
		}
		go p.say("message", 7, 5, "x", 0, []any{"tuple"}, []any{"dictionary"}) // wants no answer
		for _, args := range [][2]any{
			{[]any{"strange"}, []any{"dictionary"}},
			{[]any{"tuple"}, []any{"strange"}},
			{"text", []any{"dictionary"}},
			{[]any{"tuple"}, []any{"tuple"}},
		} {
			go p.say("message", 9, "root", "x", 1, args[0], args[1])
			if failure := p.read().([]any); failure[0] != "error" || failure[1] != int64(9) {
				t.Errorf("arguments %v: %q", args, failure)
			}
		}
		go p.ask(10, "x", "alive")
		p.want([]any{"answer", int64(10), "alive"})
	})
}

// What ends a connection.
func TestProtocolErrors(t *testing.T) {
	for name, expr := range map[string]any{
		"no list":               "version",
		"empty":                 []any{},
		"command is a number":   []any{1},
		"version 5":             []any{"version", 5},
		"version of nothing":    []any{"version"},
		"version is text":       []any{"version", "6"},
		"call of nothing":       []any{"message"},
		"call with text id":     []any{"message", "1", "root", "x", 1, []any{"tuple"}, []any{"dictionary"}},
		"method is a number":    []any{"message", 1, "root", 1, 1, []any{"tuple"}, []any{"dictionary"}},
		"answer wanted is text": []any{"message", 1, "root", "x", "yes", []any{"tuple"}, []any{"dictionary"}},
		"answer of nothing":     []any{"answer"},
		"answer to nothing":     []any{"answer", 1, []any{"None"}},
		"answer with text id":   []any{"answer", "1", []any{"None"}},
		"error to nothing":      []any{"error", 1, []any{"None"}},
		"decref of nothing":     []any{"decref"},
		"decref of text":        []any{"decref", "root"},
	} {
		t.Run(name, func(t *testing.T) {
			b, p := withPeer(t, echo, Options{})
			if _, err := p.Write(appendExpr(nil, expr)); err != nil {
				t.Fatal(err)
			}
			p.ends()
			if err := b.Wait(); !errors.Is(err, ErrProtocol) {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("no Banana", func(t *testing.T) {
		b, p := withPeer(t, echo, Options{})
		if _, err := io.WriteString(p, "\xff"); err != nil {
			t.Fatal(err)
		}
		p.ends()
		if err := b.Wait(); !errors.Is(err, ErrProtocol) {
			t.Errorf("%v", err)
		}
	})
}
