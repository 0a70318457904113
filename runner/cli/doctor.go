package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"bothy/localworker"
	"bothy/runner/config"
	"bothy/runner/internal/basedir"
)

// doctorReport is what doctor prints as JSON.
type doctorReport struct {
	localworker.Report
	BaseDir *baseDirReport `json:"basedir,omitempty"` // nil: another machine is described
}

type baseDirReport struct {
	Dir       string `json:"dir"`
	Reason    string `json:"reason,omitempty"`     // why it is not where the configuration says
	FreeBytes int64  `json:"free_bytes,omitempty"` // for this user
	Error     string `json:"error,omitempty"`
}

func runDoctor(_ context.Context, c *call) error {
	if err := c.tooMany(0); err != nil {
		return err
	}
	conf, doubt, err := c.doctorConfig()
	if err != nil {
		return err
	}
	root := c.text("root")
	if root != "" {
		root = c.path(root)
	}
	m := conf.Machine
	machine, err := localworker.Detect(root, localworker.MachineOptions{
		ConfiguredCPUs: m.CPUs, ConfiguredMemory: m.Memory, Reserve: m.ReserveMemory, MemoryPerBuild: m.MemoryPerBuild,
	})
	if err != nil {
		return err
	}
	r := doctorReport{Report: machine}
	if doubt != "" {
		r.Warnings = append(r.Warnings, doubt)
	}
	if root == "" {
		r.BaseDir = c.inspectBaseDir(conf)
	}
	if c.flag("json") {
		return printJSON(c.Stdout, r)
	}
	_, err = c.Stdout.Write(r.text())
	return err
}

// doctorConfig returns the configuration whose limits apply. A file that cannot
// be used is a doubt, not an error: the machine can be described without it.
func (c *call) doctorConfig() (conf *config.Config, doubt string, err error) {
	conf = &config.Config{Dir: c.Dir, BaseDir: ".bothy"}
	file, err := c.configFile()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return conf, "", nil
	case err != nil:
		return nil, "", err
	}
	loaded, _, err := config.Load(file)
	var invalid config.Errors
	switch {
	case errors.As(err, &invalid):
		conf.Dir = filepath.Dir(file)
		return conf, fmt.Sprintf("%s has %s and is left aside; see \"bothy check\"", c.show(file), plural(len(invalid), "error", "errors")), nil
	case err != nil:
		return nil, "", &exitError{code: exitUsage, err: err}
	}
	return loaded, "", nil
}

// inspectBaseDir looks at the base directory. It is only made if there is a
// configuration that asks for it.
func (c *call) inspectBaseDir(conf *config.Config) *baseDirReport {
	dir := conf.BaseDir
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(conf.Dir, dir)
	}
	r := &baseDirReport{Dir: dir}
	layout := basedir.Layout{Dir: conf.Dir}
	if conf.File != "" {
		var err error
		if layout, err = (basedir.Resolver{Getenv: c.Getenv}).Resolve(dir); err != nil {
			r.Error = err.Error()
			return r
		}
		r.Dir, r.Reason = layout.Dir, layout.Reason
	}
	free, err := layout.DiskFree()
	if err != nil {
		r.Error = err.Error()
	}
	r.FreeBytes = free
	return r
}

// text is the report for a person.
func (r *doctorReport) text() []byte {
	var b []byte
	add := func(format string, args ...any) { b = fmt.Appendf(b, format+"\n", args...) }
	for _, l := range r.Why {
		add("%s", l)
	}
	add("cgroups: %s", r.Cgroup.Mode)
	if r.Containment == "" {
		add("containment: not known, it can only be tried out on the machine itself")
	} else {
		add("containment: %s", r.Containment)
		for _, l := range r.ContainmentText {
			add("  %s", l)
		}
	}
	add("properties:")
	for _, k := range slices.Sorted(maps.Keys(r.OSRelease)) {
		value := r.OSRelease[k]
		if value == nil {
			value = "(absent)"
		}
		add("  %s%s %v", k, strings.Repeat(" ", max(0, 20-len(k))), value)
	}
	if d := r.BaseDir; d != nil {
		switch {
		case d.Error != "":
			add("base directory: %s", d.Error)
		default:
			add("base directory: %s, %s free", d.Dir, byteText(d.FreeBytes))
		}
		if d.Reason != "" {
			add("  %s", d.Reason)
		}
	}
	for _, w := range r.Warnings {
		add("warning: %s", w)
	}
	return b
}
