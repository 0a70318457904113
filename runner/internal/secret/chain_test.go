package secret

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"bothy/runner/config"
)

func ExampleChain_Lookup() {
	conf := &config.Config{Secrets: []config.SecretProvider{{Kind: config.SecretEnv, Prefix: "CI_"}}}
	c, err := New(conf, []string{"CI_token=s3cret"})
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := c.Lookup(context.Background(), "token")
	fmt.Println(v, err)
	_, err = c.Lookup(context.Background(), "tokken")
	fmt.Println(err)
	// Output:
	// s3cret <nil>
	// secret "tokken" not found (env: CI_tokken is not set)
}

func TestDirAndEnv(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, "secrets", filepath.FromSlash(name)) }
	write(t, in("plain"), "value", 0o600)
	write(t, in("lines"), "\nfirst\nsecond\r\n\n", 0o400)
	write(t, in("empty"), "\n", 0o600)
	write(t, in("deep/er/key"), " spaces stay \n", 0o600)
	write(t, in("both"), "file", 0o600)
	write(t, in("large"), strings.Repeat("x", maxValue+1), 0o600)
	write(t, in("fits"), strings.Repeat("x", maxValue), 0o600)
	write(t, filepath.Join(dir, "outside"), "stolen", 0o600)
	environ := []string{"CI_both=env", "CI_var=first", "CI_var=last", "CI_blank=", "other=x"}
	c := chain(t, dir, environ, config.SecretProvider{Kind: config.SecretDir}, config.SecretProvider{Kind: config.SecretEnv, Prefix: "CI_"})
	for name, want := range map[string]string{
		"plain": "value", "lines": "\nfirst\nsecond", "empty": "", "deep/er/key": " spaces stay ", "both": "file",
		"var": "last", "blank": "", "fits": strings.Repeat("x", maxValue),
	} {
		if got, err := c.Lookup(t.Context(), name); err != nil || got != want {
			t.Errorf("%s: %.50q, %v; want %.50q", name, got, err, want)
		}
	}
	for name, want := range map[string]string{
		"nowhere":      "not found (dir " + filepath.Join(dir, "secrets") + ": there is no such file; env: CI_nowhere is not set)",
		"other":        "CI_other is not set",
		"plain/x":      "there is no such file",
		"deep":         "is not a file",
		"large":        "more than 65536 bytes",
		"../outside":   `"."`,
		"..":           `"."`,
		"deep/../../x": `"."`,
		"/etc/passwd":  "empty part",
		"-x":           `begins with "-"`,
		"a\nb":         "cannot be seen",
		"":             "is empty",
	} {
		got, err := c.Lookup(t.Context(), name)
		if err == nil || !strings.Contains(err.Error(), want) || got != "" {
			t.Errorf("%q: %.50q, %v; want %q", name, got, err, want)
		}
	}
	if _, err := c.Lookup(t.Context(), "nowhere"); !errors.Is(err, ErrNotFound) {
		t.Errorf("nowhere: %v does not say so to errors.Is", err)
	}
	if _, err := c.Lookup(t.Context(), "large"); errors.Is(err, ErrNotFound) {
		t.Errorf("large: %v says that it is not there", err)
	}
}

func TestNoProviders(t *testing.T) {
	c, err := New(&config.Config{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Lookup(t.Context(), "x"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "no [[secrets]] are configured") {
		t.Errorf("got %v", err)
	}
	if _, err := New(&config.Config{Secrets: []config.SecretProvider{{Kind: "magic"}}}, nil); err == nil {
		t.Error("an unknown kind was taken")
	}
}

func TestLinksStayInside(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("symbolic links need a privilege on Windows: not tested here")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "outside"), "stolen", 0o600)
	write(t, filepath.Join(dir, "s", "..data", "key"), "value", 0o600)
	for link, target := range map[string]string{"out": "../outside", "abs": filepath.Join(dir, "outside"), "key": "..data/key", "loop": "loop"} {
		if err := os.Symlink(target, filepath.Join(dir, "s", link)); err != nil {
			t.Fatal(err)
		}
	}
	c := chain(t, dir, nil, config.SecretProvider{Kind: config.SecretDir, Path: "s"})
	if got, err := c.Lookup(t.Context(), "key"); err != nil || got != "value" {
		t.Errorf("a link inside, as Kubernetes makes them: %q, %v", got, err)
	}
	for _, name := range []string{"out", "abs", "loop"} {
		if got, err := c.Lookup(t.Context(), name); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %q, %v; want an error of its own", name, got, err)
		}
	}
}

func TestReadableByOthers(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no such permissions on Windows: not tested here")
	}
	dir := t.TempDir()
	environ := []string{"CREDENTIALS_DIRECTORY=" + filepath.Join(dir, "secrets")}
	files := chain(t, dir, environ, config.SecretProvider{Kind: config.SecretDir})
	service := chain(t, dir, environ, config.SecretProvider{Kind: config.SecretSystemd})
	for mode, want := range map[os.FileMode]struct{ file, service bool }{
		0o400: {true, true}, 0o600: {true, true}, 0o700: {true, true},
		0o440: {false, true}, 0o640: {false, true}, 0o620: {false, true},
		0o604: {false, false}, 0o602: {false, false}, 0o644: {false, false}, 0o601: {false, false},
	} {
		path := filepath.Join(dir, "secrets", fmt.Sprintf("%o", mode))
		write(t, path, "s3cret", mode)
		check := func(what string, err error, ok bool) {
			switch {
			case ok && err != nil:
				t.Errorf("%s, mode %o: %v", what, mode, err)
			case !ok && (err == nil || !strings.Contains(err.Error(), "can be read by others: chmod 600 "+path) || strings.Contains(err.Error(), "s3cret")):
				t.Errorf("%s, mode %o: %v, want to be told the cure", what, mode, err)
			}
		}
		_, err := files.Lookup(t.Context(), filepath.Base(path))
		check("dir", err, want.file)
		_, err = service.Lookup(t.Context(), filepath.Base(path))
		check("systemd", err, want.service)
		_, err = files.Resolve(t.Context(), config.Secret{File: path})
		check("file", err, want.file)
	}
}

func TestSystemd(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "db"), "s3cret\n", 0o400)
	write(t, filepath.Join(dir, "sub", "db"), "s3cret\n", 0o400)
	c := chain(t, "", []string{"CREDENTIALS_DIRECTORY=" + dir}, config.SecretProvider{Kind: config.SecretSystemd})
	if got, err := c.Lookup(t.Context(), "db"); err != nil || got != "s3cret" {
		t.Errorf("got %q, %v", got, err)
	}
	for environ, name := range map[string]string{"CREDENTIALS_DIRECTORY=" + dir: "sub/db", "CREDENTIALS_DIRECTORY=": "db", "X=": "db"} {
		c := chain(t, "", []string{environ}, config.SecretProvider{Kind: config.SecretSystemd})
		if got, err := c.Lookup(t.Context(), name); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s, %s: %q, %v", environ, name, got, err)
		}
	}
}

// broken is a provider that cannot be reached.
type broken struct{}

func (broken) String() string { return "broken" }

func (broken) lookup(context.Context, string) (string, error) { return "", errors.New("it is down") }

func TestAnUnreachableProviderEndsTheSearch(t *testing.T) {
	c := chain(t, "", []string{"x=old"}, config.SecretProvider{Kind: config.SecretEnv})
	c.providers = append([]provider{broken{}}, c.providers...)
	got, err := c.Lookup(t.Context(), "x")
	if err == nil || got != "" || !strings.Contains(err.Error(), "broken: it is down") || errors.Is(err, ErrNotFound) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "from file\n", 0o600)
	write(t, filepath.Join(dir, "empty"), "\n", 0o600)
	c := chain(t, dir, []string{"A=from env", "B="}, config.SecretProvider{Kind: config.SecretEnv})
	for want, s := range map[string]config.Secret{
		"in clear":  {Text: "in clear"},
		"from env":  {Env: "A"},
		"from file": {File: "file"},
	} {
		if got, err := c.Resolve(t.Context(), s); err != nil || got != want {
			t.Errorf("%v: %q, %v", s, got, err)
		}
	}
	if got, err := c.Resolve(t.Context(), config.Secret{Name: "A"}); err != nil || got != "from env" {
		t.Errorf("by name: %q, %v", got, err)
	}
	for want, s := range map[string]config.Secret{
		"environment variable C is not set": {Env: "C"},
		"environment variable B is empty":   {Env: "B"},
		"secret B is empty":                 {Name: "B"},
		`secret "C" not found`:              {Name: "C"},
		"file empty is empty":               {File: "empty"},
		"no secret is named":                {},
		dir:                                 {File: "gone"},
	} {
		if got, err := c.Resolve(t.Context(), s); err == nil || !strings.Contains(err.Error(), want) || got != "" {
			t.Errorf("%v: %q, %v; want %q", s, got, err, want)
		}
	}
	if _, err := c.Resolve(t.Context(), config.Secret{File: "."}); err == nil || !strings.Contains(err.Error(), "is not a file") {
		t.Errorf("a directory: %v", err)
	}
}

func FuzzLookup(f *testing.F) {
	for _, name := range []string{"a", "a/b", "../a", "..", "a|b", `a\|b|c`, "-", "/", "a//b", "\x00", "ä", "C:", "con", strings.Repeat("a/", 200)} {
		f.Add(name)
	}
	dir := f.TempDir()
	for _, name := range []string{"outside", "s/a", "s/d/b"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			f.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			f.Fatal(err)
		}
	}
	conf := &config.Config{Dir: dir, Secrets: []config.SecretProvider{{Kind: config.SecretDir, Path: "s"}, {Kind: config.SecretSystemd}}}
	c, err := New(conf, []string{"CREDENTIALS_DIRECTORY=" + filepath.Join(dir, "s")})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if v, err := c.Lookup(t.Context(), name); err == nil && v != "s/a" && v != "s/d/b" {
			t.Errorf("%q gave %q", name, v)
		}
		if path, key, err := splitVaultName(name); err == nil && (config.CheckSecretName(path) != nil || key == "") {
			t.Errorf("%q is path %q, key %q", name, path, key)
		}
	})
}
