package logs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"bothy/runner/worker"
)

// An ownFile is the file of one log that grew beyond a shared segment: a file
// header, records, and, once finished, a trailer. It lies in live/ until it is
// compressed to done/.
type ownFile struct {
	path  string
	h     *handle
	size  int64 // end of the last good record
	begun int64 // up to here the disk has begun to write
	torn  error // of a failed write: bytes behind size must be cut before the next
	index index
}

// writeBehind is how much of a large log gathers until the disk begins to write
// it. Without it all the writing would be left to the next sync, and the end of
// a build that writes much would wait for that (512 MiB, ext4: 350 ms, with it 230).
const writeBehind = 16 << 20

func (s *Store) livePath(id int64) string {
	return filepath.Join(s.dir, "live", strconv.FormatInt(id, 10)+".log")
}

// donePath spreads finished files over directories of 4096.
func (s *Store) donePath(id int64) string {
	return filepath.Join(s.dir, "done", strconv.FormatInt(id>>12, 16), strconv.FormatInt(id, 10)+".zst")
}

// createOwn makes the file of a log; b, whole records, is its beginning.
func (s *Store) createOwn(id int64, b []byte) (*ownFile, error) {
	path := s.livePath(id)
	f, err := s.openFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return nil, fmt.Errorf("create file of log %d: %w", id, err)
	}
	head := appendFileHeader(make([]byte, 0, fileHeader+len(b)), magicOwn, uint64(id), 0)
	head = append(head, b...)
	if _, err := f.WriteAt(head, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("write file of log %d: %w", id, err), f.Close(), os.Remove(path))
	}
	o := &ownFile{path: path, h: &handle{f: f, dir: filepath.Dir(path)}, size: int64(len(head))}
	s.syncs.mark(o.h)
	return o, nil
}

// append writes b, whole records, in one write. Nothing has changed when it
// returns an error.
func (o *ownFile) append(y *syncer, b []byte) error {
	if err := o.cut(); err != nil {
		return err
	}
	if _, err := o.h.f.WriteAt(b, o.size); err != nil {
		o.torn = err
		return errors.Join(err, o.cut()) // it names the file
	}
	o.size += int64(len(b))
	y.mark(o.h)
	if whole := o.size &^ (pageSize - 1); whole-o.begun >= writeBehind {
		beginWriting(o.h.f, o.begun, whole-o.begun)
		o.begun = whole
	}
	return nil
}

func (o *ownFile) cut() error {
	if o.torn == nil {
		return nil
	}
	if err := o.h.f.Truncate(o.size); err != nil {
		return fmt.Errorf("cut %s: %w (after: %w)", o.path, err, o.torn)
	}
	o.torn = nil
	return nil
}

// rescan is what reading all of an own file tells.
type rescan struct {
	lines    splitter
	index    index
	end      int64 // of the last good record
	recs     uint32
	finished *trailer // from the finish record
	token    worker.Token
	h        *handle
}

// scanOwn reads the records of an own file up to the first bad one.
func scanOwn(src io.ReaderAt, size int64) (*rescan, error) {
	id, _, err := checkFileHeader(src, magicOwn)
	if err != nil {
		return nil, err
	}
	c := &rescan{end: fileHeader}
	rs := records{src: src, off: fileHeader, end: size}
	for c.finished == nil {
		r, at, err := rs.next()
		if err == io.EOF || errors.Is(err, ErrCorrupt) {
			break
		}
		if err != nil {
			return nil, err
		}
		if r.id != int64(id) || r.seq != c.recs {
			break
		}
		c.end = rs.off
		c.recs = r.seq + 1
		c.token = r.token
		if r.kind == kindFinish {
			lines, n, dropped := r.finish()
			c.finished = &trailer{Lines: lines, Bytes: n, Dropped: dropped, Flags: r.flags}
			break
		}
		c.index.mark(&c.lines, at)
		c.lines.add(streamIndex(worker.Stream(r.kind)), r.payload, at)
	}
	if t := c.finished; t != nil {
		t.Records, t.End, t.points = c.recs, c.end, c.index.points
	}
	return c, nil
}
