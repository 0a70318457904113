package build

import (
	"fmt"
	"maps"
	"slices"
)

// Sources of the properties that [Resolve] sets. Buildbot's names, except the
// last, which Buildbot does not have as properties.
const (
	SourceChange    = "Change"
	SourceBuilder   = "Builder"
	SourceWorker    = "Worker"
	SourceBuild     = "Build"
	SourceOSRelease = "os-release"
)

// OSKeys returns the names of the properties that every build has, null when
// the worker's os-release file does not say.
func OSKeys() [4]string {
	return [4]string{"os_id", "os_id_like", "os_version_id", "os_version_codename"}
}

// Layers are the places a build's properties come from, in order: later ones
// win, and those named Defaults only fill gaps. Any may be nil.
type Layers struct {
	Global          Properties       // of the configuration; the source is the file's name
	Changes         []map[string]any // of every change that is built, oldest first
	Request         Properties       // of the scheduler, the force form or the command line, each with its source
	BuilderName     string           // becomes buildername
	Builder         map[string]any
	BuilderDefaults map[string]any
	OS              map[string]any // of the worker's os-release; the keys of [OSKeys] are added
	Worker          map[string]any // configured for the worker; these beat OS
	WorkerName      string         // becomes workername
	WorkerDefaults  map[string]any
	Build           map[string]any // buildnumber, branch, revision, repository, codebase, project, owners
	Prepared        map[string]any // known when the worker is ready: basedir, builddir
}

// Resolve returns the properties of a build before its first step. Those of the
// worker beat those of builder, request and change. Buildbot:
// Build.setup_properties_known_before_build_starts.
func Resolve(l Layers) (Properties, error) {
	r := resolver{props: Properties{}}
	r.merge("global", l.Global)
	for _, c := range l.Changes {
		r.set("change", c, SourceChange)
	}
	r.merge("request", l.Request)
	r.setName("buildername", l.BuilderName, SourceBuilder)
	r.set("builder", l.Builder, SourceBuilder)
	r.setDefaults("builder", l.BuilderDefaults, SourceBuilder)
	for _, k := range OSKeys() {
		r.set("os-release", map[string]any{k: nil}, SourceOSRelease)
	}
	r.set("os-release", l.OS, SourceOSRelease)
	r.set("worker", l.Worker, SourceWorker)
	r.setName("workername", l.WorkerName, SourceWorker)
	r.setDefaults("worker", l.WorkerDefaults, SourceWorker)
	r.set("build", l.Build, SourceBuild)
	r.set("worker", l.Prepared, SourceWorker)
	return r.props, r.err
}

// resolver keeps the first error. It goes through maps in order, so that this is
// always the same one.
type resolver struct {
	props Properties
	err   error
}

func (r *resolver) note(layer string, err error) {
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("resolving properties of the %s: %w", layer, err)
	}
}

func (r *resolver) merge(layer string, m Properties) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		r.note(layer, r.props.Set(name, m[name].Value, m[name].Source))
	}
}

func (r *resolver) set(layer string, m map[string]any, source string) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		r.note(layer, r.props.Set(name, m[name], source))
	}
}

func (r *resolver) setDefaults(layer string, m map[string]any, source string) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		r.note(layer, r.props.SetDefault(name, m[name], source))
	}
}

func (r *resolver) setName(key, name, source string) {
	if name != "" {
		r.props[key] = Property{Value: name, Source: source}
	}
}
