package logs

import (
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"bothy/runner/worker"
)

// A faulty file system: files whose writes and syncs can be made to fail.
type faulty struct {
	full  atomic.Bool  // writes put down half, then ENOSPC
	stuck atomic.Bool  // truncating fails as well
	bad   atomic.Bool  // syncs fail
	syncs atomic.Int64 // how many there were
	wait  atomic.Pointer[chan struct{}]
}

type faultyFile struct {
	file
	f *faulty
}

func (f *faulty) open(path string, flag int) (file, error) {
	if f.full.Load() && flag&os.O_CREATE != 0 {
		return nil, &os.PathError{Op: "open", Path: path, Err: syscall.ENOSPC}
	}
	x, err := openFile(path, flag)
	return &faultyFile{x, f}, err
}

func (x *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	if !x.f.full.Load() {
		return x.file.WriteAt(p, off)
	}
	n, err := x.file.WriteAt(p[:len(p)/2], off)
	return n, errors.Join(err, &os.PathError{Op: "write", Path: "log", Err: syscall.ENOSPC})
}

func (x *faultyFile) Truncate(size int64) error {
	if x.f.stuck.Load() {
		return errors.New("truncate: no")
	}
	return x.file.Truncate(size)
}

func (x *faultyFile) Sync() error {
	x.f.syncs.Add(1)
	if c := x.f.wait.Load(); c != nil {
		<-*c
	}
	if x.f.bad.Load() {
		return syscall.EIO
	}
	return x.file.Sync()
}

func openFaulty(t *testing.T, dir string, o Options) (*Store, *faulty) {
	t.Helper()
	f := &faulty{}
	s, err := open(dir, o, f.open)
	if err != nil {
		t.Fatal(err)
	}
	return s, f
}

// TestSyncTimer: what is written is synced within a second, and when nothing is
// written nothing happens.
func TestSyncTimer(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, f := openFaulty(t, dir, Options{})
		w := mustCreate(t, s, 1, nil)
		for _, wait := range []time.Duration{0, time.Hour, 300 * time.Millisecond} {
			time.Sleep(wait)
			before := f.syncs.Load()
			mustWrite(t, w, worker.Stdout, "x\n")
			time.Sleep(time.Second)
			synctest.Wait()
			if n := f.syncs.Load() - before; n != 1 {
				t.Errorf("%d syncs in the second after a write", n)
			}
		}
		before := f.syncs.Load()
		time.Sleep(time.Hour)
		if n := f.syncs.Load() - before; n != 0 {
			t.Errorf("%d syncs while idle", n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestSyncGroup: callers share a round, and each gets one that began after its call.
func TestSyncGroup(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, f := openFaulty(t, dir, Options{SyncEvery: time.Hour})
		w := mustCreate(t, s, 1, nil)
		gate := make(chan struct{})
		f.wait.Store(&gate)
		mustWrite(t, w, worker.Stdout, "first\n")
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.Sync(); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait() // the first round is under way
		mustWrite(t, w, worker.Stdout, "second\n")
		var done atomic.Int64
		for range 10 {
			wg.Go(func() {
				if err := s.Sync(); err != nil {
					t.Error(err)
				}
				done.Add(1)
			})
		}
		synctest.Wait()
		gate <- struct{}{}
		synctest.Wait()
		if done.Load() != 0 {
			t.Error("a Sync returned for a round that began before it")
		}
		gate <- struct{}{}
		wg.Wait()
		if n := f.syncs.Load(); n != 2 {
			t.Errorf("%d syncs for 11 callers", n)
		}
		f.wait.Store(nil)
		if err := s.Sync(); err != nil || f.syncs.Load() != 2 {
			t.Errorf("Sync of nothing: %v, %d syncs", err, f.syncs.Load())
		}
		mustFinish(t, w)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestSyncError(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s, f := openFaulty(t, dir, Options{Logger: captured(&log)})
		w := mustCreate(t, s, 1, nil)
		f.bad.Store(true)
		mustWrite(t, w, worker.Stdout, "x\n")
		if err := s.Sync(); !errors.Is(err, syscall.EIO) {
			t.Errorf("Sync: %v", err)
		}
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if !strings.Contains(log.String(), "logs are not on disk") {
			t.Errorf("logged %q", log.String())
		}
		f.bad.Store(false)
		if err := s.Sync(); err != nil {
			t.Errorf("Sync after the error: %v", err)
		}
		mustFinish(t, w)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestDiskFull: writes fail with the system's error, nothing that was recorded
// is hurt, what was not is recorded when there is space again.
func TestDiskFull(t *testing.T) {
	for name, size := range map[string]int{"shared": 100, "own file": 90_000, "becoming an own file": 40_000} {
		for _, stuck := range []bool{false, true} {
			dir := t.TempDir()
			s, f := openFaulty(t, dir, Options{})
			w, other := mustCreate(t, s, 1, nil), mustCreate(t, s, 2, nil)
			line := strings.Repeat("a", size) + "\n"
			mustWrite(t, w, worker.Stdout, "one "+line)
			f.full.Store(true)
			f.stuck.Store(stuck)
			for _, n := range []string{"two ", "three "} {
				err := w.Write(worker.Stdout, []byte(n+line))
				if !errors.Is(err, syscall.ENOSPC) || !DiskFull(err) {
					t.Fatalf("%s: full disk: %v", name, err)
				}
			}
			if _, err := w.Finish(); !DiskFull(err) {
				t.Fatalf("%s: Finish on a full disk: %v", name, err)
			}
			if err := other.Write(worker.Stderr, []byte("other\n")); !DiskFull(err) {
				t.Fatalf("%s: %v", name, err)
			}
			same(t, name+", while full", raw(t, s, 1, "", true), "one "+line)
			f.full.Store(false)
			f.stuck.Store(false)
			if err := other.Retry(); err != nil {
				t.Fatal(err)
			}
			info := mustFinish(t, w)
			want := "one " + line + "two " + line + "three " + line
			same(t, name, raw(t, s, 1, info.Ref, true), want)
			if want := int64(3 * (1 + size/(MaxLine+1))); info.Truncated || info.Lines != want {
				t.Errorf("%s: %+v", name, info)
			}
			mustFinish(t, other)
			crashed := copyDir(t, dir)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s2 := mustOpen(t, crashed, Options{})
			same(t, name+", reopened", raw(t, s2, 1, info.Ref, true), want)
			same(t, name+", other", raw(t, s2, 2, "", true), "other\n")
		}
	}
}

// TestDiskFullForLong: more than fits in memory is counted and said.
func TestDiskFullForLong(t *testing.T) {
	s, f := openFaulty(t, t.TempDir(), Options{})
	defer s.Close()
	w := mustCreate(t, s, 1, nil)
	mustWrite(t, w, worker.Stdout, "before\n")
	f.full.Store(true)
	line := strings.Repeat("b", 999) + "\n"
	for range 300 {
		if err := w.Write(worker.Stdout, []byte(line)); !DiskFull(err) {
			t.Fatal(err)
		}
	}
	f.full.Store(false)
	mustWrite(t, w, worker.Stdout, "after\n")
	info := mustFinish(t, w)
	lost := 300*1000 - maxHeld
	if !info.Truncated || info.Dropped != int64(lost) {
		t.Errorf("%+v, want %d dropped", info, lost)
	}
	got := raw(t, s, 1, info.Ref, true)
	want := "before\n" + strings.Repeat(line, 300)[:maxHeld]
	if !strings.HasPrefix(got, want) {
		t.Error("what fitted in memory is not there")
	}
	same(t, "the rest", got[len(want):], "… 37856 bytes were not kept here (they could not be written to disk)\nafter\n")
}
