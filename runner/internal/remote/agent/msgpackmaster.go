package agent

import (
	"context"
	"fmt"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/bothy"
	"bothy/runner/internal/remote/wire/msgpack"
)

// msgpackMaster is a [master] over MessagePack: the connection and a command's id.
type msgpackMaster struct {
	s  *msgpackSession
	id string
}

func (m msgpackMaster) update(ctx context.Context, items []msgpack.Item) error {
	if m.s.stream != nil {
		return m.report(ctx, items)
	}
	_, err := m.s.ask(ctx, &msgpack.Update{CommandID: m.id, Items: items})
	return err
}

// report is update between two Bothys: output as bytes, and not answered.
func (m msgpackMaster) report(ctx context.Context, items []msgpack.Item) error {
	for _, it := range items {
		o := bothy.Output{Command: m.id, Log: it.Log}
		switch it.Name {
		case msgpack.Stdout, msgpack.Log:
			o.Stream = 'o'
		case msgpack.Stderr:
			o.Stream = 'e'
		case msgpack.Header:
			o.Stream = 'h'
		default:
			if _, err := m.s.ask(ctx, &msgpack.Update{CommandID: m.id, Items: []msgpack.Item{it}}); err != nil {
				return err
			}
			continue
		}
		msg := bothy.AppendOutput(make([]byte, 0, len(it.Lines.Text)+len(m.id)+len(it.Log)+16), o)
		if err := m.s.stream.Send(ctx, append(msg, it.Lines.Text...), true); err != nil {
			return err
		}
	}
	return nil
}

func (m msgpackMaster) complete(ctx context.Context, failure error) error {
	msg := &msgpack.Complete{CommandID: m.id}
	if failure != nil {
		msg.Failed, msg.Failure = true, string(validText([]byte(failure.Error())))
	}
	return m.do(ctx, msg)
}

// do makes a request of which only the success matters.
func (m msgpackMaster) do(ctx context.Context, msg msgpack.Message) error {
	_, err := m.s.call(ctx, msg)
	return err
}

// write sends a block: of which kind of upload is the master's to know, by the
// command, but there are two names for it.
func (m msgpackMaster) write(ctx context.Context, data []byte) error {
	return m.do(ctx, &msgpack.UploadWrite{CommandID: m.id, Data: data})
}

func (m msgpackMaster) closeFile(ctx context.Context) error {
	return m.do(ctx, &msgpack.UploadClose{CommandID: m.id})
}

func (m msgpackMaster) utime(ctx context.Context, accessed, modified float64) error {
	return m.do(ctx, &msgpack.UploadUtime{CommandID: m.id, Accessed: accessed, Modified: modified})
}

func (m msgpackMaster) unpack(ctx context.Context) error {
	return m.do(ctx, &msgpack.UploadDirectoryUnpack{CommandID: m.id})
}

// errEmptyAnswer: see [msgpack.Response].
const errEmptyAnswer = fileError("the master sent nothing: Buildbot's masters cannot send files over MessagePack; use PB")

func (m msgpackMaster) read(ctx context.Context, n int) ([]byte, error) {
	v, err := m.s.call(ctx, &msgpack.ReadFile{CommandID: m.id, Length: int64(n)})
	if err != nil {
		return nil, err
	}
	if v == nil {
		return nil, errEmptyAnswer
	}
	data, err := wire.Bytes(v)
	if err != nil {
		return nil, fmt.Errorf("the master's answer: %w", err)
	}
	return data, nil
}

func (m msgpackMaster) closeRead(ctx context.Context) error {
	return m.do(ctx, &msgpack.ReadFileClose{CommandID: m.id})
}

// msgpackDirectory is the master of a directory's upload.
type msgpackDirectory struct{ msgpackMaster }

func (m msgpackDirectory) write(ctx context.Context, data []byte) error {
	return m.do(ctx, &msgpack.UploadDirectoryWrite{CommandID: m.id, Data: data})
}
