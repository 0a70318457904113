package build

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of templates. They bound what a hostile configuration can cost.
const (
	MaxTemplateLen = 1 << 20  // bytes of a template
	MaxTextLen     = 16 << 20 // bytes of rendered text
	maxNesting     = 32       // templates within operands
	maxWidth       = 4096     // runes of padding, and of a precision
)

// Template is text with substitutions:
//
//	%(SELECTOR:KEY)s          the value; "" if it is missing
//	%(SELECTOR:KEY:-R)s       the value; R if it is missing
//	%(SELECTOR:KEY:~R)s       the value; R if it is missing or false
//	%(SELECTOR:KEY:+R)s       R if there is a value, else ""
//	%(SELECTOR:KEY:?|T|F)s    T if there is a value, else F
//	%(SELECTOR:KEY:#?|T|F)s   T if the value is true, else F
//
// The selectors are prop, src (whose key is CODEBASE:ATTRIBUTE, as in
// %(src::branch)s), kw, secret (whose key may be a path) and worker. Null is
// missing; "", 0, false and what is empty are false. R, T and F are templates,
// with balanced parentheses. Any character but a parenthesis may stand for '|'.
// Width, '-' and a precision may precede the s as in Python: %(prop:x)-10s,
// %(src::revision).8s.
//
// Only "%(" opens a substitution: "date +%s" and "100%" are plain text. "%%(" is
// the text "%(".
type Template struct {
	parts []part
	refs  []Ref
}

// Ref is one value a template refers to. Offset is that of its "%(".
type Ref struct {
	Selector string
	Key      string
	Offset   int
}

// TemplateError says what is wrong with a template, or with rendering it, and where.
type TemplateError struct {
	Offset int // in bytes, of the substitution or of the wrong character in it
	Msg    string
	Err    error // the cause, if any; Msg does not contain it
}

// Error returns the message with its offset.
func (e *TemplateError) Error() string {
	s := fmt.Sprintf("at byte %d: %s", e.Offset, e.Msg)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *TemplateError) Unwrap() error { return e.Err }

// part is plain text, or a substitution if ref is set.
type part struct {
	text   string
	ref    Ref
	op     operator
	yes    []part // R of ":-", ":~", ":+"; T
	no     []part // F
	format format
}

type operator byte

const (
	plain     operator = 0
	ifMissing operator = '-'
	ifFalse   operator = '~'
	ifSet     operator = '+'
	whenSet   operator = '?'
	whenTrue  operator = '#'
)

type format struct {
	left      bool
	width     int
	precision int // -1: none
}

// Parse reads a template. An error is a *[TemplateError].
func Parse(s string) (*Template, error) {
	if len(s) > MaxTemplateLen {
		return nil, &TemplateError{Offset: MaxTemplateLen, Msg: fmt.Sprintf("a template of %d bytes, at most %d allowed", len(s), MaxTemplateLen)}
	}
	p := parser{s: s}
	parts, err := p.text(0, len(s), 0)
	if err != nil {
		return nil, err
	}
	return &Template{parts: parts, refs: p.refs}, nil
}

// Refs returns every value the template refers to, in the order of their
// offsets, those within operands included. The caller must not change it.
func (t *Template) Refs() []Ref { return t.refs }

// Env is what the substitutions of a template refer to. Nil fields are empty;
// without Secret, every secret is an error.
type Env struct {
	Props  Properties
	Worker map[string]any // what the worker says about itself
	// Source returns an attribute of the source stamp of a codebase.
	Source func(codebase, attr string) (any, bool)
	Kw     map[string]any
	// Secret returns a secret, and sees to it that it is masked in logs.
	Secret func(name string) (string, error)
}

// Expand parses and renders a template.
func Expand(s string, e Env) (string, error) {
	if !strings.Contains(s, "%(") {
		return s, nil
	}
	t, err := Parse(s)
	if err != nil {
		return "", err
	}
	return t.Render(e)
}

// Render returns the text of the template. Operands that do not apply are not
// looked at. An error is a *[TemplateError]: a secret that cannot be had, a
// value that JSON cannot write, or more than [MaxTextLen] of text.
func (t *Template) Render(e Env) (string, error) {
	r := renderer{env: e, left: MaxTextLen}
	var b strings.Builder
	if err := r.render(&b, t.parts); err != nil {
		return "", err
	}
	return b.String(), nil
}

type renderer struct {
	env  Env
	left int // bytes that may still be written; text in a padded operand counts twice
}

func (r *renderer) render(b *strings.Builder, parts []part) error {
	for i := range parts {
		p := &parts[i]
		if p.ref.Selector == "" {
			if err := r.write(b, p.text, 0); err != nil {
				return err
			}
			continue
		}
		if err := r.substitute(b, p); err != nil {
			return err
		}
	}
	return nil
}

func (r *renderer) write(b *strings.Builder, s string, offset int) error {
	if r.left -= len(s); r.left < 0 {
		return &TemplateError{Offset: offset, Msg: fmt.Sprintf("more than %d bytes of text", MaxTextLen)}
	}
	b.WriteString(s)
	return nil
}

func (r *renderer) substitute(b *strings.Builder, p *part) error {
	value, err := r.lookup(p.ref)
	if err != nil {
		return err
	}
	operand, takeValue := p.choose(value)
	if p.format == (format{precision: -1}) && !takeValue {
		return r.render(b, operand)
	}
	var s string
	if takeValue {
		if s, err = text(value); err != nil {
			return &TemplateError{Offset: p.ref.Offset, Msg: fmt.Sprintf("value of %s:%s", p.ref.Selector, p.ref.Key), Err: err}
		}
	} else {
		var inner strings.Builder
		if err := r.render(&inner, operand); err != nil {
			return err
		}
		s = inner.String()
	}
	return r.write(b, p.format.apply(s), p.ref.Offset)
}

// choose returns the operand to render, or that the value itself is the text.
func (p *part) choose(value any) (operand []part, takeValue bool) {
	set := value != nil
	switch p.op {
	case ifMissing:
		return p.yes, set
	case ifFalse:
		return p.yes, truthy(value)
	case ifSet:
		if set {
			return p.yes, false
		}
		return nil, false
	case whenSet:
		if set {
			return p.yes, false
		}
		return p.no, false
	case whenTrue:
		if truthy(value) {
			return p.yes, false
		}
		return p.no, false
	}
	return nil, true
}

// lookup returns nil for what is missing.
func (r *renderer) lookup(ref Ref) (any, error) {
	switch ref.Selector {
	case "prop":
		return r.env.Props.Get(ref.Key), nil
	case "worker":
		return r.env.Worker[ref.Key], nil
	case "kw":
		return r.env.Kw[ref.Key], nil
	case "src":
		if r.env.Source == nil {
			return nil, nil
		}
		codebase, attr, _ := strings.Cut(ref.Key, ":")
		v, ok := r.env.Source(codebase, attr)
		if !ok {
			return nil, nil
		}
		return v, nil
	}
	if r.env.Secret == nil {
		return nil, &TemplateError{Offset: ref.Offset, Msg: fmt.Sprintf("secret %q: no secrets are configured", ref.Key)}
	}
	s, err := r.env.Secret(ref.Key)
	if err != nil {
		return nil, &TemplateError{Offset: ref.Offset, Msg: fmt.Sprintf("secret %q", ref.Key), Err: err}
	}
	return s, nil
}

// apply pads and cuts by runes, as Python does.
func (f format) apply(s string) string {
	if f.precision >= 0 && len(s) > f.precision {
		n := 0
		for i := range s {
			if n == f.precision {
				s = s[:i]
				break
			}
			n++
		}
	}
	if f.width == 0 {
		return s
	}
	pad := f.width - utf8.RuneCountInString(s)
	if pad <= 0 {
		return s
	}
	if f.left {
		return s + strings.Repeat(" ", pad)
	}
	return strings.Repeat(" ", pad) + s
}
