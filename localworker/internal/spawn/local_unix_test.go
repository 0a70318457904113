//go:build unix

package spawn

import (
	"os/exec"
	"slices"
	"syscall"
	"testing"
)

// TestGroupNumberOfAnother: long after a command's end the number of its process
// group may be that of a stranger.
func TestGroupNumberOfAnother(t *testing.T) {
	stranger := exec.Command("sleep", "1000")
	stranger.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer stranger.Wait()
	defer stranger.Process.Kill()
	pid := stranger.Process.Pid
	for _, ended := range []bool{false, true} {
		k := &known{l: &local{commands: []*command{{step: 1, pid: pid, ended: ended}}}}
		all, _ := k.members()
		found := slices.ContainsFunc(all, func(p process) bool { return p.pid == pid })
		if found == ended {
			t.Errorf("the first process has ended: %v; whoever has its number is ended too: %v", ended, found)
		}
	}
}
