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
			name:    "worker",
			summary: "be a remote worker of a master, Buildbot's or Bothy's",
			usage:   []string{"--master HOST:PORT --name NAME --password-file FILE [--protocol pb|msgpack] [--once]", "--tac FILE"},
			about: `Connects to a master and runs what it is sent, as buildbot-worker does. A connection
that is lost is made again, and what ran is ended. SIGTERM, SIGINT or SIGHUP: end when
what runs has ended; a second signal: at once. Commands inherit PATH, HOME, LANG and
their like, and what --pass-env names.`,
			flags: workerFlags,
			run:   runWorker,
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
			name:    "workers",
			summary: "show the workers of a running master, or steer them",
			usage:   []string{"[--json]", "pause|unpause|stop|kill|start NAME… [--reason TEXT]"},
			about: `Without arguments: the workers, what each does, and why it takes no builds if it does
not. "pause" keeps new builds away; "unpause" ends a pause and a quarantine; "stop" ends
a worker when its builds have ended; "kill" ends it at once, and its builds run again
elsewhere; "start" takes a stop back, or starts a local worker that was ended. NAME
may stand for all workers that count made of it.`,
			flags:    workersFlags,
			run:      runWorkers,
			complete: completeWorkers,
		},
		{
			name:    "builders",
			summary: "show the builders of a running master",
			usage:   []string{"[--json]"},
			about:   `Prints each builder with its last build, and how many run and wait.`,
			flags:   clientFlags,
			run:     runBuilders,
		},
		{
			name:     "builds",
			summary:  "show the last builds of a running master",
			usage:    []string{"[BUILDER] [-n N] [--json]"},
			about:    `Prints the last builds, newest first: of all builders, or of one.`,
			flags:    buildsFlags,
			run:      runBuilds,
			complete: completeBuilders,
		},
		{
			name:    "requests",
			summary: "show what waits, and with --why what it waits for",
			usage:   []string{"[--why] [--json]"},
			about:   `Prints the requests that wait or run, in the order in which they are chosen.`,
			flags:   requestsFlags,
			run:     runRequests,
		},
		{
			name:    "force",
			summary: "ask a running master for a build",
			usage:   []string{"BUILDER [-p NAME=VALUE]… [--reason TEXT] [--branch B] [--revision R] [--worker W] [--wait]"},
			about: `Asks for a build and prints the number of the request, which is on disk then. With
--wait it waits for the end and exits with the code that "bothy run" would have.`,
			flags:    forceFlags,
			run:      runForce,
			complete: completeBuilders,
		},
		{
			name:    "rebuild",
			summary: "ask a running master for the same build again",
			usage:   []string{"BUILD [--from STEP] [--reason TEXT] [--wait]"},
			about: `BUILD is an id, BUILDER/NUMBER, or BUILDER for its last build. With --from the steps
before STEP are skipped: for builders that keep their directory, or work in place.`,
			flags: rebuildFlags,
			run:   runRebuild,
		},
		{
			name:    "cancel",
			summary: "cancel requests, with the builds they run",
			usage:   []string{"REQUEST… [--reason TEXT]"},
			about:   `Cancels requests by their numbers and returns when their builds have ended.`,
			flags:   cancelFlags,
			run:     runCancel,
		},
		{
			name:    "log",
			summary: "print the log of a build, or follow it",
			usage:   []string{"BUILD [STEP] [-f]"},
			about: `Prints what a build, or one step of it, has written. BUILD is an id, BUILDER/NUMBER,
or BUILDER for its last build; STEP a name or a number.`,
			flags:    logFlags,
			run:      runLog,
			complete: completeBuilders,
		},
		{
			name:    "mail",
			summary: "send a test mail through the configured relay",
			usage:   []string{"test ADDRESS"},
			about: `Sends a test mail from here, as the master would send its own. If the relay does not
accept it, the whole SMTP dialogue is printed, without passwords.`,
			run: runMail,
		},
		{
			name:    "hash-password",
			summary: "print what a person's password is in the configuration",
			usage:   []string{"[NAME] [--role ROLE]"},
			about: `Asks for a password, or reads it from stdin, and prints the line for bothy.toml: its
argon2id hash. With a NAME it prints all that makes a user:

  bothy hash-password ana >>bothy.toml`,
			flags: hashFlags,
			run:   runHashPassword,
		},
		{
			name:    "token",
			summary: "make a random token for a program or a remote worker",
			usage:   []string{"NAME [--role ROLE] [--json]", "--worker NAME [--json]"},
			about: `Makes a random token, prints its SHA-256 as lines for bothy.toml on stdout, and the
token itself, which is not kept anywhere, on stderr:

  bothy token ci >>bothy.toml`,
			flags: tokenFlags,
			run:   runToken,
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
