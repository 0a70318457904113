package secret

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// Permissions that the file of a secret must not have.
const (
	// privateToOwner is stricter than Buildbot, which looks at others only
	// (SecretInAFile: mode & 7).
	privateToOwner fs.FileMode = 0o077
	// privateToService is for systemd's credentials: the group's bits are the
	// mask of an access list there, and nobody else can enter the directory.
	privateToService fs.FileMode = 0o007
)

// dirProvider has a file for each secret.
type dirProvider struct{ path string }

func (d dirProvider) String() string { return "dir " + d.path }

func (d dirProvider) lookup(_ context.Context, name string) (string, error) {
	return readBelow(d.path, name, privateToOwner)
}

// systemdProvider has the credentials that systemd passed to the service.
type systemdProvider struct{ environ []string }

func (s systemdProvider) String() string { return "systemd" }

// credentialsDirectory is set by systemd (systemd.exec, "Credentials").
const credentialsDirectory = "CREDENTIALS_DIRECTORY"

func (s systemdProvider) lookup(_ context.Context, name string) (string, error) {
	dir, ok := getenv(s.environ, credentialsDirectory)
	switch {
	case !ok || dir == "":
		return "", absent(credentialsDirectory + " is not set")
	case strings.Contains(name, "/"):
		return "", absent("a credential's name has no /")
	}
	return readBelow(dir, name, privateToService)
}

// envProvider has the variables of an environment.
type envProvider struct {
	environ []string
	prefix  string
}

func (e envProvider) String() string { return "env" }

func (e envProvider) lookup(_ context.Context, name string) (string, error) {
	v, ok := getenv(e.environ, e.prefix+name)
	if !ok {
		return "", absent(e.prefix + name + " is not set")
	}
	return v, nil
}

// readBelow reads the secret DIR/NAME. No link leads out of dir.
func readBelow(dir, name string, forbidden fs.FileMode) (string, error) {
	name = filepath.FromSlash(name)
	if !filepath.IsLocal(name) || runtime.GOOS == "windows" && strings.ContainsAny(name, `:*?"<>|`) {
		return "", absent("not a name of a file")
	}
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", absent("there is no such directory")
	} else if err != nil {
		return "", err
	}
	defer root.Close()
	// Looked at first: to open a pipe could wait for ever.
	st, err := root.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return "", absent("there is no such file")
	case err != nil:
		return "", err
	case !st.Mode().IsRegular():
		return "", fmt.Errorf("%s is not a file", filepath.Join(dir, name))
	}
	f, err := root.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return read(f, filepath.Join(dir, name), forbidden)
}

// readFile reads a secret that is all there is in a file.
func readFile(path string, forbidden fs.FileMode) (string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !st.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return read(f, path, forbidden)
}

// read returns the content of a file without the line ends at its end, as
// Buildbot does with strip.
func read(f *os.File, path string, forbidden fs.FileMode) (string, error) {
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	if runtime.GOOS != "windows" && st.Mode().Perm()&forbidden != 0 { // there, the bits say nothing
		return "", fmt.Errorf("%s can be read by others: chmod 600 %[1]s", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxValue+1))
	if err != nil {
		return "", err
	}
	if len(data) > maxValue {
		return "", fmt.Errorf("%s has more than %d bytes", path, maxValue)
	}
	return strings.TrimRight(string(data), "\r\n"), nil
}
