package fleettest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"bothy/runner/internal/basedir"
	"bothy/runner/internal/control"
	"bothy/runner/internal/testrig"
)

// asker asks a master in the terms of Buildbot's data API.
type asker interface {
	// get returns the rows at a path: an array, also of a single one.
	get(path string) (json.RawMessage, error)
	control(path, action, reason string) error
	// force asks for builds and returns the requests.
	force(builders ...string) ([]int64, error)
}

// rest asks a Bothy through its socket.
type rest struct {
	http   *http.Client
	client *control.Client
}

func newREST(layout basedir.Layout) *rest {
	dial := func(ctx context.Context) (net.Conn, error) { return basedir.Dial(ctx, layout) }
	return &rest{
		http: &http.Client{Timeout: testrig.Patience, Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		}},
		client: control.NewClient(dial),
	}
}

func (r *rest) do(method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequest(method, "http://localhost/api/v2/"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set(control.UserHeader, "test")
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	return text, err
}

func (r *rest) get(path string) (json.RawMessage, error) {
	text, err := r.do(http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, err
	}
	for name, rows := range members {
		if name != "meta" {
			return rows, nil
		}
	}
	return nil, fmt.Errorf("get %s: no rows in %s", path, text)
}

func (r *rest) control(path, action, reason string) error {
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": action, "params": map[string]string{"reason": reason}})
	if err != nil {
		return err
	}
	_, err = r.do(http.MethodPost, path, body)
	return err
}

func (r *rest) force(builders ...string) ([]int64, error) {
	out, err := r.client.Submit(context.Background(), control.SubmitRequest{Builders: builders, Reason: "test"})
	return out.Requests, err
}

// line asks a Buildbot through the port of testdata/master.cfg.
type line struct{ addr string }

func (l *line) ask(question any) (json.RawMessage, error) {
	conn, err := net.Dial("tcp", l.addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(testrig.Patience)); err != nil {
		return nil, err
	}
	if err := json.NewEncoder(conn).Encode(question); err != nil {
		return nil, err
	}
	text, err := bufio.NewReaderSize(conn, 1<<20).ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	var answer struct {
		Error string
		Rows  json.RawMessage
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, errors.New(answer.Error)
	}
	if len(answer.Rows) > 0 && answer.Rows[0] == '{' {
		answer.Rows = append(append([]byte{'['}, answer.Rows...), ']')
	}
	return answer.Rows, nil
}

// elements is a path as Buildbot's data API has it: numbers are numbers.
func elements(path string) (all []any) {
	for e := range strings.SplitSeq(path, "/") {
		if n, err := strconv.Atoi(e); err == nil {
			all = append(all, n)
		} else {
			all = append(all, e)
		}
	}
	return all
}

func (l *line) get(path string) (json.RawMessage, error) {
	return l.ask(map[string]any{"get": elements(path)})
}

func (l *line) control(path, action, reason string) error {
	_, err := l.ask(map[string]any{"control": elements(path), "action": action, "args": map[string]string{"reason": reason}})
	return err
}

func (l *line) force(builders ...string) (ids []int64, err error) {
	rows, err := l.ask(map[string]any{"force": builders})
	if err != nil {
		return nil, err
	}
	return ids, json.Unmarshal(rows, &ids)
}
