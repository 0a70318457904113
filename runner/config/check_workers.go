package config

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"bothy/runner/internal/auth"
)

const maxWorkers = 50000 // members of all groups; more is a slip of the pen

func (k *checker) checkWorkers() {
	k.workers = map[string]WorkerKind{}
	names, dirs := unique{}, map[string]string{}
	for i := range k.c.Workers {
		w := &k.c.Workers[i]
		at := top("workers").index(i).named(w.Name)
		k.worker(at, w)
		members := []string{w.Name}
		if w.isGroup() {
			names.add(k, at.key("name"), "worker", w.Name)
			k.workers[w.Name] = w.Kind
			members = k.membersOf(at, w)
		}
		for _, name := range members {
			names.add(k, at.key("name"), "worker", name)
			k.workers[name] = w.Kind
			if w.Kind == WorkerLocal {
				k.directory(at.key("workdir"), name, w.Workdir+strings.TrimPrefix(name, w.Name), dirs)
			}
		}
	}
	k.workerName = slices.Sorted(maps.Keys(k.workers))
}

// membersOf returns the names of the members of a group.
func (k *checker) membersOf(at *pathTo, w *Worker) (names []string) {
	if last := member(w.Name, w.Count); utf8.RuneCountInString(last) > maxWorkerName {
		k.errorf(at.key("name"), "worker name %q has more than %d characters", last, maxWorkerName)
	}
	if len(k.workers)+w.Count > maxWorkers {
		k.errorf(at.key("count"), "%d makes more than %d workers in all", w.Count, maxWorkers)
		return nil
	}
	for n := 1; n <= w.Count; n++ {
		names = append(names, member(w.Name, n))
	}
	return names
}

// directory reports a directory that two workers would share.
func (k *checker) directory(at *pathTo, worker, dir string, taken map[string]string) {
	dir = filepath.Clean(dir)
	lower := strings.ToLower(dir)
	other, ok := taken[lower]
	if !ok {
		taken[lower] = worker
	} else if !strings.EqualFold(other, worker) { // equal names are reported already
		k.errorf(at, "%q is the directory of worker %q", dir, other)
	}
}

func (k *checker) worker(at *pathTo, w *Worker) {
	if bad := checkWorkerName(w.Name); bad != "" {
		k.errorf(at.key("name"), "%s", bad)
	}
	atLeast(k, at.key("max_builds"), w.MaxBuilds, 0)
	k.properties(at.key("properties"), w.Properties)
	k.properties(at.key("default_properties"), w.DefaultProperties)
	if !oneOf(k, at.key("kind"), w.Kind, WorkerLocal, WorkerRemote, WorkerCommand, WorkerDocker, WorkerNomad, WorkerKubernetes, WorkerEC2) {
		return
	}
	if w.Kind == WorkerLocal {
		k.localWorker(at, w)
		return
	}
	k.remoteWorker(at, w)
	if w.Kind.IsLatent() {
		k.latentWorker(at, w)
	}
}

func (k *checker) localWorker(at *pathTo, w *Worker) {
	if w.Name != "" && !filepath.IsLocal(w.Workdir) {
		k.errorf(at.key("workdir"), "%q does not stay in the base directory", w.Workdir)
	}
	atLeast(k, at.key("count"), w.Count, 1)
}

func (k *checker) remoteWorker(at *pathTo, w *Worker) {
	r := &w.Remote
	k.secret(at.key("password"), r.Password)
	switch {
	case !r.Password.IsZero() && r.PasswordSHA256 != "":
		k.errorf(at.key("password_sha256"), "password is there too: only one of them can be right")
	case r.PasswordSHA256 != "" && !auth.IsDigest(r.PasswordSHA256):
		k.errorf(at.key("password_sha256"), `want 64 hexadecimal digits, as "bothy token --worker %s" prints them`, w.Name)
	case r.PasswordSHA256 != "":
		k.warnf(at.key("password_sha256"), "Perspective Broker's challenge cannot use this: worker %q must speak MessagePack", w.Name)
	case auth.IsDigest(r.Password.Text):
		k.warnf(at.key("password"), "looks like a SHA-256, which is called password_sha256: the worker must know this text itself")
	case r.Password.IsZero() && w.Kind == WorkerRemote:
		k.errorf(at.key("password"), `the worker's password is missing: "bothy token --worker %s" prints one`, w.Name)
	}
	if why := auth.Weakness(w.Name, r.Password.Text); r.Password.Text != "" && why != "" {
		k.warnf(at.key("password"), `weak, %s: "bothy token --worker %s" prints a good one`, why, w.Name)
	}
	atLeast(k, at.key("keepalive_interval"), r.KeepaliveInterval, Off)
	atLeast(k, at.key("missing_timeout"), r.MissingTimeout, Off)
	atLeast(k, at.key("lease"), r.Lease, 0)
	k.mailAddresses(at.key("notify_on_missing"), r.NotifyOnMissing)
	if r.NotifyOnReturn && len(r.NotifyOnMissing) == 0 {
		k.warnf(at.key("notify_on_return"), "nobody is told: notify_on_missing is empty")
	}
}

func (k *checker) latentWorker(at *pathTo, w *Worker) {
	l := &w.Latent
	atLeast(k, at.key("check_instance_interval"), l.CheckInstanceInterval, 0)
	atLeast(k, at.key("max_instances"), l.MaxInstances, 1)
	atLeast(k, at.key("max_starts_per_hour"), l.MaxStartsPerHour, 1)
	atLeast(k, at.key("max_lifetime"), l.MaxLifetime, 0)
	switch w.Kind {
	case WorkerCommand:
		k.program(at.key("start"), w.Command.Start, true)
		k.program(at.key("stop"), w.Command.Stop, true)
		k.program(at.key("check"), w.Command.Check, false)
		k.program(at.key("list"), w.Command.List, false)
	case WorkerDocker:
		k.needed(at.key("image"), w.Docker.Image)
		k.templates(at.key("command"), w.Docker.Command)
		k.templates(at.key("volumes"), w.Docker.Volumes)
	case WorkerNomad:
		k.httpURL(at.key("address"), w.Nomad.Address)
		k.needed(at.key("job"), w.Nomad.Job)
		k.secret(at.key("token"), w.Nomad.Token)
	case WorkerKubernetes:
		k.needed(at.key("image"), w.Kubernetes.Image)
	case WorkerEC2:
		k.needed(at.key("instance_type"), w.EC2.InstanceType)
		k.needed(at.key("ami"), w.EC2.AMI)
		k.template(at.key("user_data"), w.EC2.UserData)
		atLeast(k, at.key("max_spot_price"), w.EC2.MaxSpotPrice, 0)
	}
}

// needed checks an interpolated text that must be there.
func (k *checker) needed(at *pathTo, s string) {
	if s == "" {
		k.missing(at, at.word)
	}
	k.template(at, s)
}

// program checks a program with its arguments.
func (k *checker) program(at *pathTo, argv []string, must bool) {
	switch {
	case len(argv) == 0 && must:
		k.missing(at, at.word)
	case len(argv) > 0 && argv[0] == "":
		k.errorf(at.index(0), "the program has no name")
	}
	k.templates(at, argv)
}
