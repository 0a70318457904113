package api

import (
	"context"
	"encoding/json"
	"errors"

	"bothy/runner/internal/store"
)

// Every request has a buildset of its own and a sourcestamp of its own, and all
// three have the same id: requests for several builders at once are several
// requests here.

// buildsetsResource are the fields of a buildset. Buildbot: data/buildsets.py.
func buildsetsResource() *resource[requestRow] {
	none := func(*requestRow) value { return null }
	return newResource(resource[requestRow]{
		schema: schema{name: "buildset", plural: "buildsets"},
		list:   listBuildsets,
		fields: []field[requestRow]{
			{column: column{name: "bsid", kind: integer, doc: "that of its one request"}, get: func(r *requestRow) value { return num(r.ID) }},
			{column: column{name: "external_idstring", kind: text, null: true}, get: none},
			{column: column{name: "reason", kind: text}, get: func(r *requestRow) value { return str(r.Reason) }},
			{column: column{name: "rebuilt_buildid", kind: integer, null: true, doc: "the build this is a repetition of"}, get: func(r *requestRow) value { return orNone(r.sources().Rebuilt) }},
			{column: column{name: "submitted_at", kind: stamp}, get: func(r *requestRow) value { return at(r.Submitted) }},
			{column: column{name: "complete", kind: boolean}, get: func(r *requestRow) value { return truth(r.complete()) }},
			{column: column{name: "complete_at", kind: stamp, null: true}, get: func(r *requestRow) value { return at(r.Completed) }},
			{column: column{name: "results", kind: integer, doc: "-1 while it is open"}, get: func(r *requestRow) value { return num(openResult(r.complete(), r.Result)) }},
			{column: column{name: "sourcestamps", kind: object}, put: func(b []byte, r *requestRow, _ *query) []byte {
				stamps := sourcestampsResource()
				return append(stamps.append(append(b, '['), r, &query{}), ']')
			}},
			{column: column{name: "parent_buildid", kind: integer, null: true}, get: none},
			{column: column{name: "parent_relationship", kind: text, null: true}, get: none},
		},
	})
}

// sources is what a request remembers of what is to be built, as the engine
// wrote it.
type sources struct {
	Branch   string `json:"branch"`
	Revision string `json:"revision"`
	Rebuilt  int64  `json:"rebuilt"`
}

func (r *requestRow) sources() (s sources) {
	if len(r.Spec) > 0 && json.Unmarshal(r.Spec, &s) != nil {
		return sources{} // the engine has said so in its log
	}
	return s
}

// sourcestampsResource are the fields of a sourcestamp. Buildbot:
// data/sourcestamps.py.
func sourcestampsResource() *resource[requestRow] {
	empty := func(*requestRow) value { return str("") }
	return newResource(resource[requestRow]{
		schema: schema{name: "sourcestamp", plural: "sourcestamps"},
		list:   listBuildsets,
		fields: []field[requestRow]{
			{column: column{name: "ssid", kind: integer, doc: "that of its one request"}, get: func(r *requestRow) value { return num(r.ID) }},
			{column: column{name: "revision", kind: text, null: true}, get: func(r *requestRow) value { return orNull(r.sources().Revision) }},
			{column: column{name: "branch", kind: text, null: true}, get: func(r *requestRow) value { return orNull(r.sources().Branch) }},
			{column: column{name: "repository", kind: text}, get: empty},
			{column: column{name: "project", kind: text}, get: empty},
			{column: column{name: "codebase", kind: text}, get: empty},
			{column: column{name: "patch", kind: object, null: true}, put: func(b []byte, _ *requestRow, _ *query) []byte { return append(b, "null"...) }},
			{column: column{name: "created_at", kind: stamp}, get: func(r *requestRow) value { return at(r.Submitted) }},
		},
	})
}

// storedNames are fields that the store knows by another name.
var storedNames = map[string]string{"ssid": "bsid", "created_at": "submitted_at"}

func listBuildsets(ctx context.Context, c *call, q *query) (page[requestRow], error) {
	n := c.a.names()
	if c.args.has("bsid", "ssid") {
		r, err := c.request(ctx)
		return page[requestRow]{rows: []requestRow{n.request(r)}}, err
	}
	sel := q.selection(c.ep.of.describe())
	for i := range sel.Where {
		if name, ok := storedNames[sel.Where[i].Field]; ok {
			sel.Where[i].Field = name
		}
	}
	for i := range sel.Order {
		if name, ok := storedNames[sel.Order[i].Field]; ok {
			sel.Order[i].Field = name
		}
	}
	p, err := selected(ctx, c.a.Store.SelectRequests, sel, listedRequest)
	if err != nil || !q.wants(c.ep.of.describe(), "sourcestamps", "rebuilt_buildid", "branch", "revision") {
		return p, err
	}
	for i := range p.rows { // lists come without
		r, err := c.a.Store.Request(ctx, p.rows[i].ID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return p, err
		}
		p.rows[i].Spec = r.Spec
	}
	return p, nil
}
