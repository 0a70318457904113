package mail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	netmail "net/mail"
	"regexp"
	"sync"
	"time"

	gomail "github.com/emersion/go-message/mail"
)

// maxMessage is the size in bytes of the largest message that is made; many
// relays refuse more.
const maxMessage = 25 << 20

// Content is what a mail says.
type Content struct {
	Subject     string
	Text        string
	HTML        string // the same as Text; empty: there is only the text
	Attachments []Attachment
}

// Attachment is a file beside the words of a mail: a log, in UTF-8.
type Attachment struct {
	Name string
	Data []byte
}

// Message is a mail with all that its header needs.
type Message struct {
	From      string   // an address as ParseAddress reads it
	ReplyTo   string   // likewise; empty: none
	To        []string // likewise; at least one
	MessageID string   // of NewMessageID
	Date      time.Time
	Content
}

var messageID = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^<[!-;=?-~]+@[!-;=?-~]+>$`) })

// Bytes is the message in MIME form with lines ending in CR LF: text and HTML
// as multipart/alternative in quoted-printable, attachments beside it in
// base64. It is pure ASCII unless an address is not. An error means that an
// address or the Message-ID cannot be used, the date is missing, or the message
// would have more than 25 MiB.
func (m *Message) Bytes() ([]byte, error) {
	h, err := m.header()
	if err != nil {
		return nil, fmt.Errorf("make mail: %w", err)
	}
	size := len(m.Text) + len(m.HTML)
	for _, a := range m.Attachments {
		size += len(a.Data) * 4 / 3
	}
	var buf bytes.Buffer
	if size <= maxMessage {
		if err := m.write(&buf, h); err != nil {
			return nil, fmt.Errorf("make mail: %w", err)
		}
	}
	if max(size, buf.Len()) > maxMessage {
		return nil, fmt.Errorf("make mail: it has more than %d MiB", maxMessage>>20)
	}
	return buf.Bytes(), nil
}

func (m *Message) header() (gomail.Header, error) {
	var h gomail.Header
	from, err := ParseAddress(m.From)
	if err != nil {
		return h, fmt.Errorf("sender: %w", err)
	}
	var to []*netmail.Address
	for _, s := range m.To {
		a, err := ParseAddress(s)
		if err != nil {
			return h, fmt.Errorf("recipient: %w", err)
		}
		to = append(to, a)
	}
	switch {
	case len(to) == 0:
		return h, errors.New("no recipient")
	case len(m.MessageID) > maxAddress || !messageID().MatchString(m.MessageID):
		return h, fmt.Errorf("bad Message-ID %q", m.MessageID)
	case m.Date.IsZero():
		return h, errors.New("no date")
	}
	// Fields are written in the opposite order.
	h.Set("Auto-Submitted", "auto-generated") // RFC 3834: no holiday answers
	h.Set("Message-ID", m.MessageID)
	h.SetDate(m.Date)
	h.SetSubject(headerText(m.Subject, maxSubject))
	h.SetAddressList("To", to)
	if m.ReplyTo != "" {
		a, err := ParseAddress(m.ReplyTo)
		if err != nil {
			return h, fmt.Errorf("reply to: %w", err)
		}
		h.SetAddressList("Reply-To", []*netmail.Address{a})
	}
	h.SetAddressList("From", []*netmail.Address{from})
	return h, nil
}

func (m *Message) write(w io.Writer, h gomail.Header) error {
	utf8Text := map[string]string{"charset": "utf-8"}
	var mixed *gomail.Writer
	var words *gomail.InlineWriter
	var err error
	if len(m.Attachments) == 0 {
		words, err = gomail.CreateInlineWriter(w, h)
	} else if mixed, err = gomail.CreateWriter(w, h); err == nil {
		words, err = mixed.CreateInline()
	}
	if err != nil {
		return err
	}
	for _, part := range []struct{ kind, text string }{{"text/plain", m.Text}, {"text/html", m.HTML}} {
		if part.kind == "text/html" && part.text == "" {
			continue
		}
		var h gomail.InlineHeader
		h.SetContentType(part.kind, utf8Text)
		if err := writePart(manyLines(part.text), func() (io.WriteCloser, error) { return words.CreatePart(h) }); err != nil {
			return err
		}
	}
	if err := words.Close(); err != nil || mixed == nil {
		return err
	}
	for _, a := range m.Attachments {
		var h gomail.AttachmentHeader
		h.SetContentType("text/plain", utf8Text)
		h.SetFilename(oneLine(a.Name, maxName))
		if err := writePart(string(a.Data), func() (io.WriteCloser, error) { return mixed.CreateAttachment(h) }); err != nil {
			return err
		}
	}
	return mixed.Close()
}

func writePart(text string, create func() (io.WriteCloser, error)) error {
	w, err := create()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, text); err != nil {
		return err
	}
	return w.Close()
}
