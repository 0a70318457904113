package api

import (
	"context"
	"hash/maphash"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bothy/runner/config"
	"bothy/runner/internal/artifacts"
	"bothy/runner/internal/engine"
	"bothy/runner/internal/logs"
	"bothy/runner/internal/store"
)

// Options are what an [API] shows and steers. All but Artifacts must be given.
type Options struct {
	Engine *engine.Engine
	Store  *store.Store
	Logs   *logs.Store
	// Artifacts has files of builds; nil: none are kept.
	Artifacts *artifacts.Store
	Config    func() *config.Config // the one in force
	Machine   func() Machine
	Master    string // HOST:BASEDIR
	Version   string
	Logger    *slog.Logger
}

// Machine is what this machine grants to its builds, and what of it is in use.
type Machine struct {
	Slots   int
	CPUs    float64
	Memory  int64  // bytes
	Blocked string // why no build may start, "" if one may
}

// API is the master's HTTP interface. [API.Handler] serves it.
type API struct {
	Options
	log     *slog.Logger
	began   time.Time
	routes  router
	eps     []*endpoint
	namesMu sync.Mutex
	known   *names
	roster  roster
	openAPI func() *answer
	data    resources
	etags   etags
	cache   cache
	hub     hub
	streams streams
	follows follows
	zippers zippers
	changes atomic.Uint64 // of who may listen
}

func (a *API) config() *config.Config { return a.Options.Config() }

// Handler returns the interface for those whom acc lets in. Paths are those of
// Buildbot's master: /api/v2/…, /ws, /sse/…; besides, /metrics, /badges/…,
// /cc.xml, and /healthz, which is for everybody.
func (a *API) Handler(acc Access) http.Handler {
	in := http.NewServeMux()
	in.HandleFunc("/api/", a.serveAPI)
	in.HandleFunc("GET /ws", a.serveWS)
	in.HandleFunc("GET /sse/{path...}", a.serveSSE)
	in.HandleFunc("GET /metrics", a.serveMetrics)
	in.HandleFunc("GET /badges/{file}", a.serveBadge)
	in.HandleFunc("GET /cc.xml", a.serveCC)
	out := http.NewServeMux()
	out.HandleFunc("GET /healthz", a.serveHealth)
	out.Handle("/", a.guard(acc, in))
	return out
}

// Close ends all WebSockets and streams, and tells their clients why.
func (a *API) Close() { a.hub.close() }

// DropListeners ends what goes on after a change of who may listen: all
// WebSockets and streams, since those who still may connect again; and the logs
// that are followed by requests that still does not let in, since whoever follows
// one could not go on where it was cut.
func (a *API) DropListeners(still func(*http.Request) bool) {
	a.changes.Add(1) // who is being let in just now, by what counted before, asks below
	a.hub.drop(errChanged)
	a.follows.check(still)
}

// outdated reports whether who may listen has changed since the sender of a
// request was looked at. What goes on asks when it can be dropped: a password
// takes a while to check.
func (a *API) outdated(ctx context.Context) bool {
	who, _ := ctx.Value(identityKey{}).(admitted)
	return who.revocable && who.change != a.changes.Load()
}

// serveAPI answers what lies below /api/.
func (a *API) serveAPI(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/api/")
	version, rest, _ := strings.Cut(path, "/")
	switch version {
	case "v2", "latest":
	case "openapi.json":
		if rest == "" && path == version {
			a.serveOpenAPI(w, r)
			return
		}
		a.writeError(w, r, invalidPath(path))
		return
	case "":
		a.serveVersions(w, r)
		return
	default:
		a.writeError(w, r, invalidPath(path))
		return
	}
	switch r.Method {
	case http.MethodPost:
		a.serveRPC(w, r, rest)
	case http.MethodGet, http.MethodHead:
		a.serveGet(w, r, rest)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		a.writeError(w, r, badRequest("invalid HTTP method"))
	}
}

// find returns the endpoint of an escaped path below /api/v2/.
func (a *API) find(path string) (*endpoint, args, error) {
	els, err := splitPath(path)
	if err != nil {
		return nil, nil, invalidPath(path)
	}
	ep, got := a.routes.find(els)
	if ep == nil {
		return nil, nil, invalidPath(strings.Join(els, "/"))
	}
	return ep, got, nil
}

// serveGet answers a GET of data.
func (a *API) serveGet(w http.ResponseWriter, r *http.Request, path string) {
	ep, got, err := a.find(path)
	if err != nil {
		a.writeError(w, r, err)
		return
	}
	c := &call{a: a, ep: ep, args: got, path: path, who: IdentityOf(r.Context())}
	if ep.serve != nil {
		if err := ep.serve(w, r, c); err != nil {
			a.writeError(w, r, err)
		}
		return
	}
	compact := wantsCompact(r)
	ans, err := a.answer(r.Context(), c, r.URL.RawQuery, compact)
	if err != nil {
		a.writeError(w, r, err)
		return
	}
	a.write(w, r, ans)
}

func (a *API) answer(ctx context.Context, c *call, raw string, compact bool) (*answer, error) {
	make := func(ctx context.Context) (*answer, error) {
		q, err := parseQuery(c.ep.of.describe(), raw, c.ep.collection)
		if err != nil {
			return nil, err
		}
		b, err := c.ep.envelope(ctx, c, q)
		if err != nil {
			return nil, err
		}
		return a.form(b, compact), nil
	}
	if !c.ep.cached || len(raw) > maxQuery {
		return make(ctx)
	}
	key := c.path + "?" + raw
	if !compact {
		key += " " // no URL holds one
	}
	version := a.version
	if c.ep.of == served(a.data.workers) {
		version = a.workersVersion
	}
	return a.cache.get(ctx, key, version, make)
}

// version changes with everything that cached answers are made of, other than
// those about workers, before anybody is told of the change.
func (a *API) version() uint64 { return a.Store.Version() + a.names().gen }

// workersVersion is the version of what is said about workers: none of it is
// read from the database.
func (a *API) workersVersion() uint64 { return a.names().gen + a.roster.version(a.Engine.Workers()) }

// roster counts how often the views of workers have changed.
type roster struct {
	mu    sync.Mutex
	gen   uint64
	views []*engine.WorkerView
}

func (f *roster) version(views []*engine.WorkerView) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(f.views, views) {
		f.views = views
		f.gen++
	}
	return f.gen
}

// New makes the interface of a master. [API.Close] ends it.
func New(o Options) (*API, error) {
	a := &API{Options: o, log: o.Logger, began: time.Now()}
	a.etags.seed = maphash.MakeSeed()
	a.hub.start = a.follow
	a.data = resources{
		masters: mastersResource(), workers: workersResource(), builders: buildersResource(), requests: requestsResource(),
		buildsets: buildsetsResource(), sourcestamps: sourcestampsResource(), builds: buildsResource(), steps: stepsResource(),
		logs: logsResource(), schedulers: schedulersResource(), force: forceResource(), mails: mailsResource(), journal: journalResource(),
		artifacts: artifactsResource(), testSets: testSetsResource(), testResults: testResultsResource(),
		reasons: reasonsResource(), changes: changesResource(), changesources: changesourcesResource(), projects: projectsResource(),
		properties:   &propertiesResource{schema{name: "sourcedproperties", plural: "properties"}},
		propertyList: propertyListResource(), logchunks: logchunksResource(), rootlinks: rootlinksResource(), specs: specsResource(),
	}
	a.eps = endpoints(&a.data)
	for _, ep := range a.eps {
		for _, p := range ep.patterns {
			if err := a.routes.add(p, ep); err != nil {
				return nil, err
			}
		}
	}
	a.openAPI = sync.OnceValue(a.describe)
	return a, nil
}

// envelope is the whole answer in compact JSON: {"PLURAL": […], "meta": {…}},
// keys sorted. A single item is a list of one, as in Buildbot.
func (ep *endpoint) envelope(ctx context.Context, c *call, q *query) (body, error) {
	plural := ep.of.describe().plural
	if !ep.collection {
		head, tail := around(plural, `"meta":{}`)
		b, err := ep.of.item(ctx, c, q, append(make([]byte, 0, 2<<10), head...))
		return body{c.a.etags.part(append(b, tail...))}, err
	}
	rows, m, err := ep.of.collection(ctx, c, q)
	if err != nil {
		return nil, err
	}
	about := appendValue([]byte(`"meta":{"total":`), integer, num(m.total))
	if m.atLeast {
		about = append(about, `,"total_is_minimum":true`...)
	}
	head, tail := around(plural, string(about)+"}")
	return slices.Concat(body{c.a.etags.part([]byte(head))}, rows, body{c.a.etags.part([]byte(tail))}), nil
}

// around is what an envelope has before and after its rows.
func around(plural, meta string) (head, tail string) {
	head, tail = `"`+plural+`":[`, "]"
	if "meta" < plural {
		head = meta + "," + head
	} else {
		tail += "," + meta
	}
	return "{" + head, tail + "}"
}
