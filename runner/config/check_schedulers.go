package config

import (
	"slices"
	"time"

	"bothy/runner/build"
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

func (k *checker) force(at *pathTo, f *Force) {
	names := unique{}
	for i := range f.Parameters {
		p := &f.Parameters[i]
		at := at.key("parameters").index(i).named(p.Name)
		if err := build.CheckName(p.Name); err != nil {
			k.errorf(at.key("name"), "%v", err)
		}
		names.add(k, at.key("name"), "parameter", p.Name)
		if !oneOf(k, at.key("type"), p.Type, "string", "text", "int", "bool", "choice", "fixed") {
			continue
		}
		if p.Type == "choice" && len(p.Choices) == 0 {
			k.missing(at.key("choices"), "the list of choices")
		}
		if p.Type != "choice" && (len(p.Choices) > 0 || p.Multiple) {
			k.errorf(at.key("choices"), `choices and multiple are only for type = "choice"`)
		}
		k.defaultOf(at.key("default"), p)
	}
}

// defaultOf checks that a parameter's default is one of its values.
func (k *checker) defaultOf(at *pathTo, p *Parameter) {
	ok := true
	switch v := p.Default.(type) {
	case nil:
	case string:
		ok = p.Type != "int" && p.Type != "bool"
		if p.Type == "choice" && !slices.Contains(p.Choices, v) {
			k.suggest(at, k.closest(v, p.Choices), "%q is not one of the choices", v)
		}
	case bool:
		ok = p.Type == "bool"
	case int64, int:
		ok = p.Type == "int"
	case []any:
		ok = p.Type == "choice" && p.Multiple
	default:
		ok = false
	}
	if !ok {
		k.errorf(at, "is not a value for type = %q", p.Type)
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

func (k *checker) checkReports() {
	for i := range k.c.Reports {
		r := &k.c.Reports[i]
		at := top("reports").index(i)
		k.known(at.key("builders"), "builder", r.Builders, k.builders)
		for j, m := range r.Mode {
			oneOf(k, at.key("mode").index(j), m, ModeAll, ModePassing, ModeWarnings, ModeFailing, ModeException, ModeCancelled, ModeProblem, ModeChange)
		}
		switch r.Kind {
		case ReportMail:
			if len(r.To) == 0 {
				k.missing(at.key("to"), "who gets the mail")
			}
			for j, a := range r.To {
				k.mailAddress(at.key("to").index(j), a)
			}
			k.template(at.key("subject"), r.Subject)
		case ReportWebhook:
			k.httpURL(at.key("url"), r.URL)
			k.secret(at.key("secret"), r.Secret)
			atLeast(k, at.key("timeout"), r.Timeout, 0)
		case ReportCommand:
			if r.Run.IsZero() {
				k.missing(at.key("run"), "what to run")
			}
			k.runText(at.key("run"), r.Run)
			k.env(at.key("env"), r.Env)
			atLeast(k, at.key("timeout"), r.Timeout, 0)
		case "":
			k.missing(at.key("kind"), "the kind")
		default:
			oneOf(k, at.key("kind"), r.Kind, ReportMail, ReportWebhook, ReportCommand)
		}
	}
}

func (k *checker) checkSecrets() {
	for i := range k.c.Secrets {
		s := &k.c.Secrets[i]
		at := top("secrets").index(i)
		switch s.Kind {
		case SecretDir, SecretEnv, SecretPass, SecretSystemd:
		case SecretVault:
			k.httpURL(at.key("address"), s.Vault.Address)
			if v := s.Vault.APIVersion; v != 1 && v != 2 {
				k.errorf(at.key("api_version"), "%d is not 1 or 2", v)
			}
			hasRole := s.Vault.RoleID != "" && !s.Vault.SecretID.IsZero()
			if hasToken := !s.Vault.Token.IsZero(); hasToken == hasRole {
				k.errorf(at.key("token"), "want either token, or role_id and secret_id")
			}
			k.ownSecret(at.key("token"), s.Vault.Token)
			k.ownSecret(at.key("secret_id"), s.Vault.SecretID)
		case "":
			k.missing(at.key("kind"), "the kind")
		default:
			oneOf(k, at.key("kind"), s.Kind, SecretDir, SecretEnv, SecretPass, SecretVault, SecretSystemd)
		}
	}
}

// ownSecret checks a secret that a provider of secrets itself needs.
func (k *checker) ownSecret(at *pathTo, s Secret) {
	if s.Name != "" {
		k.errorf(at, "a provider cannot take its own secret from the providers: use { file = … } or { env = … }")
		return
	}
	k.secret(at, s)
}
