package spawn

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const maxCgroupFile = 1 << 20

// groupPrefix begins the names of all groups made for builds; the base
// directory's id, "-" and the epoch follow.
const groupPrefix = "bothy-"

func groupName(base string, epoch int64) string {
	return groupPrefix + base + "-" + strconv.FormatInt(epoch, 10)
}

// groupEpoch returns the epoch in the name of a base directory's group.
func groupEpoch(name, base string) (int64, bool) {
	rest, ok := strings.CutPrefix(name, groupPrefix+base+"-")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	return n, err == nil
}

func buildGroup(group string, build int64) string {
	return group + "/b" + strconv.FormatInt(build, 10)
}

// leafGroup is the cgroup of a command: below its build's where that has a
// memory controller, else beside it, since a cgroup costs as much as a fork.
func leafGroup(h *hello, build, step int64, label string) string {
	between := "."
	if h.buildMemory {
		between = "/"
	}
	return buildGroup(h.group, build) + between + leafName(step, label)
}

// makeLeaf makes a command's cgroup, and those above it where they are missing.
func makeLeaf(leaf string) error {
	err := unix.Mkdir(leaf, 0o755)
	if err == unix.ENOENT {
		err = os.MkdirAll(leaf, 0o755)
	}
	return err
}

// groupsOfBuild returns the cgroups of a build's commands that are there.
func groupsOfBuild(h *hello, build int64) []string {
	if h.buildMemory {
		return []string{buildGroup(h.group, build)}
	}
	leaves, _ := filepath.Glob(buildGroup(h.group, build) + ".*") // the pattern is not malformed
	return leaves
}

// leafName names a command's cgroup: its number in the build, and its label
// as far as that can be part of a name.
func leafName(step int64, label string) string {
	b := strconv.AppendInt([]byte{'s'}, step, 10)
	for i := range min(len(label), 40) {
		if i == 0 {
			b = append(b, '-')
		}
		if c := label[i]; isPlain(c) || c == '.' {
			b = append(b, c)
		} else {
			b = append(b, '_')
		}
	}
	return string(b)
}

// position is the directory of the cgroup that this process is in: in the
// unified hierarchy, and in the memory hierarchy of version 1. Empty: not there.
type position struct{ unified, memory string }

// findPosition reads root's mount table. Under a cgroup namespace the path in
// /proc/self/cgroup need not be below the mount; what counts is where
// cgroup.procs has our number.
func findPosition(root string, pid int) (p position) {
	mounts, err := os.ReadFile(filepath.Join(root, "proc/self/mountinfo"))
	if err != nil {
		return p
	}
	own, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return p
	}
	for line := range strings.Lines(string(mounts)) {
		// proc_pid_mountinfo(5): … root mount-point … - type source options
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 5 || len(g) < 3 {
			continue
		}
		switch {
		case g[0] == "cgroup2" && p.unified == "":
			p.unified = locate(root, unescape(f[3]), unescape(f[4]), ownPath(own, ""), pid)
		case g[0] == "cgroup" && p.memory == "" && slices.Contains(strings.Split(g[2], ","), "memory"):
			p.memory = locate(root, unescape(f[3]), unescape(f[4]), ownPath(own, "memory"), pid)
		}
	}
	return p
}

// locate returns the directory of the group path in a hierarchy whose group
// mountRoot is mounted on mountPoint.
func locate(root, mountRoot, mountPoint, path string, pid int) string {
	mount := filepath.Join(root, mountPoint)
	rel, err := filepath.Rel(mountRoot, path)
	if err != nil || strings.HasPrefix(rel, "..") {
		rel = "."
	}
	for _, dir := range []string{filepath.Join(mount, rel), mount} {
		if slices.Contains(procs(dir), pid) {
			return dir
		}
	}
	return ""
}

// ownPath returns a hierarchy's path from /proc/self/cgroup.
func ownPath(own []byte, controller string) string {
	for line := range bytes.Lines(own) {
		f := strings.SplitN(strings.TrimSuffix(string(line), "\n"), ":", 3)
		if len(f) == 3 && slices.Contains(strings.Split(f[1], ","), controller) {
			return f[2]
		}
	}
	return "/"
}

// unescape undoes the octal escapes of a mount table.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// readFile returns a file of a cgroup, "" if it cannot be read.
func readFile(name string) string {
	b, err := os.ReadFile(name)
	if err != nil || len(b) > maxCgroupFile {
		return ""
	}
	return string(b)
}

// writeFile writes to a file of a cgroup, which must exist.
func writeFile(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func exists(name string) bool { return unix.Access(name, unix.F_OK) == nil }

// procs returns the processes of one cgroup.
func procs(dir string) []int {
	var pids []int
	for f := range strings.FieldsSeq(readFile(dir + "/cgroup.procs")) {
		if pid, err := strconv.Atoi(f); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// groupsBelow returns the cgroups in dir and dir itself, the deepest first.
func groupsBelow(dir string) (all []string) {
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			all = append(all, path)
		}
		return nil
	})
	slices.Reverse(all)
	return all
}

// procsBelow returns the processes of a cgroup and all in it: a command may
// make cgroups of its own.
func procsBelow(dir string) (pids []int) {
	for _, d := range groupsBelow(dir) {
		pids = append(pids, procs(d)...)
	}
	return pids
}

// populated tells whether anything lives in a cgroup or below it.
func populated(dir string) bool {
	events := readFile(dir + "/cgroup.events")
	return strings.Contains(events, "populated 1")
}

// killGroup kills all in a cgroup and below it (Linux 5.14).
func killGroup(dir string) error { return writeFile(dir+"/cgroup.kill", "1") }

// removeGroup removes an empty cgroup and all in it, and tells whether it is gone.
func removeGroup(dir string) bool {
	err := unix.Rmdir(dir)
	if err == unix.EBUSY && !populated(dir) {
		for _, d := range groupsBelow(dir) {
			err = unix.Rmdir(d)
		}
	}
	return err == nil || err == unix.ENOENT
}

// removeGroupSoon is removeGroup for a group whose last process is just dying.
func removeGroupSoon(dir string, patience time.Duration) bool {
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if removeGroup(dir) {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// oomCounter is an open file with a line "oom_kill N": memory.events,
// memory.oom_control or vmstat.
type oomCounter struct{ fd int }

func openCounter(name string) *oomCounter {
	if name == "" {
		return nil
	}
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	return &oomCounter{fd}
}

// read returns the number of kills; a nil counter and an unreadable one count none.
func (c *oomCounter) read() int64 {
	if c == nil {
		return 0
	}
	var buf [16 << 10]byte
	n, err := unix.Pread(c.fd, buf[:], 0)
	if err != nil {
		return 0
	}
	return value(buf[:n], "oom_kill")
}

func (c *oomCounter) close() {
	if c != nil {
		unix.Close(c.fd)
	}
}

// value returns the number in the line "key N", 0 if there is none.
func value(b []byte, key string) int64 {
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte(key)); ok && len(rest) > 0 && rest[0] == ' ' {
			n, _ := strconv.ParseInt(string(bytes.TrimSpace(rest)), 10, 64)
			return n
		}
	}
	return 0
}
