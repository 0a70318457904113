//go:build !linux

package spawn

// helper is a process that commands are started from; there is none here.
type helper struct{}

// survey is what is found out early; nothing needs to be here.
type survey struct{}

func look(string) *survey                   { return nil }
func launch(string, int64) (*helper, error) { return nil, nil }
func (*helper) close() error                { return nil }
