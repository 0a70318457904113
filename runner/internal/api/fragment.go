package api

import (
	"bytes"
	"slices"
	"sync"
)

// Limits of what is remembered of rows.
const (
	// maxFragments is how many rows there may be before the unused ones are
	// forgotten.
	maxFragments = 1 << 12
	// maxLists is how many lists, by their paths, are remembered in parts.
	maxLists = 16
	// partRows is how many rows are a part of a list: few are written again when
	// one of them changes, and a list of a thousand takes few system calls.
	partRows = 64
)

// rowKey names what never changes: a pointer to what is never written to, and a
// generation of the names.
type rowKey struct {
	of  any
	gen uint64
}

// fragments are the JSON of rows by what they were made of.
type fragments struct {
	mu sync.Mutex
	m  map[rowKey][]byte
	// old are those of the time before m was last emptied. What nobody asks for
	// any more is so forgotten.
	old   map[rowKey][]byte
	lists map[string][]segment // by their paths, as they were last
}

// segment is a part of a list and what it was made of.
type segment struct {
	rows []rowKey
	*part
}

// keyedRows are rows to be written.
type keyedRows struct {
	n    int
	key  func(i int) rowKey // the zero key: write it each time
	text func(b []byte, i int) []byte
}

// whole writes rows, and only what is not known. name is that of the list, which
// is remembered in parts; "": it is not.
func (f *fragments) whole(name string, rows keyedRows, e etags) body {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tidy(rows.n)
	var list []segment
	if name != "" {
		list = f.lists[name]
	}
	all := make(body, 0, 1+rows.n/partRows)
	for from := 0; from < rows.n; from += partRows {
		if len(all) == len(list) {
			list = append(list, segment{})
		}
		s := &list[len(all)]
		f.bring(s, rows, from, min(from+partRows, rows.n), e)
		all = append(all, s.part)
	}
	if name != "" {
		f.lists[name] = slices.Delete(list, len(all), len(list))
	}
	return all
}

// bring makes a segment that of the rows from one to before another.
func (f *fragments) bring(s *segment, rows keyedRows, from, to int, e etags) {
	same := s.part != nil && len(s.rows) == to-from
	for i := from; i < to && same; i++ {
		key := rows.key(i)
		same = key == s.rows[i-from] && key != rowKey{}
	}
	if same {
		return
	}
	room := (to - from) * 640 // of a worker
	if s.part != nil {
		room = len(s.text) + 256
	}
	text := make([]byte, 0, room)
	s.rows = s.rows[:0]
	for i := from; i < to; i++ {
		key := rows.key(i)
		s.rows = append(s.rows, key)
		if i > 0 {
			text = append(text, ',')
		}
		if (key == rowKey{}) {
			text = rows.text(text, i)
		} else {
			text = append(text, f.row(key, rows, i)...)
		}
	}
	if s.part == nil || !bytes.Equal(text, s.text) {
		s.part = e.part(text)
	}
}

// row is the text of row i.
func (f *fragments) row(key rowKey, rows keyedRows, i int) []byte {
	text, ok := f.m[key]
	if !ok {
		if text, ok = f.old[key]; !ok {
			text = rows.text(nil, i)
		}
		f.m[key] = text
	}
	return text
}

// tidy forgets what a list of n rows does not need, when there is much of it.
func (f *fragments) tidy(n int) {
	if len(f.m) > maxFragments+2*n {
		f.m, f.old = nil, f.m
	}
	if f.m == nil {
		f.m = make(map[rowKey][]byte, n)
	}
	if f.lists == nil || len(f.lists) > maxLists {
		f.lists = map[string][]segment{}
	}
}
