package store

import (
	"context"
	"slices"

	"bothy/runner/build"
)

// ListedBuild is a build as [Store.SelectBuilds] returns it: without Token,
// StepsHash, Dir and Ended, and with the properties that were asked for.
type ListedBuild struct {
	Build
	BuilderID, WorkerID int64 // 0: never named by a configuration
}

// ListedRequest is a request as [Store.SelectRequests] returns it: without
// CollapseKey, Session and Spec, and with the properties that were asked for.
type ListedRequest struct {
	Request
	BuilderID int64 // 0: never named by a configuration
}

// SelectBuilds returns builds, also those that run.
func (s *Store) SelectBuilds(ctx context.Context, sel Select) (Page[ListedBuild], error) {
	t := buildRows
	if len(sel.Properties) > 0 {
		t.columns += ", properties"
		t.fill = func(r *ListedBuild, c *cells) {
			buildRows.fill(r, c)
			r.Properties = s.chosen(sel.Properties, c.text(14), "build", r.ID)
		}
	}
	return read(s, func(q querier) (Page[ListedBuild], error) {
		p, err := page(ctx, s, q, t, sel)
		if err != nil {
			return p, err
		}
		ids := s.ids(ctx, q)
		for i := range p.Rows {
			r := &p.Rows[i]
			r.BuilderID, r.WorkerID = ids.builder(r.Builder), ids.worker(r.Worker)
		}
		return p, ids.err
	}, "select builds")
}

// SelectRequests returns requests, also those that are not done.
func (s *Store) SelectRequests(ctx context.Context, sel Select) (Page[ListedRequest], error) {
	t := requestRows
	if len(sel.Properties) > 0 {
		t.columns += ", properties"
		t.fill = func(r *ListedRequest, c *cells) {
			requestRows.fill(r, c)
			r.Properties = s.chosen(sel.Properties, c.text(14), "request", r.ID)
		}
	}
	return read(s, func(q querier) (Page[ListedRequest], error) {
		p, err := page(ctx, s, q, t, sel)
		if err != nil {
			return p, err
		}
		ids := s.ids(ctx, q)
		for i := range p.Rows {
			p.Rows[i].BuilderID = ids.builder(p.Rows[i].Builder)
		}
		return p, ids.err
	}, "select requests")
}

// SelectSteps returns steps; a step's id is its [StepID].
func (s *Store) SelectSteps(ctx context.Context, sel Select) (Page[Step], error) {
	return selected(ctx, s, stepRows, sel)
}

// SelectLogs returns the whereabouts of logs.
func (s *Store) SelectLogs(ctx context.Context, sel Select) (Page[Log], error) {
	return selected(ctx, s, logRows, sel)
}

// SelectWorkers returns workers, also those that the configuration names no more.
func (s *Store) SelectWorkers(ctx context.Context, sel Select) (Page[Worker], error) {
	return selected(ctx, s, workerRows, sel)
}

// SelectBuilders returns builders, also those that the configuration names no more.
func (s *Store) SelectBuilders(ctx context.Context, sel Select) (Page[Builder], error) {
	return selected(ctx, s, builderRows, sel)
}

// SelectSchedulers returns schedulers.
func (s *Store) SelectSchedulers(ctx context.Context, sel Select) (Page[Scheduler], error) {
	return selected(ctx, s, schedulerRows, sel)
}

// SelectMails returns mails, also those that are settled.
func (s *Store) SelectMails(ctx context.Context, sel Select) (Page[Mail], error) {
	return selected(ctx, s, mailRows, sel)
}

// SelectJournal returns lines of the journal.
func (s *Store) SelectJournal(ctx context.Context, sel Select) (Page[Entry], error) {
	return selected(ctx, s, entryRows, sel)
}

func selected[R any](ctx context.Context, s *Store, t reading[R], sel Select) (Page[R], error) {
	return read(s, func(q querier) (Page[R], error) { return page(ctx, s, q, t, sel) }, "select "+t.name)
}

// chosen decodes the properties that were asked for.
func (s *Store) chosen(names []string, encoded, what string, id int64) build.Properties {
	decode := decodeProperties
	if !slices.Contains(names, "*") {
		decode = func(encoded string) (build.Properties, error) { return decodeSome(encoded, names) }
	}
	p, err := decode(encoded)
	if err != nil {
		s.log.Error(what+" is read without its properties", what, id, "err", err)
	}
	return p
}
