package logs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"bothy/runner/worker"
)

// chunk is typical output: lines of about 60 bytes.
func chunk(size int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "[%5d] CC src/module%d/file%d.c -o build/obj%d.o -O2 -Wall\n", i, i%17, i*7919%9973, i)
	}
	return b.Bytes()[:size]
}

const perLog = 64 << 20

// unsynced files are not synced: the plain file is not either.
type unsynced struct{ file }

func (unsynced) Sync() error { return nil }

func openUnsynced(path string, flag int) (file, error) {
	f, err := openFile(path, flag)
	return unsynced{f}, err
}

// drop ends a log whose file is not to be compressed.
func drop(b *testing.B, s *Store, w *Writer) {
	os.Remove(s.livePath(w.id))
	mustFinish(b, w)
	if err := s.Sync(); err != nil { // closes the file
		b.Fatal(err)
	}
}

// BenchmarkIngest compares with writing the same chunks to a plain file.
func BenchmarkIngest(b *testing.B) {
	some := NewMasker([]string{"hunter2-password", "AKIAIOSFODNN7EXAMPLE"})
	many := make([]string, 20)
	for i := range many {
		many[i] = fmt.Sprintf("%csecret-token-%x", 'a'+i, i*i*i*7919+1234567)
	}
	for _, size := range []int{32 << 10, 128 << 10, 256 << 10} {
		p := chunk(size)
		b.Run(fmt.Sprintf("plain/%dK", size>>10), func(b *testing.B) {
			b.SetBytes(perLog)
			dir := b.TempDir()
			for b.Loop() {
				f, err := os.Create(filepath.Join(dir, "plain"))
				if err != nil {
					b.Fatal(err)
				}
				for n := 0; n < perLog; n += size {
					if _, err := f.Write(p); err != nil {
						b.Fatal(err)
					}
				}
				b.StopTimer() // here and below: freeing the page cache is not compared
				f.Close()
				os.Remove(f.Name())
				b.StartTimer()
			}
		})
		for name, m := range map[string]*Masker{"log": nil, "masked2": some, "masked20": NewMasker(many)} {
			b.Run(fmt.Sprintf("%s/%dK", name, size>>10), func(b *testing.B) {
				b.SetBytes(perLog)
				s, err := open(b.TempDir(), Options{}, openUnsynced)
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				for id := int64(1); b.Loop(); id++ {
					w := mustCreate(b, s, id, m)
					for n := 0; n < perLog; n += size {
						if err := w.Write(worker.Stdout, p); err != nil {
							b.Fatal(err)
						}
					}
					b.StopTimer()
					drop(b, s, w)
					b.StartTimer()
				}
			})
		}
	}
}

// BenchmarkTrivial is the log of a trivial build: three writes and the end.
func BenchmarkTrivial(b *testing.B) {
	s := mustOpen(b, b.TempDir(), Options{})
	head, line, end := []byte("sh -c true (in /w)\n"), []byte("hello\n"), []byte("exit status 0, 1 ms\n")
	for id := int64(1); b.Loop(); id++ {
		w := mustCreate(b, s, id, nil)
		w.Write(worker.Header, head)
		w.Write(worker.Stdout, line)
		w.Write(worker.Header, end)
		if _, err := w.Finish(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFourWrites is the part of BenchmarkTrivial that is system calls.
func BenchmarkFourWrites(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "f"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	p := make([]byte, 70)
	at := int64(0)
	for b.Loop() {
		for range 4 {
			if _, err := f.WriteAt(p, at); err != nil {
				b.Fatal(err)
			}
			at = (at + 70) % (16 << 20)
		}
	}
}

// BenchmarkPages opens a log and reads its first and its last page.
func BenchmarkPages(b *testing.B) {
	s := mustOpen(b, b.TempDir(), Options{})
	w := mustCreate(b, s, 1, nil)
	p := chunk(256 << 10)
	for range 1024 {
		if err := w.Write(worker.Stdout, p); err != nil {
			b.Fatal(err)
		}
	}
	pages := func(b *testing.B) {
		for b.Loop() {
			r, err := s.Reader(1, "")
			if err != nil {
				b.Fatal(err)
			}
			n, err := r.Lines()
			if err != nil {
				b.Fatal(err)
			}
			first, err1 := r.ReadLines(0, 500)
			last, err2 := r.ReadLines(n-500, 500)
			if err1 != nil || err2 != nil || len(first) != 500 || len(last) != 500 {
				b.Fatal(err1, err2, len(first), len(last))
			}
			r.Close()
		}
	}
	b.Run("running", pages)
	if _, err := w.Finish(); err != nil {
		b.Fatal(err)
	}
	s.settle()
	b.Run("compressed", pages)
}

// BenchmarkOpen opens a store of 100,000 small logs.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	for id := int64(1); id <= 100_000; id++ {
		w := mustCreate(b, s, id, nil)
		mustWrite(b, w, worker.Header, "sh -c true (in /w)\n")
		mustWrite(b, w, worker.Stdout, "hello\n")
		mustFinish(b, w)
	}
	s.settle()
	crashed := filepath.Join(b.TempDir(), "crashed")
	if err := copyTree(crashed, dir); err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("clean", func(b *testing.B) {
		for b.Loop() {
			s, err := Open(dir, Options{})
			if err != nil {
				b.Fatal(err)
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("crashed", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			d := filepath.Join(b.TempDir(), "d")
			if err := copyTree(d, crashed); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			s, err := Open(d, Options{})
			b.StopTimer()
			if err != nil {
				b.Fatal(err)
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			os.RemoveAll(d)
			b.StartTimer()
		}
	})
}

// BenchmarkPiped compares with what `cat > file` does: output comes by a pipe.
func BenchmarkPiped(b *testing.B) {
	p := chunk(64 << 10)
	pump := func(b *testing.B, to func([]byte) error) {
		r, w, err := os.Pipe()
		if err != nil {
			b.Fatal(err)
		}
		defer r.Close()
		go func() {
			defer w.Close()
			for n := 0; n < perLog; n += len(p) {
				if _, err := w.Write(p); err != nil {
					b.Error(err)
					return
				}
			}
		}()
		buf := make([]byte, 128<<10)
		for {
			n, err := r.Read(buf)
			if err != nil {
				return
			}
			if err := to(buf[:n]); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("cat", func(b *testing.B) {
		b.SetBytes(perLog)
		name := filepath.Join(b.TempDir(), "plain")
		for b.Loop() {
			f, err := os.Create(name)
			if err != nil {
				b.Fatal(err)
			}
			pump(b, func(p []byte) error { _, err := f.Write(p); return err })
			b.StopTimer()
			f.Close()
			os.Remove(name)
			b.StartTimer()
		}
	})
	b.Run("log", func(b *testing.B) {
		b.SetBytes(perLog)
		s, err := open(b.TempDir(), Options{}, openUnsynced)
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		for id := int64(1); b.Loop(); id++ {
			w := mustCreate(b, s, id, nil)
			pump(b, func(p []byte) error { return w.Write(worker.Stdout, p) })
			b.StopTimer()
			drop(b, s, w)
			b.StartTimer()
		}
	})
}

// BenchmarkMask is the masker alone, in text without a secret.
func BenchmarkMask(b *testing.B) {
	p := chunk(128 << 10)
	for _, n := range []int{1, 2, 3, 5, 20, 100} {
		secrets := make([]string, n)
		for i := range secrets {
			secrets[i] = fmt.Sprintf("%csecret-token-%x", 'a'+i%26, i*i*i*7919+1234567)
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(len(p)))
			t := maskState{m: NewMasker(secrets)}
			for b.Loop() {
				t.feed(p)
			}
		})
	}
}
