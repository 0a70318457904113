package hostile

import (
	"bytes"
	"database/sql"
	"os"
	"strings"
	"testing"

	_ "modernc.org/sqlite"
)

const plainConf = "[[builders]]\nname = \"b\"\nsteps = [\"echo hello\"]\n"

// A file that is not ours is left as it is.
func TestGarbageDatabase(t *testing.T) {
	t.Parallel()
	for name, garbage := range map[string][]byte{
		"text":               []byte(strings.Repeat("this is my diary, and not a database\n", 500)),
		"zeros":              make([]byte, 20000),
		"half a header":      []byte("SQLite form"),
		"a header and noise": append([]byte("SQLite format 3\x00"), bytes.Repeat([]byte{0x5a, 0xa5, 7}, 9000)...),
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, plainConf)
			if err := os.Mkdir(s.Path(".bothy"), 0o700); err != nil {
				t.Fatal(err)
			}
			s.Write(".bothy/state.db", string(garbage))
			for _, verb := range []string{"run", "serve"} {
				p := s.Run(3, verb)
				p.Says("state.db", "database")
				if strings.Contains(p.Err.String(), "goroutine") {
					t.Errorf("%s:\n%s", verb, p.All())
				}
			}
			if got := s.Read(".bothy/state.db"); got != string(garbage) {
				t.Errorf("the file was changed: %d bytes, were %d", len(got), len(garbage))
			}
		})
	}
}

// A good database that was damaged in the middle.
func TestDamagedDatabase(t *testing.T) {
	s := newScene(t, plainConf)
	for range 3 {
		s.Run(0, "run")
	}
	f, err := os.OpenFile(s.Path(".bothy/state.db"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	noise := bytes.Repeat([]byte{0xde, 0xad, 0xbe, 0xef}, 1024)
	for off := int64(4096); off < info.Size(); off += int64(len(noise)) {
		if _, err := f.WriteAt(noise[:min(int64(len(noise)), info.Size()-off)], off); err != nil {
			t.Fatal(err)
		}
	}
	p := s.Run(3, "run")
	p.Says("state.db", "damaged")
}

// What a newer version wrote is refused with a clear word.
func TestNewerDatabase(t *testing.T) {
	s := newScene(t, plainConf)
	s.Run(0, "run")
	db, err := sql.Open("sqlite", s.Path(".bothy/state.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("PRAGMA user_version = 9999"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	before := s.Read(".bothy/state.db")
	for _, verb := range []string{"run", "serve"} {
		s.Run(3, verb).Says("newer version of bothy", "state.db")
	}
	if s.Read(".bothy/state.db") != before {
		t.Error("the file was changed")
	}
}
