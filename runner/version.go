package runner

import "runtime/debug"

// Version returns the version of this module in the running program, "(devel)"
// when it was built from a working tree.
func Version() string {
	const path = "bothy"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(devel)"
	}
	if info.Main.Path == path && info.Main.Version != "" {
		return info.Main.Version
	}
	for _, m := range info.Deps {
		if m.Path == path {
			return m.Version
		}
	}
	return "(devel)"
}
