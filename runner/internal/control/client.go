package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// ErrGone says that the master ended before the session did. The session may
// go on with the next master: see [RunRequest.Reattach].
var ErrGone = errors.New("the master has gone")

// ErrBusy says that the base directory is held by a "bothy run" with another
// configuration: it will end by itself.
var ErrBusy = errors.New("another bothy run with another configuration is at work here")

// Client speaks to a master's control interface.
type Client struct {
	http http.Client
}

// NewClient returns a client that connects with dial.
func NewClient(dial func(ctx context.Context) (net.Conn, error)) *Client {
	return &Client{http.Client{Transport: &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableKeepAlives: true,
	}}}
}

// Run asks for builds and passes on what is told about them until the [End]
// update. It returns an error that wraps [ErrGone] when the stream broke off.
func (c *Client) Run(ctx context.Context, r RunRequest, each func(Update) error) error {
	resp, err := c.post(ctx, "/run", r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	d := json.NewDecoder(resp.Body)
	for {
		var u Update
		if err := d.Decode(&u); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%w: %w", ErrGone, err)
		}
		if err := each(u); err != nil {
			return err
		}
		if u.Kind == End {
			return nil
		}
	}
}

// Cancel stops a session's builds.
func (c *Client) Cancel(ctx context.Context, session string, cancel Cancel) error {
	resp, err := c.post(ctx, "/cancel/"+url.PathEscape(session), cancel)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Submit asks for builds that nobody waits for. They are on disk when it returns.
func (c *Client) Submit(ctx context.Context, r SubmitRequest) (Submitted, error) {
	var out Submitted
	return out, c.ask(ctx, http.MethodPost, "/submit", r, &out)
}

// Status asks what the master does.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var out Status
	return out, c.ask(ctx, http.MethodGet, "/status", nil, &out)
}

// maxAnswer bounds what a master may answer in one piece.
const maxAnswer = 16 << 20

func (c *Client) ask(ctx context.Context, method, path string, body, out any) error {
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	return nil
}

// Drain has the master finish what runs and then end.
func (c *Client) Drain(ctx context.Context) error {
	resp, err := c.post(ctx, "/drain", struct{}{})
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (c *Client) post(ctx context.Context, path string, body any) (*http.Response, error) {
	return c.send(ctx, http.MethodPost, path, body)
}

func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://bothy"+path, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: %w", ErrGone, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		if resp.StatusCode == http.StatusServiceUnavailable {
			return nil, fmt.Errorf("%w: %s", ErrGone, strings.TrimSpace(string(text)))
		}
		if resp.StatusCode == http.StatusLocked {
			return nil, ErrBusy
		}
		return nil, &RefusedError{Text: strings.TrimSpace(string(text)), Unable: resp.StatusCode == http.StatusInsufficientStorage}
	}
	return resp, nil
}

// RefusedError is the master's word for why it does not do what was asked.
type RefusedError struct {
	Text   string
	Unable bool // nothing is wrong with what was asked
}

func (e *RefusedError) Error() string { return e.Text }
