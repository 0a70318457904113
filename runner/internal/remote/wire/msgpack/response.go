package msgpack

import (
	"fmt"

	"github.com/tinylib/msgp/msgp"
)

// Response answers the request of the same number.
type Response struct {
	// Result is nil for most requests, a [wire.Map] for [GetWorkerInfo] and
	// []byte for [ReadFile]; bytes alias the frame.
	//
	// Buildbot's own master answers ReadFile with nil, whatever the file holds,
	// up to its current version: nil is a failure there, not the end of the file.
	Result any
	// Exception says that the request failed; Result then is text that says why.
	Exception bool
}

// Failed returns the response to a request that failed.
func Failed(why string) *Response { return &Response{Result: why, Exception: true} }

// RemoteError is what the peer said about a request that failed.
type RemoteError struct {
	Text string
}

func (e *RemoteError) Error() string { return "the peer says: " + e.Text }

// Value returns the result, or a [RemoteError] if the request failed.
func (m *Response) Value() (any, error) {
	if !m.Exception {
		return m.Result, nil
	}
	if s, ok := m.Result.(string); ok {
		return nil, &RemoteError{Text: s}
	}
	return nil, &RemoteError{Text: fmt.Sprintf("something that is no text but %T", m.Result)}
}

// Op implements [Message].
func (*Response) Op() string { return opResponse }

func (m *Response) append(b []byte, seq int64) (_ []byte, err error) {
	n := uint32(3)
	if m.Exception {
		n++
	}
	b = end(begin(b, n, opResponse), seq)
	b = msgp.AppendString(b, keyResult)
	if b, err = appendValue(b, m.Result, 1); err != nil {
		return nil, &fieldError{keyResult, err}
	}
	if m.Exception {
		// Its presence decides, whatever its value.
		b = msgp.AppendBool(msgp.AppendString(b, keyException), true)
	}
	return b, nil
}

func readResponse(f fields) (*Response, error) {
	m := &Response{}
	_, m.Exception = f.raw(keyException)
	if raw, ok := f.raw(keyResult); ok {
		var err error
		if m.Result, _, err = readValue(raw); err != nil {
			return nil, &fieldError{keyResult, err}
		}
	}
	return m, nil
}
