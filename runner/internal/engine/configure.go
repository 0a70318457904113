package engine

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"path/filepath"
	"time"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/queue"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// configure fills the queue and the workers from the configuration.
func (l *loop) configure() error {
	if err := l.e.knowsFuncs(l.conf); err != nil {
		return err
	}
	l.setLocks(nil, l.conf)
	now := time.Now()
	l.register(l.conf, now)
	for w, entry := range workersOf(l.conf) {
		kind, err := l.opt.Attach(w)
		if err != nil {
			return fmt.Errorf("worker %s: %w", w.Name, err)
		}
		l.workers[w.Name] = l.newWorker(w.Name, entry, kind, now)
		l.configured(l.workers[w.Name])
	}
	l.setBuilders(l.conf)
	l.setHost("")
	return nil
}

// workersOf yields all workers with their entries in the configuration. The
// members of a group share one: there may be thousands.
func workersOf(conf *config.Config) iter.Seq2[config.Worker, *config.Worker] {
	return func(yield func(config.Worker, *config.Worker) bool) {
		all := conf.AllWorkers()
		for i := range conf.Workers {
			entry := &conf.Workers[i]
			n := 1
			if entry.Kind == config.WorkerLocal {
				n = max(1, entry.Count)
			}
			for range n {
				if !yield(all[0], entry) {
					return
				}
				all = all[1:]
			}
		}
	}
}

func queueLocks(accesses []config.LockAccess) []queue.Lock {
	out := make([]queue.Lock, len(accesses))
	for i, a := range accesses {
		out[i] = queue.Lock{Name: a.Name, Exclusive: a.Mode == config.LockExclusive, Count: max(0, a.Count)}
	}
	return out
}

// builder finds a configured builder, nil if there is none of that name.
func (l *loop) builder(name string) *config.Builder {
	for i := range l.conf.Builders {
		if l.conf.Builders[i].Name == name {
			return &l.conf.Builders[i]
		}
	}
	return nil
}

// hash is stepsHash, remembered for configured builders.
func (l *loop) hash(b *config.Builder) string {
	h, ok := l.hashes[b]
	if !ok {
		h = stepsHash(b)
		if b.Name != Command {
			l.hashes[b] = h
		}
	}
	return h
}

// expected is what history says of a build that starts, if anybody watches.
func (l *loop) expected(r *request, hash string) store.History {
	if len(l.subscribers) == 0 {
		return store.History{}
	}
	past, err := l.history.at(r.row.Builder, hash)
	if err != nil {
		l.log.Warn("history not read", "builder", r.row.Builder, "err", err)
	}
	return past.History
}

// stepsHash tells builds of the same steps from others, for history.
func stepsHash(b *config.Builder) string {
	data, err := json.Marshal(b.Steps)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// properties are those of a build before its first step.
func (l *loop) properties(r *request, b *running, w *workerState) (build.Properties, error) {
	conf := l.confOf(r)
	made := map[string]any{"buildnumber": b.row.Number}
	repository := worker.Source{URL: conf.Source.URL}.Redacted() // properties are shown to everybody
	for name, v := range map[string]string{"branch": cmp.Or(r.spec.Branch, conf.Source.Branch), "revision": r.spec.Revision, "repository": repository} {
		made[name] = v
		if v == "" {
			made[name] = nil
		}
	}
	made["codebase"], made["project"] = "", ""
	request := r.row.Properties.Clone()
	if request == nil {
		request = build.Properties{}
	}
	if r.row.Reason != "" {
		if err := request.SetDefault("reason", r.row.Reason, "Request"); err != nil {
			return nil, err
		}
	}
	os := map[string]any{}
	for k, v := range w.info {
		if len(k) > 3 && k[:3] == "os_" {
			os[k] = v
		}
	}
	return build.Resolve(build.Layers{
		Request: request, BuilderName: conf.Name, Builder: conf.Properties, BuilderDefaults: conf.DefaultProperties,
		OS: os, Worker: w.conf.Properties, WorkerName: w.name, WorkerDefaults: w.conf.DefaultProperties, Build: made,
	})
}

// place says where a build's files come from and what its environment is. A
// remote worker has neither the files of this machine nor its PATH.
func (l *loop) place(r *request, conf *config.Builder, w *workerState) (worker.Source, []string) {
	dir, env := l.conf.Dir, l.opt.BaseEnv
	if l.prepared.BaseEnv != nil {
		env = l.prepared.BaseEnv
	}
	kind := conf.Source.Kind
	s := l.sessions[r.row.Session]
	if s != nil {
		env = s.env
		if r.conf != nil {
			dir = s.dir // a command runs where the person is
		}
	}
	far := w.conf.Kind != config.WorkerLocal
	if own, ok := w.conn.(worker.Environer); ok {
		env = own.Environ()
	}
	if kind == config.SourceAuto {
		switch {
		case far:
			kind = config.SourceNone
		case s != nil:
			kind = config.SourceTree
		default:
			kind = config.SourceCopy
		}
	}
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return worker.Source{
		Kind: worker.SourceKind(kind), Dir: dir, URL: conf.Source.URL,
		Branch: cmp.Or(r.spec.Branch, conf.Source.Branch), Revision: r.spec.Revision,
	}, env
}
