package config

import (
	"cmp"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"bothy/runner/build"
)

// orElse sets a value that is zero.
func orElse[T comparable](to *T, value T) { *to = cmp.Or(*to, value) }

const day = 24 * time.Hour

// setDefaults gives every zero field its default.
func (c *Config) setDefaults() {
	orElse(&c.Title, "Bothy")
	orElse(&c.Web.Listen, "127.0.0.1:8010")
	orElse(&c.URL, c.Web.url())
	if c.URL != "" && !strings.HasSuffix(c.URL, "/") {
		c.URL += "/"
	}
	orElse(&c.BaseDir, ".bothy")
	for i := range c.Web.Users {
		orElse(&c.Web.Users[i].Role, Viewer)
	}
	for i := range c.Web.Tokens {
		orElse(&c.Web.Tokens[i].Role, Viewer)
	}
	orElse(&c.Remote.Listen, "127.0.0.1:9989") // Buildbot's port
	orElse(&c.Machine.MemoryPerBuild, 1<<30)
	orElse(&c.Store.KeepBuilds, 1000)
	orElse(&c.Store.KeepLogs, 90*day)
	orElse(&c.Store.KeepFailedWorkspaces, 5)
	orElse(&c.Store.DiskCap, 20<<30)
	orElse(&c.Mail.From, "bothy@localhost")
	orElse(&c.Mail.Relay, "localhost:25")
	orElse(&c.Mail.TLS, TLSAuto)
	if len(c.Workers) == 0 {
		c.Workers = []Worker{{Name: "bot1"}}
	}
	for i := range c.Workers {
		c.Workers[i].setDefaults()
	}
	for i := range c.Builders {
		c.Builders[i].setDefaults()
	}
	for i := range c.Schedulers {
		c.Schedulers[i].setDefaults()
	}
	for i := range c.Reports {
		c.Reports[i].setDefaults()
	}
	for i := range c.Locks {
		orElse(&c.Locks[i].MaxCount, 1)
		orElse(&c.Locks[i].Scope, LockMaster)
	}
	for i := range c.Secrets {
		c.Secrets[i].setDefaults()
	}
}

// url is where the master is reached that listens as w says, "" if Listen
// is no address.
func (w *Web) url() string {
	host, port, err := net.SplitHostPort(w.Listen)
	if err != nil {
		return ""
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() { // all interfaces: none of them is its name
		if host, err = os.Hostname(); err != nil || !isName(host) {
			host = "localhost"
		}
	}
	scheme := "http"
	if w.TLSCert != "" {
		scheme = "https"
	}
	u := scheme + "://" + net.JoinHostPort(host, port) + "/"
	if _, err := url.Parse(u); err != nil {
		return ""
	}
	return u
}

// isName reports whether s can be the name of a host, with domains or without.
func isName(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == ""
}

func (w *Worker) setDefaults() {
	orElse(&w.Kind, WorkerLocal)
	if w.Kind == WorkerLocal {
		orElse(&w.Workdir, w.Name)
		orElse(&w.Count, 1)
		return
	}
	orElse(&w.Remote.KeepaliveInterval, time.Hour) // Buildbot: DEFAULT_KEEPALIVE_INTERVAL
	orElse(&w.Remote.MissingTimeout, time.Hour)    // Buildbot: DEFAULT_MISSING_TIMEOUT
	orElse(&w.Remote.Lease, 2*time.Minute)
	if !w.Kind.IsLatent() {
		return
	}
	if w.Latent.BuildWaitTimeout == nil {
		wait := 10 * time.Minute // Buildbot: build_wait_timeout
		w.Latent.BuildWaitTimeout = &wait
	}
	orElse(&w.Latent.CheckInstanceInterval, 10*time.Second) // Buildbot: check_instance_interval
	orElse(&w.Latent.MaxInstances, 1)
	orElse(&w.Latent.MaxStartsPerHour, 20)
	orElse(&w.Latent.MaxLifetime, 12*time.Hour)
	switch w.Kind {
	case WorkerNomad:
		orElse(&w.Nomad.Address, "http://127.0.0.1:4646")
	case WorkerKubernetes:
		orElse(&w.Kubernetes.Namespace, "default")
	}
}

func (b *Builder) setDefaults() {
	orElse(&b.CPUs, 1)
	orElse(&b.MaxRetries, 3)
	orElse(&b.Source.Kind, SourceAuto)
	orElse(&b.Workspace, WorkspaceFresh)
	orElse(&b.CleanupTime, time.Minute)
	setLockDefaults(b.Locks)
	for i := range b.Steps {
		b.Steps[i].setDefaults()
	}
	uniqueStepNames(b.Steps)
}

func (s *Step) setDefaults() {
	if s.Name == "" {
		s.Name = stepName(s)
	}
	orElse(&s.Timeout, 20*time.Minute) // Buildbot: timeout = 1200
	orElse(&s.SigtermTime, 10*time.Second)
	if s.Flags == nil {
		f := build.DefaultFlags()
		s.Flags = &f
	}
	setLockDefaults(s.Locks)
}

func setLockDefaults(locks []LockAccess) {
	for i := range locks {
		orElse(&locks[i].Mode, LockCounting)
		orElse(&locks[i].Count, 1)
	}
}

func (s *Scheduler) setDefaults() {
	switch s.Kind {
	case SchedulerGit:
		orElse(&s.Git.PollInterval, 10*time.Minute) // Buildbot: pollInterval = 600
	case SchedulerFiles:
		orElse(&s.Changes.TreeStableTimer, time.Second)
	case SchedulerForce:
		s.Force.setDefaults(s.Name)
	}
}

func (r *Report) setDefaults() {
	if len(r.Mode) == 0 {
		r.Mode = []ReportMode{ModeFailing, ModeProblem, ModeChange}
	}
	if r.Kind != ReportMail {
		orElse(&r.Timeout, time.Minute)
	}
}

func (s *SecretProvider) setDefaults() {
	switch s.Kind {
	case SecretDir:
		orElse(&s.Path, "secrets")
	case SecretVault:
		orElse(&s.Vault.Mount, "secret")
		orElse(&s.Vault.APIVersion, 2)
	}
}
