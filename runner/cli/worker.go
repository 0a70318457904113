package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/pflag"

	"bothy/runner"
	"bothy/runner/internal/remote/agent"
	"bothy/runner/worker"
)

func workerFlags(fs *pflag.FlagSet) {
	fs.String("master", "", "where the master listens: `HOST:PORT`, or tcp://, tls://, ws:// or wss:// before it; else BOTHY_MASTER")
	fs.String("name", "", "the worker's `NAME` at the master; else BOTHY_NAME")
	fs.String("password-file", "", "the `FILE` that holds the password; else BOTHY_PASSWORD_FILE")
	fs.String("protocol", "", "`P` is pb (what most of Buildbot's masters speak) or msgpack; default: msgpack if the master speaks it")
	fs.String("basedir", "", "the `DIR` for the builders' directories and \"info\"; else ./NAME")
	fs.String("tac", "", "take all that is not given here from the buildbot.tac of that `FILE`, or in that directory")
	fs.Bool("once", false, "end with the first connection")
	fs.Bool("tls", false, "speak TLS with the master")
	fs.String("ca", "", "trust the certificates of `FILE` (PEM) instead of the system's")
	fs.String("proxy", "", "connect through an HTTP proxy, `http://HOST:PORT`")
	fs.Int64("spool", agent.DefaultSpool>>20, "keep up to `MIB` of output on disk while the connection to a Bothy master is cut; 0: none")
	fs.StringSlice("pass-env", nil, "let commands inherit these variables too, `NAME,…`")
	fs.Bool("delete-leftover-dirs", false, "remove directories of builders that the master does not have any more")
}

// maxSpool is the largest --spool, in MiB.
const maxSpool = 1 << 20

// maxPassword is the largest password file.
const maxPassword = 64 << 10

func runWorker(ctx context.Context, c *call) error {
	if err := c.tooMany(0); err != nil {
		return err
	}
	o, umask, err := c.workerOptions()
	if err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	o.Logger = slog.New(slog.NewTextHandler(c.Stderr, &slog.HandlerOptions{Level: c.workerLevel()}))
	if umask >= 0 {
		setUmask(umask)
	}
	a, err := agent.New(ctx, o)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, stopSignals()...)
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		for stops := 0; ; stops++ {
			select {
			case s := <-signals:
				if stops > 0 {
					o.Logger.Info("ending at once", "signal", s.String())
					cancel(fmt.Errorf("signal %v", s))
					continue
				}
				o.Logger.Info("ending when what runs has ended; a second signal ends at once", "signal", s.String())
				a.Leave()
			case <-ctx.Done():
				return
			}
		}
	}()
	return a.Run(ctx)
}

func (c *call) workerLevel() slog.Level {
	if c.Getenv("BOTHY_DEBUG") != "" {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// workerOptions reads flags, environment and buildbot.tac, in this order. umask is
// -1 when it is to stay.
func (c *call) workerOptions() (o agent.Options, umask int, err error) {
	tac := agent.Tac{Umask: -1, Keepalive: agent.DefaultKeepalive}
	if file := c.text("tac"); file != "" {
		if tac, err = c.readTac(c.path(file)); err != nil {
			return o, -1, err
		}
	}
	o = agent.Options{
		Master: tac.Master, Protocol: tac.Protocol, Name: c.setting("name", "BOTHY_NAME", tac.Name), BaseDir: tac.BaseDir,
		Once: c.flag("once"), Keepalive: tac.Keepalive, Version: runner.Version(),
		Proxy: c.setting("proxy", "", tac.Proxy), DeleteLeftoverDirs: c.flag("delete-leftover-dirs") || tac.DeleteLeftoverDirs,
	}
	if addr := c.setting("master", "BOTHY_MASTER", ""); addr != "" {
		if o.Master, err = agent.ParseMaster(addr); err != nil {
			return o, -1, err
		}
		if o.Master.Protocol != "" {
			o.Protocol = o.Master.Protocol
		}
	}
	if name := c.text("protocol"); name != "" {
		if o.Protocol, err = agent.ParseProtocol(name); err != nil {
			return o, -1, err
		}
	}
	if dir := c.text("basedir"); dir != "" {
		o.BaseDir = c.path(dir)
	}
	if o.Proxy != "" {
		if _, err := agent.ParseProxy(o.Proxy); err != nil {
			return o, -1, err
		}
	}
	const missing = "a worker needs %s, or a buildbot.tac that says it; see \"bothy worker --help\""
	switch {
	case o.Master.Addr == "":
		return o, -1, fmt.Errorf(missing, "--master")
	case o.Name == "":
		return o, -1, fmt.Errorf(missing, "--name")
	}
	if o.BaseDir == "" {
		o.BaseDir = c.path(o.Name)
	}
	spool, err := c.flags.GetInt64("spool")
	switch {
	case err != nil:
		return o, -1, err
	case spool < 0 || spool > maxSpool:
		return o, -1, fmt.Errorf("--spool %d: want 0 to %d MiB", spool, int64(maxSpool))
	}
	if o.Spool = spool << 20; spool == 0 {
		o.Spool = -1
	}
	if o.Password, err = c.workerPassword(tac.Password); err != nil {
		return o, -1, err
	}
	if o.TLS, err = c.workerTLS(); err != nil {
		return o, -1, err
	}
	o.Master.TLS = o.Master.TLS || c.flag("tls") || o.TLS != nil
	pass, err := c.flags.GetStringSlice("pass-env")
	o.Environ = worker.BaseEnv(c.Environ, pass)
	return o, tac.Umask, err
}

// setting returns a flag, else an environment variable, else what is left.
func (c *call) setting(flag, variable, other string) string {
	if v := c.text(flag); v != "" {
		return v
	}
	if variable != "" {
		if v := c.Getenv(variable); v != "" {
			return v
		}
	}
	return other
}

func (c *call) readTac(path string) (agent.Tac, error) {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		path += string(os.PathSeparator) + "buildbot.tac"
	}
	return agent.ReadTac(path)
}

// workerPassword returns what reads the password: anew for each connection, so
// that it can be changed.
func (c *call) workerPassword(other string) (func() (string, error), error) {
	file := c.setting("password-file", "BOTHY_PASSWORD_FILE", "")
	if file == "" {
		if other == "" {
			return nil, errors.New("a worker needs --password-file, or a buildbot.tac that says the password; see \"bothy worker --help\"")
		}
		return func() (string, error) { return other, nil }, nil
	}
	file = c.path(file)
	read := func() (string, error) { return readPassword(file) }
	_, err := read()
	return read, err
}

// readPassword returns the first line of a file, which must be the only one.
func readPassword(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("password: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPassword+1))
	if err != nil {
		return "", fmt.Errorf("password: %w", err)
	}
	line, rest, _ := bytes.Cut(b, []byte("\n"))
	password := strings.TrimSuffix(string(line), "\r")
	if password == "" || len(bytes.TrimSpace(rest)) > 0 || len(b) > maxPassword {
		return "", fmt.Errorf("password: %s: want one line", file)
	}
	return password, nil
}

// workerTLS returns nil when nothing is said about certificates.
func (c *call) workerTLS() (*tls.Config, error) {
	file := c.text("ca")
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(c.path(file))
	if err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("certificates: %s has none", file)
	}
	return &tls.Config{RootCAs: pool}, nil
}
