//go:build unix

package secret

import (
	"os/exec"
	"syscall"
)

// killGroup makes the end of a command's context end what the command has
// started, too: pass is a script, and waits for gpg.
func killGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
