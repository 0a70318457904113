//go:build unix

package localworker

// system is what Buildbot's workers call this kind of system (Python's os.name).
const system = "posix"
