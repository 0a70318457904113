package config

import (
	"slices"
	"strconv"

	"bothy/runner/build"
)

// The functions of this file say which keys each table has and what type they
// are of.

func (c *Config) read(t *table) {
	t.text("title", &c.Title)
	t.text("url", &c.URL)
	t.text("basedir", &c.BaseDir)
	t.sub("web", c.Web.read)
	t.sub("remote", c.Remote.read)
	t.sub("machine", c.Machine.read)
	t.sub("store", c.Store.read)
	t.sub("mail", c.Mail.read)
	list(t, "workers", &c.Workers, readWorker)
	tables(t, "builders", &c.Builders, readBuilder)
	list(t, "schedulers", &c.Schedulers, readScheduler)
	list(t, "reports", &c.Reports, readReport)
	tables(t, "locks", &c.Locks, readLock)
	list(t, "secrets", &c.Secrets, readProvider)
}

func (w *Web) read(t *table) {
	t.text("listen", &w.Listen)
	t.text("tls_cert", &w.TLSCert)
	t.text("tls_key", &w.TLSKey)
	tables(t, "users", &w.Users, func(t *table, u *User) {
		t.text("name", &u.Name)
		t.secret("password_hash", &u.PasswordHash)
		choice(t, "role", &u.Role)
	})
	tables(t, "tokens", &w.Tokens, func(t *table, k *Token) {
		t.text("name", &k.Name)
		t.secret("secret", &k.Secret)
		choice(t, "role", &k.Role)
	})
}

func (r *Remote) read(t *table) {
	t.text("listen", &r.Listen)
	t.text("tls_cert", &r.TLSCert)
	t.text("tls_key", &r.TLSKey)
	t.text("client_ca", &r.ClientCA)
}

func (m *Machine) read(t *table) {
	t.number("cpus", &m.CPUs, true)
	t.size("memory", &m.Memory, zeroIsWrong, true)
	t.size("reserve_memory", &m.ReserveMemory, zeroIsOff, true)
	t.size("memory_per_build", &m.MemoryPerBuild, zeroIsWrong, false)
	t.texts("pass_env", &m.PassEnv)
}

func (s *Store) read(t *table) {
	t.whole("keep_builds", &s.KeepBuilds, zeroIsOff)
	t.duration("keep_logs", &s.KeepLogs, zeroIsOff)
	t.whole("keep_failed_workspaces", &s.KeepFailedWorkspaces, zeroIsOff)
	t.size("disk_cap", &s.DiskCap, zeroIsOff, false)
}

func (m *Mail) read(t *table) {
	t.text("from", &m.From)
	t.text("relay", &m.Relay)
	choice(t, "tls", &m.TLS)
	t.text("username", &m.Username)
	t.secret("password", &m.Password)
	t.textOrEmpty("reply_to", &m.ReplyTo)
}

func readBuilder(t *table, b *Builder) {
	t.text("name", &b.Name)
	t.at = t.at.named(b.Name)
	t.textOrEmpty("description", &b.Description)
	t.texts("workers", &b.Workers)
	if v, ok := t.values["workers"].([]any); ok && len(v) == 0 {
		t.errorf(t.at.key("workers"), "names no worker: leave the key out for all workers")
	}
	t.texts("tags", &b.Tags)
	t.dict("env", &b.Env)
	t.anything("properties", &b.Properties)
	t.anything("default_properties", &b.DefaultProperties)
	list(t, "locks", &b.Locks, readLockAccess)
	t.number("cpus", &b.CPUs, false)
	t.size("memory", &b.Memory, zeroIsWrong, false)
	t.whole("max_retries", &b.MaxRetries, zeroIsOff)
	t.unless("collapse_requests", &b.NoCollapse)
	t.signed("priority", &b.Priority)
	t.flag("exclusive", &b.Exclusive)
	b.Source = readSource(t)
	choice(t, "workspace", &b.Workspace)
	t.duration("cleanup_time", &b.CleanupTime, zeroIsWrong)
	list(t, "steps", &b.Steps, readStep)
}

func readSource(t *table) (s Source) {
	v, at, ok := t.take("source")
	if !ok {
		return s
	}
	switch v := v.(type) {
	case string:
		if s.Kind = SourceKind(v); s.Kind == SourceGit {
			t.errorf(at, `want { git = "URL" } with the repository's URL`)
		}
		if v == "" {
			t.errorf(at, "must not be empty")
		}
	case map[string]any:
		s.Kind = SourceGit
		t.of(at, v, func(in *table) {
			in.text("git", &s.URL)
			in.text("branch", &s.Branch)
		})
	default:
		t.wrong(at, v, `"auto", "tree", "copy", "none" or { git = "URL", branch = "…" }`)
	}
	return s
}

func readLock(t *table, l *Lock) {
	t.text("name", &l.Name)
	t.whole("max_count", &l.MaxCount, zeroIsWrong)
	choice(t, "scope", &l.Scope)
	t.each("max_count_for_worker", func(at *pathTo, name string, v any) {
		n, ok := v.(int64)
		if !ok {
			t.wrong(at, v, "a whole number")
			n = 1
		}
		if l.MaxCountForWorker == nil {
			l.MaxCountForWorker = map[string]int{}
		}
		l.MaxCountForWorker[name] = int(min(max(n, -1), 1<<30))
	})
}

func readLockAccess(t *table, at *pathTo, v any) (l LockAccess) {
	if name, ok := v.(string); ok {
		return LockAccess{Name: name}
	}
	if _, ok := v.(map[string]any); !ok {
		t.wrong(at, v, `the name of a lock, or { name, mode, count }`)
		return l
	}
	t.of(at, v, func(in *table) {
		in.text("name", &l.Name)
		choice(in, "mode", &l.Mode)
		in.whole("count", &l.Count, zeroIsOff)
	})
	return l
}

func readStep(t *table, at *pathTo, v any) (s Step) {
	switch v := v.(type) {
	case string:
		if v == "" {
			t.errorf(at, "must not be empty")
		}
		return Shell(v)
	case map[string]any:
		t.of(at, v, func(in *table) { s.read(in) })
	default:
		t.wrong(at, v, "text for the shell, or a table")
	}
	return s
}

func (s *Step) read(t *table) {
	t.text("name", &s.Name)
	t.run("run", &s.Run)
	t.text("func", &s.Func)
	t.text("workdir", &s.Workdir)
	t.dict("env", &s.Env)
	t.duration("timeout", &s.Timeout, zeroIsOff)
	t.duration("max_time", &s.MaxTime, zeroIsDefault)
	t.duration("sigterm_time", &s.SigtermTime, zeroIsOff)
	t.flag("pty", &s.PTY)
	t.flag("log_environ", &s.LogEnviron)
	t.whole("max_lines", &s.MaxLines, zeroIsDefault)
	t.each("decode_rc", func(at *pathTo, code string, v any) { s.readResult(t, at, code, v) })
	s.readFlags(t)
	s.DoIf = readCondition(t, "do_if")
	s.HideIf = readCondition(t, "hide_if")
	list(t, "locks", &s.Locks, readLockAccess)
	t.each("logfiles", func(at *pathTo, name string, v any) {
		s.LogFiles = append(s.LogFiles, readLogFile(t, at, name, v))
	})
	t.textOrEmpty("stdin", &s.Stdin)
	t.whole("retries", &s.Retries, zeroIsDefault)
	t.textOrTexts("artifacts", &s.Artifacts)
	t.textOrTexts("junit", &s.JUnit)
}

func (s *Step) readResult(t *table, at *pathTo, code string, v any) {
	n, err := strconv.ParseInt(code, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != code || n < -1 || n > 1<<32-1 {
		t.keyError(at, "", "%q is not an exit status", code)
		return
	}
	name, ok := v.(string)
	if !ok {
		t.wrong(at, v, `the name of a result, such as "warnings"`)
		return
	}
	r, err := build.ParseResult(name)
	if err != nil {
		t.suggest(at, t.closest(name, resultNames()), "%v", err)
		return
	}
	if s.DecodeRC == nil {
		s.DecodeRC = map[int]build.Result{}
	}
	s.DecodeRC[int(n)] = r
}

func resultNames() (names []string) {
	for r := build.Success; r.Valid(); r++ {
		names = append(names, r.String())
	}
	return names
}

func (s *Step) readFlags(t *table) {
	f := build.DefaultFlags()
	t.flag("halt_on_failure", &f.HaltOnFailure)
	t.flag("flunk_on_failure", &f.FlunkOnFailure)
	t.flag("flunk_on_warnings", &f.FlunkOnWarnings)
	t.flag("warn_on_failure", &f.WarnOnFailure)
	t.flag("warn_on_warnings", &f.WarnOnWarnings)
	t.flag("always_run", &f.AlwaysRun)
	s.Flags = &f
}

// readCondition reads do_if or hide_if, where "" is false, unlike in Go.
func readCondition(t *table, key string) (s string) {
	if v, ok := t.values[key].(bool); ok {
		t.known = append(t.known, key)
		return strconv.FormatBool(v)
	}
	if t.textOrEmpty(key, &s) && s == "" {
		return "false"
	}
	return s
}

func readLogFile(t *table, at *pathTo, name string, v any) LogFile {
	l := LogFile{Name: name}
	switch v := v.(type) {
	case string:
		l.Path = v
	case map[string]any:
		t.of(at, v, func(in *table) {
			in.text("path", &l.Path)
			in.flag("follow", &l.Follow)
		})
	default:
		t.wrong(at, v, "a path, or { path, follow }")
	}
	return l
}

// ofKind reads the keys of tables of one kind.
type ofKind[T any] struct {
	kind string
	read func(*table, *T)
}

// kinds reads a table whose keys depend on its kind, which common returns after
// it read the keys of every kind.
func kinds[T any](t *table, at *pathTo, v any, common func(*table, *T) string, each []ofKind[T]) (x T) {
	m, ok := v.(map[string]any)
	if !ok {
		t.wrong(at, v, "a table")
		return x
	}
	in := &table{problems: t.problems, at: at, values: m}
	kind := common(in, &x)
	i := slices.IndexFunc(each, func(k ofKind[T]) bool { return k.kind == kind })
	if i >= 0 {
		each[i].read(in, &x)
	}
	others := map[string]string{}
	for _, k := range each {
		for _, key := range keysOf(k.read) {
			if i < 0 {
				in.known = append(in.known, key) // that the kind is unknown is reported by itself
			} else if others[key] == "" {
				others[key] = k.kind
			}
		}
	}
	in.doneExcept(kind, others)
	return x
}

// keysOf returns the keys that read asks for.
func keysOf[T any](read func(*table, *T)) []string {
	probe := &table{problems: &problems{}, at: top("")}
	var x T
	read(probe, &x)
	return probe.known
}
