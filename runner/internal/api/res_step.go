package api

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"bothy/runner/build"
	"bothy/runner/internal/logs"
	"bothy/runner/internal/store"
)

// stepsResource are the fields of a step. Buildbot: data/steps.py.
func stepsResource() *resource[store.Step] {
	complete := func(s *store.Step) bool { return s.Result != build.None }
	return newResource(resource[store.Step]{
		schema: schema{name: "step", plural: "steps"},
		fields: []field[store.Step]{
			{column: column{name: "stepid", kind: integer, doc: "buildid × 2^20 + number"}, get: func(s *store.Step) value { return num(store.StepID(s.Build, s.Number)) }},
			{column: column{name: "number", kind: integer, doc: "from 1; 0 is the worker's preparation, there only if it failed"}, get: func(s *store.Step) value { return num(s.Number) }},
			{column: column{name: "name", kind: text}, get: func(s *store.Step) value { return str(s.Name) }},
			{column: column{name: "buildid", kind: integer}, get: func(s *store.Step) value { return num(s.Build) }},
			{column: column{name: "started_at", kind: stamp, null: true}, get: func(s *store.Step) value { return at(s.Started) }},
			{column: column{name: "locks_acquired_at", kind: stamp, null: true, doc: "always null: a step starts when it has its locks"}, get: func(*store.Step) value { return null }},
			{column: column{name: "complete", kind: boolean}, get: func(s *store.Step) value { return truth(complete(s)) }},
			{column: column{name: "complete_at", kind: stamp, null: true}, get: func(s *store.Step) value { return at(s.Completed) }},
			{column: column{name: "results", kind: integer, null: true}, get: func(s *store.Step) value { return resultOrNull(s.Result) }},
			{column: column{name: "state_string", kind: text}, get: func(s *store.Step) value {
				if s.Text == "" && !complete(s) {
					return str("running")
				}
				return str(s.Text)
			}},
			{column: column{name: "urls", kind: object}, put: func(b []byte, _ *store.Step, _ *query) []byte { return append(b, "[]"...) }},
			{column: column{name: "hidden", kind: boolean}, get: func(s *store.Step) value { return truth(s.Hidden) }},
			{column: column{name: "duration_s", kind: span, null: true, new: true, doc: "how long it took; while it runs, how long so far"}, get: func(s *store.Step) value { return between(s.Started, s.Completed) }},
		},
		list: func(ctx context.Context, c *call, q *query) (page[store.Step], error) {
			_, steps, err := c.steps(ctx)
			return page[store.Step]{rows: steps}, err
		},
	})
}

// logRow is a log with what tells it from the others of its step in a URL.
type logRow struct {
	store.Log
	slug string
}

// logType is Buildbot's: s is what a command wrote, each line with its stream
// before it; t is text.
func (l *logRow) logType() string {
	if l.Name == stdioLog {
		return "s"
	}
	return "t"
}

// stdioLog is the name of the log with a command's output.
const stdioLog = "stdio"

// logsResource are the fields of a log. Buildbot: data/logs.py.
func logsResource() *resource[logRow] {
	return newResource(resource[logRow]{
		schema: schema{name: "log", plural: "logs"},
		fields: []field[logRow]{
			{column: column{name: "logid", kind: integer}, get: func(l *logRow) value { return num(l.ID) }},
			{column: column{name: "name", kind: text}, get: func(l *logRow) value { return str(l.Name) }},
			{column: column{name: "slug", kind: text, doc: "the name as an identifier, unique within the step"}, get: func(l *logRow) value { return str(l.slug) }},
			{column: column{name: "stepid", kind: integer}, get: func(l *logRow) value { return num(store.StepID(l.Build, l.Step)) }},
			{column: column{name: "complete", kind: boolean}, get: func(l *logRow) value { return truth(l.Complete) }},
			{column: column{name: "num_lines", kind: integer}, get: func(l *logRow) value { return num(l.Lines) }},
			{column: column{name: "type", kind: text, doc: "s: each line begins with o (stdout), e (stderr) or h (written by the master); t: text"}, get: func(l *logRow) value { return str(l.logType()) }},
			{column: column{name: "bytes", kind: integer, new: true}, get: func(l *logRow) value { return num(l.Bytes) }},
			{column: column{name: "truncated", kind: boolean, new: true, doc: "by the cap on its size; a line of it says how much"}, get: func(l *logRow) value { return truth(l.Truncated) }},
		},
		list: func(ctx context.Context, c *call, q *query) (page[logRow], error) {
			rows, err := c.logs(ctx)
			return page[logRow]{rows: rows}, err
		},
	})
}

// logs are those that the path names: one by its id or slug, or all of a step
// or a build.
func (c *call) logs(ctx context.Context) ([]logRow, error) {
	id, byID := c.args.number("logid")
	if byID {
		l, err := c.a.Store.Log(ctx, id)
		if err != nil {
			return nil, notFoundAs(err, "there is no log %d", id)
		}
		c.args = append(slices.Clone(c.args), arg{name: "stepid", n: store.StepID(l.Build, l.Step)})
	}
	b, steps, err := c.steps(ctx)
	if err != nil {
		return nil, err
	}
	all, err := c.a.Store.Logs(ctx, b.ID)
	if err != nil {
		return nil, err
	}
	slug, bySlug := c.args.text("log_slug")
	var rows []logRow
	taken := map[int]map[string]bool{}
	for _, l := range all {
		if !slices.ContainsFunc(steps, func(s store.Step) bool { return s.Number == l.Step }) {
			continue
		}
		if taken[l.Step] == nil {
			taken[l.Step] = map[string]bool{}
		}
		row := logRow{l, uniqueSlug(l.Name, taken[l.Step])}
		if byID && l.ID != id || bySlug && row.slug != slug {
			continue
		}
		rows = append(rows, c.a.lookAt(row))
	}
	if (byID || bySlug) && len(rows) == 0 {
		return nil, notFound("there is no such log")
	}
	return rows, nil
}

// lookAt brings the row of a log that is being written up to date.
func (a *API) lookAt(l logRow) logRow {
	if l.Complete {
		return l
	}
	if info, err := a.Logs.Stat(l.ID, logs.Ref(l.Ref)); err == nil {
		l.Lines, l.Bytes, l.Truncated = info.Lines, info.Bytes, info.Truncated
	}
	return l
}

// uniqueSlug is a name as an identifier, with _2, _3 … if it is taken. Buildbot:
// util.identifiers.forceIdentifier, incrementIdentifier.
func uniqueSlug(name string, taken map[string]bool) string {
	slug := slugOf(name)
	for n := 2; taken[slug]; n++ {
		suffix := "_" + strconv.Itoa(n)
		slug = slugOf(name)
		slug = slug[:min(len(slug), maxSlug-len(suffix))] + suffix
	}
	taken[slug] = true
	return slug
}

// LogSlugs returns what the logs of one step, in their order, are called in a URL.
func LogSlugs(names []string) []string {
	taken := map[string]bool{}
	slugs := make([]string, len(names))
	for i, name := range names {
		slugs[i] = uniqueSlug(name, taken)
	}
	return slugs
}

// maxSlug is the length of the longest slug. Buildbot: logs.slug.
const maxSlug = 50

func slugOf(name string) string {
	slug := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-':
			return r
		}
		return '_'
	}, name)
	if slug == "" || slug[0] >= '0' && slug[0] <= '9' {
		slug = "_" + slug
	}
	return slug[:min(len(slug), maxSlug)]
}
