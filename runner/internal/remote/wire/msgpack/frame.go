package msgpack

import (
	"github.com/tinylib/msgp/msgp"
)

// Frame is one message and its number.
type Frame struct {
	// Seq is the sequence number. Each side numbers its requests from 0 on every
	// connection; a response carries the number of its request.
	Seq     int64
	Message Message
}

// Message is one of the message types of this package; [Read] returns pointers to
// them.
type Message interface {
	// Op is the operation's name on the wire.
	Op() string
	// append writes the whole dictionary. The order of its keys is Buildbot's.
	append(b []byte, seq int64) ([]byte, error)
}

// Append writes f to b and returns the extended slice. It fails if text is not
// UTF-8, or a value is not of those package wire lists; b's content is then
// unspecified beyond its length.
func Append(b []byte, f Frame) ([]byte, error) {
	out, err := f.Message.append(b, f.Seq)
	if err != nil {
		return nil, &MessageError{Seq: f.Seq, Op: f.Message.Op(), Err: err}
	}
	return out, nil
}

// Read decodes one frame. The message may alias it.
//
// An error that is a [MessageError] leaves the connection usable: its sender is
// told by a [Response]. After any other, which wraps [ErrFrame], nothing the peer
// says can be trusted to mean what it seems.
func Read(frame []byte, l Limits) (Frame, error) {
	var buf [maxFields]field
	all, err := check(frame, l, buf[:0])
	if err != nil {
		return Frame{}, err
	}
	fields := fields(all)
	op, err := fields.text("op")
	if err != nil {
		return Frame{}, frameError("%w", err)
	}
	seq, err := fields.int("seq_number")
	if err != nil {
		return Frame{}, frameError("%w", err)
	}
	message, err := readMessage(op, fields)
	if err != nil {
		return Frame{}, &MessageError{Seq: seq, Op: op, Err: err}
	}
	return Frame{Seq: seq, Message: message}, nil
}

func readMessage(op string, f fields) (Message, error) {
	switch op {
	case opResponse:
		return readResponse(f)
	case opUpdate:
		return readUpdate(f)
	case opComplete:
		return readComplete(f)
	case opUploadFileWrite:
		return readUploadWrite(f)
	case opUploadFileClose:
		return readUploadClose(f)
	case opUploadFileUtime:
		return readUploadUtime(f)
	case opUploadDirectoryWrite:
		return readUploadDirectoryWrite(f)
	case opUploadDirectoryUnpack:
		return readUploadDirectoryUnpack(f)
	case opReadFile:
		return readReadFile(f)
	case opReadFileClose:
		return readReadFileClose(f)
	case opPrint:
		return readPrint(f)
	case opKeepalive:
		return &Keepalive{}, nil
	case opGetWorkerInfo:
		return &GetWorkerInfo{}, nil
	case opSetWorkerSettings:
		return readSetWorkerSettings(f)
	case opStartCommand:
		return readStartCommand(f)
	case opInterruptCommand:
		return readInterruptCommand(f)
	case opShutdown:
		return &Shutdown{}, nil
	}
	return nil, ErrUnknownOp
}

// The operations' names on the wire.
const (
	opResponse = "response"

	opPrint             = "print"
	opKeepalive         = "keepalive"
	opGetWorkerInfo     = "get_worker_info"
	opSetWorkerSettings = "set_worker_settings"
	opStartCommand      = "start_command"
	opInterruptCommand  = "interrupt_command"
	opShutdown          = "shutdown"

	opUpdate                = "update"
	opComplete              = "complete"
	opUploadFileWrite       = "update_upload_file_write"
	opUploadFileClose       = "update_upload_file_close"
	opUploadFileUtime       = "update_upload_file_utime"
	opUploadDirectoryWrite  = "update_upload_directory_write"
	opUploadDirectoryUnpack = "update_upload_directory_unpack"
	opReadFile              = "update_read_file"
	opReadFileClose         = "update_read_file_close"
)

// The keys of messages.
const (
	keyOp        = "op"
	keySeq       = "seq_number"
	keyResult    = "result"
	keyException = "is_exception"
	keyMessage   = "message"
	keyArgs      = "args"
	keyCommandID = "command_id"
	keyCommand   = "command_name"
	keyBuilder   = "builder_name"
	keyWhy       = "why"
	keyLength    = "length"
	keyAccessed  = "access_time"
	keyModified  = "modified_time"
)

// begin starts a dictionary of n keys, the first of which is the operation.
func begin(b []byte, n uint32, op string) []byte {
	b = msgp.AppendMapHeader(b, n)
	b = msgp.AppendString(b, keyOp)
	return msgp.AppendString(b, op)
}

// end writes the last key of a request.
func end(b []byte, seq int64) []byte {
	b = msgp.AppendString(b, keySeq)
	return appendInt(b, seq)
}

// appendField writes a key and its text.
func appendField(b []byte, key, value string) ([]byte, error) {
	b = msgp.AppendString(b, key)
	b, err := appendText(b, value)
	if err != nil {
		return nil, &fieldError{key, err}
	}
	return b, nil
}
