// Package vmtest boots a small virtual machine, which has what the machine of a
// test usually has not: the whole of cgroup v2 with the memory, cpu and pids
// controllers, and a clock that may be set. In it run the tests of what depends
// on that, and the real program.
//
//   - vm_linux_test.go: packs, boots, reads what comes back
//   - inside_linux_test.go: the real program in the machine
package vmtest
