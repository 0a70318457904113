package queue

import "container/heap"

// element is something that knows its place in a heap, -1 when it is in none.
type element[T any] interface {
	before(T) bool
	place() *int
}

// heapOf is a heap whose elements can be moved and taken out anywhere.
type heapOf[T element[T]] struct{ e elements[T] }

func (h *heapOf[T]) len() int { return len(h.e) }
func (h *heapOf[T]) first() T { return h.e[0] }
func (h *heapOf[T]) push(x T) { heap.Push(&h.e, x) }
func (h *heapOf[T]) fix(x T)  { heap.Fix(&h.e, *x.place()) }

func (h *heapOf[T]) remove(x T) {
	heap.Remove(&h.e, *x.place())
	*x.place() = -1
}

// elements implements heap.Interface.
type elements[T element[T]] []T

func (e elements[T]) Len() int           { return len(e) }
func (e elements[T]) Less(i, j int) bool { return e[i].before(e[j]) }

func (e elements[T]) Swap(i, j int) {
	e[i], e[j] = e[j], e[i]
	*e[i].place(), *e[j].place() = i, j
}

func (e *elements[T]) Push(x any) {
	t := x.(T)
	*t.place() = len(*e)
	*e = append(*e, t)
}

func (e *elements[T]) Pop() any {
	last := len(*e) - 1
	t := (*e)[last]
	var none T
	(*e)[last] = none
	*e = (*e)[:last]
	return t
}
