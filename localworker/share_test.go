package localworker

import (
	"testing"

	"bothy/runner/worker"
)

// TestShareTellsOthersApart: the machine stays as large as it is, and what other
// runners have of it stands beside it.
func TestShareTellsOthersApart(t *testing.T) {
	l := newLedger()
	m := &fakeMachine{facts: facts{slots: 2, cpus: 4, memory: 100}}
	a, b := newBudget(l, nil, m.read), newBudget(l, nil, m.read)
	defer a.Close()
	defer b.Close()
	whole := Capacity{Slots: 2, CPUs: 4, Memory: 100}
	r := reserve(t, a, 1, 30)
	if c, taken := b.Share(); c != whole || taken != (Taken{1, worker.Need{CPUs: 1, Memory: 30}}) {
		t.Errorf("%+v, %+v", c, taken)
	}
	if c, taken := a.Share(); c != whole || taken != (Taken{}) {
		t.Errorf("a runner counts its own builds as others': %+v, %+v", c, taken)
	}
	r.Release()
	if c, taken := b.Share(); c != whole || taken != (Taken{}) {
		t.Errorf("%+v, %+v", c, taken)
	}
}
