package cli

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestVersionText(t *testing.T) {
	tail := ", " + runtime.Version() + ", " + runtime.GOOS + "/" + runtime.GOARCH
	setting := func(modified string) []debug.BuildSetting {
		return []debug.BuildSetting{
			{Key: "vcs.revision", Value: "0123456789abcdef0123"}, {Key: "vcs.time", Value: "2026-05-01T12:00:00Z"}, {Key: "vcs.modified", Value: modified},
		}
	}
	for want, info := range map[string]*debug.BuildInfo{
		"bothy (devel), commit unknown":                  nil,
		"bothy v1.2.3, commit unknown":                   {Main: debug.Module{Version: "v1.2.3"}},
		"bothy (devel), commit 0123456789ab":             {Settings: setting("false")},
		"bothy v1.2.4, commit 0123456789ab with changes": {Main: debug.Module{Version: "v1.2.4"}, Settings: setting("true")},
	} {
		if got := readVersion(info).String(); got != want+tail {
			t.Errorf("got %q, want %q", got, want+tail)
		}
	}
}
