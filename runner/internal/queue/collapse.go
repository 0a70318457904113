package queue

// sameKey says which requests supersede each other. A request for another worker
// asks for another thing.
type sameKey struct{ builder, key, worker string }

func (it *item) sameKey() sameKey { return sameKey{it.Builder, it.CollapseKey, it.Worker} }

// link puts a request among those with the same key.
func (q *Queue) link(it *item) {
	if it.CollapseKey == "" {
		return
	}
	if first := q.same[it.sameKey()]; first != nil {
		it.older = first
		first.newer = it
	}
	q.same[it.sameKey()] = it
}

func (q *Queue) unlink(it *item) {
	if it.CollapseKey == "" {
		return
	}
	switch {
	case it.newer != nil:
		it.newer.older = it.older
	case it.older != nil:
		q.same[it.sameKey()] = it.older
	default:
		delete(q.same, it.sameKey())
	}
	if it.older != nil {
		it.older.newer = it.newer
	}
	it.older, it.newer = nil, nil
}

// superseded returns the pending requests that were submitted before r and ask
// for the same, the last added first. Buildbot: BuildRequestCollapser.
func (q *Queue) superseded(r Request) (olds []*item) {
	b := q.builders[r.Builder]
	if r.CollapseKey == "" || b == nil || !b.def.Collapse {
		return nil
	}
	for it := q.same[sameKey{r.Builder, r.CollapseKey, r.Worker}]; it != nil; it = it.older {
		c := it.Submitted.Compare(r.Submitted)
		if c < 0 || c == 0 && it.ID < r.ID {
			olds = append(olds, it)
		}
	}
	return olds
}
