package api

import (
	"context"
	"slices"
	"time"

	"bothy/runner/build"
	"bothy/runner/internal/queue"
	"bothy/runner/internal/store"
)

// requestRow is a request with the id of its builder, and when its latest build
// started.
type requestRow struct {
	store.ListedRequest
	claimedAt time.Time
}

func (n *names) request(r store.Request) requestRow {
	return listedRequest(store.ListedRequest{Request: r, BuilderID: n.builderIDs[r.Builder]})
}

func listedRequest(r store.ListedRequest) requestRow { return requestRow{ListedRequest: r} }

func (r *requestRow) claimed() bool  { return r.State != store.Pending }
func (r *requestRow) complete() bool { return r.State == store.Done }

// requestsResource are the fields of a build request. Buildbot: data/buildrequests.py.
func requestsResource() *resource[requestRow] {
	return newResource(resource[requestRow]{
		schema: schema{name: "buildrequest", plural: "buildrequests", properties: true},
		list:   listRequests,
		fields: []field[requestRow]{
			{column: column{name: "buildrequestid", kind: integer}, get: func(r *requestRow) value { return num(r.ID) }},
			{column: column{name: "buildsetid", kind: integer, doc: "each request has a buildset of its own, with the same id"}, get: func(r *requestRow) value { return num(r.ID) }},
			{column: column{name: "builderid", kind: integer}, get: func(r *requestRow) value { return num(r.BuilderID) }},
			{column: column{name: "priority", kind: integer}, get: func(r *requestRow) value { return num(r.Priority) }},
			{column: column{name: "claimed", kind: boolean}, get: func(r *requestRow) value { return truth(r.claimed()) }},
			{column: column{name: "claimed_at", kind: stamp, null: true}, get: func(r *requestRow) value {
				if !r.claimed() {
					return null
				}
				return at(r.claimedAt)
			}},
			{column: column{name: "claimed_by_masterid", kind: integer, null: true}, get: func(r *requestRow) value {
				if !r.claimed() {
					return null
				}
				return num(masterID)
			}},
			{column: column{name: "complete", kind: boolean}, get: func(r *requestRow) value { return truth(r.complete()) }},
			{column: column{name: "complete_at", kind: stamp, null: true}, get: func(r *requestRow) value { return at(r.Completed) }},
			{column: column{name: "results", kind: integer, doc: "-1 while it is open"}, get: func(r *requestRow) value { return num(openResult(r.complete(), r.Result)) }},
			{column: column{name: "submitted_at", kind: stamp}, get: func(r *requestRow) value { return at(r.Submitted) }},
			{column: column{name: "waited_for", kind: boolean}, get: func(*requestRow) value { return truth(false) }},
			{column: column{name: "properties", kind: object, doc: "name → [value, source], of those the parameter property names"}, put: func(b []byte, r *requestRow, q *query) []byte {
				return appendProperties(b, r.Properties, q.properties...)
			}},

			{column: column{name: "builder", kind: text, new: true, doc: "the builder's name"}, get: func(r *requestRow) value { return str(r.Builder) }},
			{column: column{name: "state", kind: text, new: true, doc: "pending, running or done"}, get: func(r *requestRow) value { return str(r.State.String()) }},
			{column: column{name: "state_string", kind: text, new: true, doc: "how it ended, in words; while it is open, what became of its builds"}, get: func(r *requestRow) value { return str(r.Text) }},
			{column: column{name: "reason", kind: text, new: true}, get: func(r *requestRow) value { return str(r.Reason) }},
			{column: column{name: "worker", kind: text, null: true, new: true, doc: "the only worker that may run it"}, get: func(r *requestRow) value { return orNull(r.Worker) }},
			{column: column{name: "attempts", kind: integer, new: true, doc: "builds started for it"}, get: func(r *requestRow) value { return num(r.Attempts) }},
			{column: column{name: "retries", kind: integer, new: true, doc: "builds that were lost and count against max_retries"}, get: func(r *requestRow) value { return num(r.Retries) }},
			{column: column{name: "waited_s", kind: span, new: true, doc: "until its latest build began; while it is pending, how long so far; if none began, until it was over"}, get: func(r *requestRow) value {
				if r.claimed() && !r.claimedAt.IsZero() {
					return between(r.Submitted, r.claimedAt)
				}
				return between(r.Submitted, r.Completed)
			}},
			{column: column{name: "replaced_by", kind: integer, null: true, new: true, doc: "the request it was collapsed into"}, get: func(r *requestRow) value { return orNone(r.Replaced) }},
		},
	})
}

func openResult(complete bool, r build.Result) build.Result {
	if !complete {
		return build.None
	}
	return r
}

func listRequests(ctx context.Context, c *call, q *query) (page[requestRow], error) {
	n := c.a.names()
	var p page[requestRow]
	if c.args.has("buildrequestid") {
		r, err := c.request(ctx)
		if err != nil {
			return p, err
		}
		p.rows = []requestRow{n.request(r)}
	} else {
		var path []store.Cond
		b, err := c.builder()
		if err != nil {
			return p, err
		}
		if b != nil {
			path = append(path, is("builderid", b.ID))
		}
		if p, err = selected(ctx, c.a.Store.SelectRequests, q.selection(&c.a.data.requests.schema, path...), listedRequest); err != nil {
			return p, err
		}
	}
	return p, c.a.claimTimes(ctx, p.rows, q)
}

// claimTimes looks up when the requests were claimed last: when their latest
// builds started.
func (a *API) claimTimes(ctx context.Context, rows []requestRow, q *query) error {
	if !q.wants(&a.data.requests.schema, "claimed_at", "waited_s") {
		return nil
	}
	byID := make(map[int64]*requestRow, len(rows))
	var ids []any
	for i := range rows {
		if r := &rows[i]; r.claimed() && r.Attempts > 0 {
			byID[r.ID] = r
			ids = append(ids, r.ID)
		}
	}
	for some := range slices.Chunk(ids, claimChunk) {
		builds, err := a.Store.SelectBuilds(ctx, store.Select{
			Where: []store.Cond{{Field: "buildrequestid", Op: store.In, Values: some}}, Limit: store.NoLimit,
		})
		if err != nil {
			return err
		}
		for _, b := range builds.Rows {
			if r := byID[b.Request]; b.Started.After(r.claimedAt) {
				r.claimedAt = b.Started
			}
		}
	}
	return nil
}

// claimChunk is how many requests are looked up in one query.
const claimChunk = 500

// reasonsResource tells, for each worker, what keeps a pending request from it.
func reasonsResource() *resource[queue.Reason] {
	return newResource(resource[queue.Reason]{
		schema: schema{name: "reason", plural: "reasons"},
		fields: []field[queue.Reason]{
			{column: column{name: "worker", kind: text, null: true, new: true, doc: "null: it has nothing to do with a worker"}, get: func(r *queue.Reason) value { return orNull(r.Worker) }},
			{column: column{name: "predicate", kind: text, new: true, doc: "the rule, such as worker-full or lock-held; ready: nothing keeps it"}, get: func(r *queue.Reason) value { return str(r.Predicate) }},
			{column: column{name: "reason", kind: text, new: true, doc: "for people"}, get: func(r *queue.Reason) value { return str(r.Reason) }},
		},
		list: func(ctx context.Context, c *call, _ *query) (page[queue.Reason], error) {
			r, err := c.request(ctx)
			if err != nil {
				return page[queue.Reason]{}, err
			}
			why, err := c.a.Engine.Why(ctx, r.ID)
			return page[queue.Reason]{rows: why}, err
		},
	})
}
