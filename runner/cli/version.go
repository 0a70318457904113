package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

// buildVersion is what this program was built from, as the Go tool wrote it
// into the binary. Commit is empty when it was built without version control.
type buildVersion struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Time     string `json:"time,omitempty"` // of the commit, RFC 3339
	Modified bool   `json:"modified"`       // there were uncommitted changes
	Go       string `json:"go"`
	System   string `json:"system"`
}

func readVersion(info *debug.BuildInfo) buildVersion {
	v := buildVersion{Version: "(devel)", Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH}
	if info == nil {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.time":
			v.Time = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

func (v buildVersion) String() string {
	commit := "commit unknown"
	if v.Commit != "" {
		commit = "commit " + v.Commit[:min(len(v.Commit), 12)]
		if v.Modified {
			commit += " with changes"
		}
	}
	return fmt.Sprintf("bothy %s, %s, %s, %s", v.Version, commit, v.Go, v.System)
}

func runVersion(_ context.Context, c *call) error {
	if err := c.tooMany(0); err != nil {
		return err
	}
	info, _ := debug.ReadBuildInfo()
	v := readVersion(info)
	if c.flag("json") {
		return printJSON(c.Stdout, v)
	}
	_, err := fmt.Fprintln(c.Stdout, v)
	return err
}

// printJSON prints v for programs, indented since people read it too.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
