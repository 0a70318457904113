package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"

	"bothy/runner/config"
	"bothy/runner/internal/basedir"
	"bothy/runner/internal/control"
)

// clientFlags are those of every verb that speaks to a running master.
func clientFlags(fs *pflag.FlagSet) {
	jsonFlag(fs)
	fs.String("url", "", "the master's `URL`; else BOTHY_URL, else the socket in the base directory of the configuration")
	fs.String("token", "", "the `TOKEN` for --url; else BOTHY_TOKEN")
}

// client speaks REST to a running master. runner/internal/api documents it.
type client struct {
	http  *http.Client
	base  string // without the slash at its end
	token string
	user  string // whom the master takes our word for: the socket's
	name  string // of the master, for errors
}

// socketURL stands for the control socket: its host is never looked up.
const socketURL = "http://localhost"

// maxAnswer bounds what is read of an answer that is decoded as a whole.
const maxAnswer = 64 << 20

// client returns a client of the master that --url, the environment or the
// configuration names.
func (c *call) client() (*client, error) {
	address, token := c.text("url"), c.text("token")
	if address == "" {
		address = c.Getenv("BOTHY_URL")
	}
	if token == "" {
		token = c.Getenv("BOTHY_TOKEN")
	}
	if address != "" {
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, wrongUsage("--url or BOTHY_URL is not the URL of a master: write http://HOST:PORT/ or https://HOST/")
		}
		return &client{
			http: &http.Client{}, token: token, base: strings.TrimSuffix(u.String(), "/"), name: strings.TrimSuffix(u.Redacted(), "/"),
		}, nil
	}
	layout, err := c.layout()
	if err != nil {
		return nil, err
	}
	m := &client{base: socketURL, name: "the master of " + c.show(layout.Dir), http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return basedir.Dial(ctx, layout) },
	}}}
	if u, err := user.Current(); err == nil {
		m.user = u.Username
	}
	return m, nil
}

// layout finds the base directory of the configuration in use. One with errors
// will do: the master that runs has loaded it before they came in.
func (c *call) layout() (basedir.Layout, error) {
	file, err := c.configFile()
	if errors.Is(err, fs.ErrNotExist) {
		return basedir.Layout{}, wrongUsage("which master? %w, and neither --url nor BOTHY_URL says", err)
	}
	if err != nil {
		return basedir.Layout{}, err
	}
	conf, _, err := config.Load(file)
	if invalid := (config.Errors)(nil); errors.As(err, &invalid) {
		dir, ok := roughBaseDir(file)
		if !ok {
			return basedir.Layout{}, &exitError{code: exitUsage, err: err}
		}
		conf, err = &config.Config{Dir: filepath.Dir(file), BaseDir: dir}, nil
	}
	if err != nil {
		return basedir.Layout{}, &exitError{code: exitUsage, err: err}
	}
	return layoutOf(conf)
}

// roughBaseDir reads the base directory out of a file that need not be whole:
// somebody may be editing it. The key stands above all tables.
func roughBaseDir(file string) (dir string, ok bool) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", false
	}
	above, _, _ := strings.Cut("\n"+string(data), "\n[")
	var rough struct{ BaseDir string }
	_, err = toml.Decode(above, &rough)
	return rough.BaseDir, err == nil
}

// masterError is a master's word for what it does not do.
type masterError struct {
	status int
	text   string
}

func (e *masterError) Error() string { return e.text }

// passing reports whether the master is only not there for a moment.
func (e *masterError) passing() bool {
	switch e.status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// failed makes an exit code of what went wrong in asking a master.
func failed(err error) error {
	var refused *masterError
	if errors.As(err, &refused) && (refused.status == http.StatusNotFound || refused.status == http.StatusBadRequest) {
		return &exitError{code: exitUsage, err: err}
	}
	return err
}

// open sends a request below the master's address and returns the body of a
// good answer.
func (m *client) open(ctx context.Context, method, path string, body []byte) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, m.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if m.token != "" {
		req.Header.Set("Authorization", "Bearer "+m.token)
	}
	if m.user != "" {
		req.Header.Set(control.UserHeader, url.QueryEscape(m.user))
	}
	resp, err := m.http.Do(req)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, basedir.ErrNoMaster):
		return nil, fmt.Errorf("%s does not run: \"bothy serve\" starts it", m.name)
	default:
		if uerr := (*url.Error)(nil); errors.As(err, &uerr) {
			err = uerr.Err // its URL is made up, or in m.name
		}
		return nil, fmt.Errorf("ask %s: %w", m.name, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return nil, &masterError{resp.StatusCode, m.said(resp.StatusCode, text)}
}

// said takes the words out of an answer that is an error: {"error": TEXT}, or
// JSON-RPC's {"error": {"message": TEXT or {FIELD: TEXT}}}.
func (m *client) said(status int, body []byte) string {
	var plain struct{ Error string }
	var rpc struct {
		Error struct{ Message json.RawMessage }
	}
	var text string
	switch {
	case json.Unmarshal(body, &plain) == nil && plain.Error != "":
		text = plain.Error
	case json.Unmarshal(body, &rpc) == nil && rpc.Error.Message != nil:
		text = words(rpc.Error.Message)
	default:
		text = strings.TrimSpace(string(body))
	}
	text = oneLine(text)
	switch {
	case status == http.StatusUnauthorized:
		return fmt.Sprintf("%s wants to know who you are: give --token or BOTHY_TOKEN (%s)", m.name, text)
	case text == "":
		return fmt.Sprintf("%s answers %d %s", m.name, status, http.StatusText(status))
	}
	return text
}

// words are those of a message that is a text or an object of texts.
func words(message json.RawMessage) string {
	var text string
	if json.Unmarshal(message, &text) == nil {
		return text
	}
	var fields map[string]string
	if json.Unmarshal(message, &fields) != nil {
		return string(message)
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		all = append(all, name+": "+fields[name])
	}
	return strings.Join(all, "; ")
}

// get decodes the rows at a path below /api/v2/ into out, a pointer to a slice.
// It returns them as they came, too.
func (m *client) get(ctx context.Context, path string, query url.Values, out any) (json.RawMessage, error) {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	body, err := m.open(ctx, http.MethodGet, "/api/v2/"+path, nil)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var answer map[string]json.RawMessage
	if err := json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", m.name, err)
	}
	for plural, rows := range answer {
		if plural == "meta" {
			continue
		}
		if err := json.Unmarshal(rows, out); err != nil {
			return nil, fmt.Errorf("read the %s that %s answers: %w", plural, m.name, err)
		}
		return rows, nil
	}
	return nil, fmt.Errorf("read the answer of %s: there are no rows in it", m.name)
}

// control has the master do something to the item at a path; result may be nil.
func (m *client) control(ctx context.Context, path, method string, params map[string]any, result any) error {
	if params == nil {
		params = map[string]any{}
	}
	data, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	body, err := m.open(ctx, http.MethodPost, "/api/v2/"+path, data)
	if err != nil {
		return err
	}
	defer body.Close()
	var answer struct{ Result json.RawMessage }
	if err := json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(&answer); err != nil {
		return fmt.Errorf("read the answer of %s: %w", m.name, err)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(answer.Result, result); err != nil {
		return fmt.Errorf("read the result that %s answers: %w", m.name, err)
	}
	return nil
}
