package queue

import (
	"cmp"
	"slices"
)

// line holds requests in the order of their ranks, as levels of equal priority,
// the highest first. A level is sorted by age: new requests go to its end and
// those that start leave at its beginning, which costs the same however long it
// is. Anything else moves at most half of the level.
type line []*level

type level struct {
	priority int
	items    []*item // those before head are gone
	head     int
}

func (l line) first() *item {
	top := l[0]
	return top.items[top.head]
}

func (l line) find(priority int) (int, bool) {
	return slices.BinarySearchFunc(l, priority, func(v *level, p int) int { return cmp.Compare(p, v.priority) })
}

func (l *line) insert(it *item) {
	i, ok := l.find(it.Priority)
	if !ok {
		*l = slices.Insert(*l, i, &level{priority: it.Priority})
	}
	(*l)[i].insert(it)
}

func (l *line) remove(it *item) {
	i, _ := l.find(it.Priority)
	v := (*l)[i]
	v.remove(it)
	if v.head == len(v.items) {
		*l = slices.Delete(*l, i, i+1)
	}
}

func (v *level) search(it *item) int {
	i, _ := slices.BinarySearchFunc(v.items[v.head:], it, func(a, b *item) int { return a.rank().compare(b.rank()) })
	return i
}

func (v *level) insert(it *item) {
	n := len(v.items) - v.head
	if n == 0 || v.items[len(v.items)-1].before(it) {
		if len(v.items) == cap(v.items) && v.head > n {
			copy(v.items, v.items[v.head:])
			clear(v.items[n:])
			v.items, v.head = v.items[:n], 0
		}
		v.items = append(v.items, it)
		return
	}
	i := v.search(it)
	if v.head == 0 || i > n/2 {
		v.items = slices.Insert(v.items, v.head+i, it)
		return
	}
	v.head--
	copy(v.items[v.head:], v.items[v.head+1:v.head+1+i])
	v.items[v.head+i] = it
}

func (v *level) remove(it *item) {
	live := v.items[v.head:]
	i := 0
	if live[0] != it {
		i = v.search(it)
	}
	if i > len(live)/2 {
		v.items = slices.Delete(v.items, v.head+i, v.head+i+1)
		return
	}
	copy(live[1:], live[:i])
	live[0] = nil
	v.head++
}
