package msgpack

import "unicode/utf8"

// field is one entry of the dictionary that a frame is. Both alias the frame.
type field struct {
	key   []byte
	value []byte // one encoded value
}

// check walks the whole frame without decoding it and returns the entries of its
// dictionary, appended to fields. After it, reading any value of the frame cannot
// run past its end, nest too deep or allocate out of proportion.
func check(frame []byte, l Limits, fields []field) ([]field, error) {
	if len(frame) > l.bytes() {
		return nil, frameError("%d bytes, more than %d", len(frame), l.bytes())
	}
	top, err := next(frame)
	if err != nil {
		return nil, err
	}
	if top.kind != dict {
		return nil, frameError("it is %s", top.kind)
	}
	if top.elements > 2*maxFields {
		return nil, frameError("more than %d keys", maxFields)
	}
	w := walk{frame: frame, at: top.head, values: l.values()}
	for range top.elements / 2 {
		key, err := w.key()
		if err != nil {
			return nil, err
		}
		start := w.at
		if err := w.value(1); err != nil {
			return nil, err
		}
		fields = append(fields, field{key, frame[start:w.at]})
	}
	if w.at < len(frame) {
		return nil, frameError("%d bytes after it", len(frame)-w.at)
	}
	return fields, nil
}

// walk is a position in a frame being checked.
type walk struct {
	frame  []byte
	at     int
	values int // how many more there may be
}

// key moves past a key and returns its text.
func (w *walk) key() ([]byte, error) {
	v, err := w.step()
	if err != nil {
		return nil, err
	}
	if v.kind != text {
		return nil, frameError("a key is %s", v.kind)
	}
	return w.frame[w.at-v.body : w.at], nil
}

// value moves past one value, which is inside depth others.
func (w *walk) value(depth int) error {
	v, err := w.step()
	if err != nil || v.elements == 0 {
		return err
	}
	if depth == MaxDepth {
		return frameError("nested deeper than %d", MaxDepth)
	}
	for i := range v.elements {
		if v.kind == dict && i%2 == 0 {
			_, err = w.key()
		} else {
			err = w.value(depth + 1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// step moves past one value, but not past its elements.
func (w *walk) step() (shape, error) {
	if w.values--; w.values < 0 {
		return shape{}, frameError("too many values")
	}
	v, err := next(w.frame[w.at:])
	if err != nil {
		return shape{}, err
	}
	w.at += v.head + v.body
	if v.kind == text && !utf8.Valid(w.frame[w.at-v.body:w.at]) {
		return shape{}, frameError("text is not UTF-8")
	}
	return v, nil
}
