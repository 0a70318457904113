package secret

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"bothy/runner/config"
)

const (
	// passTimeout bounds one call of pass. A person may have to type the
	// passphrase of the GPG key.
	passTimeout = time.Minute
	// passGrace is how long what pass has started may keep its output open.
	passGrace = 2 * time.Second
)

// passProvider asks the program pass for entries of a password store
// (https://www.passwordstore.org): DIR/NAME.gpg, of which the first line is the
// password.
type passProvider struct {
	chain      *Chain
	store      string // the directory, "" if there is none
	explicit   bool   // the configuration names the store
	passphrase config.Secret
	timeout    time.Duration
}

func (c *Chain) passProvider(conf *config.SecretProvider) provider {
	p := passProvider{chain: c, passphrase: conf.Passphrase, timeout: passTimeout}
	if conf.Path != "" {
		p.store, p.explicit = c.abs(conf.Path), true
		return p
	}
	home, _ := getenv(c.environ, "HOME")
	dir, _ := getenv(c.environ, "PASSWORD_STORE_DIR")
	if home != "" {
		home = filepath.Join(home, ".password-store")
	}
	p.store = cmp.Or(dir, home)
	return p
}

func (p passProvider) String() string { return strings.TrimSpace("pass " + p.store) }

func (p passProvider) lookup(ctx context.Context, name string) (string, error) {
	if err := p.find(name); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	var out, complaints limited
	// LANG=C is not set: complaints are for the person in charge.
	cmd := exec.CommandContext(ctx, "pass", "show", "--", name)
	cmd.Env = p.environ()
	cmd.Stdout, cmd.Stderr = &out, &complaints
	cmd.WaitDelay = passGrace
	killGroup(cmd)
	if !p.passphrase.IsZero() {
		pipe, err := p.passphrasePipe(ctx, cmd)
		if err != nil {
			return "", err
		}
		defer pipe.Close()
	}
	err := cmd.Run()
	first, _, _ := strings.Cut(out.String(), "\n")
	first = strings.TrimSuffix(first, "\r")
	switch {
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return "", fmt.Errorf("pass did not answer within %v", p.timeout)
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case err != nil:
		return "", fmt.Errorf("pass: %w%s", err, lastWords(complaints.String(), out.String()))
	case out.full:
		return "", fmt.Errorf("the entry has more than %d bytes", maxValue)
	}
	return first, nil
}

// find reports an entry that is not there. pass itself would print the list of a
// directory with that name.
func (p passProvider) find(name string) error {
	if p.store == "" {
		return absent("there is no password store: HOME is not set")
	}
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return absent("not a name of an entry")
	}
	st, err := os.Stat(filepath.Join(p.store, filepath.FromSlash(name)+".gpg"))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), err == nil && st.IsDir():
		return absent("there is no such entry")
	}
	return err
}

// environ is the master's environment, so that gpg finds its home and agent.
func (p passProvider) environ() []string {
	env := slices.Concat([]string{}, p.chain.environ) // not nil: that would mean this process's
	if p.explicit {
		env = append(env, "PASSWORD_STORE_DIR="+p.store)
	}
	if !p.passphrase.IsZero() {
		options, _ := getenv(env, "PASSWORD_STORE_GPG_OPTS")
		// The first of cmd.ExtraFiles is 3. The command line would show the
		// passphrase to everybody on the machine.
		env = append(env, strings.TrimSpace("PASSWORD_STORE_GPG_OPTS="+options+" --batch --pinentry-mode loopback --passphrase-fd 3"))
	}
	return env
}

// passphrasePipe lets the command read the passphrase from a pipe. The caller closes
// what is returned once the command has ended.
func (p passProvider) passphrasePipe(ctx context.Context, cmd *exec.Cmd) (io.Closer, error) {
	text, err := p.chain.Resolve(ctx, p.passphrase)
	if err != nil {
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	if len(text) > 4<<10 { // what a pipe takes without a reader, on every system
		return nil, errors.New("passphrase: it has more than 4096 bytes")
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	_, err = io.WriteString(w, text+"\n")
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	cmd.ExtraFiles = []*os.File{r}
	return r, nil
}

// limited keeps the first maxValue bytes that are written to it.
type limited struct {
	kept bytes.Buffer
	full bool // there was more
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), maxValue-l.kept.Len())
	l.full = l.full || n < len(p)
	l.kept.Write(p[:n])
	return len(p), nil
}

func (l *limited) String() string { return l.kept.String() }

// lastWords returns the last line of a program's complaints, for an error; not
// what it has in common with the output, which is secret.
func lastWords(complaints, output string) string {
	lines := strings.Split(strings.TrimSpace(complaints), "\n")
	last := oneLine(lines[len(lines)-1])
	for line := range strings.Lines(output) {
		if line = strings.TrimSpace(line); line != "" && strings.Contains(last, line) {
			return ""
		}
	}
	if last == "" {
		return ""
	}
	return ": " + last
}
