// Package hostile holds tests that run the real program where things go wrong:
// no space, no rights, no cgroups, signals, killed masters, strange output. The
// answer must be a sane one each time.
//
//   - rig_linux_test.go: the program in a directory of its own
//   - terminal_linux_test.go: several terminals, Ctrl-C
//   - takeover_linux_test.go: a master that goes while terminals wait
//   - serve_linux_test.go: a server that is told to end
//   - disk_linux_test.go, database_linux_test.go: what is on disk
//   - output_linux_test.go: what steps print, and what they are given
//   - place_linux_test.go, cgroup_linux_test.go: rights, directories, containment
//   - module_linux_test.go: a project that is not ours
package hostile
