package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"bothy/runner/internal/auth"
)

func tokenFlags(fs *pflag.FlagSet) {
	fs.String("role", "operator", "what the token allows: viewer, operator or admin (`ROLE`)")
	fs.Bool("worker", false, "the password of a remote worker instead")
	fs.Bool("json", false, "print JSON instead of text, with the secret in it")
}

func hashFlags(fs *pflag.FlagSet) {
	fs.String("role", "admin", "what the person may do: viewer, operator or admin (`ROLE`)")
}

// newSecret is what token prints as JSON.
type newSecret struct {
	Name   string `json:"name"`
	Role   string `json:"role,omitempty"`
	Secret string `json:"secret"`
	SHA256 string `json:"sha256"`
	TOML   string `json:"toml"`
}

// runToken makes a random token and prints its SHA-256 for the configuration.
// The token itself goes to stderr, so that stdout can be appended to the file.
func runToken(_ context.Context, c *call) error {
	if err := c.tooMany(1); err != nil {
		return err
	}
	if len(c.args) == 0 {
		return wrongUsage("whose token? see \"bothy token --help\"")
	}
	role, err := c.role()
	if err != nil {
		return err
	}
	worker := c.flag("worker")
	if worker && c.flags.Changed("role") {
		return wrongUsage("a worker has no role")
	}
	name, secret := c.args[0], auth.NewToken()
	s := newSecret{Name: name, Role: role, Secret: secret, SHA256: auth.TokenDigest(secret)}
	what := "token"
	if worker {
		s.Role, what = "", "password"
		s.TOML = workerEntry(name, s.SHA256)
	} else {
		s.TOML = tokenEntry(name, s.SHA256, role)
	}
	if err := goodEntry(s.TOML); err != nil {
		return err
	}
	if c.flag("json") {
		return printJSON(c.Stdout, s)
	}
	if _, err := io.WriteString(c.Stdout, s.TOML); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.Stderr, "\nThe %s of %s, shown only now:\n\n%s\n", what, name, secret)
	return err
}

// tokenEntry is a token as it can be appended to any configuration that has no
// tokens, or has them like this.
func tokenEntry(name, digest, role string) string {
	return fmt.Sprintf("\n[[web.tokens]]\nname = %s\nsecret = %s\nrole = %s # or viewer, operator, admin\n",
		quoteTOML(name), quoteTOML(digest), quoteTOML(role))
}

func workerEntry(name, digest string) string {
	return fmt.Sprintf("\n[[workers]]\nname = %s\nkind = \"remote\"\npassword_sha256 = %s # must speak MessagePack\n",
		quoteTOML(name), quoteTOML(digest))
}
