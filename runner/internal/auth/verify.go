package auth

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// memoryBudget is what the computations of one [Verifier] take together, in
// KiB: two at a time with the parameters of new hashes. It fits into what is
// reserved for the master (machine.reserve_memory, at least 256 MiB).
const memoryBudget = 2 * newMemory

// Verifier compares passwords with hashes, a few at a time: a hash costs 64 MiB
// or so while it is computed, and anybody can ask for one. Its methods may be
// called from many goroutines.
type Verifier struct {
	budget *semaphore.Weighted // KiB
	dummy  Hash
}

// NewVerifier returns a Verifier. Of the hashes it will be asked for, the one
// that costs most is computed for users that do not exist, so that the time of
// the answer does not tell them from those that do. Hashes that cannot be read
// are ignored.
func NewVerifier(hashes ...string) *Verifier {
	v := &Verifier{budget: semaphore.NewWeighted(memoryBudget)}
	for _, s := range hashes {
		if h, err := ParseHash(s); err == nil && (v.dummy.IsZero() || h.dearer(&v.dummy)) {
			v.dummy = h
		}
	}
	if v.dummy.IsZero() {
		v.dummy = Hash{memory: newMemory, passes: newPasses, lanes: newLanes, salt: make([]byte, newSalt), key: make([]byte, newKey)}
	}
	return v
}

// VerifyPassword reports whether the hash is one of password. For a user that
// does not exist call it with the hash "": the answer is false, and takes as
// long as another. It waits while too many others compute, until ctx ends; the
// answer is false then.
func (v *Verifier) VerifyPassword(ctx context.Context, hash, password string) bool {
	if len(password) > MaxPassword {
		return false
	}
	h, err := ParseHash(hash)
	known := err == nil
	if !known {
		h = v.dummy
	}
	n := h.weight()
	if v.budget.Acquire(ctx, n) != nil {
		return false
	}
	defer v.budget.Release(n)
	return h.matches(password) && known
}

// weight is what of the budget h takes. bcrypt needs time rather than memory.
func (h *Hash) weight() int64 {
	if h.bcrypt != nil {
		return newMemory
	}
	return min(int64(h.memory), memoryBudget)
}

// dearer compares what two hashes cost. argon2id counts as dearer than bcrypt.
func (h *Hash) dearer(than *Hash) bool {
	if h.bcrypt != nil || than.bcrypt != nil {
		return h.bcrypt == nil || than.bcrypt != nil && string(h.bcrypt[4:6]) > string(than.bcrypt[4:6])
	}
	return uint64(h.memory)*uint64(h.passes) > uint64(than.memory)*uint64(than.passes)
}
