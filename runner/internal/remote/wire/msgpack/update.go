package msgpack

import (
	"fmt"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// Update carries what a command has to say: output, exit code, results. Their
// order within one stream is that of the command. Nothing says that there is no
// more but [Complete]: output may come after the exit code.
type Update struct {
	CommandID string
	Items     []Item
}

// Item is one fact of an [Update].
type Item struct {
	// Name is "stdout", "stderr" or "header" for lines of these streams, "log"
	// for lines of a followed file, or the name of a value such as "rc".
	Name string
	// Log is the name of the followed file.
	Log string
	// Lines is the output, if Name is one of the four.
	Lines Lines
	// Value is the value otherwise: "rc" is an integer, "elapsed" a float,
	// "files" a list of text, "stat" a list of integers, "failure_reason" text.
	Value any
}

// Lines are whole lines of output.
type Lines struct {
	// Text is UTF-8 and ends in a newline, whether or not the command's output
	// did. It aliases the frame.
	Text []byte
	// Ends are the places of the newlines in Text, counted in characters, not
	// bytes.
	Ends []int
	// Times are when each line was read, in seconds since 1970. buildbot-worker
	// sends too few when it has cut a line.
	Times []float64
}

// The names of items that are lines.
const (
	Stdout = "stdout"
	Stderr = "stderr"
	Header = "header"
	Log    = "log"
)

// isLines says that items of this name carry lines.
func isLines(name string) bool {
	return name == Stdout || name == Stderr || name == Header || name == Log
}

// Op implements [Message].
func (*Update) Op() string { return opUpdate }

func (m *Update) append(b []byte, seq int64) (_ []byte, err error) {
	b = msgp.AppendString(begin(b, 4, opUpdate), keyArgs)
	b = msgp.AppendArrayHeader(b, uint32(len(m.Items)))
	for i := range m.Items {
		if b, err = m.Items[i].append(b); err != nil {
			return nil, &fieldError{m.Items[i].Name, err}
		}
	}
	return endCommand(b, m.CommandID, seq)
}

func (it *Item) append(b []byte) (_ []byte, err error) {
	b = msgp.AppendArrayHeader(b, 2)
	if b, err = appendText(b, it.Name); err != nil {
		return nil, err
	}
	if !isLines(it.Name) {
		return appendValue(b, it.Value, 3)
	}
	if it.Name == Log {
		b = msgp.AppendArrayHeader(b, 2)
		if b, err = appendText(b, it.Log); err != nil {
			return nil, err
		}
	}
	return it.Lines.append(b)
}

func (l *Lines) append(b []byte) ([]byte, error) {
	if !utf8.Valid(l.Text) {
		return nil, errNotText
	}
	b = msgp.AppendArrayHeader(b, 3)
	b = msgp.AppendStringFromBytes(b, l.Text)
	b = msgp.AppendArrayHeader(b, uint32(len(l.Ends)))
	for _, at := range l.Ends {
		b = appendInt(b, int64(at))
	}
	b = msgp.AppendArrayHeader(b, uint32(len(l.Times)))
	for _, t := range l.Times {
		b = msgp.AppendFloat64(b, t)
	}
	return b, nil
}

func readUpdate(f fields) (m *Update, err error) {
	m = &Update{}
	if m.CommandID, err = f.text(keyCommandID); err != nil {
		return nil, err
	}
	m.Items, err = read(f, keyArgs, "a list of pairs", readItems)
	return m, err
}

func readItems(b []byte) ([]Item, []byte, error) {
	n, b, err := msgp.ReadArrayHeaderBytes(b)
	if err != nil {
		return nil, nil, err
	}
	items := make([]Item, n)
	for i := range items {
		if b, err = items[i].read(b); err != nil {
			return nil, nil, err
		}
	}
	return items, b, nil
}

func (it *Item) read(b []byte) (_ []byte, err error) {
	if b, err = readTuple(b, 2); err != nil {
		return nil, err
	}
	if it.Name, b, err = msgp.ReadStringBytes(b); err != nil {
		return nil, err
	}
	if !isLines(it.Name) {
		it.Value, b, err = readValue(b)
		return b, err
	}
	if it.Name == Log {
		if b, err = readTuple(b, 2); err != nil {
			return nil, fmt.Errorf("%s: %w", it.Name, err)
		}
		if it.Log, b, err = msgp.ReadStringBytes(b); err != nil {
			return nil, fmt.Errorf("%s: %w", it.Name, err)
		}
	}
	if b, err = it.Lines.read(b); err != nil {
		return nil, fmt.Errorf("%s: %w", it.Name, err)
	}
	return b, nil
}

func (l *Lines) read(b []byte) (_ []byte, err error) {
	if b, err = readTuple(b, 3); err != nil {
		return nil, err
	}
	if l.Text, b, err = msgp.ReadStringZC(b); err != nil {
		return nil, err
	}
	n, b, err := msgp.ReadArrayHeaderBytes(b)
	if err != nil {
		return nil, err
	}
	l.Ends = make([]int, n) // all are there: the frame has been checked
	for i := range l.Ends {
		if l.Ends[i], b, err = msgp.ReadIntBytes(b); err != nil {
			return nil, err
		}
	}
	if n, b, err = msgp.ReadArrayHeaderBytes(b); err != nil {
		return nil, err
	}
	l.Times = make([]float64, n)
	for i := range l.Times {
		if l.Times[i], b, err = readFloat(b); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// readTuple reads the header of a list that must have n elements.
func readTuple(b []byte, n uint32) ([]byte, error) {
	got, b, err := msgp.ReadArrayHeaderBytes(b)
	if err == nil && got != n {
		return nil, fmt.Errorf("a list of %d, want %d", got, n)
	}
	return b, err
}
