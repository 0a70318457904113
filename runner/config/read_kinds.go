package config

func readWorker(t *table, at *pathTo, v any) Worker {
	return kinds(t, at, v, workerKeys, workerKinds())
}

// workerKeys reads the keys of every kind.
func workerKeys(t *table, w *Worker) string {
	choice(t, "kind", &w.Kind)
	t.text("name", &w.Name)
	t.at = t.at.named(w.Name)
	t.whole("max_builds", &w.MaxBuilds, zeroIsWrong)
	t.anything("properties", &w.Properties)
	t.anything("default_properties", &w.DefaultProperties)
	t.unless("canary", &w.NoCanary)
	if _, says := t.values["kind"]; !says {
		return string(WorkerLocal)
	}
	return string(w.Kind)
}

func workerKinds() []ofKind[Worker] {
	return []ofKind[Worker]{
		{string(WorkerLocal), func(t *table, w *Worker) {
			t.text("workdir", &w.Workdir)
			t.whole("count", &w.Count, zeroIsWrong)
		}},
		{string(WorkerRemote), readRemoteWorker},
		{string(WorkerCommand), func(t *table, w *Worker) {
			readLatentWorker(t, w)
			t.texts("start", &w.Command.Start)
			t.texts("stop", &w.Command.Stop)
			t.texts("check", &w.Command.Check)
			t.texts("list", &w.Command.List)
		}},
		{string(WorkerDocker), func(t *table, w *Worker) {
			readLatentWorker(t, w)
			t.text("docker_host", &w.Docker.Host)
			t.text("image", &w.Docker.Image)
			t.texts("command", &w.Docker.Command)
			t.texts("volumes", &w.Docker.Volumes)
			t.flag("autopull", &w.Docker.AutoPull)
			t.flag("always_pull", &w.Docker.AlwaysPull)
		}},
		{string(WorkerNomad), func(t *table, w *Worker) {
			readLatentWorker(t, w)
			t.text("address", &w.Nomad.Address)
			t.text("namespace", &w.Nomad.Namespace)
			t.text("job", &w.Nomad.Job)
			t.secret("token", &w.Nomad.Token)
		}},
		{string(WorkerKubernetes), func(t *table, w *Worker) {
			readLatentWorker(t, w)
			t.text("image", &w.Kubernetes.Image)
			t.text("namespace", &w.Kubernetes.Namespace)
			t.text("kubeconfig", &w.Kubernetes.Kubeconfig)
			t.text("context", &w.Kubernetes.Context)
		}},
		{string(WorkerEC2), func(t *table, w *Worker) {
			readLatentWorker(t, w)
			t.text("region", &w.EC2.Region)
			t.text("instance_type", &w.EC2.InstanceType)
			t.text("ami", &w.EC2.AMI)
			t.text("key_name", &w.EC2.KeyName)
			t.texts("security_groups", &w.EC2.SecurityGroups)
			t.text("subnet_id", &w.EC2.SubnetID)
			t.textOrEmpty("user_data", &w.EC2.UserData)
			t.dict("tags", &w.EC2.Tags)
			t.flag("spot", &w.EC2.Spot)
			t.number("max_spot_price", &w.EC2.MaxSpotPrice, false)
		}},
	}
}

func readRemoteWorker(t *table, w *Worker) {
	r := &w.Remote
	t.secret("password", &r.Password)
	t.text("password_sha256", &r.PasswordSHA256)
	t.duration("keepalive_interval", &r.KeepaliveInterval, zeroIsOff)
	t.duration("missing_timeout", &r.MissingTimeout, zeroIsOff)
	t.textOrTexts("notify_on_missing", &r.NotifyOnMissing)
	t.flag("notify_on_return", &r.NotifyOnReturn)
	t.duration("lease", &r.Lease, zeroIsWrong)
}

func readLatentWorker(t *table, w *Worker) {
	readRemoteWorker(t, w)
	l := &w.Latent
	if d, _, ok := t.anyDuration("build_wait_timeout"); ok {
		l.BuildWaitTimeout = &d
	}
	t.duration("check_instance_interval", &l.CheckInstanceInterval, zeroIsWrong)
	t.whole("max_instances", &l.MaxInstances, zeroIsWrong)
	t.whole("max_starts_per_hour", &l.MaxStartsPerHour, zeroIsWrong)
	t.duration("max_lifetime", &l.MaxLifetime, zeroIsWrong)
}

func readScheduler(t *table, at *pathTo, v any) Scheduler {
	return kinds(t, at, v, schedulerKeys, schedulerKinds())
}

// schedulerKeys reads the keys of every kind.
func schedulerKeys(t *table, s *Scheduler) string {
	choice(t, "kind", &s.Kind)
	t.text("name", &s.Name)
	t.at = t.at.named(s.Name)
	t.texts("builders", &s.Builders)
	t.anything("properties", &s.Properties)
	t.signed("priority", &s.Priority)
	if s.Kind != SchedulerForce { // there it is a field of the form
		t.textOrEmpty("reason", &s.Reason)
	}
	return string(s.Kind)
}

func schedulerKinds() []ofKind[Scheduler] {
	return []ofKind[Scheduler]{
		{string(SchedulerCron), func(t *table, s *Scheduler) {
			t.text("cron", &s.Cron.Spec)
			t.text("time_zone", &s.Cron.TimeZone)
			t.flag("only_if_changed", &s.Cron.OnlyIfChanged)
			t.text("branch", &s.Cron.Branch)
		}},
		{string(SchedulerPeriodic), func(t *table, s *Scheduler) {
			t.duration("every", &s.Periodic.Every, zeroIsWrong)
			t.flag("only_if_changed", &s.Periodic.OnlyIfChanged)
			t.text("branch", &s.Periodic.Branch)
		}},
		{string(SchedulerGit), func(t *table, s *Scheduler) {
			readChanges(t, &s.Changes)
			t.texts("branches", &s.Changes.Branches)
			t.text("url", &s.Git.URL)
			t.duration("poll_interval", &s.Git.PollInterval, zeroIsWrong)
			t.flag("poll_at_launch", &s.Git.PollAtLaunch)
			t.flag("only_tags", &s.Git.OnlyTags)
			t.text("ssh_key", &s.Git.SSHKey)
			t.text("ssh_known_hosts", &s.Git.SSHKnownHosts)
			t.text("username", &s.Git.Username)
			t.secret("password", &s.Git.Password)
		}},
		{string(SchedulerWebhook), func(t *table, s *Scheduler) {
			readChanges(t, &s.Changes)
			t.texts("branches", &s.Changes.Branches)
			t.text("dialect", &s.Webhook.Dialect)
			t.secret("secret", &s.Webhook.Secret)
			t.flag("pull_requests", &s.Webhook.PullRequests)
		}},
		{string(SchedulerFiles), func(t *table, s *Scheduler) {
			readChanges(t, &s.Changes)
			t.texts("paths", &s.Files.Paths)
		}},
		{string(SchedulerDependent), func(t *table, s *Scheduler) {
			t.text("upstream", &s.Dependent.Upstream)
		}},
		{string(SchedulerForce), func(t *table, s *Scheduler) {
			t.text("label", &s.Force.Label)
			t.text("button", &s.Force.Button)
			readOwnField(t, "reason", &s.Force.Reason, readField)
			readOwnField(t, "username", &s.Force.Username, func(t *table, p *Parameter) {
				readField(t, p)
				t.unless("need_email", &p.NoEmail)
			})
			tables(t, "parameters", &s.Force.Parameters, readParameter)
		}},
	}
}

func readChanges(t *table, c *Changes) {
	// 0 is the default but for files, where it would be one build per write.
	t.duration("tree_stable_timer", &c.TreeStableTimer, zeroIsDefault)
	t.texts("important", &c.Important)
	t.texts("ignore", &c.Ignore)
}

// readOwnField reads a field that every form has: its default, or a table.
func readOwnField(t *table, key string, p *Parameter, read func(*table, *Parameter)) {
	v, at, ok := t.take(key)
	switch text, isText := v.(string); {
	case !ok:
	case isText:
		p.Default = text
	default:
		if _, isTable := v.(map[string]any); !isTable {
			t.wrong(at, v, "text, or a table")
			return
		}
		t.of(at, v, func(in *table) { read(in, p) })
	}
}

// readField reads the keys of a text field.
func readField(t *table, p *Parameter) {
	t.text("label", &p.Label)
	t.textOrEmpty("tooltip", &p.Tooltip)
	if v, at, ok := t.take("default"); ok {
		p.Default = t.plain(at, v)
	}
	t.flag("required", &p.Required)
	t.flag("hide", &p.Hide)
	t.text("regex", &p.Regex)
	t.whole("size", &p.Size, zeroIsWrong)
	t.whole("max_size", &p.MaxSize, zeroIsWrong)
}

func readParameter(t *table, p *Parameter) {
	t.textOrEmpty("name", &p.Name)
	t.at = t.at.named(p.Name)
	choice(t, "type", &p.Type)
	readField(t, p)
	t.whole("cols", &p.Cols, zeroIsWrong)
	t.whole("rows", &p.Rows, zeroIsWrong)
	t.texts("choices", &p.Choices)
	t.flag("multiple", &p.Multiple)
	t.unless("strict", &p.Open)
	t.unless("need_email", &p.NoEmail)
	tables(t, "fields", &p.Fields, readParameter)
	t.whole("columns", &p.Columns, zeroIsWrong)
}

func readReport(t *table, at *pathTo, v any) Report {
	return kinds(t, at, v, reportKeys, reportKinds())
}

// reportKeys reads the keys of every kind.
func reportKeys(t *table, r *Report) string {
	choice(t, "kind", &r.Kind)
	t.texts("builders", &r.Builders)
	t.texts("tags", &r.Tags)
	var modes []string
	t.textOrTexts("mode", &modes)
	if t.values["mode"] == string(ModeWarnings) { // Buildbot: BuildStatusGenerator
		modes = []string{string(ModeFailing), string(ModeWarnings)}
	}
	for _, m := range modes {
		r.Mode = append(r.Mode, ReportMode(m))
	}
	return string(r.Kind)
}

func reportKinds() []ofKind[Report] {
	return []ofKind[Report]{
		{string(ReportMail), func(t *table, r *Report) {
			t.textOrTexts("to", &r.To)
			t.flag("send_to_interested_users", &r.SendToInterestedUsers)
			t.text("lookup", &r.Lookup)
			t.text("subject", &r.Subject)
			t.flag("add_logs", &r.AddLogs)
		}},
		{string(ReportWebhook), func(t *table, r *Report) {
			t.text("url", &r.URL)
			t.secret("secret", &r.Secret)
			t.duration("timeout", &r.Timeout, zeroIsWrong)
		}},
		{string(ReportCommand), func(t *table, r *Report) {
			t.run("run", &r.Run)
			t.dict("env", &r.Env)
			t.duration("timeout", &r.Timeout, zeroIsWrong)
		}},
	}
}

func readProvider(t *table, at *pathTo, v any) SecretProvider {
	return kinds(t, at, v, providerKeys, providerKinds())
}

// providerKeys reads the keys of every kind.
func providerKeys(t *table, s *SecretProvider) string {
	choice(t, "kind", &s.Kind)
	return string(s.Kind)
}

func providerKinds() []ofKind[SecretProvider] {
	return []ofKind[SecretProvider]{
		{string(SecretDir), func(t *table, s *SecretProvider) { t.text("path", &s.Path) }},
		{string(SecretEnv), func(t *table, s *SecretProvider) { t.text("prefix", &s.Prefix) }},
		{string(SecretPass), func(t *table, s *SecretProvider) {
			t.text("path", &s.Path)
			t.secret("passphrase", &s.Passphrase)
		}},
		{string(SecretVault), func(t *table, s *SecretProvider) {
			t.text("address", &s.Vault.Address)
			t.text("ca_cert", &s.Vault.CACert)
			t.text("namespace", &s.Vault.Namespace)
			t.text("mount", &s.Vault.Mount)
			t.whole("api_version", &s.Vault.APIVersion, zeroIsWrong)
			t.secret("token", &s.Vault.Token)
			t.text("role_id", &s.Vault.RoleID)
			t.secret("secret_id", &s.Vault.SecretID)
		}},
		{string(SecretSystemd), func(*table, *SecretProvider) {}},
	}
}
