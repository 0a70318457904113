package cli

import "context"

func runHelp(_ context.Context, c *call) error {
	if err := c.tooMany(1); err != nil {
		return err
	}
	verbs := commands()
	if len(c.args) == 0 {
		return overview(c.Stdout, verbs)
	}
	v, err := findCommand(verbs, c.args[0])
	if err != nil {
		return err
	}
	return v.help(c.Stdout)
}
