package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one mistake in a configuration.
type Error struct {
	File   string `json:"file,omitempty"`   // as given to Load or Parse; "" when there is no file
	Line   int    `json:"line,omitempty"`   // from 1; 0 when there is no file
	Column int    `json:"column,omitempty"` // in characters, from 1
	Path   string `json:"path,omitempty"`   // such as `builders[0] "test": steps[1]: timeout`; "" for the file as a whole
	Msg    string `json:"message"`
	Hint   string `json:"hint,omitempty"` // what was meant, perhaps; without quotes

	offset int // in the file; Line and Column are made of it in the end
}

// Error returns "FILE:LINE:COLUMN: MESSAGE", or "PATH: MESSAGE" for a
// configuration that was built in Go.
func (e *Error) Error() string {
	var b strings.Builder
	switch {
	case e.Line > 0:
		fmt.Fprintf(&b, "%s:%d:%d: ", e.File, e.Line, e.Column)
	case e.Path != "":
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Msg)
	if e.Hint != "" {
		fmt.Fprintf(&b, " (did you mean %q?)", e.Hint)
	}
	return b.String()
}

// Errors are all the mistakes in a configuration, in the order of the file.
type Errors []*Error

// Error returns one line for each mistake.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the single errors.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i := range e {
		errs[i] = e[i]
	}
	return errs
}

// Warning is something in a configuration that works but is probably not what
// was meant.
type Warning Error

// String returns the warning as [Error.Error] writes an error.
func (w Warning) String() string { return (*Error)(&w).Error() }

// problems collects what is wrong with a configuration.
type problems struct {
	origin   *origin // nil: built in Go
	errs     Errors
	warnings []Warning
	reading  bool            // the file is being read, nothing is checked yet
	spoiled  map[string]bool // values that could not be read, see spoil
	suggests int
}

// errorf reports a mistake in the value at at.
func (p *problems) errorf(at *pathTo, format string, args ...any) {
	p.suggest(at, "", format, args...)
}

// suggest is errorf with what was perhaps meant.
func (p *problems) suggest(at *pathTo, hint, format string, args ...any) {
	if p.isSpoiled(at) {
		return
	}
	if p.reading {
		p.spoil(at)
	}
	e := p.at(at)
	e.Msg, e.Hint = fmt.Sprintf(format, args...), hint
	p.errs = append(p.errs, &e)
}

func (p *problems) isSpoiled(at *pathTo) bool {
	for q := at; q != nil && len(p.spoiled) > 0; q = q.up {
		if p.spoiled[q.id()] {
			return true
		}
	}
	return false
}

func (p *problems) warnf(at *pathTo, format string, args ...any) {
	if p.isSpoiled(at) {
		return
	}
	e := p.at(at)
	e.Msg = fmt.Sprintf(format, args...)
	p.warnings = append(p.warnings, Warning(e))
}

// at returns an error without text for the value at at.
func (p *problems) at(at *pathTo) Error {
	e := Error{Path: at.String()}
	if p.origin != nil {
		n, _ := p.origin.find(at)
		e.File, e.offset = p.origin.file, n.value
	}
	return e
}

// closest returns the candidate that was perhaps meant by name, "" if none.
func (p *problems) closest(name string, candidates []string) string {
	const most = 200 // suggestions; past that nobody reads them, and they take time
	if p.suggests++; p.suggests > most {
		return ""
	}
	return Closest(name, candidates)
}

// result returns everything in the order of the file.
func (p *problems) result() ([]Warning, error) {
	byOffset := func(a, b *Error) int { return cmp.Compare(a.offset, b.offset) }
	slices.SortStableFunc(p.errs, byOffset)
	slices.SortStableFunc(p.warnings, func(a, b Warning) int { return byOffset((*Error)(&a), (*Error)(&b)) })
	if p.origin != nil {
		position := p.origin.positions()
		for _, e := range p.errs {
			e.Line, e.Column = position(e.offset)
		}
		position = p.origin.positions()
		for i := range p.warnings {
			w := &p.warnings[i]
			w.Line, w.Column = position(w.offset)
		}
	}
	if len(p.errs) == 0 {
		return p.warnings, nil
	}
	return p.warnings, p.errs
}

// keyError reports a mistake in the key, not the value, at at.
func (p *problems) keyError(at *pathTo, hint, format string, args ...any) {
	e := Error{Path: at.String(), Msg: fmt.Sprintf(format, args...), Hint: hint}
	if p.origin != nil {
		n, _ := p.origin.find(at)
		e.File, e.offset = p.origin.file, n.key
	}
	p.errs = append(p.errs, &e)
}

// spoil makes later errors about the value at at, or in it, go unsaid: what it
// was meant to be is not known.
func (p *problems) spoil(at *pathTo) {
	if p.spoiled == nil {
		p.spoiled = map[string]bool{}
	}
	p.spoiled[at.id()] = true
}
