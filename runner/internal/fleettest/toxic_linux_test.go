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

// proxy is a connection to a master that can be made worse.
type proxy struct {
	t    testing.TB
	api  string
	addr string // where workers connect
	n    int
}

// newProxy starts a toxiproxy before a master.
func newProxy(t testing.TB, m *master) *proxy {
	t.Helper()
	ports := freePorts(t, 2)
	s := &testrig.Scene{T: t, Dir: t.TempDir(), Program: toxiproxyProgram(t), Env: append(os.Environ(), "LOG_LEVEL=error")}
	run := s.Start("-host", "127.0.0.1", "-port", strconv.Itoa(ports[0]))
	t.Cleanup(func() {
		_ = run.Cmd.Process.Kill() // it may have ended
		<-run.Ended
	})
	p := &proxy{t: t, api: fmt.Sprintf("http://127.0.0.1:%d/", ports[0]), addr: fmt.Sprintf("127.0.0.1:%d", ports[1])}
	until(t, "toxiproxy does not answer", func() bool { return p.try(http.MethodGet, "version", nil) == nil })
	p.do(http.MethodPost, "proxies", map[string]any{"name": "p", "listen": p.addr, "upstream": fmt.Sprintf("%s:%d", m.host, m.pb), "enabled": true})
	return p
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

// add makes it worse, both ways, and returns what undoes that.
func (p *proxy) add(kind string, attributes map[string]int) (remove func()) {
	p.t.Helper()
	p.n++
	var names []string
	for _, stream := range []string{"upstream", "downstream"} {
		name := fmt.Sprintf("%s-%s-%d", kind, stream, p.n)
		names = append(names, name)
		p.do(http.MethodPost, "proxies/p/toxics", map[string]any{"name": name, "type": kind, "stream": stream, "attributes": attributes})
	}
	return func() {
		for _, name := range names {
			p.do(http.MethodDelete, "proxies/p/toxics/"+name, nil)
		}
	}
}

// delay delays everything by so many milliseconds each way.
func (p *proxy) delay(ms int) (undo func()) { return p.add("latency", map[string]int{"latency": ms}) }

// reset ends each connection with a RST as soon as something is sent on it, until
// undone.
func (p *proxy) reset() (undo func()) { return p.add("reset_peer", map[string]int{"timeout": 0}) }
