// Package testrig runs the real program in tests, in a directory of its own, and
// looks at what it prints, what it records and which processes it leaves.
//
//   - program.go: the program, built once for a package's tests
//   - scene.go: a directory with a configuration
//   - process.go: a running program
//   - left.go: the processes that belong to a scene
//   - master.go: a running "bothy serve"
//   - records.go: what is on disk when no master runs
//   - until.go: waiting, and what is missing on this machine
//
// Tests that wait for something that takes no time give it [Patience]; how fast
// it is must not decide whether they pass.
package testrig
