package api

import (
	"context"
	"errors"
	"slices"

	"bothy/runner/internal/store"
)

// masterID is the id of the one master there is.
const masterID = 1

// builder returns the builder that the path names, nil if it names none.
func (c *call) builder() (*store.Builder, error) {
	n := c.a.names()
	if id, ok := c.args.number("builderid"); ok {
		if i := slices.IndexFunc(n.builders, func(b store.Builder) bool { return b.ID == id }); i >= 0 {
			return &n.builders[i], nil
		}
		return nil, notFound("there is no builder %d", id)
	}
	if name, ok := c.args.text("buildername"); ok {
		if i := slices.IndexFunc(n.builders, func(b store.Builder) bool { return b.Name == name }); i >= 0 {
			return &n.builders[i], nil
		}
		return nil, notFound("there is no builder %q", shown(name))
	}
	return nil, nil
}

// worker returns the worker that the path names, nil if it names none.
func (c *call) worker() (*store.Worker, error) {
	n := c.a.names()
	if id, ok := c.args.number("workerid"); ok {
		if i := slices.IndexFunc(n.workers, func(w store.Worker) bool { return w.ID == id }); i >= 0 {
			return &n.workers[i], nil
		}
		return nil, notFound("there is no worker %d", id)
	}
	if name, ok := c.args.text("name"); ok {
		if i := slices.IndexFunc(n.workers, func(w store.Worker) bool { return w.Name == name }); i >= 0 {
			return &n.workers[i], nil
		}
		return nil, notFound("there is no worker %q", shown(name))
	}
	return nil, nil
}

// build returns the build that the path names: by its id, by builder and
// number, or by a step's or log's id.
func (c *call) build(ctx context.Context) (store.Build, error) {
	if id, ok := c.args.number("buildid"); ok {
		return c.buildByID(ctx, id)
	}
	if number, ok := c.args.number("build_number"); ok {
		b, err := c.builder()
		if err != nil {
			return store.Build{}, err
		}
		row, err := c.a.Store.Build(ctx, b.Name, number)
		return row, notFoundAs(err, "there is no build %d of %s", number, b.Name)
	}
	if id, ok := c.args.number("stepid"); ok {
		build, _ := store.SplitStepID(id)
		return c.buildByID(ctx, build)
	}
	return store.Build{}, errors.New("the path names no build")
}

func (c *call) buildByID(ctx context.Context, id int64) (store.Build, error) {
	row, err := c.a.Store.BuildByID(ctx, id)
	return row, notFoundAs(err, "there is no build %d", id)
}

// requestIDs are the names of a request's id, which is also that of its buildset
// and its sourcestamp.
var requestIDs = []string{"buildrequestid", "bsid", "ssid"}

// notFoundAs says what is not there, if that is the error.
func notFoundAs(err error, format string, args ...any) error {
	if errors.Is(err, store.ErrNotFound) {
		return notFound(format, args...)
	}
	return err
}

// request returns the request that the path names.
func (c *call) request(ctx context.Context) (store.Request, error) {
	var id int64
	for _, name := range requestIDs {
		if n, ok := c.args.number(name); ok {
			id = n
		}
	}
	row, err := c.a.Store.Request(ctx, id)
	return row, notFoundAs(err, "there is no request %d", id)
}

// steps are those of the build that the path names; if it names one of them,
// only that.
func (c *call) steps(ctx context.Context) (store.Build, []store.Step, error) {
	b, err := c.build(ctx)
	if err != nil {
		return b, nil, err
	}
	steps, err := c.a.Store.Steps(ctx, b.ID)
	if err != nil {
		return b, nil, err
	}
	var is func(s store.Step) bool
	if id, ok := c.args.number("stepid"); ok {
		_, number := store.SplitStepID(id)
		is = func(s store.Step) bool { return s.Number == number }
	} else if number, ok := c.args.number("step_number"); ok {
		is = func(s store.Step) bool { return int64(s.Number) == number }
	} else if name, ok := c.args.text("step_name"); ok {
		is = func(s store.Step) bool { return s.Name == name }
	} else {
		return b, steps, nil
	}
	if i := slices.IndexFunc(steps, is); i >= 0 {
		return b, steps[i : i+1], nil
	}
	return b, nil, notFound("there is no such step in build %d", b.ID)
}

// parent checks that what the path names besides its rows is there: below what
// is unknown there is no list, not even an empty one.
func (c *call) parent(ctx context.Context) error {
	if id, ok := c.args.number("masterid"); ok && id != masterID {
		return notFound("there is no master %d", id)
	}
	if id, ok := c.args.number("changeid"); ok {
		return notFound("there is no change %d", id)
	}
	_, err := c.builder()
	if err == nil {
		_, err = c.worker()
	}
	switch {
	case err != nil:
	case c.args.has("buildid", "build_number"):
		_, err = c.build(ctx)
	case c.args.has(requestIDs...):
		_, err = c.request(ctx)
	}
	return err
}
