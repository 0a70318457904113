package api

import (
	"context"
	"encoding/json"

	"bothy/runner/build"
	"bothy/runner/internal/store"
)

// nothing is a row of which there are none: what Buildbot has and a Bothy has
// not, but clients ask for.
type nothing struct{}

func noRows(ctx context.Context, c *call, _ *query) (page[nothing], error) {
	return page[nothing]{}, c.parent(ctx)
}

func emptyResource(name, plural string, columns ...column) *resource[nothing] {
	r := resource[nothing]{schema: schema{name: name, plural: plural}, list: noRows}
	for _, c := range columns {
		f := field[nothing]{column: c, get: func(*nothing) value { return null }}
		r.fields = append(r.fields, f)
	}
	return newResource(r)
}

// changesResource are the fields of a change. Buildbot: data/changes.py.
func changesResource() *resource[nothing] {
	return emptyResource("change", "changes",
		column{name: "changeid", kind: integer}, column{name: "parent_changeids", kind: integers}, column{name: "author", kind: text},
		column{name: "committer", kind: text, null: true}, column{name: "files", kind: texts}, column{name: "comments", kind: text},
		column{name: "revision", kind: text, null: true}, column{name: "when_timestamp", kind: stamp}, column{name: "branch", kind: text, null: true},
		column{name: "category", kind: text, null: true}, column{name: "revlink", kind: text, null: true}, column{name: "properties", kind: object},
		column{name: "repository", kind: text}, column{name: "project", kind: text}, column{name: "codebase", kind: text},
		column{name: "sourcestamp", kind: object})
}

// changesourcesResource are the fields of a change source. Buildbot:
// data/changesources.py.
func changesourcesResource() *resource[nothing] {
	return emptyResource("changesource", "changesources",
		column{name: "changesourceid", kind: integer}, column{name: "name", kind: text}, column{name: "master", kind: object, null: true})
}

// projectsResource are the fields of a project. Buildbot: data/projects.py.
func projectsResource() *resource[nothing] {
	return emptyResource("project", "projects",
		column{name: "projectid", kind: integer}, column{name: "name", kind: text}, column{name: "slug", kind: text}, column{name: "active", kind: boolean},
		column{name: "description", kind: text, null: true}, column{name: "description_format", kind: text, null: true}, column{name: "description_html", kind: text, null: true})
}

// propertiesResource is one object: name → [value, source]. Buildbot:
// data/properties.py.
type propertiesResource struct{ schema }

func (p *propertiesResource) describe() *schema { return &p.schema }

func (p *propertiesResource) collection(context.Context, *call, *query) (body, meta, error) {
	return nil, meta{}, notFound("there is no list of properties")
}

func (p *propertiesResource) item(ctx context.Context, c *call, _ *query, b []byte) ([]byte, error) {
	set, err := c.properties(ctx)
	if err != nil {
		return b, err
	}
	return appendProperties(b, set, "*"), nil
}

// properties are those of the build or buildset that the path names.
func (c *call) properties(ctx context.Context) (build.Properties, error) {
	if c.args.has("bsid", "buildrequestid") {
		r, err := c.request(ctx)
		return r.Properties, err
	}
	b, err := c.build(ctx)
	return b.Properties, err
}

// propertyRow is one property.
type propertyRow struct {
	name string
	prop build.Property
}

// propertyListResource is the same as a list. Buildbot: data/properties.py.
func propertyListResource() *resource[propertyRow] {
	return newResource(resource[propertyRow]{
		schema: schema{name: "_property", plural: "_properties"},
		fields: []field[propertyRow]{
			{column: column{name: "name", kind: text}, get: func(p *propertyRow) value { return str(p.name) }},
			{column: column{name: "source", kind: text}, get: func(p *propertyRow) value { return str(p.prop.Source) }},
			{column: column{name: "value", kind: text, doc: "JSON"}, get: func(p *propertyRow) value { return str(string(appendAny(nil, p.prop.Value))) }},
		},
		list: func(ctx context.Context, c *call, _ *query) (page[propertyRow], error) {
			if c.ep.below {
				return page[propertyRow]{}, c.parent(ctx)
			}
			set, err := c.properties(ctx)
			var rows []propertyRow
			for name, p := range sortedProperties(set, []string{"*"}) {
				rows = append(rows, propertyRow{name, p})
			}
			return page[propertyRow]{rows: rows}, err
		},
	})
}

// mailsResource are the fields of a mail in the outbox, or sent from it.
func mailsResource() *resource[store.Mail] {
	return newResource(resource[store.Mail]{
		schema: schema{name: "mail", plural: "mails"},
		fields: []field[store.Mail]{
			{column: column{name: "mailid", kind: integer, new: true}, get: func(m *store.Mail) value { return num(m.ID) }},
			{column: column{name: "key", kind: text, new: true, doc: "what happened and to whom it is told: unique"}, get: func(m *store.Mail) value { return str(m.Key) }},
			{column: column{name: "kind", kind: text, new: true}, get: func(m *store.Mail) value { return str(m.Kind) }},
			{column: column{name: "worker", kind: text, null: true, new: true, doc: "the worker's name"}, get: func(m *store.Mail) value { return orNull(m.Worker) }},
			{column: column{name: "buildid", kind: integer, null: true, new: true}, get: func(m *store.Mail) value { return orNone(m.Build) }},
			{column: column{name: "recipient", kind: text, new: true}, get: func(m *store.Mail) value { return str(m.Recipient) }},
			{column: column{name: "state", kind: text, new: true, doc: "queued, sending, uncertain (perhaps sent; it is sent again), sent or failed", stored: mailState}, get: func(m *store.Mail) value { return str(m.State.String()) }},
			{column: column{name: "created_at", kind: stamp, new: true}, get: func(m *store.Mail) value { return at(m.Created) }},
			{column: column{name: "not_before", kind: stamp, null: true, new: true, doc: "held until then for others that go with it"}, get: func(m *store.Mail) value { return at(m.NotBefore) }},
			{column: column{name: "next_try", kind: stamp, null: true, new: true}, get: func(m *store.Mail) value { return at(m.NextTry) }},
			{column: column{name: "done", kind: boolean, new: true}, get: func(m *store.Mail) value { return truth(!m.Done.IsZero()) }},
			{column: column{name: "done_at", kind: stamp, null: true, new: true}, get: func(m *store.Mail) value { return at(m.Done) }},
			{column: column{name: "attempts", kind: integer, new: true}, get: func(m *store.Mail) value { return num(m.Attempts) }},
			{column: column{name: "message_id", kind: text, null: true, new: true}, get: func(m *store.Mail) value { return orNull(m.MessageID) }},
			{column: column{name: "error", kind: text, null: true, new: true, doc: "of the last attempt"}, get: func(m *store.Mail) value { return orNull(m.Error) }},
		},
		list: func(ctx context.Context, c *call, q *query) (page[store.Mail], error) {
			var path []store.Cond
			if id, ok := c.args.number("mailid"); ok {
				path = append(path, is("mailid", id))
			}
			w, err := c.worker()
			if err != nil {
				return page[store.Mail]{}, err
			}
			if w != nil {
				path = append(path, is("worker", w.Name))
			}
			return selected(ctx, c.a.Store.SelectMails, q.selection(&c.a.data.mails.schema, path...), unchanged[store.Mail])
		},
	})
}

func unchanged[T any](row T) T { return row }

// mailState is a state's number, which is what the store has; none has -1.
func mailState(v value) any {
	for s := store.MailQueued; s <= store.MailFailed; s++ {
		if s.String() == v.s {
			return int64(s)
		}
	}
	return int64(-1)
}

// journalResource are the fields of a line of the journal: what workers went
// through, and what people did.
func journalResource() *resource[store.Entry] {
	return newResource(resource[store.Entry]{
		schema: schema{name: "entry", plural: "journal"},
		fields: []field[store.Entry]{
			{column: column{name: "entryid", kind: integer, new: true}, get: func(e *store.Entry) value { return num(e.ID) }},
			{column: column{name: "time", kind: stamp, new: true}, get: func(e *store.Entry) value { return at(e.Time) }},
			{column: column{name: "kind", kind: text, new: true, doc: "of what: worker, build, request, builder, scheduler or master"}, get: func(e *store.Entry) value { return str(e.Kind) }},
			{column: column{name: "name", kind: text, new: true}, get: func(e *store.Entry) value { return str(e.Name) }},
			{column: column{name: "ref", kind: integer, null: true, new: true, doc: "its id"}, get: func(e *store.Entry) value { return orNone(e.Ref) }},
			{column: column{name: "buildid", kind: integer, null: true, new: true, doc: "the build that caused it"}, get: func(e *store.Entry) value { return orNone(e.Build) }},
			{column: column{name: "what", kind: text, new: true}, get: func(e *store.Entry) value { return str(e.What) }},
			{column: column{name: "who", kind: text, null: true, new: true, doc: "null or anonymous: nobody in particular"}, get: func(e *store.Entry) value { return orNull(e.Who) }},
			{column: column{name: "reason", kind: text, null: true, new: true}, get: func(e *store.Entry) value { return orNull(e.Reason) }},
			{column: column{name: "detail", kind: object, null: true, new: true}, put: func(b []byte, e *store.Entry, _ *query) []byte {
				if len(e.Detail) == 0 || !json.Valid(e.Detail) {
					return append(b, "null"...)
				}
				return append(b, e.Detail...)
			}},
		},
		list: func(ctx context.Context, c *call, q *query) (page[store.Entry], error) {
			var path []store.Cond
			if id, ok := c.args.number("entryid"); ok {
				path = append(path, is("entryid", id))
			}
			w, err := c.worker()
			if err != nil {
				return page[store.Entry]{}, err
			}
			if w != nil {
				path = append(path, is("kind", "worker"), is("name", w.Name))
			}
			return selected(ctx, c.a.Store.SelectJournal, q.selection(&c.a.data.journal.schema, path...), unchanged[store.Entry])
		},
	})
}
