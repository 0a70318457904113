package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"bothy/runner/config"
)

// A command is one verb.
type command struct {
	name    string
	summary string   // for the list of verbs
	usage   []string // what may follow "bothy NAME", one line each
	about   string   // for --help
	hidden  bool
	raw     bool                 // takes its arguments as they are, flags too
	flags   func(*pflag.FlagSet) // nil: none of its own
	run     func(context.Context, *call) error
	// complete returns candidates for an argument; nil: leave it to the shell.
	complete func(context.Context, *call) []candidate
}

// A call is one use of a command.
type call struct {
	Env
	config string         // -c, or "" to look for a file
	flags  *pflag.FlagSet // parsed
	args   []string       // without flags and without "--"
	// command is what followed "--"; nil when there was no "--".
	command []string
}

func (c *call) flag(name string) bool {
	v, err := c.flags.GetBool(name)
	if err != nil {
		panic(err) // the verb reads a flag that it did not declare
	}
	return v
}

func (c *call) text(name string) string {
	v, err := c.flags.GetString(name)
	if err != nil {
		panic(err) // as above
	}
	return v
}

// Main runs the command line args (without the program's name) and returns the
// exit code. It never ends the process.
func Main(ctx context.Context, args []string, env Env) int {
	return report(env, dispatch(ctx, args, env))
}

func dispatch(ctx context.Context, args []string, env Env) error {
	verbs := commands()
	root := newFlagSet("bothy")
	root.SetInterspersed(false)
	version := root.Bool("version", false, "as the verb version")
	if err := root.Parse(args); err != nil {
		return flagError("bothy", root, err)
	}
	help, _ := root.GetBool("help")
	file, _ := root.GetString("config")
	rest := root.Args()
	switch {
	case help:
		return overview(env.Stdout, verbs)
	case *version:
		rest = []string{"version"}
	case len(rest) == 0:
		_ = overview(env.Stderr, verbs)
		return exit(exitUsage)
	}
	verb, err := findCommand(verbs, rest[0])
	if err != nil {
		return err
	}
	return verb.start(ctx, &call{Env: env, config: file}, rest[1:])
}

// start parses a verb's arguments into c and runs it.
func (v *command) start(ctx context.Context, c *call, args []string) error {
	if v.raw {
		c.args = args
		return v.run(ctx, c)
	}
	c.flags = v.flagSet()
	if err := c.flags.Parse(args); err != nil {
		return flagError("bothy "+v.name, c.flags, err)
	}
	if c.flag("help") {
		return v.help(c.Stdout)
	}
	if c.flags.Changed("config") {
		c.config = c.text("config")
	}
	c.args = c.flags.Args()
	if n := c.flags.ArgsLenAtDash(); n >= 0 {
		c.args, c.command = c.args[:n:n], c.args[n:]
	}
	return v.run(ctx, c)
}

func (v *command) flagSet() *pflag.FlagSet {
	fs := newFlagSet(v.name)
	if v.flags != nil {
		v.flags(fs)
	}
	return fs
}

// newFlagSet returns a set with the flags that every verb takes.
func newFlagSet(name string) *pflag.FlagSet {
	fs := pflag.NewFlagSet(name, pflag.ContinueOnError)
	fs.SetOutput(io.Discard) // errors are printed once, by report
	fs.StringP("config", "c", "", "the configuration `FILE`; else BOTHY_CONFIG, else bothy.toml here or in a directory above")
	fs.BoolP("help", "h", false, "show this text")
	return fs
}

func findCommand(verbs []command, name string) (*command, error) {
	i := slices.IndexFunc(verbs, func(v command) bool { return v.name == name })
	if i >= 0 {
		return &verbs[i], nil
	}
	var names []string
	for _, v := range verbs {
		if !v.hidden {
			names = append(names, v.name)
		}
	}
	return nil, wrongUsage("unknown verb %q%s; \"bothy help\" lists the verbs", name, didYouMean(name, names))
}

// flagError says what is wrong with a command line and where to read on.
func flagError(verb string, fs *pflag.FlagSet, err error) error {
	var unknown *pflag.NotExistError
	hint := ""
	if errors.As(err, &unknown) && len(unknown.GetSpecifiedName()) > 1 {
		var names []string
		fs.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := config.Closest(unknown.GetSpecifiedName(), names); near != "" {
			hint = fmt.Sprintf(" (did you mean --%s?)", near)
		}
	}
	return wrongUsage("%w%s; see \"%s --help\"", err, hint, verb)
}

// tooMany refuses arguments after the first n, and a command after "--".
func (c *call) tooMany(n int) error {
	switch {
	case c.command != nil:
		return wrongUsage("%s takes no command after \"--\"; see \"bothy %[1]s --help\"", c.flags.Name())
	case len(c.args) > n:
		return wrongUsage("unexpected argument %q; see \"bothy %s --help\"", c.args[n], c.flags.Name())
	}
	return nil
}

func overview(w io.Writer, verbs []command) error {
	var b strings.Builder
	b.WriteString("Bothy runs builds on the workers of this machine.\n\nusage: bothy [-c FILE] VERB …\n\n")
	for _, v := range verbs {
		if !v.hidden {
			fmt.Fprintf(&b, "  %-13s %s\n", v.name, v.summary)
		}
	}
	b.WriteString("\n\"bothy VERB --help\" says more about a verb.\n" +
		"Exit codes: 0 success or warnings, 1 the builds failed, 2 wrong usage or configuration,\n" +
		"3 infrastructure (exception, retries used up, no worker), 130 interrupted.\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// flagUsages lists the flags of fs. pflag's own list says of every switch that it
// takes a value.
func flagUsages(fs *pflag.FlagSet) string {
	var b strings.Builder
	fs.VisitAll(func(f *pflag.Flag) {
		value, about := pflag.UnquoteUsage(f)
		name := "    --" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", --" + f.Name
		}
		if f.NoOptDefVal == "" {
			name += " " + value
		}
		fmt.Fprintf(&b, "  %-27s %s\n", name, about)
	})
	return b.String()
}

func (v *command) help(w io.Writer) error {
	var b strings.Builder
	lead := "usage: "
	for _, u := range v.usage {
		b.WriteString(strings.TrimRight(lead+"bothy "+v.name+" "+u, " ") + "\n")
		lead = "       "
	}
	b.WriteString("\n" + strings.TrimSpace(v.about) + "\n\n" + flagUsages(v.flagSet()))
	_, err := io.WriteString(w, b.String())
	return err
}
