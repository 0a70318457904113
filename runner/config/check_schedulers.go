package config

import (
	"slices"
	"time"
)

func (k *checker) checkSchedulers() {
	names := unique{}
	var all []string
	for i := range k.c.Schedulers {
		all = append(all, k.c.Schedulers[i].Name)
	}
	slices.Sort(all)
	for i := range k.c.Schedulers {
		s := &k.c.Schedulers[i]
		at := top("schedulers").index(i).named(s.Name)
		if bad := checkBuilderName("scheduler", s.Name); bad != "" {
			k.errorf(at.key("name"), "%s", bad)
		}
		names.add(k, at.key("name"), "scheduler", s.Name)
		if len(s.Builders) == 0 {
			k.errorf(at.key("builders"), "scheduler %q names no builder", s.Name)
		}
		k.known(at.key("builders"), "builder", s.Builders, k.builders)
		k.properties(at.key("properties"), s.Properties)
		k.scheduler(at, s, all)
	}
	k.cycles()
}

func (k *checker) scheduler(at *pathTo, s *Scheduler, all []string) {
	switch s.Kind {
	case SchedulerCron:
		if s.Cron.Spec == "" {
			k.missing(at.key("cron"), "when to run")
		} else if err := checkCron(s.Cron.Spec); err != nil {
			k.errorf(at.key("cron"), "%v", err)
		}
		if _, err := time.LoadLocation(s.Cron.TimeZone); err != nil {
			k.errorf(at.key("time_zone"), "unknown time zone %q", s.Cron.TimeZone)
		}
		k.gitRef(at.key("branch"), s.Cron.Branch)
	case SchedulerPeriodic:
		if s.Periodic.Every <= 0 {
			k.missing(at.key("every"), "the interval")
		}
		k.gitRef(at.key("branch"), s.Periodic.Branch)
	case SchedulerGit:
		k.changes(at, &s.Changes)
		k.gitScheduler(at, &s.Git)
	case SchedulerWebhook:
		k.changes(at, &s.Changes)
		if s.Webhook.Dialect == "" {
			k.missing(at.key("dialect"), "the dialect")
		} else {
			oneOf(k, at.key("dialect"), s.Webhook.Dialect, "github", "gitlab", "base")
		}
		if s.Webhook.Secret.IsZero() {
			k.warnf(at.key("secret"), "scheduler %q has no secret: anybody who can reach the master can start builds", s.Name)
		}
		k.secret(at.key("secret"), s.Webhook.Secret)
	case SchedulerFiles:
		k.changes(at, &s.Changes)
		k.patterns(at.key("paths"), s.Files.Paths)
	case SchedulerDependent:
		if s.Dependent.Upstream == "" {
			k.missing(at.key("upstream"), "the scheduler to follow")
		} else if _, ok := slices.BinarySearch(all, s.Dependent.Upstream); !ok {
			k.suggest(at.key("upstream"), k.closest(s.Dependent.Upstream, all), "unknown scheduler %q", s.Dependent.Upstream)
		}
	case SchedulerForce:
		k.force(at, &s.Force)
	case "":
		k.missing(at.key("kind"), "the kind")
	default:
		oneOf(k, at.key("kind"), s.Kind, SchedulerCron, SchedulerPeriodic, SchedulerGit, SchedulerWebhook, SchedulerFiles, SchedulerDependent, SchedulerForce)
	}
}

func (k *checker) gitRef(at *pathTo, s string) {
	if unsafeForGit(s) {
		k.errorf(at, "%q is not a branch", s)
	}
}

func (k *checker) changes(at *pathTo, c *Changes) {
	atLeast(k, at.key("tree_stable_timer"), c.TreeStableTimer, 0)
	k.patterns(at.key("branches"), c.Branches)
	k.patterns(at.key("important"), c.Important)
	k.patterns(at.key("ignore"), c.Ignore)
}

func (k *checker) gitScheduler(at *pathTo, g *GitPoll) {
	switch {
	case g.URL == "":
		k.missing(at.key("url"), "the repository's URL")
	case unsafeForGit(g.URL):
		k.errorf(at.key("url"), "%q is not a repository's URL", g.URL)
	}
	atLeast(k, at.key("poll_interval"), g.PollInterval, 0)
	k.secret(at.key("password"), g.Password)
	if g.Username != "" && g.Password.IsZero() {
		k.errorf(at.key("username"), "needs password")
	}
}

// cycles reports dependent schedulers that follow themselves.
func (k *checker) cycles() {
	follows := map[string]string{}
	for _, s := range k.c.Schedulers {
		if s.Kind == SchedulerDependent {
			follows[s.Name] = s.Dependent.Upstream
		}
	}
	settled := map[string]bool{} // leads to no cycle, or to one that was reported
	for i, s := range k.c.Schedulers {
		trail := map[string]bool{}
		at := s.Name
		for !settled[at] && !trail[at] && follows[at] != "" {
			trail[at] = true
			at = follows[at]
		}
		if trail[at] {
			k.errorf(top("schedulers").index(i).named(s.Name).key("upstream"), "scheduler %q waits for itself", at)
		}
		for name := range trail {
			settled[name] = true
		}
	}
}
