package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unicode/utf8"

	"golang.org/x/term"

	"bothy/runner/config"
	"bothy/runner/internal/auth"
)

// shortPassword is the length below which a password is called short: NIST SP
// 800-63B, section 5.1.1.2.
const shortPassword = 8 // characters

// runHashPassword prints what a person's password is in the configuration.
func runHashPassword(ctx context.Context, c *call) error {
	if err := c.tooMany(1); err != nil {
		return err
	}
	role, err := c.role()
	if err != nil {
		return err
	}
	if len(c.args) == 0 && c.flags.Changed("role") {
		return wrongUsage("--role is for a person with a NAME")
	}
	if len(c.args) == 1 { // before the password is asked for
		if err := goodEntry(userEntry(c.args[0], exampleHash, role)); err != nil {
			return err
		}
	}
	password, err := newPassword(ctx, c)
	if err != nil {
		return err
	}
	if utf8.RuneCountInString(password) < shortPassword {
		fmt.Fprintf(c.Stderr, "warning: the password has less than %d characters\n", shortPassword)
	}
	hash, err := auth.HashPassword(password)
	if err != nil {
		return wrongUsage("%w", err)
	}
	text := fmt.Sprintf("password_hash = %q\n", hash)
	if len(c.args) == 1 {
		text = userEntry(c.args[0], hash, role)
	}
	_, err = io.WriteString(c.Stdout, text)
	return err
}

// exampleHash stands for one that is not known yet.
const exampleHash = "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA"

// userEntry is a user as it can be appended to any configuration that has no
// users, or has them like this.
func userEntry(name, hash, role string) string {
	return fmt.Sprintf("\n[[web.users]]\nname = %s\npassword_hash = %s\nrole = %s # or viewer, operator, admin\n",
		quoteTOML(name), quoteTOML(hash), quoteTOML(role))
}

// quoteTOML writes a text as TOML does. What cannot be seen in it is refused
// when it is read.
func quoteTOML(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// goodEntry reports what the configuration would say of an entry of its own.
func goodEntry(text string) error {
	_, _, err := config.Parse("", []byte(text))
	if first, ok := errors.AsType[*config.Error](err); ok {
		return wrongUsage("%s", first.Msg)
	}
	return err
}

// role returns what --role says.
func (c *call) role() (string, error) {
	role := c.text("role")
	roles := []string{string(config.Viewer), string(config.Operator), string(config.Admin)}
	for _, r := range roles {
		if role == r {
			return role, nil
		}
	}
	return "", wrongUsage("unknown role %q: want viewer, operator or admin%s", role, didYouMean(role, roles))
}

// newPassword asks for a password twice on a terminal; elsewhere it is the only
// line of stdin.
func newPassword(ctx context.Context, c *call) (string, error) {
	f, ok := c.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return onlyLine(c.Stdin)
	}
	password, err := askSecretly(ctx, f, c.Stderr, "password: ")
	if err != nil {
		return "", err
	}
	again, err := askSecretly(ctx, f, c.Stderr, "again: ")
	if err != nil {
		return "", err
	}
	if password != again {
		return "", wrongUsage("the two are not the same")
	}
	return password, nil
}

// onlyLine reads a line, whose end may be missing.
func onlyLine(r io.Reader) (string, error) {
	data, err := io.ReadAll(io.LimitReader(r, auth.MaxPassword+3)) // with a line end, too long already
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	data = bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	switch {
	case len(data) > auth.MaxPassword:
		return "", wrongUsage("the password has more than %d bytes", auth.MaxPassword)
	case bytes.ContainsAny(data, "\r\n\x00"):
		return "", wrongUsage("the password on stdin has more than one line")
	case !utf8.Valid(data):
		return "", wrongUsage("the password on stdin is not UTF-8 text")
	}
	return string(data), nil
}

// askSecretly reads a line from a terminal that does not show what is typed. An
// interruption leaves the terminal as it was.
func askSecretly(ctx context.Context, terminal *os.File, w io.Writer, prompt string) (string, error) {
	fd := int(terminal.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Fprint(w, prompt)
	defer fmt.Fprintln(w)
	type line struct {
		text []byte
		err  error
	}
	typed := make(chan line, 1)
	go func() { // is left behind by an interruption, until the process ends
		text, err := term.ReadPassword(fd)
		typed <- line{text, err}
	}()
	select {
	case l := <-typed:
		if errors.Is(l.err, io.EOF) {
			return "", wrongUsage("no password was given")
		} else if l.err != nil {
			return "", fmt.Errorf("read the password: %w", l.err)
		}
		return string(l.text), nil
	case <-ctx.Done():
		return "", errors.Join(context.Canceled, term.Restore(fd, before))
	}
}
