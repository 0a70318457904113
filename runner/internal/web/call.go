package web

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"bothy/runner/config"
	"bothy/runner/internal/api"
	"bothy/runner/internal/engine"
	"bothy/runner/internal/store"
)

// maxForm bounds what is read of a form, in bytes.
const maxForm = 1 << 20

// call is one request to a page. Data of pages embed it, so that templates find
// its exported fields and methods.
type call struct {
	s    *Web
	w    http.ResponseWriter
	r    *http.Request
	acc  *Access
	page *page // nil: of none

	Who     api.Identity
	Now     time.Time
	Version uint64 // of the state that is shown
	Note    *note  // what came of what was asked for before, nil: nothing was
}

type identityKey struct{}

func withIdentity(ctx context.Context, id api.Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

func (s *Web) call(w http.ResponseWriter, r *http.Request, acc *Access, p *page) *call {
	c := &call{s: s, w: w, r: r, acc: acc, page: p, Now: time.Now(), Version: s.version()}
	c.Who, _ = r.Context().Value(identityKey{}).(api.Identity)
	return c
}

// ctx ends with the request.
func (c *call) ctx() context.Context { return c.r.Context() }

// up leads from the address of the request to the root: "./", "../" and so on.
func (c *call) up() string {
	depth := strings.Count(c.r.URL.EscapedPath(), "/") - 1
	if depth <= 0 {
		return "./"
	}
	return strings.Repeat("../", depth)
}

// Root is what relative addresses in a template begin with.
func (c *call) Root() string { return c.up() }

// here is the address of the request as seen from the root, without a note.
func (c *call) here() string {
	q := c.r.URL.Query()
	q.Del("note")
	q.Del("panel")
	at := strings.TrimPrefix(c.r.URL.EscapedPath(), "/")
	if enc := q.Encode(); enc != "" {
		at += "?" + enc
	}
	return at
}

// query writes "?name=value".
func query(name, value string) string { return "?" + url.Values{name: {value}}.Encode() }

// redirect sends the browser to a relative address. http.Redirect would make it
// an absolute one, which is wrong below a prefix.
func (c *call) redirect(to string) {
	h := c.w.Header()
	h.Set("Location", to)
	h.Set("Cache-Control", "no-store")
	c.w.WriteHeader(http.StatusSeeOther)
}

// Title is what the master is called.
func (c *call) Title() string { return c.s.Config().Title }

// Release is the version of the program.
func (c *call) Release() string { return c.s.Version }

// Nav are the pages of the navigation.
func (c *call) Nav() []navItem {
	var items []navItem
	for i := range c.s.pages {
		p := &c.s.pages[i]
		if p.nav == "" {
			continue
		}
		to := strings.Trim(strings.TrimSuffix(p.path, "{$}"), "/")
		at, _, _ := strings.Cut(strings.TrimPrefix(c.r.URL.Path, "/"), "/")
		items = append(items, navItem{Name: p.nav, To: to, Key: p.key, Here: at == to, Exact: c.page == p})
	}
	return items
}

type navItem struct {
	Name, To, Key string
	Here          bool // the page, or one below it
	Exact         bool
}

// Refusal says why who looks may not do what takes a role, "" if they may.
func (c *call) Refusal(role config.Role) string {
	switch {
	case c.Who.May(role):
		return ""
	case c.acc.ReadOnly != "":
		return c.acc.ReadOnly
	}
	return c.Who.Owner() + " is a " + string(c.Who.Role) + "; this takes the role " + string(role)
}

// Act is Refusal for what operators may do, which is most.
func (c *call) Act() string { return c.Refusal(config.Operator) }

// MayLogin reports whether there is anything to log in with.
func (c *call) MayLogin() bool { return c.acc.Login != nil }

// Degraded says why nothing can be recorded at present, "" if it can.
func (c *call) Degraded() string {
	ctx, cancel := context.WithTimeout(c.ctx(), time.Second)
	defer cancel()
	st, err := c.s.Engine.Status(ctx)
	switch {
	case err != nil:
		return "the master does not answer: " + err.Error()
	case st.Degraded != "":
		return "nothing can be recorded at present: " + st.Degraded
	case st.Stopping:
		return "the master is ending: running builds may finish, nothing new starts"
	}
	return ""
}

// wantsPart reports whether the script of a page asks, who takes a part of it.
func wantsPart(r *http.Request) bool { return r.Header.Get("X-Bothy") != "" }

// get shows a page, or those panels of it that ?panel= names.
func (s *Web) get(w http.ResponseWriter, r *http.Request, p *page, acc *Access) {
	c := s.call(w, r, acc, p)
	if p.serve != nil {
		if err := p.serve(c); err != nil {
			c.fail(err)
		}
		return
	}
	c.Note = s.notes.take(r.URL.Query().Get("note"))
	data, err := p.show(c)
	if err != nil {
		c.fail(err)
		return
	}
	if panels := r.URL.Query().Get("panel"); panels != "" {
		c.showPanels(data, strings.Split(panels, ","))
		return
	}
	c.show(http.StatusOK, p.name, data)
}

// maxPanels is how many panels one request may ask for.
const maxPanels = 32

// showPanels sends sections, one after the other. Their templates are those
// whose names begin with the page's, "home/running", or with that of the layout.
// What there is none of is left out.
func (c *call) showPanels(data any, ids []string) {
	var buf bytes.Buffer
	for _, id := range ids[:min(len(ids), maxPanels)] {
		t := c.s.look().templates.Lookup(c.page.name + "/" + id)
		if t == nil {
			t = c.s.look().templates.Lookup("layout/" + id)
		}
		if t != nil {
			if err := t.Execute(&buf, data); err != nil {
				c.fail(err)
				return
			}
		}
	}
	c.w.Header().Set("X-Version", strconv.FormatUint(c.Version, 10))
	c.send(http.StatusOK, "text/html; charset=utf-8", buf.Bytes())
}

// frame is what the layout shows around a page.
type frame struct {
	*call
	Name string // of the template
	Body any
}

// show sends a whole page.
func (c *call) show(status int, name string, data any) {
	page, err := c.s.look().page(name, frame{c, name, data})
	if err != nil {
		c.s.log.Error("page cannot be shown", "page", name, "err", err)
		c.send(http.StatusInternalServerError, "text/plain; charset=utf-8", []byte("this page cannot be shown; the master's log says why\n"))
		return
	}
	c.send(status, "text/html; charset=utf-8", page)
}

// post does what a form asks for. The script gets the note that tells of it,
// others are sent back to the page, which shows it.
func (s *Web) post(w http.ResponseWriter, r *http.Request, p *page, acc *Access) {
	c := s.call(w, r, acc, p)
	text, err := c.act()
	n := note{Text: text}
	status := http.StatusOK
	if err != nil {
		status, n.Text, _ = statusOf(err)
		n.Failed = true
		if wrong, ok := errors.AsType[config.FormError](err); ok {
			n.Fields = wrong
			if n.Entered = r.PostForm; len(n.Entered.Encode()) > maxEntered {
				n.Entered = url.Values{}
			}
		}
		if status >= http.StatusInternalServerError {
			c.logFailed(err)
		}
	}
	if wantsPart(r) {
		var buf bytes.Buffer
		if err := s.look().templates.ExecuteTemplate(&buf, "note", &n); err != nil {
			c.fail(err)
			return
		}
		c.send(status, "text/html; charset=utf-8", buf.Bytes())
		return
	}
	q := r.URL.Query()
	q.Set("note", s.notes.put(n))
	c.redirect("?" + q.Encode())
}

// act finds what a form asks for, and does it if who asks may.
func (c *call) act() (string, error) {
	c.r.Body = http.MaxBytesReader(c.w, c.r.Body, maxForm)
	if err := c.r.ParseForm(); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return "", err
		}
		return "", badRequest("the form cannot be read: %v", err)
	}
	f := c.r.PostForm
	a, ok := c.page.acts[f.Get("do")]
	if !ok {
		return "", badRequest("this page knows no %q", shorten(f.Get("do"), 40))
	}
	if why := c.Refusal(a.role); why != "" {
		return "", refused("%s", why)
	}
	return a.do(c, f)
}

// fail answers with a page that says what is wrong.
func (c *call) fail(err error) {
	status, text, wait := statusOf(err)
	if wait > 0 {
		c.w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	}
	if status >= http.StatusInternalServerError {
		c.logFailed(err)
	}
	if wantsPart(c.r) {
		c.send(status, "text/plain; charset=utf-8", []byte(text))
		return
	}
	c.show(status, "error", failure{c, status, http.StatusText(status), text})
}

type failure struct {
	*call
	Status int
	What   string
	Text   string
}

// logFailed says what went wrong, unless it is only that the client has gone.
func (c *call) logFailed(err error) {
	level := slog.LevelWarn
	if c.ctx().Err() != nil {
		level = slog.LevelDebug
	}
	c.s.log.Log(c.ctx(), level, "page failed", "method", c.r.Method, "path", c.r.URL.Path, "err", err)
}

// worker returns the view of a worker and its row; the view is nil for one that
// is no longer configured.
func (c *call) worker(name string) (*engine.WorkerView, store.Worker, error) {
	rows := c.s.Engine.KnownWorkers()
	i := slices.IndexFunc(rows, func(w store.Worker) bool { return w.Name == name })
	if i < 0 {
		return nil, store.Worker{}, notFound("there is no worker %q", shorten(name, 80))
	}
	return c.s.Engine.Worker(name), rows[i], nil
}
