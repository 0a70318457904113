package fleettest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"bothy/runner/internal/testrig"
)

// toxiproxy is Shopify's proxy that delays and resets, built once.
var toxiproxy struct {
	once sync.Once
	dir  string
	err  error
}

// toxiproxyProgram returns its path.
func toxiproxyProgram(t testing.TB) string {
	t.Helper()
	toxiproxy.once.Do(func() {
		if toxiproxy.dir, toxiproxy.err = os.MkdirTemp("", "fleet-toxiproxy"); toxiproxy.err != nil {
			return
		}
		build := exec.Command("go", "build", "-modfile=.ci/tools.mod", "-o", filepath.Join(toxiproxy.dir, "toxiproxy"), "github.com/Shopify/toxiproxy/v2/cmd/server")
		build.Dir = "../../.."
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			toxiproxy.err = fmt.Errorf("build toxiproxy: %w\n%s", err, out)
		}
	})
	if toxiproxy.err != nil {
		t.Fatal(toxiproxy.err)
	}
	return filepath.Join(toxiproxy.dir, "toxiproxy")
}

// proxy is a way to a master that delays, and can reset.
type proxy struct {
	t        testing.TB
	api      string
	addr     string // where workers connect
	upstream string
	delay    int // in ms, each way
}

// newProxy starts a toxiproxy before a master, which delays everything by so many
// milliseconds each way.
func newProxy(t testing.TB, m *master, delay int) *proxy {
	t.Helper()
	ports := freePorts(t, 2)
	s := &testrig.Scene{T: t, Dir: t.TempDir(), Program: toxiproxyProgram(t), Env: append(os.Environ(), "LOG_LEVEL=error")}
	run := s.Start("-host", "127.0.0.1", "-port", strconv.Itoa(ports[0]))
	t.Cleanup(func() {
		_ = run.Cmd.Process.Kill() // it may have ended
		<-run.Ended
		if t.Failed() {
			t.Logf("toxiproxy: %s", run.All())
		}
	})
	p := &proxy{
		t: t, api: fmt.Sprintf("http://127.0.0.1:%d/", ports[0]), addr: fmt.Sprintf("127.0.0.1:%d", ports[1]),
		upstream: fmt.Sprintf("%s:%d", m.host, m.pb), delay: delay,
	}
	until(t, "toxiproxy does not answer", func() bool { return p.try(http.MethodGet, "version", nil) == nil })
	p.open()
	return p
}

// open begins to listen.
func (p *proxy) open() {
	p.t.Helper()
	p.do(http.MethodPost, "proxies", map[string]any{"name": "p", "listen": p.addr, "upstream": p.upstream, "enabled": true})
	p.add("latency", map[string]int{"latency": p.delay})
}

func (p *proxy) try(method, path string, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(method, p.api+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	return err
}

func (p *proxy) do(method, path string, body any) {
	p.t.Helper()
	if err := p.try(method, path, body); err != nil {
		p.t.Fatal(err)
	}
}

// add makes it worse, both ways.
func (p *proxy) add(kind string, attributes map[string]int) {
	p.t.Helper()
	for _, stream := range []string{"upstream", "downstream"} {
		p.do(http.MethodPost, "proxies/p/toxics", map[string]any{"name": kind + stream, "type": kind, "stream": stream, "attributes": attributes})
	}
}

// reset ends each connection with a RST as soon as something is sent on it, until
// undone. What is left is then closed: toxiproxy may stumble when a single fault is
// taken from a connection in use.
func (p *proxy) reset() (undo func()) {
	p.t.Helper()
	p.add("reset_peer", map[string]int{"timeout": 0})
	return func() {
		p.t.Helper()
		p.do(http.MethodDelete, "proxies/p", nil)
		p.open()
	}
}
