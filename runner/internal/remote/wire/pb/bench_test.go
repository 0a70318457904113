package pb

import (
	"context"
	"net"
	"runtime"
	"strings"
	"testing"

	"bothy/runner/internal/remote/wire"
)

// loopback returns a pair connected by TCP.
func loopback(b *testing.B, root Handler) (client, server *Broker) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	return connect(b, near, far, root, Options{}, Options{})
}

// BenchmarkOutput is output of a command as a worker sends it, 64 KiB at a time.
func BenchmarkOutput(b *testing.B) {
	taken := 0
	root := HandlerFunc(func(_ context.Context, _ string, args Args) (any, error) {
		update := args.List[0].([]any)[0].([]any)[0].(wire.Map)
		taken += len(update[0].Value.(string))
		return 0, nil
	})
	client, _ := loopback(b, root)
	text := strings.Repeat(strings.Repeat("x", 79)+"\n", 64<<10/80)
	args := Positional([]any{[]any{wire.Map{{Key: "stdout", Value: text}}, 0}})
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	var last *Pending
	for b.Loop() {
		p, err := client.Root().Start(b.Context(), "update", args)
		if err != nil {
			b.Fatal(err)
		}
		last = p
	}
	if _, err := last.Wait(b.Context()); err != nil {
		b.Fatal(err)
	}
	if taken < b.N*len(text) {
		b.Fatalf("%d bytes taken", taken)
	}
}

// BenchmarkCall is a call and its answer.
func BenchmarkCall(b *testing.B) {
	client, _ := loopback(b, echo)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Root().Call(b.Context(), "print", Args{Named: wire.Map{{Key: "message", Value: "ping"}}}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkIdle reports the memory that one end of an idle connection takes, the
// connection itself apart.
func BenchmarkIdle(b *testing.B) {
	const pairs = 500
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		ends := make([]*Broker, 0, 2*pairs)
		for range pairs {
			near, far := net.Pipe()
			client, server := connect(b, near, far, echo, Options{}, Options{})
			if _, err := client.Root().Call(b.Context(), "x", Args{}); err != nil {
				b.Fatal(err)
			}
			ends = append(ends, client, server)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		used := after.HeapAlloc + after.StackInuse - before.HeapAlloc - before.StackInuse
		b.ReportMetric(float64(used)/(2*pairs), "B/end")
		for _, e := range ends {
			e.Close()
			_ = e.Wait()
		}
	}
}
