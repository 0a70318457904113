package config

import (
	"fmt"
	"maps"
	gopath "path"
	"slices"
	"strings"
	"unicode/utf8"

	"bothy/runner/worker"
)

const maxStepRetries = 100 // more is a slip of the pen

func (k *checker) checkLocks() {
	k.locks = map[string]*Lock{}
	names := unique{}
	for i := range k.c.Locks {
		l := &k.c.Locks[i]
		at := top("locks").index(i).named(l.Name)
		switch {
		case l.Name == "":
			k.missing(at.key("name"), "the lock's name")
		case !isOneLine(l.Name) || utf8.RuneCountInString(l.Name) > maxBuilderName:
			k.errorf(at.key("name"), "lock name %.60q: at most %d characters on one line are allowed", l.Name, maxBuilderName)
		}
		names.add(k, at.key("name"), "lock", l.Name)
		atLeast(k, at.key("max_count"), l.MaxCount, 1)
		oneOf(k, at.key("scope"), l.Scope, LockMaster, LockWorker)
		if len(l.MaxCountForWorker) > 0 && l.Scope == LockMaster {
			k.errorf(at.key("max_count_for_worker"), `is only for scope = "worker"`)
		}
		for _, w := range slices.Sorted(maps.Keys(l.MaxCountForWorker)) {
			at := at.key("max_count_for_worker").key(w)
			if _, ok := k.workers[w]; !ok {
				k.suggest(at, k.closest(w, k.workerName), "unknown worker %q", w)
			}
			atLeast(k, at, l.MaxCountForWorker[w], 0)
		}
		k.locks[l.Name] = l
	}
	k.lockName = slices.Sorted(maps.Keys(k.locks))
}

// accesses checks uses of locks; held are the names of those the whole build
// holds. It returns the names of those used.
func (k *checker) accesses(at *pathTo, uses []LockAccess, held map[string]bool) map[string]bool {
	used := make(map[string]bool, len(uses))
	for i, u := range uses {
		at := at.index(i)
		where := at // of the name: the text itself, or in its table
		if k.origin == nil || k.has(at.key("name")) {
			where = at.key("name")
		}
		twice := used[u.Name]
		used[u.Name] = true
		l, ok := k.locks[u.Name]
		switch {
		case !ok:
			k.suggest(where, k.closest(u.Name, k.lockName), "unknown lock %q", u.Name)
			continue
		case twice:
			k.errorf(where, "lock %q is named twice", u.Name)
		case held[u.Name]:
			k.errorf(where, "lock %q is held by the whole build already, so this step would wait for ever", u.Name)
		}
		if !oneOf(k, at.key("mode"), u.Mode, LockCounting, LockExclusive) {
			continue
		}
		most := l.MaxCount
		for _, n := range l.MaxCountForWorker {
			most = max(most, n)
		}
		switch {
		case u.Mode == LockExclusive && u.Count != 1:
			k.errorf(at.key("count"), "an exclusive lock has no count")
		case u.Count < Off:
			k.errorf(at.key("count"), "must not be negative")
		case u.Count > most:
			k.errorf(at.key("count"), "lock %q has only %d, so this would wait for ever", u.Name, most)
		}
	}
	return used
}

// has reports whether the file has a value at at.
func (k *checker) has(at *pathTo) bool {
	_, ok := k.origin.find(at)
	return ok
}

func (k *checker) checkBuilders() {
	if len(k.c.Builders) == 0 {
		k.warnf(nil, "there are no [[builders]]: nothing can be built")
	}
	names := unique{}
	for i := range k.c.Builders {
		b := &k.c.Builders[i]
		at := builderAt(i, b)
		if bad := checkBuilderName("builder", b.Name); bad != "" {
			k.errorf(at.key("name"), "%s", bad)
		}
		names.add(k, at.key("name"), "builder", b.Name)
		k.builders = append(k.builders, b.Name)
	}
	slices.Sort(k.builders)
	for i := range k.c.Builders {
		k.builder(builderAt(i, &k.c.Builders[i]), &k.c.Builders[i])
	}
}

func (k *checker) builder(at *pathTo, b *Builder) {
	k.known(at.key("workers"), "worker", b.Workers, k.workerName)
	tags := map[string]bool{"": true}
	for i, t := range b.Tags {
		if tags[t] || !isOneLine(t) {
			k.errorf(at.key("tags").index(i), "tag %q is empty, not one line, or there twice", t)
		}
		tags[t] = true
	}
	k.env(at.key("env"), b.Env)
	k.properties(at.key("properties"), b.Properties)
	k.properties(at.key("default_properties"), b.DefaultProperties)
	held := k.accesses(at.key("locks"), b.Locks, nil)
	atLeast(k, at.key("cpus"), b.CPUs, 0)
	atLeast(k, at.key("memory"), b.Memory, 0)
	atLeast(k, at.key("max_retries"), b.MaxRetries, Off)
	atLeast(k, at.key("cleanup_time"), b.CleanupTime, 0)
	oneOf(k, at.key("workspace"), b.Workspace, WorkspaceFresh, WorkspaceKeep)
	k.source(at.key("source"), &b.Source)
	if len(b.Steps) == 0 {
		k.errorf(at.key("steps"), "builder %q has no steps", b.Name)
	}
	for i := range b.Steps {
		k.step(at.key("steps").index(i), &b.Steps[i], held)
	}
	k.runnable(at, b)
}

func (k *checker) source(at *pathTo, s *Source) {
	if !oneOf(k, at, s.Kind, SourceAuto, SourceTree, SourceCopy, SourceGit, SourceNone) {
		return
	}
	switch {
	case s.Kind != SourceGit && (s.URL != "" || s.Branch != ""):
		k.errorf(at, "a URL or branch is for git only")
	case s.Kind != SourceGit:
	case s.URL == "":
		k.missing(at.key("git"), "the repository's URL")
	case unsafeForGit(s.URL):
		k.errorf(at.key("git"), "%q is not a repository's URL", s.URL)
	case unsafeForGit(s.Branch):
		k.errorf(at.key("branch"), "%q is not a branch", s.Branch)
	}
}

// unsafeForGit reports whether git could take s for an option, or run it: its
// "ext::" transport starts a command.
func unsafeForGit(s string) bool {
	return strings.HasPrefix(s, "-") || strings.Contains(s, "::") || !isOneLine(s)
}

// runnable reports a builder that none of its workers can run.
func (k *checker) runnable(at *pathTo, b *Builder) {
	names := b.Workers
	if len(names) == 0 {
		names = k.workerName
	}
	for _, name := range names {
		if kind, ok := k.workers[name]; !ok || kind == WorkerLocal { // unknown ones are reported already
			return
		}
	}
	if b.Source.Kind == SourceTree || b.Source.Kind == SourceCopy {
		k.warnf(at.key("source"), "nobody can run builder %q: %q needs a local worker", b.Name, b.Source.Kind)
	}
	for i, s := range b.Steps {
		if s.Func != "" {
			k.errorf(at.key("steps").index(i).key("func"), "nobody can run builder %q: a Go step needs a local worker", b.Name)
			return
		}
	}
}

func (k *checker) step(at *pathTo, s *Step, held map[string]bool) {
	if k.origin == nil {
		at = at.named(s.Name)
	}
	if utf8.RuneCountInString(s.Name) > maxStepName || !isOneLine(s.Name) {
		k.errorf(at.key("name"), "step name %.60q: at most %d characters on one line are allowed", s.Name, maxStepName)
	}
	k.command(at, s)
	k.template(at.key("workdir"), s.Workdir)
	k.env(at.key("env"), s.Env)
	atLeast(k, at.key("timeout"), s.Timeout, Off)
	atLeast(k, at.key("max_time"), s.MaxTime, 0)
	atLeast(k, at.key("sigterm_time"), s.SigtermTime, Off)
	atLeast(k, at.key("max_lines"), s.MaxLines, 0)
	for _, code := range slices.Sorted(maps.Keys(s.DecodeRC)) {
		if r := s.DecodeRC[code]; !r.Valid() {
			k.errorf(at.key("decode_rc").key(fmt.Sprint(code)), "%s is not a result of a step", r)
		}
	}
	k.template(at.key("do_if"), s.DoIf)
	k.template(at.key("hide_if"), s.HideIf)
	k.accesses(at.key("locks"), s.Locks, held)
	k.logFiles(at.key("logfiles"), s.LogFiles)
	k.template(at.key("stdin"), s.Stdin)
	if s.Retries < 0 || s.Retries > maxStepRetries {
		k.errorf(at.key("retries"), "%d is not between 0 and %d", s.Retries, maxStepRetries)
	}
	k.files(at.key("artifacts"), s.Artifacts)
	k.files(at.key("junit"), s.JUnit)
}

// command checks what a step runs.
func (k *checker) command(at *pathTo, s *Step) {
	switch {
	case s.Run.IsZero() && s.Func == "":
		k.missing(at.key("run"), "what to run")
	case !s.Run.IsZero() && s.Func != "":
		k.errorf(at.key("func"), "run is there too: a step has only one of them")
	case s.Run.Shell != "" && len(s.Run.Argv) > 0:
		k.errorf(at.key("run"), "is both a line for the shell and a list")
	case s.Func != "" && !isOneLine(s.Func):
		k.errorf(at.key("func"), "must be one line")
	}
	k.runText(at.key("run"), s.Run)
}

// runText checks the texts of a command.
func (k *checker) runText(at *pathTo, r Run) {
	if strings.Contains(r.Shell, "\x00") {
		k.errorf(at, "contains a NUL character")
	}
	k.template(at, r.Shell)
	for i, arg := range r.Argv {
		if strings.Contains(arg, "\x00") {
			k.errorf(at.index(i), "contains a NUL character")
		}
		k.template(at.index(i), arg)
	}
	if len(r.Argv) > 0 && r.Argv[0] == "" {
		k.errorf(at.index(0), "the program has no name")
	}
}

// files checks patterns of files below a build's directory.
func (k *checker) files(at *pathTo, patterns []string) {
	k.patterns(at, patterns)
	k.templates(at, patterns)
	for i, s := range patterns {
		if strings.Contains(s, "%") {
			continue // only a build knows what it says
		}
		if _, err := gopath.Match(s, ""); err != nil || s == "" {
			continue // said above
		}
		if _, err := worker.ParsePattern(s); err != nil {
			k.errorf(at.index(i), "%v", err)
		}
	}
}

func (k *checker) logFiles(at *pathTo, files []LogFile) {
	seen := map[string]bool{}
	for _, l := range files {
		at := at.key(l.Name)
		switch {
		case l.Name == "" || l.Name == "stdio" || !isOneLine(l.Name) || utf8.RuneCountInString(l.Name) > maxStepName:
			k.keyError(at, "", "%.60q cannot be the name of a log", l.Name)
		case seen[l.Name]:
			k.keyError(at, "", "there is another log %q", l.Name)
		case l.Path == "":
			k.errorf(at, "the file's path is missing")
		}
		seen[l.Name] = true
		if k.origin != nil && k.has(at.key("path")) {
			at = at.key("path")
		}
		k.template(at, l.Path)
	}
}
