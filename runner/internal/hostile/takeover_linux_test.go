package hostile

import (
	"context"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"bothy/runner/internal/basedir"
	"bothy/runner/internal/control"
)

// The holder is killed while another terminal waits on it: that one takes over
// and finishes, with the right exit code.
func TestTakeOver(t *testing.T) {
	s := newScene(t, gatedConf())
	one := s.start("run", "one")
	one.awaits("| one began\n")
	two := s.start("run", "two")
	two.awaits("| two began\n")
	one.signal(syscall.SIGKILL)
	one.exits(-1, 5*time.Second)
	two.awaits("taking over")
	until(t, 20*time.Second, "the build does not begin again", func() bool {
		return strings.Count(two.out.String(), "| two began\n") == 2
	})
	s.write("two.go", "")
	two.exits(1, 20*time.Second)
	two.prints("exit 7")
	s.nothingLeft("the end", 2*time.Second)

	r := s.records(s.path(".bothy"))
	var results []string
	for _, b := range r.builds() {
		results = append(results, b.Builder+" "+b.Result.String())
	}
	if got, want := strings.Join(results, ", "), "one retry, two retry, two failure"; got != want {
		t.Errorf("builds: %s, want %s", got, want)
	}
}

// Three terminals, and each holder is killed in its turn.
func TestTakeOverTwice(t *testing.T) {
	s := newScene(t, strings.ReplaceAll(gatedConf(), "cpus = 2", "cpus = 4")+`
[[builders]]
name = "three"
steps = ['''`+gate("three")+`''']
`)
	one := s.start("run", "one")
	one.awaits("| one began\n")
	three := s.start("run", "three")
	three.awaits("| three began\n")
	one.signal(syscall.SIGKILL)
	three.awaits("taking over")
	two := s.start("run", "two")
	two.awaits("| two began\n")
	until(t, 20*time.Second, "the build does not begin again", func() bool {
		return strings.Count(three.out.String(), "| three began\n") == 2
	})
	three.signal(syscall.SIGKILL)
	two.awaits("taking over")
	s.write("two.go", "")
	two.exits(1, 20*time.Second)
}

// Some of what the second terminal asked for has finished when the holder is
// killed: that counts, and does not run again.
func TestTakeOverAfterResults(t *testing.T) {
	s := newScene(t, gatedConf()+`
[[builders]]
name = "bad"
steps = ["echo ran >>bad.ledger; exit 3"]
[[builders]]
name = "good"
steps = ["echo ran >>good.ledger"]
[[builders]]
name = "last"
steps = ['''`+gate("last")+`''']
`)
	one := s.start("run", "one")
	one.awaits("| one began\n")
	two := s.start("run", "--keep-going", "bad", "good", "last")
	two.awaits("bad #1: failure in ")
	two.awaits("good #1: success in ")
	two.awaits("| last began\n")
	one.signal(syscall.SIGKILL)
	two.awaits("taking over")
	s.write("last.go", "")
	two.exits(1, time.Minute)
	two.prints("all: 1 failed, 2 succeeded\n")
	for _, name := range []string{"bad.ledger", "good.ledger"} {
		if got := s.read(name); got != "ran\n" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// The second terminal stands still while its build finishes, and hears of
// nothing before the holder is killed: the result counts all the same.
func TestTakeOverWithoutNews(t *testing.T) {
	s := newScene(t, gatedConf()+`
[[builders]]
name = "loud"
steps = ['''`+gate("loud")+`; seq 1000000; echo ran >>ledger; exit 5''']
`)
	one := s.start("run", "one")
	one.awaits("| one began\n")
	two := s.start("run", "loud")
	two.awaits("| loud began\n")
	two.signal(syscall.SIGSTOP)
	s.write("loud.go", "")
	layout := s.layout(s.path(".bothy"))
	master := control.NewClient(func(ctx context.Context) (net.Conn, error) { return basedir.Dial(ctx, layout) })
	until(t, time.Minute, "the build does not finish", func() bool {
		st, err := master.Status(t.Context())
		return err == nil && st.Running == 1
	})
	// What is accepted after the build's end is on disk after it.
	if _, err := master.Submit(t.Context(), control.SubmitRequest{Builders: []string{"two"}}); err != nil {
		t.Fatal(err)
	}
	one.signal(syscall.SIGKILL)
	<-one.ended
	two.signal(syscall.SIGCONT)
	two.exits(1, time.Minute)
	two.prints("taking over", "failure", "exit 5")
	if got := s.read("ledger"); got != "ran\n" {
		t.Errorf("the ledger has %q", got)
	}
}
