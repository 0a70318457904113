package cli

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"bothy/runner/config"
)

//go:embed completion/bothy.bash
var bashCompletion string

//go:embed completion/bothy.zsh
var zshCompletion string

//go:embed completion/bothy.fish
var fishCompletion string

func shells() []string { return []string{"bash", "zsh", "fish"} }

func runCompletion(_ context.Context, c *call) error {
	if len(c.args) == 0 {
		return wrongUsage("for which shell? bash, zsh or fish")
	}
	if err := c.tooMany(1); err != nil {
		return err
	}
	var script string
	switch c.args[0] {
	case "bash":
		script = bashCompletion
	case "zsh":
		script = zshCompletion
	case "fish":
		script = fishCompletion
	default:
		return wrongUsage("no completion for the shell %q%s; there are bash, zsh and fish", c.args[0], didYouMean(c.args[0], shells()))
	}
	_, err := io.WriteString(c.Stdout, script)
	return err
}

// candidate is a word that could stand where the cursor is.
type candidate struct{ word, about string }

// runComplete prints candidates for the last of the words that a shell has on
// its line. It prints nothing where a file name belongs: shells know those.
// Errors are not told either, somebody is typing.
func runComplete(ctx context.Context, c *call) error {
	if len(c.args) < 2 {
		return wrongUsage("__complete needs the shell's name and the words typed so far")
	}
	shell, words := c.args[0], c.args[1:]
	last := words[len(words)-1]
	for _, it := range c.candidates(ctx, words) {
		if !strings.HasPrefix(it.word, last) {
			continue
		}
		if err := printCandidate(c.Stdout, shell, it); err != nil {
			return err
		}
	}
	return nil
}

func printCandidate(w io.Writer, shell string, it candidate) (err error) {
	switch {
	case shell == "fish" && it.about != "":
		_, err = fmt.Fprintf(w, "%s\t%s\n", it.word, it.about)
	case shell == "zsh" && it.about != "":
		_, err = fmt.Fprintf(w, "%s:%s\n", strings.ReplaceAll(it.word, ":", `\:`), it.about)
	default:
		_, err = fmt.Fprintln(w, it.word)
	}
	return err
}

func (c *call) candidates(ctx context.Context, words []string) []candidate {
	typed, last := words[:len(words)-1], words[len(words)-1]
	root := newFlagSet("bothy")
	root.SetInterspersed(false)
	if takesValue(root, typed) {
		return nil
	}
	if root.Parse(typed) != nil {
		return nil
	}
	c.config, _ = root.GetString("config")
	if root.NArg() == 0 {
		if strings.HasPrefix(last, "-") {
			return flagCandidates(root)
		}
		return completeVerbs(ctx, c)
	}
	verb, err := findCommand(commands(), root.Arg(0))
	if err != nil || verb.raw {
		return nil
	}
	fs, typed := verb.flagSet(), root.Args()[1:]
	if takesValue(fs, typed) || fs.Parse(typed) != nil || fs.ArgsLenAtDash() >= 0 {
		return nil
	}
	if fs.Changed("config") {
		c.config, _ = fs.GetString("config")
	}
	switch {
	case strings.HasPrefix(last, "-"):
		return flagCandidates(fs)
	case verb.complete != nil:
		return slices.DeleteFunc(verb.complete(ctx, c), func(it candidate) bool { return slices.Contains(fs.Args(), it.word) })
	}
	return nil
}

// takesValue reports whether the last of words is a flag that waits for its value.
func takesValue(fs *pflag.FlagSet, words []string) bool {
	if len(words) == 0 {
		return false
	}
	w := words[len(words)-1]
	var f *pflag.Flag
	switch {
	case strings.HasPrefix(w, "--"):
		f = fs.Lookup(w[2:])
	case len(w) == 2 && w[0] == '-':
		f = fs.ShorthandLookup(w[1:])
	}
	return f != nil && f.NoOptDefVal == ""
}

func flagCandidates(fs *pflag.FlagSet) []candidate {
	var all []candidate
	fs.VisitAll(func(f *pflag.Flag) {
		_, about := pflag.UnquoteUsage(f)
		all = append(all, candidate{"--" + f.Name, about})
	})
	return all
}

func completeVerbs(context.Context, *call) []candidate {
	var all []candidate
	for _, v := range commands() {
		if !v.hidden {
			all = append(all, candidate{v.name, v.summary})
		}
	}
	return all
}

func completeShells(context.Context, *call) []candidate {
	var all []candidate
	for _, s := range shells() {
		all = append(all, candidate{word: s})
	}
	return all
}

// completeBuilders names the builders of the configuration in use, none when it
// cannot be read.
func completeBuilders(_ context.Context, c *call) []candidate {
	file, err := c.configFile()
	if err != nil {
		return nil
	}
	cfg, _, err := config.Load(file)
	if err != nil {
		return nil
	}
	var all []candidate
	for _, b := range cfg.Builders {
		all = append(all, candidate{b.Name, oneLine(b.Description)})
	}
	return all
}
