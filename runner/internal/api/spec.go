package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// specRow is one path of application.spec.
type specRow struct {
	path string
	s    *schema
}

// specsResource describes all paths, as Buildbot's application.spec does
// (data/connector.py, allEndpoints).
func specsResource() *resource[specRow] {
	return newResource(resource[specRow]{
		schema: schema{name: "spec", plural: "specs"},
		fields: []field[specRow]{
			{column: column{name: "path", kind: text}, get: func(s *specRow) value { return str(s.path) }},
			{column: column{name: "plural", kind: text}, get: func(s *specRow) value { return str(s.s.plural) }},
			{column: column{name: "type", kind: text}, get: func(s *specRow) value { return str(s.s.name) }},
			{column: column{name: "type_spec", kind: object}, put: func(b []byte, s *specRow, _ *query) []byte { return s.s.appendSpec(b) }},
		},
		list: func(_ context.Context, c *call, _ *query) (page[specRow], error) {
			var rows []specRow
			for _, ep := range c.a.eps {
				for _, p := range ep.patterns {
					rows = append(rows, specRow{p, ep.of.describe()})
				}
			}
			slices.SortFunc(rows, func(a, b specRow) int { return strings.Compare(a.path, b.path) })
			return page[specRow]{rows: rows}, nil
		},
	})
}

// appendSpec writes a type as Buildbot does (data/types.py, getSpec).
func (s *schema) appendSpec(b []byte) []byte {
	b = append(append(b, `{"type":`...), appendString(nil, s.name)...)
	b = append(b, `,"fields":[`...)
	for i, c := range s.columns {
		if i > 0 {
			b = append(b, ',')
		}
		name := c.kind.String()
		if c.null {
			name += " or None"
		}
		b = append(append(b, `{"name":`...), appendString(nil, c.name)...)
		b = append(append(b, `,"type":`...), appendString(nil, name)...)
		b = append(b, `,"type_spec":{`...)
		switch c.kind {
		case integers:
			b = append(b, `"type":"list","of":{"name":"integer"}`...)
		case texts:
			b = append(b, `"type":"list","of":{"name":"string"}`...)
		default:
			b = append(append(b, `"name":`...), appendString(nil, c.kind.String())...)
		}
		if c.null {
			b = append(b, `,"can_be_null":true`...)
		}
		b = append(b, "}}"...)
	}
	return append(b, "]}"...)
}

// obj is a JSON object.
type obj = map[string]any

// describe makes the OpenAPI document (version 3.1.0) out of the same table that
// answers.
func (a *API) describe() *answer {
	paths, schemas := obj{}, obj{}
	for _, ep := range a.eps {
		s := ep.of.describe()
		schemas[s.name] = s.openAPI()
		for _, p := range ep.patterns {
			path, params := openPath(p)
			item := obj{"get": ep.openGet(p, params)}
			if len(ep.controls) > 0 {
				item["post"] = ep.openPost(params)
			}
			paths[path] = item
		}
	}
	doc := obj{
		"openapi": "3.1.0",
		"info": obj{
			"title": "Bothy", "version": a.Version,
			"description": "Buildbot's data API, version 2. Fields and paths marked x-bothy are not in Buildbot. " +
				"Events come over the WebSocket /ws and as server-sent events below /sse/listen/.",
		},
		"servers": []any{obj{"url": "../api/v2"}},
		"paths":   paths,
		"components": obj{
			"schemas": schemas,
			"securitySchemes": obj{
				"password": obj{"type": "http", "scheme": "basic"},
				"token":    obj{"type": "http", "scheme": "bearer"},
			},
		},
		"security": []any{obj{}, obj{"password": []any{}}, obj{"token": []any{}}},
	}
	data, err := json.MarshalIndent(doc, "", " ")
	if err != nil {
		a.log.Error("the OpenAPI document cannot be written", "err", err) // a fault of the table
	}
	return a.etags.answer(typeJSON, data)
}

func (a *API) serveOpenAPI(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		a.writeError(w, r, badRequest("invalid HTTP method"))
		return
	}
	a.write(w, r, a.openAPI())
}

// openPath returns a pattern as OpenAPI writes it, with its parameters.
func openPath(pattern string) (string, []any) {
	var params []any
	var els []string
	for el := range strings.SplitSeq(pattern, "/") {
		k, name, variable := strings.Cut(el, ":")
		if variable {
			typ := "string"
			if k == "n" {
				typ = "integer"
			}
			params = append(params, obj{"name": name, "in": "path", "required": true, "schema": obj{"type": typ}})
			el = "{" + name + "}"
		}
		els = append(els, el)
	}
	return "/" + strings.Join(els, "/"), params
}

func (k kind) openAPI() obj {
	switch k {
	case integer:
		return obj{"type": "integer"}
	case text:
		return obj{"type": "string"}
	case boolean:
		return obj{"type": "boolean"}
	case stamp:
		return obj{"type": "integer", "description": "seconds since 1970"}
	case integers:
		return obj{"type": "array", "items": obj{"type": "integer"}}
	case texts:
		return obj{"type": "array", "items": obj{"type": "string"}}
	case span:
		return obj{"type": "number", "description": "seconds, to the millisecond"}
	}
	return obj{}
}

func (s *schema) openAPI() obj {
	props := obj{}
	for _, c := range s.columns {
		p := c.kind.openAPI()
		if c.null && p["type"] != nil {
			p["type"] = []any{p["type"], "null"}
		}
		if c.doc != "" {
			p["description"] = strings.TrimPrefix(strings.Join([]string{textOf(p["description"]), c.doc}, "; "), "; ")
		}
		if c.new {
			p["x-bothy"] = true
		}
		props[c.name] = p
	}
	if len(props) == 0 {
		return obj{"type": "object"}
	}
	return obj{"type": "object", "properties": props}
}

func textOf(v any) string {
	s, _ := v.(string)
	return s
}

// openGet describes a GET.
func (ep *endpoint) openGet(pattern string, params []any) obj {
	s := ep.of.describe()
	get := obj{"summary": summary(ep, pattern), "tags": []any{s.plural}}
	failure := obj{"description": "what is wrong, as text/plain", "content": obj{"text/plain": obj{"schema": obj{"type": "string"}}}}
	if s.name == "artifact" && ep.serve != nil {
		get["responses"] = obj{"200": obj{"description": "the file, to be saved", "content": obj{"application/octet-stream": obj{}}}, "default": failure}
		get["parameters"] = params
		return get
	}
	if ep.serve != nil && !strings.HasSuffix(pattern, "contents") && pattern != "logchunks" {
		get["responses"] = obj{"200": obj{"description": "the text", "content": obj{"text/plain": obj{}}}, "default": failure}
		get["parameters"] = append(slices.Clone(params), openQuery("follow", "boolean", "go on until the log is finished (x-bothy)", false))
		return get
	}
	params = slices.Clone(params)
	ref := obj{"$ref": "#/components/schemas/" + s.name}
	about := obj{"type": "object"}
	if ep.serve == nil {
		params = append(params, openQuery("field", "string", "only these fields", true))
	}
	switch {
	case ep.collection:
		params = append(params,
			openQuery("order", "string", "sort by these fields, with - before one in descending order; null is lowest", true),
			openQuery("limit", "integer", "", false), openQuery("offset", "integer", "", false),
			obj{
				"name": "filter", "in": "query", "style": "form", "explode": true,
				"description": "FIELD=VALUE (several: any of them) or FIELD__OPERATOR=VALUE with one of eq ne lt le gt ge contains in notin. For a field that is no text, null is a value, too (x-bothy)",
				"schema":      obj{"type": "object", "additionalProperties": obj{"type": "string"}},
			})
		about["properties"] = obj{"total": obj{"type": "integer"}, "total_is_minimum": obj{"type": "boolean", "x-bothy": true}}
	case ep.serve != nil:
		params = append(params, openQuery("offset", "integer", "number of the first line", false), openQuery("limit", "integer", "of lines", false))
	}
	if s.properties {
		params = append(params, openQuery("property", "string", "include these properties, * for all", true))
	}
	get["parameters"] = params
	body := obj{"type": "object", "properties": obj{s.plural: obj{"type": "array", "items": ref}, "meta": about}}
	get["responses"] = obj{
		"200":     obj{"description": "one is a list of one", "content": obj{"application/json": obj{"schema": body}}},
		"default": failure,
	}
	return get
}

func openQuery(name, typ, doc string, many bool) obj {
	schema := obj{"type": typ}
	if many {
		schema = obj{"type": "array", "items": schema}
	}
	p := obj{"name": name, "in": "query", "schema": schema}
	if doc != "" {
		p["description"] = doc
	}
	return p
}

func summary(ep *endpoint, pattern string) string {
	s := ep.of.describe()
	switch {
	case pattern == "":
		return "The collections to begin with"
	case ep.collection:
		return "List " + s.plural
	case s.name == "artifact" && ep.serve != nil:
		return "The bytes of an artifact"
	case ep.serve != nil:
		return "The text of a log"
	}
	return "One " + s.name
}

// openPost describes the JSON-RPC controls of an item.
func (ep *endpoint) openPost(params []any) obj {
	var kinds []any
	for _, c := range ep.controls {
		args := obj{}
		for _, p := range c.params {
			a := p.kind.openAPI()
			if p.doc != "" {
				a["description"] = p.doc
			}
			args[p.name] = a
		}
		schema := obj{"type": "object", "properties": args}
		if c.params != nil {
			schema["additionalProperties"] = false
		}
		kinds = append(kinds, obj{
			"type": "object", "title": c.method, "description": c.doc + ". Takes the role " + string(c.role) + ".",
			"required": []any{"jsonrpc", "method", "id", "params"},
			"properties": obj{
				"jsonrpc": obj{"const": "2.0"}, "method": obj{"const": c.method}, "id": obj{"type": []any{"string", "integer", "null"}}, "params": schema,
			},
		})
	}
	reply := obj{"type": "object", "properties": obj{
		"jsonrpc": obj{"const": "2.0"}, "id": obj{}, "result": obj{},
		"error": obj{"type": "object", "properties": obj{"code": obj{"type": "integer"}, "message": obj{}}},
	}}
	content := obj{"application/json": obj{"schema": reply}}
	post := obj{
		"summary": "Control by JSON-RPC 2.0; it answers after it took effect",
		"tags":    []any{ep.of.describe().plural},
		"requestBody": obj{
			"required": true, "content": obj{"application/json": obj{"schema": obj{"oneOf": kinds}}},
		},
		"responses": obj{"200": obj{"description": "done", "content": content}, "default": obj{"description": "not done", "content": content}},
	}
	if len(params) > 0 {
		post["parameters"] = params
	}
	return post
}

// serveVersions is Buildbot's list of API versions.
func (a *API) serveVersions(w http.ResponseWriter, r *http.Request) {
	b := append([]byte(`{"api_versions": {"v2": `), appendString(nil, a.config().URL+"api/v2")...)
	writeSmall(w, r, http.StatusOK, typeJSON, append(b, "}}"...))
}
