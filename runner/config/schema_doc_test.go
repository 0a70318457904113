package config

import "github.com/invopop/jsonschema"

// The types of this file are what schema.json is made of: the tables of the file
// with their keys, comments and defaults. TestSchemaKnowsTheKeys compares them
// with what the decoder asks for.

type DocFile struct {
	// Shown on pages and in mails.
	Title string `json:"title" jsonschema:"minLength=1,default=Bothy"`
	// As people reach the master; used in mails and links. The default is what
	// web.listen says, with the name of this host if that is all interfaces.
	URL string `json:"url" jsonschema:"minLength=1"`
	// State, logs and build directories; relative to this file.
	BaseDir string `json:"basedir" jsonschema:"minLength=1,default=.bothy"`
	// The page and the REST interface.
	Web DocWeb `json:"web"`
	// Where remote workers connect. Opened only if one is configured.
	Remote DocRemote `json:"remote"`
	// What in-process workers may use together.
	Machine DocMachine `json:"machine"`
	// How long things are kept.
	Store DocStore `json:"store"`
	// How mail leaves this machine. Sends no build mails: those are reports.
	Mail DocMail `json:"mail"`
	// Where builds run. None: one local worker named bot1.
	Workers []DocWorker `json:"workers"`
	// What can be built.
	Builders []DocBuilder `json:"builders"`
	// What starts builds by itself.
	Schedulers []DocScheduler `json:"schedulers"`
	// Who is told about finished builds.
	Reports []DocReport `json:"reports"`
	// What only so many may use at the same time.
	Locks []DocLock `json:"locks"`
	// Where secrets are found; asked in order.
	Secrets []DocProvider `json:"secrets"`
}

type DocWeb struct {
	// HOST:PORT. An address that is not loopback needs users or tokens.
	Listen string `json:"listen" jsonschema:"minLength=1,default=127.0.0.1:8010"`
	// PEM file.
	TLSCert string `json:"tls_cert" jsonschema:"minLength=1"`
	// PEM file.
	TLSKey string `json:"tls_key" jsonschema:"minLength=1"`
	// People who may log in.
	Users []DocUser `json:"users"`
	// Programs that may use the REST interface.
	Tokens []DocToken `json:"tokens"`
}

type DocUser struct {
	// The name to log in with.
	Name string `json:"name" jsonschema:"required,minLength=1"`
	// As printed by "bothy hash-password", or by "htpasswd -B".
	PasswordHash DocSecret `json:"password_hash" jsonschema:"required"`
	// What the user may do.
	Role string `json:"role" jsonschema:"enum=viewer,enum=operator,enum=admin,default=viewer"`
}

type DocToken struct {
	// Who uses it.
	Name string `json:"name" jsonschema:"required,minLength=1"`
	// As printed by "bothy token".
	Secret DocSecret `json:"secret" jsonschema:"required"`
	// What it allows.
	Role string `json:"role" jsonschema:"enum=viewer,enum=operator,enum=admin,default=viewer"`
}

type DocRemote struct {
	// HOST:PORT.
	Listen string `json:"listen" jsonschema:"minLength=1,default=127.0.0.1:9989"`
	// PEM file.
	TLSCert string `json:"tls_cert" jsonschema:"minLength=1"`
	// PEM file.
	TLSKey string `json:"tls_key" jsonschema:"minLength=1"`
	// PEM file: workers must show a certificate signed by it.
	ClientCA string `json:"client_ca" jsonschema:"minLength=1"`
}

type DocMachine struct {
	// Logical CPUs. auto: affinity and the quota of every cgroup above.
	CPUs DocNumberOrAuto `json:"cpus"`
	// auto: RAM and the limit of every cgroup above.
	Memory DocSizeOrAuto `json:"memory"`
	// Kept for the master and the system. auto: the larger of 256 MiB and 10 %.
	ReserveMemory DocSizeOrAuto `json:"reserve_memory"`
	// Planning size of a build whose builder says nothing and has no history; default 1GiB.
	MemoryPerBuild DocSize `json:"memory_per_build"`
	// Variables of the master's environment that steps see under "bothy serve", beyond the built-in list.
	PassEnv []string `json:"pass_env"`
}

type DocStore struct {
	// Builds kept per builder. 0: all.
	KeepBuilds int `json:"keep_builds" jsonschema:"minimum=0,default=1000"`
	// How long logs are kept; default 90d. 0: for ever.
	KeepLogs DocDuration `json:"keep_logs"`
	// Directories of failed builds that are kept.
	KeepFailedWorkspaces int `json:"keep_failed_workspaces" jsonschema:"minimum=0,default=5"`
	// For the whole base directory; default 20GiB. 0: no limit.
	DiskCap DocSize `json:"disk_cap"`
}

type DocMail struct {
	// The sender's address.
	From string `json:"from" jsonschema:"minLength=1,default=bothy@localhost"`
	// HOST:PORT of the relay.
	Relay string `json:"relay" jsonschema:"minLength=1,default=localhost:25"`
	// auto: to loopback opportunistic and unverified, elsewhere STARTTLS and verified.
	TLS string `json:"tls" jsonschema:"enum=auto,enum=starttls,enum=implicit,enum=none,default=auto"`
	// For the relay.
	Username string `json:"username" jsonschema:"minLength=1"`
	// For the relay.
	Password DocSecret `json:"password"`
	// Where answers go.
	ReplyTo string `json:"reply_to"`
}

type DocWorker struct {
	// Letters, digits, _ and -, not beginning with a digit; unique.
	Name string `json:"name" jsonschema:"required,minLength=1,maxLength=50"`
	// local: in the master's process. remote: dials in. The others are started when builds wait, and stopped when idle.
	Kind string `json:"kind" jsonschema:"enum=local,enum=remote,enum=command,enum=docker,enum=nomad,enum=kubernetes,enum=ec2,default=local"`
	// Builds at the same time; default: the machine's slots for local workers, no limit for others.
	MaxBuilds int `json:"max_builds" jsonschema:"minimum=1"`
	// Properties of its builds; beat those of builders, schedulers and forced builds.
	Properties map[string]any `json:"properties"`
	// Properties that only fill gaps.
	DefaultProperties map[string]any `json:"default_properties"`
	// After a quarantine, try one build before filling all slots.
	Canary bool `json:"canary" jsonschema:"default=true"`

	// local: directory below "workers" of the base directory; default: the name.
	Workdir string `json:"workdir" jsonschema:"minLength=1"`
	// local: makes that many workers, NAME-1, NAME-2 …; builders may name them all by NAME.
	Count int `json:"count" jsonschema:"minimum=1,maximum=50000,default=1"`

	// What a remote worker must know.
	Password DocSecret `json:"password"`
	// SHA-256 of a random password, in hex; the worker must then speak MessagePack.
	PasswordSHA256 string `json:"password_sha256" jsonschema:"pattern=^[0-9A-Fa-f]{64}$"`
	// Default 1h. 0: none.
	KeepaliveInterval DocDuration `json:"keepalive_interval"`
	// How long the worker may be away before somebody is told; default 1h. 0: never.
	MissingTimeout DocDuration `json:"missing_timeout"`
	// Mail addresses.
	NotifyOnMissing DocTexts `json:"notify_on_missing"`
	// Tell them too when the worker is back.
	NotifyOnReturn bool `json:"notify_on_return" jsonschema:"default=false"`
	// How long the connection between two Bothys may be cut before a build is given up; default 2m.
	Lease DocDuration `json:"lease"`

	// How long an idle instance waits for the next build; default 10m. 0: not at all. Negative: until the master ends.
	BuildWaitTimeout DocAnyDuration `json:"build_wait_timeout"`
	// Between looks at an instance that starts; default 10s.
	CheckInstanceInterval DocDuration `json:"check_instance_interval"`
	// Instances at the same time.
	MaxInstances int `json:"max_instances" jsonschema:"minimum=1,default=1"`
	// A cost cap.
	MaxStartsPerHour int `json:"max_starts_per_hour" jsonschema:"minimum=1,default=20"`
	// A cost cap; default 12h.
	MaxLifetime DocDuration `json:"max_lifetime"`

	// command: starts an instance.
	Start []string `json:"start" jsonschema:"minItems=1"`
	// command: stops an instance.
	Stop []string `json:"stop" jsonschema:"minItems=1"`
	// command: exit status 0 while an instance is well.
	Check []string `json:"check"`
	// command: prints what runs now, one name a line.
	List []string `json:"list"`

	// docker: where the daemon is.
	DockerHost string `json:"docker_host" jsonschema:"minLength=1"`
	// docker, kubernetes: what to run.
	Image string `json:"image" jsonschema:"minLength=1"`
	// docker: program and arguments; default: the image's.
	Command []string `json:"command"`
	// docker: HOST:CONTAINER[:ro|rw].
	Volumes []string `json:"volumes"`
	// docker: pull a missing image.
	AutoPull bool `json:"autopull" jsonschema:"default=false"`
	// docker: pull before every start.
	AlwaysPull bool `json:"always_pull" jsonschema:"default=false"`

	// nomad: URL.
	Address string `json:"address" jsonschema:"minLength=1,default=http://127.0.0.1:4646"`
	// nomad, kubernetes.
	Namespace string `json:"namespace" jsonschema:"minLength=1"`
	// nomad: the job's file.
	Job string `json:"job" jsonschema:"minLength=1"`
	// nomad.
	Token DocSecret `json:"token"`

	// kubernetes: file; default: in-cluster, else the usual place.
	Kubeconfig string `json:"kubeconfig" jsonschema:"minLength=1"`
	// kubernetes.
	Context string `json:"context" jsonschema:"minLength=1"`

	// ec2.
	Region string `json:"region" jsonschema:"minLength=1"`
	// ec2.
	InstanceType string `json:"instance_type" jsonschema:"minLength=1"`
	// ec2: what to run.
	AMI string `json:"ami" jsonschema:"minLength=1"`
	// ec2.
	KeyName string `json:"key_name" jsonschema:"minLength=1"`
	// ec2.
	SecurityGroups []string `json:"security_groups"`
	// ec2.
	SubnetID string `json:"subnet_id" jsonschema:"minLength=1"`
	// ec2: script run at the first start; interpolated.
	UserData string `json:"user_data"`
	// ec2.
	Tags map[string]string `json:"tags"`
	// ec2: bid for spare capacity.
	Spot bool `json:"spot" jsonschema:"default=false"`
	// ec2: per hour; default: the on-demand price.
	MaxSpotPrice float64 `json:"max_spot_price" jsonschema:"exclusiveMinimum=0"`
}

type DocBuilder struct {
	// Letters, digits and . _ - +, not beginning with _ . or -; unique.
	Name string `json:"name" jsonschema:"required,minLength=1,maxLength=100"`
	// For people.
	Description string `json:"description"`
	// Which workers may run it; default: all.
	Workers []string `json:"workers" jsonschema:"minItems=1"`
	// For people, and to choose builders by.
	Tags []string `json:"tags"`
	// For every step; interpolated.
	Env map[string]string `json:"env"`
	// Properties of its builds.
	Properties map[string]any `json:"properties"`
	// Properties that only fill gaps.
	DefaultProperties map[string]any `json:"default_properties"`
	// Held for the whole build.
	Locks []DocLockAccess `json:"locks"`
	// What one build needs.
	CPUs float64 `json:"cpus" jsonschema:"exclusiveMinimum=0,default=1"`
	// What one build needs; default: learned from history.
	Memory DocSize `json:"memory"`
	// How often a build that was lost is run again.
	MaxRetries int `json:"max_retries" jsonschema:"minimum=0,default=3"`
	// Replace an older pending request of the same kind by a newer one.
	CollapseRequests bool `json:"collapse_requests" jsonschema:"default=true"`
	// Of requests that don't say; higher first.
	Priority int `json:"priority" jsonschema:"default=0"`
	// One build of it per worker.
	Exclusive bool `json:"exclusive" jsonschema:"default=false"`
	// Where steps find files. tree: in place. copy: a snapshot. none: an empty directory. auto: tree for "bothy run", copy for "bothy serve".
	Source DocSource `json:"source"`
	// fresh: a new directory for each build. keep: that of the builder's last build on the worker.
	Workspace string `json:"workspace" jsonschema:"enum=fresh,enum=keep,default=fresh"`
	// How long always_run steps may take after a cancel; default 1m.
	CleanupTime DocDuration `json:"cleanup_time"`
	// What to do, in order.
	Steps []DocStep `json:"steps" jsonschema:"required,minItems=1"`
}

type DocStep struct {
	// Default: the command.
	Name string `json:"name" jsonschema:"minLength=1,maxLength=50"`
	// A line for the shell, or a program with its arguments; interpolated.
	Run DocRun `json:"run"`
	// A Go step of the program that embeds Bothy.
	Func string `json:"func" jsonschema:"minLength=1"`
	// Relative to the build's directory; interpolated.
	Workdir string `json:"workdir" jsonschema:"minLength=1"`
	// Over the builder's; interpolated.
	Env map[string]string `json:"env"`
	// Longest time without output; default 20m. 0: any.
	Timeout DocDuration `json:"timeout"`
	// Longest time in all; default: any.
	MaxTime DocDuration `json:"max_time"`
	// From TERM to KILL; default 10s. 0: KILL at once.
	SigtermTime DocDuration `json:"sigterm_time"`
	// Run on a pseudo terminal.
	PTY bool `json:"pty" jsonschema:"default=false"`
	// Write the environment into the log.
	LogEnviron bool `json:"log_environ" jsonschema:"default=false"`
	// Of output. 0: any number.
	MaxLines int `json:"max_lines" jsonschema:"minimum=0,default=0"`
	// Results of exit statuses; others than 0 are failures.
	DecodeRC map[string]DocResult `json:"decode_rc"`
	// A failure ends the build.
	HaltOnFailure bool `json:"halt_on_failure" jsonschema:"default=true"`
	// A failure makes the build a failure.
	FlunkOnFailure bool `json:"flunk_on_failure" jsonschema:"default=true"`
	// Warnings make the build a failure.
	FlunkOnWarnings bool `json:"flunk_on_warnings" jsonschema:"default=false"`
	// A failure gives the build warnings.
	WarnOnFailure bool `json:"warn_on_failure" jsonschema:"default=false"`
	// Warnings give the build warnings.
	WarnOnWarnings bool `json:"warn_on_warnings" jsonschema:"default=false"`
	// Run also after the build was ended early.
	AlwaysRun bool `json:"always_run" jsonschema:"default=false"`
	// Run only if true; interpolated. Empty, 0, false and no are false.
	DoIf DocCondition `json:"do_if"`
	// Hide if true; interpolated. Empty, 0, false and no are false.
	HideIf DocCondition `json:"hide_if"`
	// Held for this step.
	Locks []DocLockAccess `json:"locks"`
	// Files that become logs of their own, by the log's name.
	LogFiles map[string]DocLogFile `json:"logfiles"`
	// Given to the command; interpolated.
	Stdin string `json:"stdin"`
	// How often a failed step is tried again.
	Retries int `json:"retries" jsonschema:"minimum=0,maximum=100,default=0"`
	// Files to keep after the step, whatever its result: patterns below the build's directory, with ** for any number of directories; interpolated.
	Artifacts DocTexts `json:"artifacts"`
	// Test reports in JUnit's XML to read after the step, patterns as of artifacts; the step's result stays what its command says; interpolated.
	JUnit DocTexts `json:"junit"`
}

func (DocStep) JSONSchemaExtend(s *jsonschema.Schema) { orText(s) }

type DocLogFile struct {
	// Relative to the step's directory; interpolated.
	Path string `json:"path" jsonschema:"required,minLength=1"`
	// Begin at the file's present end.
	Follow bool `json:"follow" jsonschema:"default=false"`
}

func (DocLogFile) JSONSchemaExtend(s *jsonschema.Schema) { orText(s) }

type DocLockAccess struct {
	// Of the lock.
	Name string `json:"name" jsonschema:"required,minLength=1"`
	// exclusive: nobody else holds any of it.
	Mode string `json:"mode" jsonschema:"enum=counting,enum=exclusive,default=counting"`
	// How much of it.
	Count int `json:"count" jsonschema:"minimum=0,default=1"`
}

func (DocLockAccess) JSONSchemaExtend(s *jsonschema.Schema) { orText(s) }

type DocSource struct {
	// The repository's URL.
	Git string `json:"git" jsonschema:"required,minLength=1"`
	// Default: the repository's.
	Branch string `json:"branch" jsonschema:"minLength=1"`
}

func (DocSource) JSONSchemaExtend(s *jsonschema.Schema) {
	or(s, &jsonschema.Schema{Type: "string", Enum: []any{"auto", "tree", "copy", "none"}, Default: "auto"})
}

type DocSecret struct {
	// The name of a secret; [[secrets]] says where it is.
	Secret string `json:"secret" jsonschema:"minLength=1"`
	// A file that holds the value.
	File string `json:"file" jsonschema:"minLength=1"`
	// A variable of the master's environment.
	Env string `json:"env" jsonschema:"minLength=1"`
}

func (DocSecret) JSONSchemaExtend(s *jsonschema.Schema) {
	one := uint64(1)
	s.MinProperties, s.MaxProperties = &one, &one
	orText(s)
}

type DocLock struct {
	// Unique.
	Name string `json:"name" jsonschema:"required,minLength=1,maxLength=100"`
	// How much of it there is.
	MaxCount int `json:"max_count" jsonschema:"minimum=1,default=1"`
	// master: counted once. worker: counted for each worker.
	Scope string `json:"scope" jsonschema:"enum=master,enum=worker,default=master"`
	// max_count of single workers.
	MaxCountForWorker map[string]int `json:"max_count_for_worker"`
}

type DocScheduler struct {
	// Letters, digits and . _ - +; unique.
	Name string `json:"name" jsonschema:"required,minLength=1,maxLength=100"`
	// What it reacts to.
	Kind string `json:"kind" jsonschema:"required,enum=cron,enum=periodic,enum=git,enum=webhook,enum=files,enum=dependent,enum=force"`
	// What it starts.
	Builders []string `json:"builders" jsonschema:"required,minItems=1"`
	// Of the builds.
	Properties map[string]any `json:"properties"`
	// Of the requests.
	Priority int `json:"priority" jsonschema:"default=0"`
	// Of the requests. force: the default of the field that asks why, or its keys.
	Reason DocReason `json:"reason"`

	// cron: minute hour day month weekday.
	Cron string `json:"cron" jsonschema:"minLength=1"`
	// cron: IANA name; default: the machine's.
	TimeZone string `json:"time_zone" jsonschema:"minLength=1"`
	// periodic: the interval.
	Every DocDuration `json:"every"`
	// cron, periodic: only after a change since the last run.
	OnlyIfChanged bool `json:"only_if_changed" jsonschema:"default=false"`
	// cron, periodic: what to build.
	Branch string `json:"branch" jsonschema:"minLength=1"`

	// git, webhook, files: how long the tree must be quiet before a build starts; default 0, for files 1s.
	TreeStableTimer DocDuration `json:"tree_stable_timer"`
	// git, webhook, files: patterns of files that matter; default: all.
	Important []string `json:"important"`
	// git, webhook, files: patterns of files that never matter.
	Ignore []string `json:"ignore"`
	// git, webhook: patterns.
	Branches []string `json:"branches"`
	// git: the repository.
	URL string `json:"url" jsonschema:"minLength=1"`
	// git: default 10m.
	PollInterval DocDuration `json:"poll_interval"`
	// git: look at start too.
	PollAtLaunch bool `json:"poll_at_launch" jsonschema:"default=false"`
	// git: tags instead of branches.
	OnlyTags bool `json:"only_tags" jsonschema:"default=false"`
	// git: private key file.
	SSHKey string `json:"ssh_key" jsonschema:"minLength=1"`
	// git: file.
	SSHKnownHosts string `json:"ssh_known_hosts" jsonschema:"minLength=1"`
	// git: for the repository. force: the field that asks who, looked at when nobody is logged in; or its default.
	Username DocUsername `json:"username"`
	// git.
	Password DocSecret `json:"password"`
	// webhook: who sends.
	Dialect string `json:"dialect" jsonschema:"enum=github,enum=gitlab,enum=base"`
	// webhook: shared with the sender.
	Secret DocSecret `json:"secret"`
	// webhook: build pull or merge requests too.
	PullRequests bool `json:"pull_requests" jsonschema:"default=false"`
	// files: patterns; default: all files that git does not ignore.
	Paths []string `json:"paths"`

	// dependent: the scheduler whose success starts builds.
	Upstream string `json:"upstream" jsonschema:"minLength=1"`

	// force: default: the name.
	Label string `json:"label" jsonschema:"minLength=1"`
	// force: default: the name.
	Button string `json:"button" jsonschema:"minLength=1"`
	// force: what else to ask for.
	Parameters []DocParameter `json:"parameters"`
}

type DocReason struct {
	// Default: Reason.
	Label string `json:"label" jsonschema:"minLength=1"`
	// A longer explanation.
	Tooltip string `json:"tooltip"`
	// The value when nothing is entered.
	Default string `json:"default" jsonschema:"default=force build"`
	// Something must be entered.
	Required bool `json:"required" jsonschema:"default=false"`
	// Not shown.
	Hide bool `json:"hide" jsonschema:"default=false"`
	// What the beginning of the text must look like; RE2 syntax.
	Regex string `json:"regex" jsonschema:"minLength=1"`
	// Of the field shown, in characters.
	Size int `json:"size" jsonschema:"minimum=1,default=20"`
	// Of the text, in bytes.
	MaxSize int `json:"max_size" jsonschema:"minimum=1,maximum=65536,default=65536"`
}

func (DocReason) JSONSchemaExtend(s *jsonschema.Schema) { or(s, &jsonschema.Schema{Type: "string"}) }

type DocUsername struct {
	// Default: Your name.
	Label string `json:"label" jsonschema:"minLength=1"`
	// A longer explanation.
	Tooltip string `json:"tooltip"`
	// The value when nothing is entered.
	Default string `json:"default"`
	// Something must be entered.
	Required bool `json:"required" jsonschema:"default=false"`
	// Not shown.
	Hide bool `json:"hide" jsonschema:"default=false"`
	// What the beginning of the text must look like; RE2 syntax.
	Regex string `json:"regex" jsonschema:"minLength=1"`
	// Of the field shown, in characters.
	Size int `json:"size" jsonschema:"minimum=1,default=30"`
	// Of the text, in bytes.
	MaxSize int `json:"max_size" jsonschema:"minimum=1,maximum=65536,default=65536"`
	// The name must come with a mail address: NAME <ADDRESS>.
	NeedEmail bool `json:"need_email" jsonschema:"default=true"`
}

func (DocUsername) JSONSchemaExtend(s *jsonschema.Schema) { or(s, &jsonschema.Schema{Type: "string"}) }

type DocParameter struct {
	// Of the property. A nested one may have none: its fields are then as those around it.
	Name string `json:"name"`
	// Of the value. string: a line. text: lines. fixed: always the default. username: NAME <ADDRESS>. nested: other fields.
	Type string `json:"type" jsonschema:"enum=string,enum=text,enum=int,enum=bool,enum=choice,enum=fixed,enum=username,enum=nested,default=string"`
	// Default: the name.
	Label string `json:"label" jsonschema:"minLength=1"`
	// A longer explanation.
	Tooltip string `json:"tooltip"`
	// The value when nothing is entered.
	Default any `json:"default"`
	// Something must be entered.
	Required bool `json:"required" jsonschema:"default=false"`
	// Not shown.
	Hide bool `json:"hide" jsonschema:"default=false"`
	// What the beginning of a text must look like; RE2 syntax.
	Regex string `json:"regex" jsonschema:"minLength=1"`
	// Of the field shown, in characters; default 10, for a username 30.
	Size int `json:"size" jsonschema:"minimum=1"`
	// text: columns of the field shown.
	Cols int `json:"cols" jsonschema:"minimum=1,default=80"`
	// text: lines of the field shown.
	Rows int `json:"rows" jsonschema:"minimum=1,default=20"`
	// Of a text, in bytes.
	MaxSize int `json:"max_size" jsonschema:"minimum=1,maximum=65536,default=65536"`
	// choice: the values.
	Choices []string `json:"choices"`
	// choice: any number of them.
	Multiple bool `json:"multiple" jsonschema:"default=false"`
	// choice: only they.
	Strict bool `json:"strict" jsonschema:"default=true"`
	// username: it must come with a mail address.
	NeedEmail bool `json:"need_email" jsonschema:"default=true"`
	// nested: the fields in it.
	Fields []DocParameter `json:"fields"`
	// nested: how many fields side by side.
	Columns int `json:"columns" jsonschema:"minimum=1,maximum=4"`
}

type DocReport struct {
	// How to tell.
	Kind string `json:"kind" jsonschema:"required,enum=mail,enum=webhook,enum=command"`
	// Default: all.
	Builders []string `json:"builders"`
	// Only builders with one of these.
	Tags []string `json:"tags"`
	// Which results count; default failing, problem, change. A single "warnings" stands for failing and warnings.
	Mode DocModes `json:"mode"`

	// mail: addresses.
	To DocTexts `json:"to"`
	// mail: also to the authors of the changes in a build, and to its owners.
	SendToInterestedUsers bool `json:"send_to_interested_users" jsonschema:"default=false"`
	// mail: the domain of interested users that are named without an address.
	Lookup string `json:"lookup" jsonschema:"minLength=1"`
	// mail: interpolated.
	Subject string `json:"subject" jsonschema:"minLength=1"`
	// mail: attach the logs of failed steps.
	AddLogs bool `json:"add_logs" jsonschema:"default=false"`
	// webhook.
	URL string `json:"url" jsonschema:"minLength=1"`
	// webhook: signs the message.
	Secret DocSecret `json:"secret"`
	// command: interpolated.
	Run DocRun `json:"run"`
	// command: interpolated.
	Env map[string]string `json:"env"`
	// webhook, command: default 1m.
	Timeout DocDuration `json:"timeout"`
}

type DocProvider struct {
	// dir: a file per secret. env: the master's environment. pass: the program. vault: HashiCorp Vault. systemd: credentials.
	Kind string `json:"kind" jsonschema:"required,enum=dir,enum=env,enum=pass,enum=vault,enum=systemd"`
	// dir: the directory; default "secrets". pass: the password store.
	Path string `json:"path" jsonschema:"minLength=1"`
	// pass: of the GPG key; default: gpg-agent knows it or asks.
	Passphrase DocSecret `json:"passphrase"`
	// env: put before a secret's name.
	Prefix string `json:"prefix" jsonschema:"minLength=1"`
	// vault: URL.
	Address string `json:"address" jsonschema:"minLength=1"`
	// vault: PEM file of the authority that signed the server's certificate; default: the system's.
	CACert string `json:"ca_cert" jsonschema:"minLength=1"`
	// vault: of Vault Enterprise and OpenBao.
	Namespace string `json:"namespace" jsonschema:"minLength=1"`
	// vault: of the key-value engine.
	Mount string `json:"mount" jsonschema:"minLength=1,default=secret"`
	// vault: of the key-value engine.
	APIVersion int `json:"api_version" jsonschema:"enum=1,enum=2,default=2"`
	// vault: either this or role_id and secret_id.
	Token DocSecret `json:"token"`
	// vault.
	RoleID string `json:"role_id" jsonschema:"minLength=1"`
	// vault.
	SecretID DocSecret `json:"secret_id"`
}
