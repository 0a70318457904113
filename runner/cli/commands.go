package cli

import "github.com/spf13/pflag"

// commands returns every verb of this version, in the order of the overview.
// product.md, "Command line".
func commands() []command {
	return []command{
		{
			name:    "run",
			summary: "run builders, or one command, in the foreground",
			usage:   []string{"[BUILDER…] [-p NAME=VALUE]… [--keep-going] [--json]", "[-p NAME=VALUE]… [--json] -- COMMAND…"},
			about: `Runs builders on the workers of this machine, in place, on the files as they are;
all of them when none is named. With "--" it runs one command and needs no
configuration. Without a configuration file it runs what "bothy init" would propose.
Ctrl-C stops the builds, with time to clean up; a second one stops them at once.`,
			flags:    runFlags,
			run:      runRun,
			complete: completeBuilders,
		},
		{
			name:    "serve",
			summary: "be the master: queue and local workers, until told to stop",
			usage:   []string{"[--drain]"},
			about: `Runs the master in the foreground. SIGTERM or SIGINT: running builds end as RETRY
and are queued again; a second signal: at once. SIGHUP or a changed file: the
configuration is loaded again; a bad one changes nothing and says why. SIGUSR1:
finish what runs, then exit.`,
			flags: func(fs *pflag.FlagSet) {
				fs.Bool("drain", false, "tell the running master to finish what runs, then exit")
			},
			run: runServe,
		},
		{
			name:    "init",
			summary: "write a commented bothy.toml that fits the files here",
			usage:   []string{"[--print]"},
			about: `Looks for go.mod, package.json, Cargo.toml, Makefile, Taskfile and pyproject.toml in
the working directory and writes a bothy.toml with builders for what it finds. A file
that exists is never overwritten.`,
			flags: func(fs *pflag.FlagSet) {
				fs.Bool("print", false, "print the configuration and write nothing")
			},
			run: runInit,
		},
		{
			name:    "check",
			summary: "print every error and warning of a configuration",
			usage:   []string{"[FILE] [--json]"},
			about: `Reads a configuration and prints everything that is wrong with it, at once, each
with file, line and column. Exit code 0: it can be used; 2: it cannot.`,
			flags: jsonFlag,
			run:   runCheck,
		},
		{
			name:    "doctor",
			summary: "what this machine offers, and what follows from it",
			usage:   []string{"[--json] [--root DIR]"},
			about: `Prints the CPUs and memory that builds may use, each limit on the way and where it
was read, the number of slots and why, how the processes of a build are contained,
the os_* properties, and the base directory with its free space.`,
			flags: func(fs *pflag.FlagSet) {
				jsonFlag(fs)
				fs.String("root", "", "read /etc, /usr/lib, /proc and /sys below `DIR` instead: describes the machine it was copied from")
			},
			run: runDoctor,
		},
		{
			name:    "schema",
			summary: "print the JSON Schema of bothy.toml",
			usage:   []string{""},
			about:   `Prints the JSON Schema of the configuration, for editors.`,
			run:     runSchema,
		},
		{
			name:    "completion",
			summary: "print a completion script for bash, zsh or fish",
			usage:   []string{"bash|zsh|fish"},
			about: `Prints a script that completes verbs, flags and the names of builders.

  bash:  source <(bothy completion bash)
  zsh:   source <(bothy completion zsh)
  fish:  bothy completion fish | source`,
			run:      runCompletion,
			complete: completeShells,
		},
		{
			name:    "version",
			summary: "print version, commit and Go release",
			usage:   []string{"[--json]"},
			about:   `Prints what this program was built from.`,
			flags:   jsonFlag,
			run:     runVersion,
		},
		{
			name:     "help",
			summary:  "print this list, or what --help says of a verb",
			usage:    []string{"[VERB]"},
			about:    `Prints the list of verbs, or the help of one.`,
			run:      runHelp,
			complete: completeVerbs,
		},
		{
			name:   "__complete", // SHELL WORD…: asked by the completion scripts
			hidden: true,
			raw:    true,
			run:    runComplete,
		},
	}
}

func runFlags(fs *pflag.FlagSet) {
	fs.StringArrayP("property", "p", nil, "set a property of the builds, `NAME=VALUE`; may be repeated")
	fs.Bool("keep-going", false, "go on with the other builders when one has failed")
	fs.Bool("json", false, "print one JSON object per event instead of text")
}

func jsonFlag(fs *pflag.FlagSet) {
	fs.Bool("json", false, "print JSON instead of text")
}
