package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"unicode/utf8"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/worker"
)

var _ worker.Fetcher = (*Build)(nil)

// Find has the worker look for what may fit, and keeps what does: Python's
// patterns are not ours, and names from a worker are not to be trusted.
func (b *Build) Find(ctx context.Context, patterns []worker.Pattern, limit int) ([]string, bool, error) {
	found := map[string]bool{}
	for _, p := range patterns {
		path := b.c.facts.paths.join(anyOf.Replace(b.dir), wild(p.Parts()...))
		out, err := b.do(ctx, "glob", wire.Map{{Key: "path", Value: path}}, p.String())
		if err != nil {
			return nil, false, err
		}
		paths, err := wire.Texts(out.values["files"])
		if err != nil {
			return nil, false, fmt.Errorf("glob %s: %w", p, err)
		}
		for _, path := range paths {
			name, ok := b.relative(path)
			if ok && p.Fits(name) {
				found[name] = true
			}
		}
	}
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	return names[:min(len(names), limit)], len(names) > limit, nil
}

// anyOf makes a pattern of Python's out of a path.
var anyOf = strings.NewReplacer("*", "?", "[", "?")

// wild returns a pattern of Python's that fits at least what one of ours fits:
// what the two write differently becomes any character.
func wild(parts ...string) string {
	var out strings.Builder
	for i, part := range parts {
		if i > 0 {
			out.WriteByte('/')
		}
		for j := 0; j < len(part); j++ {
			switch part[j] {
			case '[':
				for j++; j < len(part) && part[j] != ']'; j++ {
					if part[j] == '\\' {
						j++
					}
				}
				out.WriteByte('?')
			case '\\':
				_, n := utf8.DecodeRuneInString(part[j+1:])
				j += n
				out.WriteByte('?')
			default:
				out.WriteByte(part[j])
			}
		}
	}
	return out.String()
}

// relative returns the name of a file of the worker as seen from the build's
// directory, with slashes; ok is false if it is not below that.
func (b *Build) relative(path string) (name string, ok bool) {
	sep := "/"
	if b.c.facts.paths.nt {
		sep = `\`
	}
	name, ok = strings.CutPrefix(path, b.dir+sep)
	return strings.ReplaceAll(name, sep, "/"), ok && fs.ValidPath(strings.ReplaceAll(name, sep, "/"))
}

// Of st_mode, which a worker sends as Python's os.stat gives it on its system.
const (
	modeType    = 0o170000
	modeRegular = 0o100000
	modeDir     = 0o040000
)

// Fetch copies a file of the worker, which follows links wherever they lead: a
// build may read there what it likes anyway.
func (b *Build) Fetch(ctx context.Context, name string, w io.Writer, limit int64) error {
	if !fs.ValidPath(name) {
		return fmt.Errorf("%.200q: %w", name, worker.ErrNoFile)
	}
	out, err := b.do(ctx, "stat", wire.Map{{Key: "path", Value: b.c.facts.paths.join(b.dir, name)}}, name)
	if failed := (*rcError)(nil); errors.As(err, &failed) {
		return fmt.Errorf("%w: %w", worker.ErrNoFile, err)
	}
	if err != nil {
		return err
	}
	st, err := wire.List(out.values["stat"])
	if err != nil || len(st) == 0 {
		return errors.Join(fmt.Errorf("stat %s: the worker says no mode", name), err)
	}
	mode, err := wire.Int(st[0])
	if err != nil {
		return fmt.Errorf("stat %s: mode: %w", name, err)
	}
	switch mode & modeType {
	case modeRegular:
	case modeDir:
		return worker.ErrDir
	default:
		return worker.ErrNoFile
	}
	if err := b.Upload(ctx, name, w, limit); errors.Is(err, ErrTooLarge) {
		return fmt.Errorf("%w: more than %d bytes", worker.ErrTooLarge, limit)
	} else if err != nil {
		return err
	}
	return nil
}
