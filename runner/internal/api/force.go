package api

import (
	"errors"

	"bothy/runner/config"
	"bothy/runner/internal/engine"
)

// Forced are what a form that who has filled in asks for, in each of the
// builders.
func Forced(f config.Filled, builders []string, who Identity) ([]engine.Submission, error) {
	set := func(name string, v any) error { return f.Properties.Set(name, v, config.FormSource) }
	var errs []error
	if f.Owner != "" {
		errs = append(errs, set("owners", []string{f.Owner}))
	}
	if f.Repository != "" {
		errs = append(errs, set("repository", f.Repository))
	}
	if f.Project != "" {
		errs = append(errs, set("project", f.Project))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var subs []engine.Submission
	for _, b := range builders {
		subs = append(subs, engine.Submission{
			Builder: b, Priority: f.Priority, Reason: f.Reason, Properties: f.Properties.Clone(),
			Branch: f.Branch, Revision: f.Revision, Who: who.Owner(),
		})
	}
	return subs, nil
}
