package msgpack

import (
	"github.com/tinylib/msgp/msgp"
)

// Complete says that a command has ended, and that nothing more of it will come.
type Complete struct {
	CommandID string
	// Failed says that the command broke, as opposed to ending with an exit code
	// other than 0; Failure says how, for people.
	Failed  bool
	Failure string
}

// UploadWrite carries the next bytes of the file that an upload_file sends. The
// next is sent after the response.
type UploadWrite struct {
	CommandID string
	Data      []byte // aliases the frame
}

// UploadClose ends the file that an upload_file sends; it comes after a failure too.
type UploadClose struct {
	CommandID string
}

// UploadUtime gives the times of the file that was just closed, in seconds since
// 1970, if the command asked to keep them.
type UploadUtime struct {
	CommandID          string
	Accessed, Modified float64
}

// UploadDirectoryWrite carries the next bytes of the tar file that an
// upload_directory sends. The next is sent after the response.
type UploadDirectoryWrite struct {
	CommandID string
	Data      []byte // aliases the frame
}

// UploadDirectoryUnpack ends the tar file that an upload_directory sends.
type UploadDirectoryUnpack struct {
	CommandID string
}

// ReadFile asks for the next bytes, up to Length, of the file that a download_file
// fetches. The result is []byte, empty at the end.
type ReadFile struct {
	CommandID string
	Length    int64
}

// ReadFileClose ends a download_file's reading.
type ReadFileClose struct {
	CommandID string
}

// Op implements [Message].
func (*Complete) Op() string              { return opComplete }
func (*UploadWrite) Op() string           { return opUploadFileWrite }
func (*UploadClose) Op() string           { return opUploadFileClose }
func (*UploadUtime) Op() string           { return opUploadFileUtime }
func (*UploadDirectoryWrite) Op() string  { return opUploadDirectoryWrite }
func (*UploadDirectoryUnpack) Op() string { return opUploadDirectoryUnpack }
func (*ReadFile) Op() string              { return opReadFile }
func (*ReadFileClose) Op() string         { return opReadFileClose }

func (m *Complete) append(b []byte, seq int64) (_ []byte, err error) {
	b = begin(b, 4, opComplete)
	if !m.Failed {
		b = msgp.AppendNil(msgp.AppendString(b, keyArgs))
	} else if b, err = appendField(b, keyArgs, m.Failure); err != nil {
		return nil, err
	}
	return endCommand(b, m.CommandID, seq)
}

func readComplete(f fields) (m *Complete, err error) {
	m = &Complete{}
	if m.CommandID, err = f.text(keyCommandID); err != nil {
		return nil, err
	}
	raw, ok := f.raw(keyArgs)
	if !ok {
		return nil, &fieldError{keyArgs, errMissing}
	}
	if m.Failed = !msgp.IsNil(raw); m.Failed {
		m.Failure, err = f.text(keyArgs)
	}
	return m, err
}

func (m *UploadWrite) append(b []byte, seq int64) ([]byte, error) {
	return appendData(b, opUploadFileWrite, m.Data, m.CommandID, seq)
}

func readUploadWrite(f fields) (m *UploadWrite, err error) {
	m = &UploadWrite{}
	m.Data, m.CommandID, err = readData(f)
	return m, err
}

func (m *UploadDirectoryWrite) append(b []byte, seq int64) ([]byte, error) {
	return appendData(b, opUploadDirectoryWrite, m.Data, m.CommandID, seq)
}

func readUploadDirectoryWrite(f fields) (m *UploadDirectoryWrite, err error) {
	m = &UploadDirectoryWrite{}
	m.Data, m.CommandID, err = readData(f)
	return m, err
}

func (m *UploadClose) append(b []byte, seq int64) ([]byte, error) {
	return endCommand(begin(b, 3, opUploadFileClose), m.CommandID, seq)
}

func readUploadClose(f fields) (m *UploadClose, err error) {
	m = &UploadClose{}
	m.CommandID, err = f.text(keyCommandID)
	return m, err
}

func (m *UploadDirectoryUnpack) append(b []byte, seq int64) ([]byte, error) {
	return endCommand(begin(b, 3, opUploadDirectoryUnpack), m.CommandID, seq)
}

func readUploadDirectoryUnpack(f fields) (m *UploadDirectoryUnpack, err error) {
	m = &UploadDirectoryUnpack{}
	m.CommandID, err = f.text(keyCommandID)
	return m, err
}

func (m *UploadUtime) append(b []byte, seq int64) ([]byte, error) {
	b = begin(b, 5, opUploadFileUtime)
	b = msgp.AppendFloat64(msgp.AppendString(b, keyAccessed), m.Accessed)
	b = msgp.AppendFloat64(msgp.AppendString(b, keyModified), m.Modified)
	return endCommand(b, m.CommandID, seq)
}

func readUploadUtime(f fields) (m *UploadUtime, err error) {
	m = &UploadUtime{}
	if m.CommandID, err = f.text(keyCommandID); err != nil {
		return nil, err
	}
	if m.Accessed, err = f.float(keyAccessed); err != nil {
		return nil, err
	}
	m.Modified, err = f.float(keyModified)
	return m, err
}

func (m *ReadFile) append(b []byte, seq int64) ([]byte, error) {
	b = begin(b, 4, opReadFile)
	b = appendInt(msgp.AppendString(b, keyLength), m.Length)
	return endCommand(b, m.CommandID, seq)
}

func readReadFile(f fields) (m *ReadFile, err error) {
	m = &ReadFile{}
	if m.CommandID, err = f.text(keyCommandID); err != nil {
		return nil, err
	}
	m.Length, err = f.int(keyLength)
	return m, err
}

func (m *ReadFileClose) append(b []byte, seq int64) ([]byte, error) {
	return endCommand(begin(b, 3, opReadFileClose), m.CommandID, seq)
}

func readReadFileClose(f fields) (m *ReadFileClose, err error) {
	m = &ReadFileClose{}
	m.CommandID, err = f.text(keyCommandID)
	return m, err
}

// endCommand writes the last two keys of a request about a command.
func endCommand(b []byte, id string, seq int64) ([]byte, error) {
	b, err := appendField(b, keyCommandID, id)
	if err != nil {
		return nil, err
	}
	return end(b, seq), nil
}

func appendData(b []byte, op string, data []byte, id string, seq int64) ([]byte, error) {
	b = begin(b, 4, op)
	b = msgp.AppendBytes(msgp.AppendString(b, keyArgs), data)
	return endCommand(b, id, seq)
}

func readData(f fields) (data []byte, id string, err error) {
	if id, err = f.text(keyCommandID); err != nil {
		return nil, "", err
	}
	data, err = f.bytes(keyArgs)
	return data, id, err
}
