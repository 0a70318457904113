package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/engine"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// nothingMore is the result of most controls.
var nothingMore = []byte("null")

var reasonParam = param{"reason", text, "shown beside what was done"}

// workerControls are what can be done to a worker; start is not in Buildbot.
func workerControls() []control {
	docs := map[worker.Action]string{
		worker.Pause:   "take no new builds; running ones go on",
		worker.Unpause: "end a pause and a quarantine",
		worker.Stop:    "finish the running builds, then end (graceful)",
		worker.Kill:    "end at once; running builds are RETRY, and their requests wait again",
		worker.Start:   "take a stop back, or start a stopped local worker",
	}
	var all []control
	for _, action := range worker.Actions() {
		all = append(all, control{
			method: string(action), role: config.Operator, doc: docs[action], params: []param{reasonParam},
			do: func(ctx context.Context, c *call, p params) ([]byte, error) {
				w, err := c.worker()
				if err != nil {
					return nil, err
				}
				reason, err := p.reason()
				if err != nil {
					return nil, err
				}
				return nothingMore, c.a.Engine.ControlWorker(ctx, w.Name, action, c.who.Name, reason)
			},
		})
	}
	return all
}

func buildControls() []control {
	return []control{{
		method: "stop", role: config.Operator, params: []param{reasonParam},
		doc: "cancel the build; its always_run steps still run. Answers when it has ended",
		do: func(ctx context.Context, c *call, p params) ([]byte, error) {
			reason, err := p.reason()
			if err != nil {
				return nil, err
			}
			b, err := c.build(ctx)
			if err != nil {
				return nil, err
			}
			return nothingMore, c.a.Engine.StopBuild(ctx, b.ID, c.who.Name, reason)
		},
	}, {
		method: "rebuild", role: config.Operator, params: []param{reasonParam, {"from_step", text, "name of the step to begin with; earlier ones are skipped"}},
		doc: "ask for the same build again; the result is [bsid, {builderid: buildrequestid}]",
		do: func(ctx context.Context, c *call, p params) ([]byte, error) {
			reason, err := p.reason()
			if err != nil {
				return nil, err
			}
			b, err := c.build(ctx)
			if err != nil {
				return nil, err
			}
			from, err := p.text("from_step")
			if err != nil {
				return nil, err
			}
			tickets, err := c.a.Engine.Rebuild(ctx, b.ID, c.who.Owner(), reason, from)
			if err != nil {
				return nil, err
			}
			ids := make([]int64, len(tickets))
			for i := range tickets {
				ids[i] = c.a.names().builderIDs[b.Builder]
			}
			return submitted(tickets, ids), nil
		},
	}}
}

// submitted is the result of a control that asks for builds: the id of the
// first buildset, and the requests by builder.
func submitted(tickets []*engine.Ticket, builders []int64) []byte {
	b := []byte{'['}
	for i, t := range tickets {
		if i == 0 {
			b = append(appendAny(b, t.ID), `,{`...)
		} else {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `"%d":%d`, builders[i], t.ID)
	}
	return append(b, "}]"...)
}

func requestControls() []control {
	return []control{{
		method: "cancel", role: config.Operator, params: []param{reasonParam},
		doc: "cancel the request, and the build it runs. Answers when that has ended",
		do: func(ctx context.Context, c *call, p params) ([]byte, error) {
			reason, err := p.reason()
			if err != nil {
				return nil, err
			}
			r, err := c.request(ctx)
			if err != nil {
				return nil, err
			}
			return nothingMore, c.a.Engine.CancelRequest(ctx, r.ID, c.who.Name, reason)
		},
	}, {
		method: "set_priority", role: config.Operator, params: []param{{"priority", integer, "higher goes first"}},
		doc: "change the place of a pending request",
		do: func(ctx context.Context, c *call, p params) ([]byte, error) {
			if !p.has("priority") {
				return nil, badParam("'priority' is missing")
			}
			n, err := p.priority()
			if err != nil {
				return nil, err
			}
			r, err := c.request(ctx)
			if err != nil {
				return nil, err
			}
			if r.State == store.Done {
				return nil, fail(http.StatusConflict, codeServer, "request %d is finished", r.ID)
			}
			return nothingMore, c.a.Engine.SetPriority(ctx, r.ID, n, c.who.Name)
		},
	}}
}

// maxPriority bounds priorities, so that sums of them never overflow.
const maxPriority = 1 << 30

func (p params) priority() (int, error) {
	n, err := p.integer("priority")
	if err == nil && (n > maxPriority || n < -maxPriority) {
		err = badParam("'priority' is out of range")
	}
	return int(n), err
}

// builderControls are not in Buildbot, whose clients ask for builds through
// force schedulers alone, and stop them one by one.
func builderControls() []control {
	return []control{{
		method: "force", role: config.Operator,
		doc: "ask for a build; the result is [bsid, {builderid: buildrequestid}]",
		params: []param{
			reasonParam, {"priority", integer, "higher goes first; default: the builder's"}, {"properties", object, "name → value"},
			{"branch", text, "what to build; default: the source's"}, {"revision", text, ""}, {"worker", text, "the only worker that may run it"},
		},
		do: forceBuilder,
	}, {
		method: "stop", role: config.Operator, params: []param{reasonParam},
		doc: "cancel all pending requests of the builder and the builds it runs; the result is how many. Answers when they have ended",
		do:  stopBuilder,
	}}
}

func forceBuilder(ctx context.Context, c *call, p params) ([]byte, error) {
	b, err := c.builder()
	if err != nil {
		return nil, err
	}
	s := engine.Submission{Builder: b.Name, Who: c.who.Owner(), Properties: build.Properties{}}
	texts := map[string]*string{"branch": &s.Branch, "revision": &s.Revision, "worker": &s.Worker}
	for name, into := range texts {
		if *into, err = p.text(name); err != nil {
			return nil, err
		}
	}
	if s.Priority, err = p.priority(); err != nil {
		return nil, err
	}
	if s.Reason, err = p.reason(); err != nil {
		return nil, err
	}
	values, err := p.object("properties")
	if err != nil {
		return nil, err
	}
	wrong := map[string]string{}
	for name, v := range values {
		if err := s.Properties.Set(name, v, config.FormSource); err != nil {
			wrong[name] = err.Error()
		}
	}
	if len(wrong) > 0 {
		return nil, formError(wrong)
	}
	if err := s.Properties.SetDefault("owner", c.who.Owner(), config.FormSource); err != nil {
		return nil, err
	}
	tickets, err := c.a.Engine.Submit(ctx, s)
	if err != nil {
		return nil, err
	}
	return submitted(tickets, []int64{b.ID}), nil
}

// formError tells what is wrong with each field of a form. Buildbot:
// CollectedValidationError.
func formError(wrong map[string]string) *apiError {
	e := fail(http.StatusBadRequest, codeInvalidParams, "%s", config.FormError(wrong).Error())
	e.fields = wrong
	return e
}

// object decodes a parameter that is an object. Numbers stay as they were written.
func (p params) object(name string) (m map[string]any, err error) {
	if !p.has(name) {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(p[name]))
	d.UseNumber()
	if d.Decode(&m) != nil {
		return nil, badParam("'%s' must be an object", name)
	}
	return m, nil
}

// stopping is how many requests are cancelled at the same time.
const stopping = 32

func stopBuilder(ctx context.Context, c *call, p params) ([]byte, error) {
	reason, err := p.reason()
	if err != nil {
		return nil, err
	}
	b, err := c.builder()
	if err != nil {
		return nil, err
	}
	open, err := c.a.Store.SelectRequests(ctx, store.Select{
		Where: []store.Cond{is("builderid", b.ID), is("complete", false)}, Limit: store.NoLimit,
	})
	if err != nil {
		return nil, err
	}
	var g errgroup.Group
	g.SetLimit(stopping)
	// The youngest first: otherwise the queue would start what is cancelled next.
	for _, r := range slices.Backward(open.Rows) {
		g.Go(func() error {
			err := c.a.Engine.CancelRequest(ctx, r.ID, c.who.Name, reason)
			if errors.Is(err, engine.ErrConflict) || errors.Is(err, engine.ErrUnknown) {
				return nil // it has ended by itself
			}
			return err
		})
	}
	return appendAny(nil, len(open.Rows)), g.Wait()
}

func schedulerControls() []control {
	return []control{{
		method: "enable", role: config.Admin, params: []param{{"enabled", boolean, "false turns it off"}},
		doc: "turn a scheduler on or off",
		do: func(ctx context.Context, c *call, p params) ([]byte, error) {
			if !p.has("enabled") {
				return nil, badParam("'enabled' is missing")
			}
			on, err := p.boolean("enabled")
			if err != nil {
				return nil, err
			}
			id, _ := c.args.number("schedulerid")
			for _, s := range c.a.schedulerRows() {
				if s.ID == id {
					return nothingMore, c.a.Engine.SetScheduler(ctx, s.Name, on, c.who.Name)
				}
			}
			return nil, notFound("there is no scheduler %d", id)
		},
	}}
}

func forceControls() []control {
	return []control{{
		method: "force", role: config.Operator,
		doc: "fill in the form and ask for its builds: builderid or builderNames choose some of its builders, and every field has the fullName of all_fields. The result is [bsid, {builderid: buildrequestid}]; what is wrong with fields is an object in the error's message",
		do:  forceScheduler,
	}}
}

func forceScheduler(ctx context.Context, c *call, p params) ([]byte, error) {
	name, _ := c.args.text("schedulername")
	rows := c.a.forceRows()
	i := slices.IndexFunc(rows, func(f forceRow) bool { return f.Name == name })
	if i < 0 {
		return nil, notFound("there is no force scheduler %q", shown(name))
	}
	s := rows[i]
	if !s.enabled {
		return nil, fail(http.StatusConflict, codeServer, "the scheduler is turned off")
	}
	builders, err := c.forcedBuilders(s, p)
	if err != nil {
		return nil, err
	}
	values := map[string]any{}
	wrong := map[string]string{}
	known := fieldNames(nil, "", s.Form())
	for key, raw := range p {
		if slices.Contains([]string{"builderid", "builderNames", "owner"}, key) {
			continue
		}
		if !slices.Contains(known, key) {
			wrong[key] = "there is no such field"
			continue
		}
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			wrong[key] = "not a value"
		}
		values[key] = v
	}
	filled, err := s.Fill(c.who.Name, values)
	if e, ok := errors.AsType[config.FormError](err); ok {
		maps.Copy(wrong, e)
	} else if err != nil {
		return nil, err
	}
	if len(wrong) > 0 {
		return nil, formError(wrong)
	}
	subs, err := Forced(filled, builders, c.who)
	if err != nil {
		return nil, err
	}
	tickets, err := c.a.Engine.Submit(ctx, subs...)
	if err != nil {
		return nil, err
	}
	ids := make([]int64, len(builders))
	for i, b := range builders {
		ids[i] = c.a.names().builderIDs[b]
	}
	return submitted(tickets, ids), nil
}

// forcedBuilders are those of the scheduler's builders that a request names; all
// if it names none.
func (c *call) forcedBuilders(s forceRow, p params) ([]string, error) {
	var names []string
	switch {
	case p.has("builderNames"):
		if json.Unmarshal(p["builderNames"], &names) != nil {
			return nil, badParam("'builderNames' must be a list of texts")
		}
	case p.has("builderid"):
		var id json.Number
		if json.Unmarshal(p["builderid"], &id) != nil {
			return nil, badParam("'builderid' must be a whole number")
		}
		n, err := id.Int64()
		if err != nil {
			return nil, badParam("'builderid' must be a whole number")
		}
		name := c.a.names().builderName(n)
		if name == "" {
			return nil, notFound("there is no builder %d", n)
		}
		names = []string{name}
	default:
		return s.Builders, nil
	}
	var some []string
	for _, b := range s.Builders {
		if slices.Contains(names, b) {
			some = append(some, b)
		}
	}
	if len(some) == 0 {
		return nil, badParam("the scheduler %s asks for builds of %s only", s.Name, strings.Join(s.Builders, ", "))
	}
	return some, nil
}

// fieldNames are the full names of fields that take a value.
func fieldNames(names []string, parent string, fields []config.Parameter) []string {
	for i := range fields {
		p := &fields[i]
		if p.Type == config.ParameterNested {
			names = fieldNames(names, p.FullName(parent), p.Fields)
			continue
		}
		names = append(names, p.FullName(parent))
	}
	return names
}
