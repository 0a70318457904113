package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// FileName is what a configuration file is called.
const FileName = "bothy.toml"

// Find returns the path of the bothy.toml in dir or the nearest directory above
// it. If there is none, the error wraps [fs.ErrNotExist].
func Find(dir string) (string, error) {
	start, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("looking for %s: %w", FileName, err)
	}
	for at := start; ; at = filepath.Dir(at) {
		name := filepath.Join(at, FileName)
		switch info, err := os.Stat(name); {
		case err == nil && !info.IsDir():
			return name, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return "", fmt.Errorf("looking for %s: %w", FileName, err)
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("no %s in %s or above: %w", FileName, start, fs.ErrNotExist)
		}
	}
}

// Load reads a configuration file. What is wrong with its content is reported as
// [Errors], all at once. The warnings are returned in either case.
func Load(path string) (*Config, []Warning, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, nil, fmt.Errorf("reading configuration: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("reading configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFileSize+1))
	if err != nil {
		return nil, nil, fmt.Errorf("reading configuration: %w", err)
	}
	c, warnings, err := Parse(path, data)
	if err != nil {
		return nil, warnings, err
	}
	c.File, c.Dir = abs, filepath.Dir(abs)
	return c, warnings, nil
}

// Parse reads a configuration as [Load] does. The name is only for errors: File
// and Dir of the result are empty.
func Parse(name string, data []byte) (*Config, []Warning, error) {
	p := &problems{}
	c := parse(p, name, data)
	if c != nil {
		c.check(p)
		c.unavailable(p)
	}
	warnings, err := p.result()
	if err != nil {
		return nil, warnings, err
	}
	return c, warnings, nil
}

// parse reads what the file says, nil if it is not TOML.
func parse(p *problems, name string, data []byte) *Config {
	text := strings.TrimPrefix(string(data), "\ufeff")
	fail := func(offset int, format string, args ...any) *Config {
		p.errs = append(p.errs, &Error{File: name, Line: 1, Column: 1, Msg: fmt.Sprintf(format, args...), offset: offset})
		return nil
	}
	if len(data) > MaxFileSize {
		return fail(0, "the file has more than %d KiB", MaxFileSize>>10)
	}
	origin, limit := newOrigin(name, text)
	p.origin = origin
	if i := invalidUTF8(text); i >= 0 {
		return fail(i, "not UTF-8 text")
	}
	if limit != nil {
		return fail(limit.offset, "%s", limit.msg)
	}
	values, err := decode(text)
	if syntax, ok := errors.AsType[toml.ParseError](err); ok {
		return fail(syntax.Position.Start, "%s", asPhrase(syntax.Message))
	} else if err != nil {
		return fail(0, "%v", err)
	}
	sum := sha256.Sum256(data)
	c := &Config{origin: origin, Digest: hex.EncodeToString(sum[:])}
	p.reading = true
	t := &table{problems: p, values: values}
	c.read(t)
	t.done()
	p.reading = false
	return c
}

// asPhrase makes a sentence of the decoder fit behind a position.
func asPhrase(s string) string {
	s = strings.TrimSuffix(s, ".")
	if r, size := utf8.DecodeRuneInString(s); size > 0 {
		s = string(unicode.ToLower(r)) + s[size:]
	}
	return s
}

// decode calls the TOML decoder. It panics on some input it does not expect.
func decode(text string) (values map[string]any, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("not valid TOML: %v", r)
		}
	}()
	_, err = toml.Decode(text, &values)
	return values, err
}

func invalidUTF8(s string) int {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				return i
			}
		}
	}
	return -1
}

// Abs returns a path of the configuration as an absolute one: what is relative
// is relative to Dir.
func (c *Config) Abs(path string) (string, error) {
	if filepath.IsAbs(path) {
		return filepath.Clean(path), nil
	}
	return filepath.Abs(filepath.Join(c.Dir, path))
}
