package agent

import (
	"context"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/msgpack"
	"bothy/runner/internal/remote/wire/pb"
)

// pbMaster is a [master] over Perspective Broker: the references that came with a
// command.
type pbMaster struct {
	command *pb.Ref
	file    *pb.Ref // the writer or reader of a transfer; nil if it is none
	args    wire.Map
}

// newPBMaster returns the master of a command with its arguments, whose references
// belong to it.
func newPBMaster(command *pb.Ref, a wire.Map) *pbMaster {
	m := &pbMaster{command: command, args: a}
	for _, key := range []string{"writer", "reader"} {
		if v, _ := a.Get(key); v != nil {
			m.file, _ = v.(*pb.Ref)
		}
	}
	return m
}

// release gives the references back: a master keeps 1024 objects and then drops
// the connection.
func (m *pbMaster) release() {
	pb.Release(m.args)
	m.command.Release()
}

func (m *pbMaster) update(ctx context.Context, items []msgpack.Item) error {
	updates := make([]any, len(items))
	for i, it := range items {
		// The 0 was once the number of the update, and masters want it.
		updates[i] = []any{wire.Map{{Key: it.Name, Value: pbValue(it)}}, 0}
	}
	p, err := m.command.Start(ctx, "update", pb.Positional(updates))
	if err != nil {
		return err
	}
	p.Abandon() // its answer says nothing
	return nil
}

func pbValue(it msgpack.Item) any {
	switch it.Name {
	case msgpack.Stdout, msgpack.Stderr, msgpack.Header:
		return string(it.Lines.Text)
	case msgpack.Log:
		return wire.Tuple{it.Log, string(it.Lines.Text)}
	}
	return it.Value
}

func (m *pbMaster) complete(ctx context.Context, failure error) error {
	var f any
	if failure != nil {
		f = &pb.Failure{Type: "builtins.RuntimeError", Value: string(validText([]byte(failure.Error())))}
	}
	_, err := m.command.Call(ctx, "complete", pb.Positional(f))
	return err
}

// errNoFile says that a transfer came without a writer or reader.
const errNoFile = fileError("the master sent no file to write to or read from")

func (m *pbMaster) call(ctx context.Context, method string, args ...any) (any, error) {
	if m.file == nil {
		return nil, errNoFile
	}
	v, err := m.file.Call(ctx, method, pb.Positional(args...))
	if err == nil {
		pb.Release(v)
	}
	return v, err
}

func (m *pbMaster) write(ctx context.Context, data []byte) error {
	_, err := m.call(ctx, "write", data)
	return err
}

func (m *pbMaster) closeFile(ctx context.Context) error {
	_, err := m.call(ctx, "close")
	return err
}

func (m *pbMaster) utime(ctx context.Context, accessed, modified float64) error {
	_, err := m.call(ctx, "utime", wire.Tuple{accessed, modified})
	return err
}

func (m *pbMaster) unpack(ctx context.Context) error {
	_, err := m.call(ctx, "unpack")
	return err
}

func (m *pbMaster) read(ctx context.Context, n int) ([]byte, error) {
	v, err := m.call(ctx, "read", int64(n))
	if err != nil {
		return nil, err
	}
	return wire.Bytes(v)
}

func (m *pbMaster) closeRead(ctx context.Context) error { return m.closeFile(ctx) }
