package config

import "time"

// Worker is one entry of [[workers]].
type Worker struct {
	// Name is a letter, _ or - followed by those and digits, at most 50
	// characters; unique over all kinds.
	Name string
	Kind WorkerKind // default WorkerLocal
	// MaxBuilds limits builds at the same time. Default 0: for local workers the
	// machine's slots, for others no limit.
	MaxBuilds         int
	Properties        map[string]any // beat builder's, scheduler's and forced ones
	DefaultProperties map[string]any // only fill gaps
	// NoCanary starts builds in all slots at once after a quarantine, instead of
	// one to try.
	NoCanary bool

	// Workdir is where a local worker's builds live, relative to the directory
	// "workers" of the base directory; default: the worker's name.
	Workdir string
	// Count makes that many local workers of this entry, named NAME-1 to
	// NAME-Count; builders may name them all by NAME. Default 1: just NAME.
	Count int

	Remote RemoteWorker // for remote and latent kinds
	Latent LatentWorker // for latent kinds

	Command    CommandDriver    // for WorkerCommand
	Docker     DockerDriver     // for WorkerDocker
	Nomad      NomadDriver      // for WorkerNomad
	Kubernetes KubernetesDriver // for WorkerKubernetes
	EC2        EC2Driver        // for WorkerEC2
}

// WorkerKind is how a worker comes about.
type WorkerKind string

// The kinds of worker. All but the first two are latent: started when builds
// wait, stopped when idle.
const (
	WorkerLocal      WorkerKind = "local"  // in this process
	WorkerRemote     WorkerKind = "remote" // dials in
	WorkerCommand    WorkerKind = "command"
	WorkerDocker     WorkerKind = "docker"
	WorkerNomad      WorkerKind = "nomad"
	WorkerKubernetes WorkerKind = "kubernetes"
	WorkerEC2        WorkerKind = "ec2"
)

// IsLatent reports whether workers of kind k are started on demand.
func (k WorkerKind) IsLatent() bool {
	switch k {
	case WorkerCommand, WorkerDocker, WorkerNomad, WorkerKubernetes, WorkerEC2:
		return true
	}
	return false
}

// RemoteWorker is what the master knows of a worker that dials in.
type RemoteWorker struct {
	// Password is what the worker must know. A latent worker without one gets a
	// random one for each start.
	Password Secret
	// PasswordSHA256 is the SHA-256, in hex, of a random password, instead of
	// Password. The worker must then speak MessagePack.
	PasswordSHA256    string
	KeepaliveInterval time.Duration // default 1 h, Off: none
	// MissingTimeout is how long a worker may be away before it is reported;
	// for latent ones how long a start may take. Default 1 h, Off: never.
	MissingTimeout  time.Duration
	NotifyOnMissing []string // mail addresses
	NotifyOnReturn  bool
	// Lease is how long the connection between two Bothys may be cut before an
	// attempt is fenced off. Default 2 min.
	Lease time.Duration
}

// LatentWorker says when instances are started and stopped.
type LatentWorker struct {
	// BuildWaitTimeout is how long an idle instance waits for the next build.
	// Nil: 10 min. 0: it is stopped at once. Negative: only with the master.
	BuildWaitTimeout      *time.Duration
	CheckInstanceInterval time.Duration // while an instance starts; default 10 s
	MaxInstances          int           // default 1
	MaxStartsPerHour      int           // default 20
	MaxLifetime           time.Duration // a cost cap, always on; default 12 h
}

// CommandDriver starts and stops instances with commands: a program and its
// arguments, which are interpolated.
type CommandDriver struct {
	Start []string // required
	Stop  []string // required
	Check []string // exit status 0 while an instance is well; none: not checked
	List  []string // prints what runs now, one name a line, for the sweep
}

// DockerDriver runs instances as containers.
type DockerDriver struct {
	Host       string // default: the daemon's usual socket
	Image      string // required
	Command    []string
	Volumes    []string // HOST:CONTAINER[:ro|rw]
	AutoPull   bool     // pull a missing image
	AlwaysPull bool
}

// NomadDriver runs instances as jobs.
type NomadDriver struct {
	Address   string // default "http://127.0.0.1:4646"
	Namespace string
	Job       string // job file, relative to the configuration's directory; required
	Token     Secret
}

// KubernetesDriver runs instances as pods.
type KubernetesDriver struct {
	Image      string // required
	Namespace  string // default "default"
	Kubeconfig string // file; default: in-cluster, else the usual place
	Context    string
}

// EC2Driver runs instances as virtual machines.
type EC2Driver struct {
	Region         string
	InstanceType   string // required
	AMI            string // required
	KeyName        string
	SecurityGroups []string
	SubnetID       string
	UserData       string
	Tags           map[string]string
	Spot           bool
	MaxSpotPrice   float64 // per hour; default 0: the on-demand price
}
