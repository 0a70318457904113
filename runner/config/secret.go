package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Secret is a value that must not be shown, or where to find it. At most one
// field is set. It prints and marshals without its value.
type Secret struct {
	Text string // the value itself, in clear
	Name string // a name the configured secret providers are asked for
	// File is a file whose content, without the final line end, is the value;
	// relative to the configuration's directory. Others must not be able to read
	// it.
	File string
	Env  string // an environment variable of the master
}

// maxSecretName is the length in bytes of the longest name of a secret.
const maxSecretName = 255

// CheckSecretName returns what is wrong with the name of a secret: it is a path
// of one or more words with "/" between them, which stays below where a provider
// begins. What the words may consist of is up to the provider.
func CheckSecretName(name string) error {
	switch {
	case name == "":
		return errors.New("the secret's name is empty")
	case len(name) > maxSecretName:
		return fmt.Errorf("the secret's name has more than %d bytes", maxSecretName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("secret %q: the name has characters that cannot be seen", name)
	case strings.HasPrefix(name, "-"):
		return fmt.Errorf("secret %q: the name begins with \"-\"", name) // an option to a program
	}
	for word := range strings.SplitSeq(name, "/") {
		if word == "" || word == "." || word == ".." {
			return fmt.Errorf("secret %q: the name has an empty part, \".\" or \"..\"", name)
		}
	}
	return nil
}

// IsZero reports whether s says nothing.
func (s Secret) IsZero() bool { return s == Secret{} }

// places counts what s says; more than one cannot be right.
func (s Secret) places() (n int) {
	for _, place := range []string{s.Text, s.Name, s.File, s.Env} {
		if place != "" {
			n++
		}
	}
	return n
}

// String says where the value comes from, never the value.
func (s Secret) String() string {
	switch {
	case s.Name != "":
		return "secret " + s.Name
	case s.File != "":
		return "file " + s.File
	case s.Env != "":
		return "environment variable " + s.Env
	case s.Text != "":
		return "(in clear)"
	}
	return "(none)"
}

// GoString is String, so that %#v shows no value either.
func (s Secret) GoString() string { return "config.Secret(" + s.String() + ")" }

// MarshalText is String: a Config written as JSON holds no passwords.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// SecretProvider is one entry of [[secrets]]: a place to look for secrets.
type SecretProvider struct {
	Kind SecretKind
	// Path is, for SecretDir, the directory with one file per secret (default
	// "secrets", relative to the configuration's directory); for SecretPass, the
	// password store (default: PASSWORD_STORE_DIR, else ~/.password-store).
	Path   string
	Prefix string // for SecretEnv: put before a secret's name; default none
	// Passphrase is, for SecretPass, that of the GPG key; default: gpg-agent
	// knows it or asks a person.
	Passphrase Secret
	Vault      VaultOptions // for SecretVault
}

// SecretKind is a way to keep secrets.
type SecretKind string

// The kinds of secret provider.
const (
	SecretDir     SecretKind = "dir"     // a file per secret
	SecretEnv     SecretKind = "env"     // the master's environment
	SecretPass    SecretKind = "pass"    // the program pass
	SecretVault   SecretKind = "vault"   // HashiCorp Vault or OpenBao, key-value engine
	SecretSystemd SecretKind = "systemd" // systemd credentials
)

// VaultOptions says how to reach a Vault server. A secret's name is "PATH|KEY"
// there, as in Buildbot, or "PATH" for the key "value". After a "\" a "|" is
// part of the path or key, and so is a "\".
type VaultOptions struct {
	Address    string // URL; required
	CACert     string // PEM file; default: the system's authorities
	Namespace  string // of Vault Enterprise and OpenBao; default none
	Mount      string // of the key-value engine; default "secret"
	APIVersion int    // of the key-value engine, 1 or 2; default 2
	Token      Secret // either this or RoleID and SecretID
	RoleID     string // for the auth method AppRole
	SecretID   Secret
}
