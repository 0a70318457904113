package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"bothy/runner/config"
)

// checkReport is what check prints as JSON.
type checkReport struct {
	File     string           `json:"file"`
	Errors   config.Errors    `json:"errors"`
	Warnings []config.Warning `json:"warnings"`
}

func runCheck(_ context.Context, c *call) error {
	if err := c.tooMany(1); err != nil {
		return err
	}
	file, err := c.checkedFile()
	if err != nil {
		return err
	}
	cfg, warnings, err := config.Load(file)
	var invalid config.Errors
	if err != nil && !errors.As(err, &invalid) {
		return &exitError{code: exitUsage, err: err}
	}
	shown := c.show(file)
	if c.flag("json") {
		r := checkReport{File: file, Errors: invalid, Warnings: warnings}
		if r.Errors == nil {
			r.Errors = config.Errors{}
		}
		if r.Warnings == nil {
			r.Warnings = []config.Warning{}
		}
		if err := printJSON(c.Stdout, r); err != nil {
			return err
		}
	} else {
		for _, e := range invalid {
			fmt.Fprintln(c.Stdout, located(c.Env, e))
		}
		for _, w := range warnings {
			fmt.Fprintln(c.Stdout, "warning:", located(c.Env, (*config.Error)(&w)))
		}
		if err := sayChecked(c, shown, cfg, len(invalid), len(warnings)); err != nil {
			return err
		}
	}
	if len(invalid) > 0 {
		return exit(exitUsage)
	}
	return nil
}

// checkedFile returns the file to check: the argument, else the one that every
// verb would use.
func (c *call) checkedFile() (string, error) {
	if len(c.args) == 1 {
		return c.path(c.args[0]), nil
	}
	return c.configFile()
}

func sayChecked(c *call, file string, cfg *config.Config, errs, warnings int) error {
	var counts []string
	if errs > 0 {
		counts = append(counts, plural(errs, "error", "errors"))
	}
	if warnings > 0 {
		counts = append(counts, plural(warnings, "warning", "warnings"))
	}
	verdict := strings.Join(counts, ", ")
	if errs == 0 {
		contents := fmt.Sprintf("%s on %s", plural(len(cfg.Builders), "builder", "builders"), plural(len(cfg.AllWorkers()), "worker", "workers"))
		if verdict = "good: " + contents; warnings > 0 {
			verdict += ", " + counts[0]
		}
	}
	_, err := fmt.Fprintf(c.Stdout, "%s: %s\n", file, verdict)
	return err
}
