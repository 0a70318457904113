package mail

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// script is a relay in a bubble of synctest that does as it is told.
type script struct {
	net.Conn
	in *bufio.Reader
}

// dialScript is a relay that runs play for each connection and then closes it.
// The test ends when all of them have.
func dialScript(t *testing.T, play func(s script)) *Relay {
	var plays sync.WaitGroup
	t.Cleanup(plays.Wait)
	return &Relay{Addr: "localhost:25", LocalName: "bothy.test", Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		plays.Go(func() {
			defer server.Close()
			play(script{server, bufio.NewReader(server)})
		})
		return client, nil
	}}
}

func (s script) say(lines ...string) {
	_, _ = io.WriteString(s, strings.Join(lines, "\r\n")+"\r\n")
}

// hear reads a line and is quiet when the client has gone.
func (s script) hear() string {
	line, _ := s.in.ReadString('\n')
	return strings.TrimSpace(line)
}

// converse answers commands with 250 until one that begins with until.
func (s script) converse(until string) {
	s.say("220 hi")
	s.obey(s.hear(), until)
}

func (s script) obey(command, until string) {
	for command != "" && !strings.HasPrefix(command, until) {
		s.say("250 fine")
		command = s.hear()
	}
}

// message goes on after DATA until the final dot.
func (s script) message() {
	s.say("354 go on")
	for {
		if line := s.hear(); line == "." || line == "" && s.in.Buffered() == 0 && s.closed() {
			return
		}
	}
}

func (s script) closed() bool {
	_, err := s.in.Peek(1)
	return err != nil
}

// silence lasts until the client hangs up.
func (s script) silence() { _, _ = io.Copy(io.Discard, s.in) }

func TestTarpits(t *testing.T) {
	large := []byte(strings.Repeat(strings.Repeat("x", 70)+"\r\n", 1000))
	for _, c := range []struct {
		name string
		play func(s script)
		to   int // recipients
		msg  []byte
		want Status
		took time.Duration
		text string
	}{
		{name: "no greeting", play: script.silence, want: Temporary, took: CommandTimeout, text: "no answer in time"},
		{name: "no answer to EHLO", play: func(s script) { s.say("220 hi"); s.silence() }, want: Temporary, took: CommandTimeout, text: "no answer in time"},
		{name: "no answer to MAIL", play: func(s script) { s.converse("MAIL"); s.silence() }, want: Temporary, took: CommandTimeout, text: "MAIL FROM"},
		{name: "no answer to DATA", play: func(s script) { s.converse("DATA"); s.silence() }, want: Temporary, took: CommandTimeout, text: "DATA"},
		{name: "reads nothing of the message", msg: large, play: func(s script) {
			s.converse("DATA")
			s.say("354 go on")
			for !s.failed("") {
				time.Sleep(time.Second)
			}
		}, want: Temporary, took: CommandTimeout, text: "no answer in time"},
		{name: "no answer to the message", play: func(s script) { s.converse("DATA"); s.message(); s.silence() }, want: Uncertain, took: DeliveryTimeout, text: "not acknowledged"},
		{name: "says nothing with many lines", play: func(s script) {
			s.say("220 hi")
			s.hear()
			for !s.failed("250-" + strings.Repeat("x", 20) + "\r\n") {
				time.Sleep(time.Second) // in the bubble's time
			}
		}, want: Temporary, took: CommandTimeout, text: "no answer in time"},
		{name: "one byte at a time", play: func(s script) {
			for !s.failed("2") {
				time.Sleep(time.Second)
			}
		}, want: Temporary, took: CommandTimeout},
		{name: "just in time, always", to: 100, play: func(s script) {
			s.say("220 hi")
			for s.hear() != "" {
				time.Sleep(CommandTimeout - time.Second)
				s.say("250 fine")
			}
		}, want: Temporary, took: DialogueTimeout, text: errDialogueTimeout.Error()},
		{name: "no answer to QUIT", play: func(s script) {
			s.converse("DATA")
			s.message()
			s.say("250 taken")
			s.silence()
		}, want: Accepted, took: quitTimeout},
		{name: "no TLS handshake", play: func(s script) {
			s.say("220 hi")
			s.hear()
			s.say("250-hi", "250 STARTTLS")
			if command := s.hear(); command != "STARTTLS" { // the second time
				s.obey(command, "DATA")
				s.message()
				s.say("250 taken")
				return
			}
			s.say("220 go on")
			s.silence()
		}, want: Accepted, took: CommandTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				to, msg := []string{ann}, []byte(simple)
				for len(to) < c.to {
					to = append(to, ann)
				}
				if c.msg != nil {
					msg = c.msg
				}
				start := time.Now()
				outcomes, err := dialScript(t, c.play).Send(t.Context(), "bothy@example.com", to, msg, SendOptions{})
				if took := time.Since(start); took != c.took {
					t.Errorf("it took %s, want %s", took, c.took)
				}
				for _, o := range outcomes {
					if o.Status != c.want || !strings.Contains(o.Text, c.text) {
						t.Fatalf("got %+v, %v", o, err)
					}
				}
			})
		})
	}
}

func TestDialTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &Relay{Addr: "localhost:25", Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		start := time.Now()
		send(t, r, []string{ann}, Temporary)
		if took := time.Since(start); took != DialTimeout {
			t.Errorf("it took %s", took)
		}
	})
}

func TestOwnTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := dialScript(t, script.silence)
		r.Timeouts.Command = 3 * time.Second
		start := time.Now()
		send(t, r, []string{ann}, Temporary)
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestCancel(t *testing.T) {
	for _, c := range []struct {
		name string
		play func(s script)
		want Status
	}{
		{"before the message", func(s script) { s.converse("MAIL"); s.silence() }, Temporary},
		{"after the message", func(s script) { s.converse("DATA"); s.message(); s.silence() }, Uncertain},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stopping := errors.New("stopping")
				ctx, cancel := context.WithCancelCause(t.Context())
				start := time.Now()
				time.AfterFunc(time.Second, func() { cancel(stopping) })
				outcomes, err := dialScript(t, c.play).Send(ctx, "", []string{ann}, []byte(simple), SendOptions{})
				if took := time.Since(start); took != time.Second {
					t.Errorf("it took %s", took)
				}
				if outcomes[0].Status != c.want || !errors.Is(err, stopping) {
					t.Errorf("got %+v, %v", outcomes[0], err)
				}
			})
		})
	}
}

// TestCuts cuts the connection at every byte that the client says: only after
// the last of the message may it count as accepted.
func TestCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		play := func(s script) {
			s.converse("DATA")
			s.message()
			s.say("250 taken")
			if s.hear() == "QUIT" {
				s.say("221 bye")
			}
		}
		var said int
		send(t, cutAfter(dialScript(t, play), -1, &said), []string{ann}, Accepted)
		for cut := range said {
			want := Temporary
			if cut >= said-len("QUIT\r\n") {
				want = Accepted
			}
			send(t, cutAfter(dialScript(t, play), cut, new(int)), []string{ann}, want)
		}
	})
}

// cutAfter counts the bytes that are said to r, and cuts the connection after
// the first cut, if that is not negative.
func cutAfter(r *Relay, cut int, said *int) *Relay {
	dial := r.Dial
	r.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		return &cutConn{conn, cut, said}, err
	}
	return r
}

type cutConn struct {
	net.Conn
	cut  int
	said *int
}

func (c *cutConn) Write(p []byte) (int, error) {
	if c.cut >= 0 && *c.said+len(p) > c.cut {
		n, _ := c.Conn.Write(p[:c.cut-*c.said])
		_ = c.Conn.Close()
		return n, io.ErrClosedPipe
	}
	*c.said += len(p)
	return c.Conn.Write(p)
}

func TestHostileReplies(t *testing.T) {
	for _, c := range []struct {
		name, text string
		play       func(s script)
		want       Status
	}{
		{"not SMTP", "HTTP/1.1 400", func(s script) { s.say("HTTP/1.1 400 Bad Request\x1b[2J", "Server: x"); s.silence() }, Temporary},
		{"only control characters", "", func(s script) { s.say("\x00\x1b\x07\xff"); s.silence() }, Temporary},
		{"a line without end", "too long", func(s script) {
			for !s.failed(strings.Repeat("2", 4096)) {
			}
		}, Temporary},
		{"lines without end", errTooMuch.Error(), func(s script) {
			s.say("220 hi")
			s.hear()
			for !s.failed("250-" + strings.Repeat("x", 1000) + "\r\n") {
			}
		}, Temporary},
		{"lines without end after the message", errTooMuch.Error(), func(s script) {
			s.converse("DATA")
			s.message()
			for !s.failed("250-" + strings.Repeat("x", 1000) + "\r\n") {
			}
		}, Uncertain},
		{"a long refusal", "550 xxxx", func(s script) {
			s.converse("RCPT")
			s.say(strings.TrimSuffix(strings.Repeat("550-"+strings.Repeat("x", 1000)+"\r\n", 100), "\r\n"), "550 \x1b]0;title\x07end")
			s.silence()
		}, Permanent},
		{"refuses to talk", "554 5.3.2 go away", func(s script) { s.say("554 5.3.2 go away"); s.silence() }, Temporary},
		{"closes at once", "closed the connection", func(s script) {}, Temporary},
		{"answers before it is asked", "", func(s script) {
			s.say("220 hi", "250 fine", "250 fine", "250 fine", "354 go on", "250 taken")
			s.silence()
		}, Accepted},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var trace bytes.Buffer
				outcomes, err := sendWith(t, dialScript(t, c.play), []string{ann}, []byte(simple), SendOptions{Trace: &trace}, c.want)
				o := outcomes[0]
				if !strings.Contains(o.Text, c.text) {
					t.Errorf("%q does not say %q", o.Text, c.text)
				}
				all := o.Text + strings.ReplaceAll(trace.String(), "\n", "")
				if err != nil {
					all += err.Error()
				}
				if i := strings.IndexFunc(all, unseen); i >= 0 {
					t.Errorf("control character in %.100q", all[i:])
				}
				if len(o.Text) > 4*maxLine || trace.Len() > 4*maxReplies {
					t.Errorf("a text of %d and a trace of %d bytes", len(o.Text), trace.Len())
				}
			})
		})
	}
}

// failed says something and reports whether nobody is there to hear it.
func (s script) failed(text string) bool {
	_, err := io.WriteString(s, text)
	return err != nil
}

// TestInjectedReplies is the attack on STARTTLS in which somebody between adds
// replies in clear text, to be read as if they had come over TLS.
func TestInjectedReplies(t *testing.T) {
	cert, trusted := selfSigned(t, "mail.example.com")
	injected := []string{"220 go on", "250-hi", "250 AUTH PLAIN"}
	for _, c := range []struct {
		name         string
		hello, reply []string // of the server, as far as an attacker lets it be
		want         string   // what the server hears over TLS
	}{
		{"nothing", []string{"250-hi", "250 STARTTLS"}, injected[:1], "EHLO bothy.test"},
		{"before STARTTLS: forgotten", append([]string{"250-hi", "250 STARTTLS"}, injected...), injected[:1], "EHLO bothy.test"},
		{"with its reply: no handshake", []string{"250-hi", "250 STARTTLS"}, injected, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			heard := make(chan string, 1)
			go func() {
				defer close(heard)
				conn, err := listener.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				s := script{conn, bufio.NewReader(conn)}
				s.say("220 hi")
				s.hear()
				s.say(c.hello...)
				s.hear()
				s.say(c.reply...)
				secured := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}})
				heard <- script{secured, bufio.NewReader(secured)}.hear()
			}()
			r := relayElsewhere(&server{addr: listener.Addr().String()})
			r.RootCAs, r.Username, r.Password = trusted, "u", testPassword
			outcomes, _ := send(t, r, []string{ann}, Temporary)
			if got := <-heard; got != c.want {
				t.Errorf("over TLS the server heard %q, want %q; %+v", got, c.want, outcomes)
			}
		})
	}
}

func TestIsLoopback(t *testing.T) {
	for _, c := range []struct {
		host, reached string
		want          bool
	}{
		{"localhost", "127.0.0.1", true}, {"LocalHost", "::1", true}, {"127.8.9.10", "127.8.9.10", true}, {"::1", "::1", true},
		{"localhost", "192.0.2.1", false}, {"mail.example.com", "127.0.0.1", false}, {"192.0.2.1", "192.0.2.1", false},
		{"localhost.example.com", "127.0.0.1", false}, {"", "127.0.0.1", false}, {"::", "::1", false},
	} {
		conn := addressed{to: &net.TCPAddr{IP: net.ParseIP(c.reached), Port: 25}}
		if got := isLoopback(c.host, conn); got != c.want {
			t.Errorf("%q at %s: got %v", c.host, c.reached, got)
		}
	}
}

func TestLocalName(t *testing.T) {
	hostname, _ := os.Hostname()
	for from, want := range map[net.Addr]string{
		&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4711}:               "[192.0.2.1]",
		&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0", Port: 4711}: "[IPv6:fe80::1]",
		&net.UnixAddr{Name: "/x"}:                                          "localhost",
	} {
		if strings.Contains(hostname, ".") {
			want = hostname
		}
		s := session{relay: &Relay{}, wire: &bounded{Conn: addressed{from: from}}}
		if got := s.localName(); got != want {
			t.Errorf("%v: got %q, want %q", from, got, want)
		}
	}
}

// addressed is a connection that only has addresses.
type addressed struct {
	net.Conn
	from, to net.Addr
}

func (a addressed) LocalAddr() net.Addr  { return a.from }
func (a addressed) RemoteAddr() net.Addr { return a.to }

func TestBackoff(t *testing.T) {
	var got []time.Duration
	var all time.Duration
	attempts := 1
	for ; all < GiveUp; attempts++ {
		wait := Backoff(attempts)
		all += wait
		if got = append(got, wait); wait < time.Minute || wait > time.Hour {
			t.Fatalf("after attempt %d: %s", attempts, wait)
		}
	}
	want := "[1m0s 2m0s 4m0s 8m0s 16m0s 32m0s 1h0m0s 1h0m0s]"
	if head := fmt.Sprint(got[:8]); head != want {
		t.Errorf("got %s, want %s", head, want)
	}
	if attempts != 78 {
		t.Errorf("%d attempts until GiveUp", attempts)
	}
	if Backoff(0) != time.Minute || Backoff(1<<30) != time.Hour {
		t.Error("not bounded")
	}
}

func FuzzReplies(f *testing.F) {
	for _, s := range []string{
		"220 hi\r\n250-x\r\n250-AUTH PLAIN LOGIN\r\n250 SIZE 10\r\n235 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n221 bye\r\n",
		"220 hi\r\n250-x\r\n250 AUTH LOGIN\r\n334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n334 eA==\r\n",
		"220 hi\r\n250-x\r\n250 STARTTLS\r\n220 go\r\n\x16\x03\x01", "220 hi\r\n250-x\r\n250 AUTH PLAIN\r\n334 !\r\n", "220 hi\n500 no\n250 HELO\n",
		"421 \x1b[2J\r\n", "220-a\r\n221 b\r\n", "999 x\r\n", "-1 x\r\n", "", "250", "2.2.2 2.2.2",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, replies []byte) {
		r := dialScript(t, func(s script) {
			heard := make(chan struct{})
			go func() {
				defer close(heard)
				s.silence()
			}()
			_, _ = s.Write(replies)
			_ = s.Close()
			<-heard
		})
		r.Username, r.Password = testUser, testPassword
		var trace bytes.Buffer
		outcomes, err := r.Send(t.Context(), "", []string{ann, bob}, []byte(simple), SendOptions{Trace: &trace})
		all := strings.ReplaceAll(trace.String(), "\n", "")
		for _, o := range outcomes {
			all += o.Text
			if err == nil && o.Status == Uncertain || err != nil && o.Status == "" || o.Status == Accepted && o.Code/100 != 2 {
				t.Errorf("%+v, %v", o, err)
			}
		}
		if err != nil {
			all += err.Error()
		}
		if strings.ContainsFunc(all, unseen) || strings.Contains(all, testPassword) {
			t.Errorf("%q", all)
		}
	})
}
