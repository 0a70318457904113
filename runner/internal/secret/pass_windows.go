package secret

import "os/exec"

// killGroup does nothing: the end of the command's context ends the command.
func killGroup(*exec.Cmd) {}
