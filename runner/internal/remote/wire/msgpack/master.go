package msgpack

import (
	"time"

	"github.com/tinylib/msgp/msgp"

	"bothy/runner/internal/remote/wire"
)

// Print asks the worker to log a line. Masters also use it to see whether a worker
// is alive. "buildbot-worker start" waits up to 10 s for the text "attached".
type Print struct {
	Text string
}

// Keepalive asks for nothing but the response.
type Keepalive struct{}

// GetWorkerInfo asks for the worker's facts; the result is a [wire.Map].
type GetWorkerInfo struct{}

// SetWorkerSettings says how the worker is to gather output. Masters send it
// before the first command.
type SetWorkerSettings struct {
	// NewlineRE is a Python regular expression: what counts as an end of line.
	NewlineRE string
	// MaxLineLength is the number of characters after which a line is cut.
	// buildbot-worker loses data of lines that are longer.
	MaxLineLength int64
	// BufferTimeout and BufferSize, in characters: output is sent when it is as
	// old or as much.
	BufferTimeout time.Duration
	BufferSize    int64
}

// StartCommand starts a command. The response comes once it was started; its
// updates, and even its [Complete], may come before.
type StartCommand struct {
	// CommandID names the command in all that follows.
	CommandID string
	// Builder is the builder's name as masters send it for the steps of a build;
	// workers ignore it. Empty: not sent.
	Builder string
	Command string
	// Args are the command's arguments; paths are absolute.
	Args wire.Map
}

// InterruptCommand ends a command, which is then completed. A command that the
// worker does not know is no error.
type InterruptCommand struct {
	CommandID string
	Builder   string // as in StartCommand
	Why       string
}

// Shutdown asks the worker to exit, which it does shortly after its response.
type Shutdown struct{}

// Op implements [Message].
func (*Print) Op() string             { return opPrint }
func (*Keepalive) Op() string         { return opKeepalive }
func (*GetWorkerInfo) Op() string     { return opGetWorkerInfo }
func (*SetWorkerSettings) Op() string { return opSetWorkerSettings }
func (*StartCommand) Op() string      { return opStartCommand }
func (*InterruptCommand) Op() string  { return opInterruptCommand }
func (*Shutdown) Op() string          { return opShutdown }

func (m *Print) append(b []byte, seq int64) ([]byte, error) {
	b, err := appendField(begin(b, 3, opPrint), keyMessage, m.Text)
	if err != nil {
		return nil, err
	}
	return end(b, seq), nil
}

func readPrint(f fields) (*Print, error) {
	s, err := f.text(keyMessage)
	return &Print{Text: s}, err
}

func (*Keepalive) append(b []byte, seq int64) ([]byte, error) {
	return end(begin(b, 2, opKeepalive), seq), nil
}

func (*GetWorkerInfo) append(b []byte, seq int64) ([]byte, error) {
	return end(begin(b, 2, opGetWorkerInfo), seq), nil
}

func (*Shutdown) append(b []byte, seq int64) ([]byte, error) {
	return end(begin(b, 2, opShutdown), seq), nil
}

// The keys of SetWorkerSettings' arguments.
const (
	keyNewline = "newline_re"
	keyMaxLine = "max_line_length"
	keyTimeout = "buffer_timeout"
	keySize    = "buffer_size"
)

func (m *SetWorkerSettings) append(b []byte, seq int64) ([]byte, error) {
	b = begin(b, 3, opSetWorkerSettings)
	b = msgp.AppendString(b, keyArgs)
	b = msgp.AppendMapHeader(b, 4)
	b, err := appendField(b, keyNewline, m.NewlineRE)
	if err != nil {
		return nil, err
	}
	b = msgp.AppendString(b, keyMaxLine)
	b = appendInt(b, m.MaxLineLength)
	b = msgp.AppendString(b, keyTimeout)
	if s := m.BufferTimeout; s%time.Second == 0 {
		b = appendInt(b, int64(s/time.Second))
	} else {
		b = msgp.AppendFloat64(b, s.Seconds())
	}
	b = msgp.AppendString(b, keySize)
	b = appendInt(b, m.BufferSize)
	return end(b, seq), nil
}

func readSetWorkerSettings(f fields) (m *SetWorkerSettings, err error) {
	args, err := f.nested(keyArgs)
	if err != nil {
		return nil, err
	}
	m = &SetWorkerSettings{}
	if m.NewlineRE, err = args.text(keyNewline); err != nil {
		return nil, err
	}
	if m.MaxLineLength, err = args.int(keyMaxLine); err != nil {
		return nil, err
	}
	if m.BufferTimeout, err = args.seconds(keyTimeout); err != nil {
		return nil, err
	}
	m.BufferSize, err = args.int(keySize)
	return m, err
}

func (m *StartCommand) append(b []byte, seq int64) (_ []byte, err error) {
	b, err = appendCommand(b, opStartCommand, 5, m.Builder, m.CommandID)
	if err != nil {
		return nil, err
	}
	if b, err = appendField(b, keyCommand, m.Command); err != nil {
		return nil, err
	}
	b = msgp.AppendString(b, keyArgs)
	if b, err = appendMap(b, m.Args, 1); err != nil {
		return nil, &fieldError{keyArgs, err}
	}
	return end(b, seq), nil
}

func readStartCommand(f fields) (m *StartCommand, err error) {
	m = &StartCommand{}
	if m.CommandID, err = f.text(keyCommandID); err != nil {
		return nil, err
	}
	if m.Builder, err = f.optionalText(keyBuilder); err != nil {
		return nil, err
	}
	if m.Command, err = f.text(keyCommand); err != nil {
		return nil, err
	}
	m.Args, err = f.dict(keyArgs)
	return m, err
}

func (m *InterruptCommand) append(b []byte, seq int64) (_ []byte, err error) {
	b, err = appendCommand(b, opInterruptCommand, 4, m.Builder, m.CommandID)
	if err != nil {
		return nil, err
	}
	if b, err = appendField(b, keyWhy, m.Why); err != nil {
		return nil, err
	}
	return end(b, seq), nil
}

func readInterruptCommand(f fields) (m *InterruptCommand, err error) {
	m = &InterruptCommand{}
	if m.CommandID, err = f.text(keyCommandID); err != nil {
		return nil, err
	}
	if m.Builder, err = f.optionalText(keyBuilder); err != nil {
		return nil, err
	}
	m.Why, err = f.optionalText(keyWhy)
	return m, err
}

// appendCommand starts a message of n keys, the builder's name not counted.
func appendCommand(b []byte, op string, n uint32, builder, id string) (_ []byte, err error) {
	if builder == "" {
		b = begin(b, n, op)
	} else if b, err = appendField(begin(b, n+1, op), keyBuilder, builder); err != nil {
		return nil, err
	}
	return appendField(b, keyCommandID, id)
}
