//go:build unix

package secret

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bothy/runner/config"
)

// fakePass puts a program called pass in PATH, in front of what is there.
func fakePass(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "pass"), "#!/bin/sh\n"+script, 0o700)
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
}

// store makes a password store with entries that only the fake can read.
func store(t *testing.T, entries ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, e := range entries {
		write(t, filepath.Join(dir, e+".gpg"), "", 0o600)
	}
	return dir
}

func TestPassFake(t *testing.T) {
	dir := store(t, "db", "team/web", "many", "large", "angry", "echo", "blank", "crlf")
	fakePass(t, `
[ "$1 $2" = "show --" ] || exit 9
case $3 in
db) echo "s3cret of $PASSWORD_STORE_DIR" ;;
team/web) printf web ;;
many) printf 's3cret\nlogin: x\n' ;;
crlf) printf 's3cret\r\nlogin: x\r\n' ;;
blank) ;;
large) head -c 70000 /dev/zero ;;
angry) echo "gpg: public key decryption failed: Bad passphrase" >&2; exit 2 ;;
echo) echo s3cret; echo "cannot use s3cret" >&2; exit 3 ;;
esac
`)
	c := chain(t, "", []string{"PATH=" + os.Getenv("PATH"), "HOME=/nowhere"}, config.SecretProvider{Kind: config.SecretPass, Path: dir})
	for name, want := range map[string]string{"db": "s3cret of " + dir, "team/web": "web", "many": "s3cret", "blank": "", "crlf": "s3cret"} {
		if got, err := c.Lookup(t.Context(), name); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
	for name, want := range map[string]string{
		"large": "more than 65536 bytes", "angry": "exit status 2: gpg: public key decryption failed: Bad passphrase", "echo": "exit status 3",
	} {
		got, err := c.Lookup(t.Context(), name)
		if err == nil || !strings.Contains(err.Error(), want) || got != "" || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %.20q, %v; want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"nowhere", "team", "db/x"} {
		if got, err := c.Lookup(t.Context(), name); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %q, %v; want not found", name, got, err)
		}
	}
}

func TestPassStore(t *testing.T) {
	fakePass(t, `echo "${PASSWORD_STORE_DIR-unset}"`)
	home := t.TempDir()
	write(t, filepath.Join(home, ".password-store", "db.gpg"), "", 0o600)
	other := store(t, "db")
	for want, environ := range map[string][]string{
		"unset": {"HOME=" + home},
		other:   {"HOME=" + home, "PASSWORD_STORE_DIR=" + other},
	} {
		if got, err := chain(t, "", environ, config.SecretProvider{Kind: config.SecretPass}).Lookup(t.Context(), "db"); err != nil || got != want {
			t.Errorf("%q: the store was %q, %v; want %q", environ, got, err, want)
		}
	}
	c := chain(t, "", []string{"X="}, config.SecretProvider{Kind: config.SecretPass})
	if _, err := c.Lookup(t.Context(), "db"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "HOME is not set") {
		t.Errorf("without HOME: %v", err)
	}
}

// The script starts a child that would outlive it, and neither answers.
func TestPassDoesNotAnswer(t *testing.T) {
	dir := store(t, "db")
	fakePass(t, `sleep 3600 & echo $! >"$PASSWORD_STORE_DIR/child"; mkfifo "$PASSWORD_STORE_DIR/started"; : >"$PASSWORD_STORE_DIR/started"; wait`)
	c := chain(t, "", []string{"PATH=" + os.Getenv("PATH")}, config.SecretProvider{Kind: config.SecretPass, Path: dir})
	ctx, cancel := context.WithCancelCause(t.Context())
	answer := make(chan error, 1)
	go func() {
		_, err := c.Lookup(ctx, "db")
		answer <- err
	}()
	waitForReader(t, filepath.Join(dir, "started"))
	cancel(errors.New("the master stops"))
	if err := <-answer; err == nil || !strings.Contains(err.Error(), "the master stops") {
		t.Errorf("got %v", err)
	}
	child := strings.TrimSpace(string(readAll(t, filepath.Join(dir, "child"))))
	deadline := time.Now().Add(time.Minute)
	for exec.Command("sh", "-c", `kill -0 "$1" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null`, "sh", child).Run() == nil {
		if time.Now().After(deadline) {
			t.Fatalf("process %s is still there", child)
		}
	}

	p := c.providers[0].(passProvider)
	p.timeout = time.Millisecond
	if _, err := p.lookup(t.Context(), "db"); err == nil || !strings.Contains(err.Error(), "did not answer within 1ms") {
		t.Errorf("too slow: %v", err)
	}
}

// waitForReader returns once somebody has opened the named pipe, for writing.
func waitForReader(t *testing.T, pipe string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		if st, err := os.Stat(pipe); err == nil && st.Mode()&os.ModeNamedPipe != 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("pass was not started")
		}
	}
	readAll(t, pipe)
}

func readAll(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestPassIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	c := chain(t, "", []string{"X="}, config.SecretProvider{Kind: config.SecretPass, Path: store(t, "db")})
	if _, err := c.Lookup(t.Context(), "db"); err == nil || !strings.Contains(err.Error(), "executable file not found") || errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

// realStore makes a password store with the real programs pass and gpg, and
// returns the environment to use it with.
func realStore(t *testing.T, passphrase string) []string {
	t.Helper()
	for _, program := range []string{"pass", "gpg", "gpgconf"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("BOTHY_CI") != "" {
				t.Fatalf("%s is missing: apt-get install pass gnupg", program)
			}
			t.Skipf("NOT TESTED: the real pass, since %s is missing (apt-get install pass gnupg)", program)
		}
	}
	home, err := os.MkdirTemp("", "gpg") // the path of gpg-agent's socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "GNUPGHOME=" + home, "LC_ALL=C"}
	t.Cleanup(func() { do(t, env, "", "gpgconf", "--kill", "gpg-agent") })
	do(t, env, "", "gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", passphrase, "--quick-generate-key", "bothy-test", "future-default", "default", "never")
	do(t, env, "", "pass", "init", "bothy-test")
	return env
}

func do(t *testing.T, env []string, input, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Stdin = env, strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
}

func TestPass(t *testing.T) {
	env := realStore(t, "")
	do(t, env, "s3cret\nlogin: ana\n", "pass", "insert", "--multiline", "team/db")
	c := chain(t, "", env, config.SecretProvider{Kind: config.SecretPass})
	if got, err := c.Lookup(t.Context(), "team/db"); err != nil || got != "s3cret" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, name := range []string{"team", "nowhere"} {
		if got, err := c.Lookup(t.Context(), name); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %q, %v; want not found", name, got, err)
		}
	}
	write(t, filepath.Join(strings.TrimPrefix(env[1], "HOME="), ".password-store", "bad.gpg"), "not encrypted", 0o600)
	if got, err := c.Lookup(t.Context(), "bad"); err == nil || got != "" || !strings.Contains(err.Error(), "pass: exit status") {
		t.Errorf("a damaged entry: %q, %v", got, err)
	}
}

func TestPassWithPassphrase(t *testing.T) {
	env := realStore(t, "open sesame")
	do(t, env, "s3cret\n", "pass", "insert", "--multiline", "db")
	forget := func() { do(t, env, "", "gpgconf", "--kill", "gpg-agent") } // it keeps passphrases for a while
	with := func(s config.Secret) *Chain {
		forget()
		return chain(t, "", append(env, "GOOD=open sesame", "BAD=open barley"), config.SecretProvider{Kind: config.SecretPass, Passphrase: s})
	}
	if got, err := with(config.Secret{Env: "GOOD"}).Lookup(t.Context(), "db"); err != nil || got != "s3cret" {
		t.Errorf("got %q, %v", got, err)
	}
	got, err := with(config.Secret{Env: "BAD"}).Lookup(t.Context(), "db")
	if err == nil || got != "" || !strings.Contains(err.Error(), "pass: exit status") || strings.Contains(err.Error(), "barley") {
		t.Errorf("a wrong passphrase: %q, %v", got, err)
	}
	if _, err := with(config.Secret{Env: "NOWHERE"}).Lookup(t.Context(), "db"); err == nil || !strings.Contains(err.Error(), "passphrase: environment variable NOWHERE is not set") {
		t.Errorf("no passphrase: %v", err)
	}
	if _, err := with(config.Secret{Text: strings.Repeat("x", 5000)}).Lookup(t.Context(), "db"); err == nil || !strings.Contains(err.Error(), "more than 4096 bytes") {
		t.Errorf("a passphrase that is too long: %v", err)
	}
}
