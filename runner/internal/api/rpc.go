package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"bothy/runner/config"
)

// maxBody bounds what is read of a request.
const maxBody = 1 << 20

// call is one request to an endpoint.
type call struct {
	a    *API
	ep   *endpoint
	args args
	path string // as the client wrote it
	who  Identity
}

// control is something that can be done to an item.
type control struct {
	method string
	role   config.Role
	doc    string
	params []param
	// do returns the JSON of the result when what was asked for has taken
	// effect, and is on disk.
	do func(ctx context.Context, c *call, p params) ([]byte, error)
}

// param is one that a control takes.
type param struct {
	name string
	kind kind
	doc  string
}

// rpc is a JSON-RPC 2.0 request as Buildbot takes them (www/rest.py): one at a
// time, with named parameters, and always answered.
type rpc struct {
	id     json.RawMessage
	method string
	params params
}

// parseRPC reads a request. What it returns with an error holds the id, if
// there is one that can be given back.
func parseRPC(body []byte) (rpc, error) {
	var r rpc
	if !utf8.Valid(body) { // the id goes back as it is
		return r, fail(http.StatusBadRequest, codeParse, "JSON parse error: not UTF-8")
	}
	trimmed := bytes.TrimLeft(body, " \t\r\n")
	if len(trimmed) > 0 && trimmed[0] == '[' && json.Valid(body) {
		return r, badRequest("JSONRPC batch requests are not supported")
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(body, &m); err != nil {
		if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return r, badRequest("JSONRPC root object must be an object")
		}
		return r, fail(http.StatusBadRequest, codeParse, "JSON parse error: %v", err)
	}
	if m == nil {
		return r, badRequest("JSONRPC root object must be an object")
	}
	id, hasID := m["id"]
	if hasID && isScalar(id) && !bytes.ContainsAny(id, ".eE") || len(id) > 0 && id[0] == '"' || string(id) == "null" {
		r.id = id
	}
	var version string
	for _, key := range []struct {
		name, kind string
		into       any
	}{
		{"jsonrpc", "a string", &version}, {"method", "a string", &r.method}, {"id", "", nil}, {"params", "an object", &r.params},
	} {
		raw, ok := m[key.name]
		switch {
		case !ok:
			return r, badRequest("missing key '%s'", key.name)
		case key.into == nil && r.id == nil:
			return r, badRequest("'id' must be a string, number, or null")
		case key.into != nil && (string(raw) == "null" || json.Unmarshal(raw, key.into) != nil):
			return r, badRequest("'%s' must be %s", key.name, key.kind)
		}
	}
	if version != "2.0" {
		return r, badRequest("only JSONRPC 2.0 is supported")
	}
	return r, nil
}

// serveRPC answers a POST to an item.
func (a *API) serveRPC(w http.ResponseWriter, r *http.Request, path string) {
	req, err := a.readRPC(w, r)
	if err != nil {
		a.writeRPCError(w, r, req.id, err)
		return
	}
	result, err := a.control(r.Context(), path, req, IdentityOf(r.Context()))
	if err != nil {
		a.writeRPCError(w, r, req.id, err)
		return
	}
	b := append([]byte(`{"id":`), req.id...)
	b = append(b, `,"jsonrpc":"2.0","result":`...)
	b = append(b, result...)
	writeSmall(w, r, http.StatusOK, typeJSON, append(b, '}'))
}

func (a *API) readRPC(w http.ResponseWriter, r *http.Request) (rpc, error) {
	// A form on another site cannot send this type.
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return rpc{}, badRequest("Invalid content-type (use application/json)")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return rpc{}, err
	}
	return parseRPC(body)
}

func (a *API) control(ctx context.Context, path string, req rpc, who Identity) ([]byte, error) {
	ep, got, err := a.find(path)
	if err != nil {
		return nil, err
	}
	for i := range ep.controls {
		c := &ep.controls[i]
		if c.method != req.method {
			continue
		}
		if !who.May(c.role) {
			return nil, forbidden("%s may not %s: that takes the role %q", who.Owner(), req.method, c.role)
		}
		if err := req.params.check(c.params); err != nil {
			return nil, err
		}
		return c.do(ctx, &call{a: a, ep: ep, args: got, path: path, who: who}, req.params)
	}
	return nil, fail(http.StatusNotImplemented, codeNoMethod, "action: %s is not supported", shown(req.method)) // Buildbot's words
}

func (a *API) writeRPCError(w http.ResponseWriter, r *http.Request, id json.RawMessage, err error) {
	e := errorOf(err)
	if e.status >= http.StatusInternalServerError && e.code == codeInternal {
		a.logFailed(r, err)
	}
	if id == nil {
		id = json.RawMessage("null")
	}
	b := append([]byte(`{"error":{"code":`), appendAny(nil, e.code)...)
	b = append(b, `,"message":`...)
	if e.fields != nil {
		b = appendTexts(b, e.fields)
	} else {
		b = appendString(b, e.text)
	}
	b = append(b, `},"id":`...)
	b = append(b, id...)
	writeSmall(w, r, e.status, typeJSON, append(b, `,"jsonrpc":"2.0"}`...))
}

func appendTexts(b []byte, m map[string]string) []byte {
	b = append(b, '{')
	for i, name := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, name)
		b = append(b, ':')
		b = appendString(b, m[name])
	}
	return append(b, '}')
}

// params are the parameters of a request.
type params map[string]json.RawMessage

// check refuses parameters that mean nothing, except for owner, which Buildbot's
// clients send and its server replaces. nil takes any.
func (p params) check(known []param) error {
	if known == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(p)) {
		if name == "owner" || slices.ContainsFunc(known, func(k param) bool { return k.name == name }) {
			continue
		}
		var names []string
		for _, k := range known {
			names = append(names, k.name)
		}
		return badParam("there is no parameter '%s', only: %s", shown(name), strings.Join(names, ", "))
	}
	return nil
}

// has reports whether a parameter was given, and is not null.
func (p params) has(name string) bool {
	raw, ok := p[name]
	return ok && string(raw) != "null"
}

// maxReason bounds a reason in bytes.
const maxReason = 1000

// reason is what a person says to what they do.
func (p params) reason() (string, error) {
	s, err := p.text("reason")
	if err == nil && len(s) > maxReason {
		err = badParam("the reason has more than %d bytes", maxReason)
	}
	return s, err
}

func (p params) text(name string) (s string, err error) {
	if !p.has(name) {
		return "", nil
	}
	if json.Unmarshal(p[name], &s) != nil {
		return "", badParam("'%s' must be a text", name)
	}
	return s, nil
}

func (p params) integer(name string) (n int64, err error) {
	if !p.has(name) {
		return 0, nil
	}
	if json.Unmarshal(p[name], &n) != nil {
		return 0, badParam("'%s' must be a whole number", name)
	}
	return n, nil
}

func (p params) boolean(name string) (b bool, err error) {
	if !p.has(name) {
		return false, nil
	}
	if json.Unmarshal(p[name], &b) != nil {
		return false, badParam("'%s' must be true or false", name)
	}
	return b, nil
}
