package build

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// parser reads a template. Its methods work on ranges of s, so that offsets are
// those of the whole template.
type parser struct {
	s    string
	refs []Ref
}

func (p *parser) fail(offset int, msg string, args ...any) error {
	return &TemplateError{Offset: offset, Msg: fmt.Sprintf(msg, args...)}
}

// text reads s[lo:hi] as text with substitutions.
func (p *parser) text(lo, hi, depth int) ([]part, error) {
	if depth > maxNesting {
		return nil, p.fail(lo, "nested more than %d deep", maxNesting)
	}
	var parts []part
	for lo < hi {
		i := strings.Index(p.s[lo:hi], "%(")
		if i < 0 {
			break
		}
		open := lo + i
		if open > lo && p.s[open-1] == '%' { // "%%(": the text "%("
			parts = append(parts, part{text: p.s[lo:open-1] + "%("})
			lo = open + 2
			continue
		}
		if open > lo {
			parts = append(parts, part{text: p.s[lo:open]})
		}
		sub, next, err := p.substitution(open, hi, depth)
		if err != nil {
			return nil, err
		}
		parts = append(parts, sub)
		lo = next
	}
	if lo < hi {
		parts = append(parts, part{text: p.s[lo:hi]})
	}
	return parts, nil
}

// substitution reads the one that opens at s[open] and returns where it ends.
func (p *parser) substitution(open, hi, depth int) (sub part, next int, err error) {
	shut := p.balanced(open+2, hi, ')')
	if shut < 0 {
		return part{}, 0, p.fail(open, `"%%(" without its ")" (write "%%%%(" for plain text)`)
	}
	sub.format, next, err = p.format(shut+1, hi, open)
	if err != nil {
		return part{}, 0, err
	}
	lo, err := p.ref(&sub, open, shut)
	if err != nil {
		return part{}, 0, err
	}
	p.refs = append(p.refs, sub.ref)
	if lo < shut {
		err = p.operator(&sub, lo+1, shut, depth)
	}
	return sub, next, err
}

// balanced returns the offset of the first end at depth 0 in s[lo:hi], or -1.
func (p *parser) balanced(lo, hi int, end rune) int {
	depth := 0
	for i, c := range p.s[lo:hi] {
		switch {
		case depth == 0 && c == end:
			return lo + i
		case c == '(':
			depth++
		case c == ')':
			depth--
		}
	}
	return -1
}

// format reads what follows the ")": flags, width, precision and the letter s.
func (p *parser) format(lo, hi, open int) (f format, next int, err error) {
	f.precision = -1
	i := lo
	// Python's other flags do nothing to strings, and its ' ' would swallow the
	// next word of "%(prop:x) script".
	for ; i < hi && p.s[i] == '-'; i++ {
		f.left = true
	}
	if f.width, i, err = p.number(i, hi); err != nil {
		return f, 0, err
	}
	if i < hi && p.s[i] == '.' {
		if f.precision, i, err = p.number(i+1, hi); err != nil {
			return f, 0, err
		}
	}
	if f.width == 0 {
		f.left = false
	}
	if i >= hi || p.s[i] != 's' {
		return f, 0, p.fail(i, `want "s" after the ")" of the substitution at byte %d`, open)
	}
	return f, i + 1, nil
}

func (p *parser) number(lo, hi int) (n, next int, err error) {
	i := lo
	for ; i < hi && p.s[i] >= '0' && p.s[i] <= '9'; i++ {
		if n = n*10 + int(p.s[i]-'0'); n > maxWidth {
			return 0, 0, p.fail(lo, "width or precision above %d", maxWidth)
		}
	}
	return n, i, nil
}

// ref reads SELECTOR:KEY in s[open+2:shut] and returns where it ends: at shut
// or at the ':' before an operator.
func (p *parser) ref(sub *part, open, shut int) (end int, err error) {
	body := p.s[open+2 : shut]
	selector, rest, found := strings.Cut(body, ":")
	switch selector {
	case "prop", "src", "kw", "secret", "worker":
	default:
		if !found {
			return 0, p.fail(open+2, `no selector: want prop:, src:, kw:, secret: or worker: (write "%%%%(" for plain text)`)
		}
		return 0, p.fail(open+2, "unknown selector %.40q: want prop, src, kw, secret or worker", selector)
	}
	if !found {
		return 0, p.fail(open+2, "%q without a key", selector)
	}
	lo := shut - len(rest)
	end = p.word(lo, shut)
	for selector == "secret" && end < shut && strings.IndexByte(secretBytes, p.s[end]) >= 0 {
		end = p.word(end+1, shut)
	}
	if selector == "src" {
		if end == shut || p.s[end] != ':' {
			return 0, p.fail(lo, "want src:CODEBASE:ATTRIBUTE (src::ATTRIBUTE for the only codebase)")
		}
		attr := end + 1
		if end = p.word(attr, shut); end == attr {
			return 0, p.fail(attr, "attribute missing")
		}
	}
	if end == lo {
		return 0, p.fail(lo, "key missing")
	}
	if end < shut && p.s[end] != ':' {
		return 0, p.fail(end, "a key has only letters, digits, '_', '.' and '-'")
	}
	sub.ref = Ref{Selector: selector, Key: p.s[lo:end], Offset: open}
	return end, nil
}

// secretBytes may be in the name of a secret beside what may be in a key: parts
// of paths, and Buildbot's "PATH|KEY" with its escapes.
const secretBytes = `/|\@+ `

// word returns the end of the letters that may be in a key.
func (p *parser) word(lo, hi int) int {
	for lo < hi && isNameByte(p.s[lo]) {
		lo++
	}
	return lo
}

// operator reads s[lo:hi], what follows the key's ':'.
func (p *parser) operator(sub *part, lo, hi, depth int) (err error) {
	if lo == hi {
		return p.fail(lo, "operator missing")
	}
	sub.op = operator(p.s[lo])
	switch sub.op {
	case ifMissing, ifFalse, ifSet:
		sub.yes, err = p.text(lo+1, hi, depth+1)
		return err
	case whenTrue:
		if lo++; lo == hi || p.s[lo] != '?' {
			return p.fail(lo, `want "?" after "#"`)
		}
	case whenSet:
	default:
		r, _ := utf8.DecodeRuneInString(p.s[lo:hi])
		return p.fail(lo, "unknown operator %q: want -, ~, +, ? or #?", r)
	}
	return p.choice(sub, lo+1, hi, depth)
}

// choice reads "|T|F" with any delimiter.
func (p *parser) choice(sub *part, lo, hi, depth int) (err error) {
	delim, size := utf8.DecodeRuneInString(p.s[lo:hi])
	if size == 0 || delim == '(' || delim == utf8.RuneError {
		return p.fail(lo, `want a delimiter, as in ":?|yes|no"`)
	}
	lo += size
	mid := p.balanced(lo, hi, delim)
	if mid < 0 {
		return p.fail(hi, "want a second %q, as in \":?|yes|no\"", delim)
	}
	if sub.yes, err = p.text(lo, mid, depth+1); err != nil {
		return err
	}
	sub.no, err = p.text(mid+size, hi, depth+1)
	return err
}
