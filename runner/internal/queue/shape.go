package queue

import "slices"

// shape holds the pending requests of a group that have the same need. They
// differ in nothing but rank.
type shape struct {
	group *group
	need  need
	line  line
	filed rank // of the first request when the shape was put into group.shapes
}

func (s *shape) first() *item { return s.line.first() }

// file puts a request into the shape it belongs to.
func (g *group) file(it *item) {
	n := needOf(it.Need)
	s := g.byNeed[n]
	if s == nil {
		s = &shape{group: g, need: n}
		g.byNeed[n] = s
	}
	it.shape = s
	isNew := len(s.line) == 0
	s.line.insert(it)
	if s.first() == it {
		if !isNew {
			g.takeOut(s)
		}
		g.putIn(s)
	}
}

// unfile takes a request out of its shape. If it was the first, the next gets
// its clock.
func (g *group) unfile(it *item) {
	s := it.shape
	wasFirst := s.first() == it
	s.line.remove(it)
	it.shape = nil
	if !wasFirst {
		return
	}
	g.takeOut(s)
	if len(s.line) == 0 {
		delete(g.byNeed, s.need)
		return
	}
	s.first().inherit(it.bypass)
	g.putIn(s)
}

func (g *group) takeOut(s *shape) {
	i := g.position(s.filed)
	g.shapes = slices.Delete(g.shapes, i, i+1)
}

func (g *group) putIn(s *shape) {
	s.filed = s.first().rank()
	g.shapes = slices.Insert(g.shapes, g.position(s.filed), s)
}

func (g *group) position(r rank) int {
	i, _ := slices.BinarySearchFunc(g.shapes, r, func(s *shape, r rank) int { return s.filed.compare(r) })
	return i
}
