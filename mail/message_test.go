package mail

import (
	"bytes"
	"io"
	"maps"
	"mime"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	gomail "github.com/emersion/go-message/mail"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// parsed is a message as programs read it.
type parsed struct {
	header      netmail.Header // by net/mail
	subject     string
	from, to    []*netmail.Address
	text, html  string
	attachments map[string]string
}

// parse reads a message with net/mail and with go-message.
func parse(t *testing.T, raw []byte) parsed {
	t.Helper()
	std, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("net/mail: %v\n%q", err, raw)
	}
	p := parsed{header: std.Header, attachments: map[string]string{}}
	r, err := gomail.CreateReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("go-message: %v\n%q", err, raw)
	}
	if p.subject, err = r.Header.Subject(); err != nil {
		t.Fatal(err)
	}
	if p.from, err = r.Header.AddressList("From"); err != nil {
		t.Fatal(err)
	}
	if p.to, err = r.Header.AddressList("To"); err != nil {
		t.Fatal(err)
	}
	for {
		part, err := r.NextPart()
		if err == io.EOF {
			return p
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(part.Body)
		if err != nil {
			t.Fatal(err)
		}
		switch h := part.Header.(type) {
		case *gomail.InlineHeader:
			kind, params, err := h.ContentType()
			if err != nil || params["charset"] != "utf-8" || h.Get("Content-Transfer-Encoding") != "quoted-printable" {
				t.Errorf("part %q %v, %v", kind, params, err)
			}
			if text := strings.ReplaceAll(string(body), "\r\n", "\n"); kind == "text/html" {
				p.html += text
			} else {
				p.text += text
			}
		case *gomail.AttachmentHeader:
			name, err := h.Filename()
			if err != nil {
				t.Fatal(err)
			}
			p.attachments[name] = string(body)
		}
	}
}

// wellFormed checks what must hold of every message on the wire.
func wellFormed(t *testing.T, raw []byte, ascii bool) {
	t.Helper()
	rest := string(raw)
	for rest != "" {
		line, next, ended := strings.Cut(rest, "\r\n")
		if !ended || len(line) > 998 || strings.ContainsAny(line, "\r\n\x00") {
			t.Fatalf("bad line %.1100q", line)
		}
		if i := strings.IndexFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f || r == utf8.RuneError || ascii && r > '~' }); i >= 0 {
			t.Fatalf("bad character at %d of %.1100q", i, line)
		}
		rest = next
	}
	head, _, _ := strings.Cut(string(raw), "\r\n\r\n")
	names := map[string]int{}
	for line := range strings.SplitSeq(head, "\r\n") {
		if line[0] == ' ' {
			if strings.TrimSpace(line) == "" {
				t.Errorf("a line of spaces in the header:\n%s", head)
			}
			continue
		}
		name, _, _ := strings.Cut(line, ":")
		names[name]++
	}
	delete(names, "Reply-To")
	want := map[string]int{"Auto-Submitted": 1, "Content-Type": 1, "Date": 1, "From": 1, "Message-Id": 1, "Mime-Version": 1, "Subject": 1, "To": 1}
	if !maps.Equal(names, want) {
		t.Errorf("got header fields %v, want %v", names, want)
	}
}

func message(c Content) *Message {
	return &Message{
		From: "Bothy – Büro <bothy@example.com>", To: []string{ann},
		MessageID: "<abc@example.com>", Date: noon, Content: c,
	}
}

func mustBytes(t *testing.T, m *Message) []byte {
	t.Helper()
	raw, err := m.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestMessage(t *testing.T) {
	m := message(Content{
		Subject: "[Bothy] worker Ümläut-工作者 missing " + strings.Repeat("very ", 20) + "long",
		Text:    "Grüße\n.\nFrom me\n" + strings.Repeat("x", 5000) + "\n= trailing \t \n",
		HTML:    "<p>Grüße</p>\n",
	})
	m.To = []string{(&netmail.Address{Name: `Änn, "the"`, Address: ann}).String(), "bob@example.com"}
	m.ReplyTo = "team@example.com"
	m.Attachments = []Attachment{{"stdio größe.log", []byte("a\x00b\xff\r\n")}, {"b\r\nX: y.log", bytes.Repeat([]byte("0123456789"), 1000)}}
	raw := mustBytes(t, m)
	wellFormed(t, raw, true)
	p := parse(t, raw)
	if p.subject != m.Subject {
		t.Errorf("subject %q", p.subject)
	}
	if p.text != m.Text || p.html != m.HTML {
		t.Errorf("got %q and %q", p.text, p.html)
	}
	if len(p.from) != 1 || *p.from[0] != (netmail.Address{Name: "Bothy – Büro", Address: "bothy@example.com"}) {
		t.Errorf("from %v", p.from)
	}
	if len(p.to) != 2 || *p.to[0] != (netmail.Address{Name: `Änn, "the"`, Address: "ann@example.com"}) || p.to[1].Address != "bob@example.com" {
		t.Errorf("to %v", p.to)
	}
	if got := p.attachments; len(got) != 2 || got["stdio größe.log"] != "a\x00b\xff\r\n" || len(got["b X: y.log"]) != 10000 {
		t.Errorf("attachments %.200q", got)
	}
	for name, want := range map[string]string{
		"Reply-To": "<team@example.com>", "Message-Id": "<abc@example.com>", "Auto-Submitted": "auto-generated",
		"Date": "Fri, 01 May 2026 12:00:00 +0000", "Mime-Version": "1.0",
	} {
		if got := p.header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestMessageKinds(t *testing.T) {
	for _, c := range []struct {
		content Content
		want    string
	}{
		{Content{Text: "x", HTML: "y"}, "multipart/alternative"},
		{Content{Text: "x"}, "multipart/alternative"},
		{Content{Text: "x", HTML: "y", Attachments: []Attachment{{Name: "z"}}}, "multipart/mixed"},
	} {
		p := parse(t, mustBytes(t, message(c.content)))
		kind, _, err := mime.ParseMediaType(p.header.Get("Content-Type"))
		if err != nil || kind != c.want || p.text != c.content.Text || p.html != c.content.HTML {
			t.Errorf("%+v: %s, %v, %+v", c.content, kind, err, p)
		}
	}
}

func TestMessageRefused(t *testing.T) {
	for name, change := range map[string]func(m *Message){
		"no sender":           func(m *Message) { m.From = "" },
		"bad sender":          func(m *Message) { m.From = "bothy" },
		"no recipient":        func(m *Message) { m.To = nil },
		"one bad recipient":   func(m *Message) { m.To = append(m.To, "x@y\r\nBcc: z@z") },
		"bad reply to":        func(m *Message) { m.ReplyTo = "a@b, c@d" },
		"no Message-ID":       func(m *Message) { m.MessageID = "" },
		"Message-ID, newline": func(m *Message) { m.MessageID = "<a@b>\r\nBcc: <z@z>" },
		"Message-ID, long":    func(m *Message) { m.MessageID = "<" + strings.Repeat("a", 300) + "@b>" },
		"no date":             func(m *Message) { m.Date = time.Time{} },
		"text too large":      func(m *Message) { m.Text = strings.Repeat("\x01", maxMessage+1) },
		"large when encoded":  func(m *Message) { m.Text = strings.Repeat("ü", maxMessage/4) },
		"attachment":          func(m *Message) { m.Attachments = []Attachment{{"x", make([]byte, maxMessage)}} },
	} {
		t.Run(name, func(t *testing.T) {
			m := message(Content{Subject: "s", Text: "t"})
			change(m)
			if raw, err := m.Bytes(); err == nil || raw != nil {
				t.Errorf("no error; %.300q", raw)
			}
		})
	}
}

// TestNoInjection has a worker whose name wants to be more than a name.
func TestNoInjection(t *testing.T) {
	for _, name := range []string{
		"w\r\nBcc: evil@example.com", "w\nBcc: evil@example.com", "w\rBcc: evil@example.com", "w\r\n\r\nbody",
		"w\x00\x0b\x0c\x85\u2028Bcc: evil@example.com", "=?utf-8?q?w=0D=0ABcc:_evil@example.com?=", "=?=?utf-8?b?Cg==?=",
		"<script>alert(1)</script>", "\x1b]0;title\x07\x1b[31mred", "abc\u202ecba", "\xff\xfe", strings.Repeat("x", 10_000),
	} {
		c := WorkersMissing("T\r\nX-Evil: 1", noon, []Worker{{
			Name: name, Address: name, Version: name, Admin: name, URL: "javascript:alert(1)//" + name, Configured: noon,
		}})
		raw := mustBytes(t, message(c))
		wellFormed(t, raw, true)
		p := parse(t, raw)
		if strings.ContainsFunc(p.subject, unseen) || len(p.subject) > 4*maxSubject || !strings.HasPrefix(p.subject, "[T X-Evil: 1] worker") {
			t.Errorf("subject %q", p.subject)
		}
		if strings.ContainsFunc(strings.ReplaceAll(p.text+p.html, "\n", ""), unseen) {
			t.Errorf("control characters in %q %q", p.text, p.html)
		}
		if strings.Contains(p.html, "<script") || strings.Contains(p.html, `href="javascript`) || strings.Count(p.html, "<td>") != 5 {
			t.Errorf("html %s", p.html)
		}
		if lines := strings.Count(p.text, "\n"); lines != 9 {
			t.Errorf("%d lines of text for %q:\n%s", lines, name, p.text)
		}
	}
}

func FuzzMessage(f *testing.F) {
	for _, s := range []string{
		"plain", "Ümläut", "a\r\nBcc: x@y", "\x00\x01\xff\xfe", strings.Repeat("long ", 500), strings.Repeat("x", 3000), "=?utf-8?q?=0A?=",
		"\r\n.\r\n", "\r.\r", "\" <x@y>", "a, b <c@d>", "\\\"", "\u2028\u202e", " \t ", "--", "(", strings.Repeat("ü", 300),
	} {
		f.Add(s, s+" <x@example.com>", s, s, s)
	}
	f.Fuzz(func(t *testing.T, subject, to, text, html, name string) {
		m := message(Content{Subject: subject, Text: text, HTML: html})
		m.From = (&netmail.Address{Name: name, Address: "bothy@example.com"}).String()
		m.To = []string{to}
		if name != "" {
			m.Attachments = []Attachment{{name, []byte(text)}}
		}
		raw, err := m.Bytes()
		if err != nil {
			return
		}
		a, err := ParseAddress(to)
		if err != nil {
			t.Fatalf("a recipient got through that is none: %v", err)
		}
		wellFormed(t, raw, isASCII(a.Address))
		p := parse(t, raw)
		if want := headerText(subject, maxSubject); p.subject != want {
			t.Errorf("subject %q, want %q", p.subject, want)
		}
		if len(p.to) != 1 || p.to[0].Address != a.Address || len(p.from) != 1 || p.from[0].Address != "bothy@example.com" {
			t.Errorf("to %v, from %v", p.to, p.from)
		}
		if p.text != manyLines(text) || p.html != manyLines(html) {
			t.Errorf("text %q, html %q", p.text, p.html)
		}
		if got := slices.Collect(maps.Values(p.attachments)); name != "" && (len(got) != 1 || got[0] != text) {
			t.Errorf("attachments %q", got)
		}
	})
}

func TestParseAddress(t *testing.T) {
	for s, want := range map[string]string{
		"ann@example.com":              "ann@example.com",
		" Ann B. <ann@example.com> ":   "ann@example.com",
		"bothy@localhost":              "bothy@localhost",
		"a+b.c_d=e/f@x-y.example":      "a+b.c_d=e/f@x-y.example",
		"root@[127.0.0.1]":             "root@[127.0.0.1]",
		"josé@exämple.com":             "josé@exämple.com",
		"=?utf-8?q?=0D=0AX?= <a@b.cc>": "a@b.cc",
		"":                             "", "root": "", "@x": "", "x@": "", "a@b@c": "", "a@b, c@d": "", "a@b\r\n": "", "a@b\r\nBcc: c@d": "",
		"a b@c.d": "", `"a b"@c.d`: "", `"a> SIZE=1 <b"@c.d`: "", "a..b@c.d": "", ".a@c.d": "", "a@b..c": "", "a@-b.c": "", "a@b_.c": "", "<>": "",
		"a@b\x00c": "", "a\x7f@b.c": "", "a@b.c>": "", "a\u202e@b.c": "", "a\u0085@b.c": "", "\xff@b.c": "", "group: a@b.c, d@e;": "",
		strings.Repeat("a", 250) + "@b.c": strings.Repeat("a", 250) + "@b.c", strings.Repeat("a", 251) + "@b.c": "",
	} {
		a, err := ParseAddress(s)
		if want == "" && err == nil || want != "" && (err != nil || a.Address != want) {
			t.Errorf("%q: got %v, %v, want %q", s, a, err, want)
		}
		if a != nil && strings.ContainsFunc(a.Name+a.Address, unseen) {
			t.Errorf("%q: control characters in %q", s, a)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"ann@example.com", "Ann <a@b>", `"a b"@c`, "a@[::1]", "a@b\r\nc", "josé@x", "=?utf-8?q?=0A?= <a@b>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		if strings.ContainsAny(a.Address, "\r\n\x00 <>\"(),;:\\") && !strings.Contains(a.Address, "@[") || strings.ContainsFunc(a.Name+a.Address, unseen) {
			t.Errorf("%q became %q", s, a)
		}
		again, err := ParseAddress(a.String())
		if err != nil || again.Address != a.Address {
			t.Errorf("%q became %q, and that %v, %v", s, a, again, err)
		}
	})
}

func TestNewMessageID(t *testing.T) {
	for from, domain := range map[string]string{"Bothy <b@example.com>": "@example.com>", "b@[127.0.0.1]": "@[127.0.0.1]>", "b@exämple.com": "@localhost>", "?": "@localhost>"} {
		id := NewMessageID(from)
		if !messageID().MatchString(id) || !strings.HasSuffix(id, domain) || id == NewMessageID(from) {
			t.Errorf("%q: %q", from, id)
		}
		m := message(Content{})
		m.MessageID = id
		if got := parse(t, mustBytes(t, m)).header.Get("Message-Id"); got != id {
			t.Errorf("got %q, want %q", got, id)
		}
	}
}
