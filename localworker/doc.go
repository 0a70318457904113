// Package localworker runs builds in this process's machine: any number of
// in-process workers that share one budget of CPUs and memory.
//
//	budget.go  Budget: what the machine grants to all runners of the process
//	host.go    Host: what the local workers of one master share
//	worker.go  Worker: a worker.Kind, small while idle
//	conn.go    an attached worker: a worker.Conn
//	build.go   a running build: a worker.Build
//	detect.go  what `bothy doctor` says
//
// Directories are filled by internal/workspace, processes are run and ended by
// internal/spawn, limits are read by internal/machine.
package localworker
