package engine

import (
	"time"

	"bothy/runner/internal/store"
)

// What a line of the journal is about.
const (
	aboutWorker    = "worker"
	aboutBuild     = "build"
	aboutRequest   = "request"
	aboutScheduler = "scheduler"
	aboutMaster    = "master"
)

// entry is a line of the journal.
type entry struct {
	kind, name string
	ref        int64
	what       string
	who        string
	reason     string
	build      int64
}

// journal adds a line to the journal: a worker that changed, or what a person did.
func (l *loop) journal(n entry) {
	if l.opt.Foreground {
		return
	}
	l.nextEntry++
	l.batch.PutEntry(&store.Entry{
		ID: l.nextEntry - 1, Time: time.Now(), Kind: n.kind, Name: n.name, Ref: n.ref, Build: n.build,
		What: n.what, Who: n.who, Reason: n.reason,
	})
}
