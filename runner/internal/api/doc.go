// Package api is the master's HTTP interface: Buildbot's data API, version 2, so
// that Buildbot's clients work with this master, and what Buildbot does not have
// as more fields and paths. What there is, is one table: resources say which
// fields a thing has and where each comes from, endpoints at which paths it is
// found and what can be done to it. Answers, application.spec and the OpenAPI
// document at /api/openapi.json all come from that table.
//
//   - endpoints.go: the paths; path.go finds the one that is asked for
//   - res_*.go: the resources; scope.go: what a path names
//   - query.go, filter.go, value.go, select.go: the query, in memory or in the database
//   - resource.go, json.go, fragment.go, body.go, answer.go, cache.go: from rows to an answer that many share
//   - rpc.go, controls.go: JSON-RPC 2.0 to do something
//   - events.go, hub.go, ws.go, wsconn.go, sse.go: events
//   - logserve.go, follow.go: logs, while they are written, too
//   - guard.go, identity.go, credentials.go, limiter.go: who may do what
//   - badge.go, metrics.go, spec.go: /badges/, /cc.xml, /metrics, /healthz, descriptions
//
// Other than in Buildbot, an unknown id or name is 404, also below which a list
// is asked for; an unknown operator or parameter is 400; a control answers after
// it took effect and is on disk, 409 if that is not possible as things are. One
// answer has at most 10,000 rows from the database; meta.total says how many
// there are.
//
// Times are whole seconds since 1970, as in Buildbot. How long something took is
// in seconds with three decimals: duration_s of builds and steps, waited_s of
// requests; while it lasts, they say how long so far.
//
// Each request has its own buildset and sourcestamp; the three have one id. The
// id of a step is that of its build times 2^20 plus its number.
package api
