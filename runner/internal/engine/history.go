package engine

import (
	"context"
	"slices"
	"time"

	"bothy/runner/build"
	"bothy/runner/internal/store"
)

const (
	// memorySamples is how many good builds a learned need rests on.
	memorySamples = 20
	// historyStale is how long medians are used after newer builds have ended.
	historyStale = 5 * time.Second
)

// history is what earlier builds tell about the next ones: read from the store
// when a builder is first asked for, then kept up to date.
type history struct {
	store   *store.Store
	entries map[historyKey]*historyEntry
}

type historyKey struct{ builder, hash string }

type historyEntry struct {
	store.History
	read time.Time
	old  bool // builds have ended since
}

func (h *history) at(builder, hash string) (*historyEntry, error) {
	if builder == Command {
		// What goes by this name is any command, and a terminal waits for it.
		return &historyEntry{}, nil
	}
	k := historyKey{builder, hash}
	e := h.entries[k]
	if e != nil && (!e.old || time.Since(e.read) < historyStale) {
		return e, nil
	}
	past, err := h.store.History(context.Background(), builder, hash)
	if err != nil {
		return &historyEntry{}, err
	}
	if e != nil {
		past.Memory = e.Memory // also knows what is not committed yet
	}
	e = &historyEntry{History: past, read: time.Now()}
	h.entries[k] = e
	return e, nil
}

// add learns from a finished build. Only good ones count: a failed build often
// ends early and would teach too little.
func (h *history) add(b store.Build) {
	e := h.entries[historyKey{b.Builder, b.StepsHash}]
	if e == nil || b.Result != build.Success && b.Result != build.Warnings {
		return
	}
	e.old = true
	if b.PeakMemory > 0 {
		e.Memory = slices.Insert(e.Memory, 0, b.PeakMemory)
		e.Memory = e.Memory[:min(len(e.Memory), memorySamples)]
	}
}

// memory is the learned need in bytes, 0 if there is none: the 95th percentile
// of the last builds, or, of fewer than five, the largest and a quarter.
func (e *historyEntry) memory() int64 {
	n := len(e.Memory)
	switch {
	case n == 0:
		return 0
	case n < 5:
		return slices.Max(e.Memory) * 5 / 4
	}
	sorted := slices.Sorted(slices.Values(e.Memory))
	return sorted[(n*95+99)/100-1]
}
