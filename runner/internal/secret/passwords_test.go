package secret

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"bothy/runner/config"
	"bothy/runner/internal/auth"

	"github.com/google/go-cmp/cmp"
)

const hash = "$2y$05$pnWIy63GjVT/6zJruQEZFukrmAGmAf20KM.wkFKhuYsPFvjKQqMtm"

func accounts(dir string) *config.Config {
	digest := auth.TokenDigest("far s3cret")
	return &config.Config{
		Dir:  dir,
		Mail: config.Mail{Username: "ci", Password: config.Secret{Name: "MAIL"}},
		Web: config.Web{
			Users:  []config.User{{Name: "ana", PasswordHash: config.Secret{Text: hash}}, {Name: "ben", PasswordHash: config.Secret{File: "ben"}}},
			Tokens: []config.Token{{Name: "ci", Secret: config.Secret{Text: strings.ToUpper(digest)}}, {Name: "cron", Secret: config.Secret{Env: "TOKEN"}}},
		},
		Workers: []config.Worker{
			{Name: "bot1"},
			{Name: "near", Kind: config.WorkerRemote, Remote: config.RemoteWorker{Password: config.Secret{Name: "NEAR"}}},
			{Name: "far", Kind: config.WorkerRemote, Remote: config.RemoteWorker{PasswordSHA256: strings.ToUpper(digest)}},
		},
		Secrets: []config.SecretProvider{{Kind: config.SecretEnv, Prefix: "CI_"}},
	}
}

func TestPasswords(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "ben"), hash+"\n", 0o600)
	conf := accounts(dir)
	if _, err := conf.Complete(); err != nil {
		t.Fatal(err)
	}
	c, err := New(conf, []string{"CI_MAIL=mail s3cret", "TOKEN=cron s3cret", "CI_NEAR=near s3cret"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Passwords(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	want := &Passwords{
		Mail:    "mail s3cret",
		Users:   map[string]string{"ana": hash, "ben": hash},
		Tokens:  map[string]string{"ci": auth.TokenDigest("far s3cret"), "cron": auth.TokenDigest("cron s3cret")},
		Workers: map[string]WorkerPassword{"near": {Text: "near s3cret"}, "far": {SHA256: auth.TokenDigest("far s3cret")}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		for _, v := range []any{got, *got, got.Workers, got.Workers["near"]} {
			if s := fmt.Sprintf(format, v); strings.Contains(s, "s3cret") || strings.Contains(s, "$2y$") {
				t.Errorf("%s shows %s", format, s)
			}
		}
	}
	for worker, password := range map[string]string{"near": "near s3cret", "far": "far s3cret"} {
		w := got.Workers[worker]
		if !w.Verify(password) || w.Verify(password+"x") || w.Verify("") {
			t.Errorf("%s does not know its password, or takes others", worker)
		}
	}
	if got.Workers["unheard"].Verify("") || got.Workers["far"].Verify(got.Workers["far"].SHA256) {
		t.Error("a worker that does not exist, or the digest of a password, is accepted")
	}
}

func TestPasswordsSayAllThatIsMissing(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "ben"), "s3cret, in clear", 0o600)
	conf := accounts(dir)
	c, err := New(conf, []string{"TOKEN="})
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Passwords(t.Context(), conf)
	want := `mail: password: secret "MAIL" not found (env: CI_MAIL is not set)
user "ben": password_hash: not a hash of the kind argon2id or bcrypt
token "cron": secret: environment variable TOKEN is empty
worker "near": password: secret "NEAR" not found (env: CI_NEAR is not set)`
	if err == nil || p != nil {
		t.Fatalf("%v, %v", p, err)
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
}
