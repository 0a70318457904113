//go:build unix

package api

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// clientsEnv makes this test binary the clients of a benchmark: it holds a
// clientOrder.
const clientsEnv = "BOTHY_BENCH_CLIENTS"

func TestMain(m *testing.M) {
	if order := os.Getenv(clientsEnv); order != "" {
		runtime.GOMAXPROCS(1)
		if err := runClients(order, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "clients:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// clientOrder says what the clients do: GET a URL so many times in all, or
// listen to an event path.
type clientOrder struct {
	URL     string // with Listen: host and port
	Clients int
	Times   int
	Pause   time.Duration // of each client after each answer, on average; they begin one after the other
	Headers []string
	Listen  string
}

// clientReport is what came of GETs.
type clientReport struct {
	Took  []time.Duration
	Bytes int64
	Err   string
}

// clients are the process, as the benchmark sees it.
type clients struct {
	t   testing.TB
	in  io.Writer
	out *bufio.Reader
}

// startClients starts clients that end with the benchmark.
func startClients(t testing.TB, o clientOrder) *clients {
	t.Helper()
	order, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), clientsEnv+"="+string(order))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close() // they end
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Error("clients: ", err)
		}
	})
	return &clients{t, in, bufio.NewReaderSize(out, 1<<20)}
}

func (c *clients) say(word string) {
	if _, err := fmt.Fprintln(c.in, word); err != nil {
		c.t.Fatal(err)
	}
}

func (c *clients) line() string {
	s, err := c.out.ReadString('\n')
	if err != nil {
		c.t.Fatal("the clients say nothing: ", err)
	}
	return strings.TrimSuffix(s, "\n")
}

func (c *clients) expect(word string) {
	c.t.Helper()
	if got := c.line(); got != word {
		c.t.Fatalf("the clients say %q, not %q", got, word)
	}
}

func (c *clients) read(v any) {
	c.t.Helper()
	if err := json.Unmarshal([]byte(c.line()), v); err != nil {
		c.t.Fatal(err)
	}
}

// runClients is the other process, which ends when its input does.
func runClients(order string, in io.Reader, out io.Writer) error {
	var o clientOrder
	if err := json.Unmarshal([]byte(order), &o); err != nil {
		return err
	}
	if o.Listen != "" {
		return listenAll(o, in, out)
	}
	if _, err := bufio.NewReader(in).ReadString('\n'); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(getAll(o))
}

func getAll(o clientOrder) clientReport {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: o.Clients, DisableCompression: true}}
	got := clientReport{Took: make([]time.Duration, o.Times)}
	var next, bytes atomic.Int64
	var failed atomic.Pointer[error]
	var g sync.WaitGroup
	for i := range o.Clients {
		g.Go(func() {
			buf := make([]byte, 64<<10)
			time.Sleep(o.Pause * time.Duration(i) / time.Duration(o.Clients))
			for i := next.Add(1) - 1; i < int64(o.Times) && failed.Load() == nil; i = next.Add(1) - 1 {
				began := time.Now()
				n, err := getOne(client, o, buf)
				if err != nil {
					failed.Store(&err)
					return
				}
				got.Took[i] = time.Since(began)
				bytes.Add(n)
				if o.Pause > 0 {
					time.Sleep(o.Pause/2 + rand.N(o.Pause)) // else answers that came together would be asked for together
				}
			}
		})
	}
	g.Wait()
	got.Bytes = bytes.Load()
	if err := failed.Load(); err != nil {
		got.Err = (*err).Error()
	}
	return got
}

func getOne(client *http.Client, o clientOrder, buf []byte) (int64, error) {
	req, err := http.NewRequest(http.MethodGet, o.URL, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Accept", "application/json")
	for _, h := range o.Headers {
		name, v, _ := strings.Cut(h, ": ")
		req.Header.Set(name, v)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, errors.New(resp.Status)
	}
	return io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, buf)
}

// listenAll says "ready", and then when each event had come to all.
func listenAll(o clientOrder, in io.Reader, out io.Writer) error {
	var came atomic.Int64
	for range o.Clients {
		conn, r, err := listenOne(o.URL, o.Listen)
		if err != nil {
			return err
		}
		defer conn.Close()
		go func() {
			for skipFrame(r) == nil {
				if n := came.Add(1); n%int64(o.Clients) == 0 { // one event follows another that all have
					fmt.Fprintln(out, time.Now().UnixNano())
				}
			}
		}()
	}
	fmt.Fprintln(out, "ready")
	_, err := io.Copy(io.Discard, in)
	return err
}

// listenOne opens a WebSocket (RFC 6455) and consumes a path.
func listenOne(addr, path string) (net.Conn, *bufio.Reader, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", addr)
	r := bufio.NewReaderSize(conn, 1<<10)
	if _, err := http.ReadResponse(r, nil); err != nil {
		return nil, nil, err
	}
	cmd := fmt.Sprintf(`{"cmd":"startConsuming","path":%q,"_id":1}`, path)
	frame := append([]byte{0x81, 0x80 | byte(len(cmd)), 0, 0, 0, 0}, cmd...) // a mask of zeros
	if _, err := conn.Write(frame); err != nil {
		return nil, nil, err
	}
	return conn, r, skipFrame(r) // the answer
}

func skipFrame(r *bufio.Reader) error {
	var h [8]byte
	if _, err := io.ReadFull(r, h[:2]); err != nil {
		return err
	}
	n := int(h[1])
	if n == 126 {
		if _, err := io.ReadFull(r, h[:2]); err != nil {
			return err
		}
		n = int(binary.BigEndian.Uint16(h[:]))
	}
	_, err := r.Discard(n)
	return err
}
