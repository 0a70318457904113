package logs

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"bothy/runner/worker"
)

// headerRoom is how much of Bothy's own words is kept beyond a log's cap.
const headerRoom = 64 << 10

// maxHeld bounds what a log keeps in memory of what could not be recorded.
const maxHeld = 256 << 10

// Writer writes one log. Its methods may be called from many goroutines.
type Writer struct {
	s     *Store
	id    int64
	token worker.Token
	over  chan struct{} // closed when the log is finished

	mu       sync.Mutex
	masks    *[streams]maskState // nil: nothing to mask
	seg      *segment            // where its records are; nil: nowhere, or in own
	size     int64               // bytes of its records there
	own      *ownFile
	place    int // raised when the records move
	seq      uint32
	lines    splitter
	bytes    int64
	capped   bool
	dropped  int64  // bytes beyond the cap
	lost     int64  // bytes beyond maxHeld
	held     []held // could not be recorded yet, in order
	heldSize int
	revoked  bool
	ended    bool // Finish was called: nothing more is taken
	finished bool // the log is complete in its file
	closed   bool // by Store.Close
	flags    byte
	info     Info
	changed  chan struct{} // not nil: somebody waits for the next change
}

type held struct {
	stream int
	time   int64
	data   []byte
}

// ID returns the log's id.
func (w *Writer) ID() int64 { return w.id }

// Write appends output of one stream. When it returns nil the bytes are in the
// file and readers see them, save what the masker holds back and what is beyond
// the cap, which is counted. p is not kept.
//
// An error of the disk is returned wrapped (see [DiskFull]). The bytes must not
// be written again: they are kept in memory, up to a bound beyond which they are
// counted, and recorded by a later Write, Retry or Finish.
func (w *Writer) Write(stream worker.Stream, p []byte) error {
	i := streamIndex(stream)
	if i < 0 {
		return fmt.Errorf("write log %d: no stream %q", w.id, string(stream))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.revoked:
		return fmt.Errorf("write log %d of attempt %s: %w", w.id, w.token, ErrFenced)
	case w.ended:
		return fmt.Errorf("write log %d: %w", w.id, ErrFinished)
	case w.closed:
		return fmt.Errorf("write log %d: %w", w.id, ErrClosed)
	}
	now := time.Now().UnixNano()
	if w.masks == nil {
		if err := w.put(i, now, p); err != nil {
			return fmt.Errorf("write log %d: %w", w.id, err)
		}
		return nil
	}
	var first error
	for piece := range slices.Chunk(p, maxPayload) { // bounds what the masker must copy
		if err := w.put(i, now, w.masks[i].feed(piece)); err != nil && first == nil {
			first = fmt.Errorf("write log %d: %w", w.id, err)
		}
	}
	return first
}

// Revoke makes later writes fail with [ErrFenced]. Finish still works.
func (w *Writer) Revoke() {
	w.mu.Lock()
	w.revoked = true
	w.mu.Unlock()
}

// Retry records what an earlier Write could not. It returns nil when nothing is
// left to record.
func (w *Writer) Retry() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.unhold(); err != nil {
		return fmt.Errorf("write log %d: %w", w.id, err)
	}
	return nil
}

// Finish writes what the masker held back and ends the log. It does not wait
// for the disk: call [Store.Sync] before telling anybody. After an error the
// log is still open for Finish, which may be called again; after success it
// returns the same again.
func (w *Writer) Finish() (Info, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.finished {
		return w.info, nil
	}
	if w.closed {
		return Info{}, fmt.Errorf("finish log %d: %w", w.id, ErrClosed)
	}
	if err := w.end(time.Now().UnixNano()); err != nil {
		return Info{}, fmt.Errorf("finish log %d: %w", w.id, err)
	}
	return w.info, nil
}

// put takes masked output: it goes to the file, to what is held, or is counted.
func (w *Writer) put(i int, now int64, p []byte) error {
	err := w.unhold()
	for len(p) > 0 {
		n := min(len(p), maxPayload)
		if room := w.room(i); int64(n) > room {
			n = int(room)
			if n == 0 {
				w.dropped += int64(len(p))
				return w.capNotice(now, err)
			}
		}
		if err == nil {
			err = w.record(i, now, p[:n])
		}
		if err != nil {
			w.hold(i, now, p[:n])
		}
		p = p[n:]
	}
	return err
}

// room is how many bytes of stream i the cap still allows.
func (w *Writer) room(i int) int64 {
	limit := w.s.o.MaxLogBytes
	if streamNames[i] == worker.Header {
		limit += headerRoom
	}
	return max(limit-w.bytes-int64(w.heldSize), 0)
}

// capNotice tells readers, once, that the rest is only counted.
func (w *Writer) capNotice(now int64, err error) error {
	if w.capped {
		return err
	}
	w.capped = true
	w.flags |= flagTruncated
	return w.marker(now, err, fmt.Sprintf("… the log cap of %s is reached: more output is counted, not kept\n", sizeText(w.s.o.MaxLogBytes)))
}

// marker adds a line of Bothy's own, whatever the cap says.
func (w *Writer) marker(now int64, err error, text string) error {
	h := streamIndex(worker.Header)
	if w.lines.open[h].n > 0 {
		text = "\n" + text
	}
	if err == nil {
		err = w.record(h, now, []byte(text))
	}
	if err != nil {
		w.hold(h, now, []byte(text))
	}
	return err
}

// hold keeps a copy of what could not be recorded.
func (w *Writer) hold(i int, now int64, p []byte) {
	if n := maxHeld - w.heldSize; len(p) > n {
		w.lost += int64(len(p) - n)
		p = p[:n]
	}
	if len(p) > 0 {
		w.held = append(w.held, held{i, now, append([]byte(nil), p...)})
		w.heldSize += len(p)
	}
}

// unhold records what is held, in order.
func (w *Writer) unhold() error {
	for len(w.held) > 0 {
		h := w.held[0]
		if err := w.record(h.stream, h.time, h.data); err != nil {
			return err
		}
		w.held = w.held[1:]
		w.heldSize -= len(h.data)
	}
	w.held = nil
	if w.lost > 0 {
		n := w.lost
		w.lost = 0
		w.flags |= flagTruncated
		w.dropped += n
		return w.marker(time.Now().UnixNano(), nil, fmt.Sprintf("… %d bytes were not kept here (they could not be written to disk)\n", n))
	}
	return nil
}

var scratch = sync.Pool{New: func() any { return new([]byte) }}

// record appends one record of at most maxPayload bytes.
func (w *Writer) record(i int, now int64, p []byte) error {
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	r := record{id: w.id, token: w.token, time: now, seq: w.seq, kind: byte(streamNames[i]), payload: p}
	if w.own != nil && len(p) >= padBeyond {
		r.pad = int(-(w.own.size + int64(recordHeader+len(p))) & (pageSize - 1))
	}
	b := appendRecord((*buf)[:0], &r)
	*buf = b
	if err := w.append(b, &r); err != nil {
		return err
	}
	at := int64(0)
	if w.own != nil {
		at = w.own.size - int64(len(b))
		w.own.index.mark(&w.lines, at)
	}
	w.lines.add(i, p, at)
	w.bytes += int64(len(p))
	w.seq++
	w.notify()
	return nil
}

// append writes b, whole records of which last is the last, to where the log
// is, after moving it to its own file when it gets large.
func (w *Writer) append(b []byte, last *record) error {
	if w.own != nil {
		return w.own.append(&w.s.syncs, b)
	}
	if w.size+int64(len(b)) <= maxShared || last.kind == kindFinish {
		before := w.seg
		err := w.s.appendShared(w, b, last)
		if w.seg != before {
			w.place++
		}
		return err
	}
	var carry []byte
	if w.seg != nil {
		var err error
		w.s.mu.Lock()
		carry, err = w.s.recordsOf(w.seg.n, w.id)
		w.s.mu.Unlock()
		if err != nil {
			return fmt.Errorf("move to a file of its own: %w", err)
		}
	}
	own, err := w.s.createOwn(w.id, append(carry, b...))
	if err != nil {
		return err
	}
	if old := w.seg; old != nil {
		id := w.id
		w.s.syncs.after(func() { w.s.bury(old.n, id) })
	}
	w.own, w.seg, w.size = own, nil, 0
	w.place++
	// Whatever is open began in the part that was moved: point before it.
	own.index.mark(&splitter{}, fileHeader)
	for i := range w.lines.open {
		w.lines.open[i].off, w.lines.open[i].offRaw = fileHeader, 0
	}
	return nil
}

// end flushes everything and writes the end of the log.
func (w *Writer) end(now int64) error {
	w.ended = true
	if w.masks != nil {
		for i := range w.masks {
			if err := w.put(i, now, w.masks[i].flush()); err != nil {
				return err
			}
		}
	}
	if err := w.unhold(); err != nil {
		return err
	}
	if w.capped {
		w.capped = false
		text := fmt.Sprintf("… %d bytes more were not kept (log cap %s)\n", w.dropped, sizeText(w.s.o.MaxLogBytes))
		if err := w.marker(now, nil, text); err != nil {
			return err
		}
	}
	lines := w.lines.all()
	r := record{id: w.id, token: w.token, time: now, seq: w.seq, flags: w.flags}
	b := appendFinish(nil, &r, lines, w.bytes, w.dropped)
	records := len(b)
	if w.own != nil {
		t := trailer{Lines: lines, Bytes: w.bytes, Dropped: w.dropped, Flags: w.flags, Records: w.seq + 1,
			End: w.own.size + int64(records), points: w.own.index.points}
		b = t.append(b)
	}
	if err := w.append(b, &r); err != nil {
		return err
	}
	if w.own != nil {
		w.own.size -= int64(len(b) - records)
	}
	w.finished = true
	w.info = Info{
		Lines: lines, Bytes: w.bytes, Dropped: w.dropped, Finished: true,
		Truncated: w.flags&flagTruncated != 0, Interrupted: w.flags&flagInterrupted != 0,
	}
	if w.own != nil {
		w.info.Ref = fileRef(w.id)
		w.s.syncs.last(w.own.h)
		id := w.id
		w.s.job(func() error { return w.s.compress(id) })
	} else {
		w.info.Ref = segRef(w.seg.n, w.id)
	}
	w.s.mu.Lock()
	delete(w.s.open, w.id)
	w.s.mu.Unlock()
	close(w.over)
	w.notify()
	return nil
}

// abandon is the store's end while the log is open: what is held is written as
// far as it goes, the log stays unfinished.
func (w *Writer) abandon() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.finished || w.closed {
		return
	}
	w.closed = true
	if w.own != nil {
		w.s.syncs.last(w.own.h)
	}
	w.notify()
}

// notify wakes those who wait for news. w.mu is held.
func (w *Writer) notify() {
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
}

// news returns a channel that is closed at the next change. w.mu is held.
func (w *Writer) news() <-chan struct{} {
	if w.changed == nil {
		w.changed = make(chan struct{})
	}
	return w.changed
}

// sizeText writes a size as people say it.
func sizeText(n int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.size && n%u.size == 0 {
			return fmt.Sprintf("%d %s", n/u.size, u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
