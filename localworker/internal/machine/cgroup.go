package machine

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"bothy/osrelease"
)

const (
	membershipFile = "/proc/self/cgroup"
	mountsFile     = "/proc/self/mountinfo"
	usualPoint     = "/sys/fs/cgroup"
)

// Mode says which of the kernel's two cgroup interfaces a machine has.
type Mode string

// The modes. In hybrid mode controllers belong to v1 hierarchies, while a v2
// hierarchy, mostly without controllers, is mounted besides.
const (
	ModeNone   Mode = "none"
	ModeV1     Mode = "v1"
	ModeV2     Mode = "v2"
	ModeHybrid Mode = "hybrid"
)

// legacyControllers tells controllers from the other options of a v1 mount.
// Linux: Documentation/admin-guide/cgroup-v1.
func legacyControllers() []string {
	return []string{"blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "hugetlb", "memory", "misc", "net_cls", "net_prio", "perf_event", "pids", "rdma"}
}

// hierarchy is our place in one cgroup hierarchy.
type hierarchy struct {
	source string
	root   string   // the cgroup seen at the mount point; empty: not known
	point  string   // where it is mounted; empty: it is not
	dirs   []string // the own cgroup first, the mount point last; empty: out of reach
	exact  bool     // dirs[0] is certainly the own cgroup
}

// ownCgroup is our place in all hierarchies that matter here.
type ownCgroup struct {
	mode                 Mode // empty: a system without cgroups
	unified, cpu, memory hierarchy
	controllers          []string // that the v2 hierarchy has at its mount point
	warnings             []string
}

// locate finds the cgroups of the process that members, the contents of
// /proc/self/cgroup, speaks of.
func locate(root osrelease.Root, members []byte) ownCgroup {
	in := parseMembership(members)
	data, err := root.ReadFile(mountsFile, maxLarge)
	mounts := parseMountinfo(data)
	if !slices.ContainsFunc(mounts, func(m mount) bool { return isDir(root, m.point) }) {
		mounts = append(mounts, guessMounts(root, in)...)
	}
	own := ownCgroup{
		mode:    modeOf(mounts),
		unified: place(root, mounts, "", in.unified),
		cpu:     place(root, mounts, "cpu", in.legacy["cpu"]),
		memory:  place(root, mounts, "memory", in.legacy["memory"]),
	}
	if err != nil {
		own.warnings = append(own.warnings, "where cgroups are mounted is guessed: "+mountsFile+": "+reason(err))
	}
	for _, h := range own.hierarchies() {
		if len(h.dirs) > 0 && !h.exact {
			own.warn("the own cgroup is not visible below %s (see %s); the limits of %s and above it are used", h.point, membershipFile, h.dirs[0])
		}
	}
	if own.unified.point == "" {
		return own
	}
	controllers, err := root.ReadFile(path.Join(own.unified.point, "cgroup.controllers"), maxSmall)
	own.controllers = strings.Fields(string(controllers))
	if err == nil && own.memory.point == "" && !slices.Contains(own.controllers, "memory") {
		own.warn("the memory controller is not enabled in %s: no memory limit is visible, and builds cannot be limited", own.unified.point)
	}
	return own
}

func (o *ownCgroup) warn(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(o.warnings, text) {
		o.warnings = append(o.warnings, text)
	}
}

func (o *ownCgroup) hierarchies() []hierarchy { return []hierarchy{o.unified, o.cpu, o.memory} }

func modeOf(mounts []mount) Mode {
	var v1, v2 bool
	for _, m := range mounts {
		v2 = v2 || m.unified
		v1 = v1 || slices.ContainsFunc(m.controllers, func(c string) bool { return slices.Contains(legacyControllers(), c) })
	}
	switch {
	case v1 && v2:
		return ModeHybrid
	case v1:
		return ModeV1
	case v2:
		return ModeV2
	}
	return ModeNone
}

// place finds the own cgroup in the hierarchy of a v1 controller, or with no
// controller in the v2 hierarchy. Where it is mounted more than once, the mount
// is used that certainly shows our cgroup, and then the one with most ancestors.
func place(root osrelease.Root, mounts []mount, controller, cgroup string) hierarchy {
	var best hierarchy
	for _, m := range mounts {
		if m.unified != (controller == "") || !m.unified && !slices.Contains(m.controllers, controller) {
			continue
		}
		// A later mount on the same place hides an earlier one.
		if h := m.place(root, cgroup); best.point == "" || h.better(best) {
			best = h
		}
	}
	return best
}

// better says that h shows more of our place than o, or as much of it.
func (h hierarchy) better(o hierarchy) bool {
	if a, b := len(h.dirs) > 0, len(o.dirs) > 0; a != b {
		return a
	}
	if h.exact != o.exact {
		return h.exact
	}
	return len(h.root) <= len(o.root)
}

// place finds a cgroup below m. In a container the path may be that of the host
// while the mount shows only a part of it, or be relative to another cgroup
// namespace. So the path is tried without the mount's root, then as it is, and
// where no such directory exists its nearest ancestor stands in for it.
func (m mount) place(root osrelease.Root, cgroup string) hierarchy {
	h := hierarchy{source: sourceV1, root: m.root, point: m.point}
	if m.unified {
		h.source = sourceV2
	}
	if !isDir(root, m.point) {
		return h
	}
	rel, exact := below(cgroup, m.root)
	dir := path.Join(m.point, rel)
	for dir != m.point && !isDir(root, dir) {
		dir, exact = path.Dir(dir), false
	}
	h.exact = exact
	for ; dir != m.point; dir = path.Dir(dir) {
		h.dirs = append(h.dirs, dir)
	}
	h.dirs = append(h.dirs, m.point)
	return h
}

// below returns cgroup's path relative to base, both as the kernel writes them
// for our cgroup namespace: what lies outside it begins with "/..". If cgroup is
// not below base, it returns the path to try in its place, and false.
func below(cgroup, base string) (rel string, exact bool) {
	rel, ok := strings.CutPrefix(cgroup, strings.TrimSuffix(base, "/"))
	if cgroup == "" || !ok || rel != "" && rel[0] != '/' {
		return path.Clean("/" + cgroup), false
	}
	return path.Clean("/" + rel), !slices.Contains(strings.Split(rel, "/"), "..")
}

// guessMounts looks where cgroups are usually mounted, for a root without a
// usable mountinfo.
func guessMounts(root osrelease.Root, in membership) []mount {
	var mounts []mount
	for _, point := range []string{usualPoint, usualPoint + "/unified"} {
		if exists(root, point+"/cgroup.controllers") || exists(root, point+"/cpu.max") || exists(root, point+"/memory.max") {
			mounts = append(mounts, mount{point: point, unified: true})
		}
	}
	if len(mounts) > 0 && len(in.legacy) == 0 {
		return mounts // a directory "memory" would be a v2 cgroup of that name
	}
	for _, name := range []string{"cpu,cpuacct", "cpuacct,cpu", "cpu", "memory"} {
		if point := path.Join(usualPoint, name); isDir(root, point) {
			mounts = append(mounts, mount{point: point, controllers: strings.Split(name, ",")})
		}
	}
	return mounts
}

func isDir(root osrelease.Root, name string) bool {
	info, err := root.Stat(name)
	return err == nil && info.IsDir()
}

// missing explains why a controller has no limit file.
func (o *ownCgroup) missing(controller string) []reading {
	if o.mode == "" {
		return nil
	}
	legacy := o.cpu
	if controller == "memory" {
		legacy = o.memory
	}
	var unreachable []reading
	for _, h := range []hierarchy{o.unified, legacy} {
		switch {
		case h.point == "":
		case len(h.dirs) == 0:
			unreachable = append(unreachable, reading{source: h.source, path: h.point, err: errors.New("mounted, but not a directory that can be looked at")})
		case h.source == sourceV1 || slices.Contains(o.controllers, controller):
			return []reading{{source: h.source, path: h.dirs[0], unlimited: true, note: "no limit file on the way up"}}
		}
	}
	switch {
	case len(unreachable) > 0:
		return unreachable
	case o.mode == ModeNone:
		return []reading{{source: sourceCgroup, path: usualPoint, err: errors.New("no cgroup file system is mounted; limits of a container cannot be seen")}}
	}
	return []reading{{source: sourceCgroup, path: cmp.Or(o.unified.point, usualPoint), unlimited: true, note: "the " + controller + " controller is not enabled"}}
}

// describe returns what a report says about the own cgroup.
func (o *ownCgroup) describe() Cgroup {
	own := func(h hierarchy) string {
		if len(h.dirs) == 0 {
			return ""
		}
		return h.dirs[0]
	}
	return Cgroup{Mode: cmp.Or(o.mode, ModeNone), V2: own(o.unified), V1CPU: own(o.cpu), V1Memory: own(o.memory)}
}
