package hostile

import (
	"strings"
	"syscall"
	"testing"

	"bothy/runner/internal/control"
	"bothy/runner/internal/testrig"
)

// The holder is killed while another terminal waits on it: that one takes over
// and finishes, with the right exit code.
func TestTakeOver(t *testing.T) {
	s := newScene(t, gatedConf())
	one := s.Start("run", "one")
	one.Awaits("| one began\n")
	two := s.Start("run", "two")
	two.Awaits("| two began\n")
	one.Signal(syscall.SIGKILL)
	one.Exits(-1)
	two.Awaits("taking over")
	testrig.Until(t, "the build does not begin again", func() bool {
		return strings.Count(two.Out.String(), "| two began\n") == 2
	})
	s.Write("two.go", "")
	two.Exits(1)
	two.Prints("exit 7")
	s.NothingLeft("the end", enough)

	r := s.Records(s.Path(".bothy"))
	var results []string
	for _, b := range r.Builds() {
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
	one := s.Start("run", "one")
	one.Awaits("| one began\n")
	three := s.Start("run", "three")
	three.Awaits("| three began\n")
	one.Signal(syscall.SIGKILL)
	three.Awaits("taking over")
	testrig.Until(t, "the build does not begin again", func() bool {
		return strings.Count(three.Out.String(), "| three began\n") == 2
	})
	two := s.Start("run", "two") // not before: whoever is first would hold the base directory
	two.Awaits("| two began\n")
	three.Signal(syscall.SIGKILL)
	two.Awaits("taking over")
	s.Write("two.go", "")
	two.Exits(1)
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
	one := s.Start("run", "one")
	one.Awaits("| one began\n")
	two := s.Start("run", "--keep-going", "bad", "good", "last")
	two.Awaits("bad #1: failure in ")
	two.Awaits("good #1: success in ")
	two.Awaits("| last began\n")
	one.Signal(syscall.SIGKILL)
	two.Awaits("taking over")
	s.Write("last.go", "")
	two.Exits(1)
	two.Prints("all: 1 failed, 2 succeeded\n")
	for _, name := range []string{"bad.ledger", "good.ledger"} {
		if got := s.Read(name); got != "ran\n" {
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
	one := s.Start("run", "one")
	one.Awaits("| one began\n")
	two := s.Start("run", "loud")
	two.Awaits("| loud began\n")
	two.Signal(syscall.SIGSTOP)
	s.Write("loud.go", "")
	master := s.Client(s.Path(".bothy"))
	testrig.Until(t, "the build does not finish", func() bool {
		st, err := master.Status(t.Context())
		return err == nil && st.Running == 1
	})
	// What is accepted after the build's end is on disk after it.
	if _, err := master.Submit(t.Context(), control.SubmitRequest{Builders: []string{"two"}}); err != nil {
		t.Fatal(err)
	}
	one.Signal(syscall.SIGKILL)
	one.Exits(-1)
	two.Signal(syscall.SIGCONT)
	two.Exits(1)
	two.Prints("taking over", "failure", "exit 5")
	if got := s.Read("ledger"); got != "ran\n" {
		t.Errorf("the ledger has %q", got)
	}
}
