package localworker

import (
	"context"
	"time"

	"bothy/localworker/internal/machine"
	"bothy/localworker/internal/spawn"
)

// Helper turns this process into a spawner if it was started as one, and does not
// return then; else it returns at once. It must be the first thing a program does.
func Helper() { spawn.Main() }

// Report is what `bothy doctor` says of a machine; its JSON is that of
// `doctor --json`.
type Report struct {
	machine.Report
	// ContainmentText says, for people, how process trees are ended here.
	ContainmentText []string `json:"containment_text,omitempty"`
}

// probeTimeout bounds the start of a spawner for a report.
const probeTimeout = 5 * time.Second

// Detect looks at the machine whose root directory is root; "/" or empty is this
// one. Containment can only be found out here, by trying: a report on another
// root says nothing of it.
func Detect(root string, o MachineOptions) (Report, error) {
	if root == "" {
		root = "/"
	}
	m, err := machine.Detect(root, o)
	if err != nil {
		return Report{}, err
	}
	r := Report{Report: m}
	if root != "/" {
		return r, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	s, err := spawn.Probe(ctx, spawn.Options{BaseID: "doctor"})
	r.Containment = string(s.Mode)
	r.ContainmentText = s.Text
	if err != nil {
		r.Warnings = append(r.Warnings, "containment: "+err.Error())
	}
	return r, nil
}
