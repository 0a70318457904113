package agent

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

func prepareUploadDirectory(c *command) (func() error, error) {
	t, err := c.readTransfer()
	if err != nil {
		return nil, err
	}
	compress, err := c.args.text("compress")
	if err != nil {
		return nil, err
	}
	return func() error { return c.settled(&t, c.uploadDirectory(&t, compress)) }, nil
}

// uploadDirectory sends a directory as a tar file. After a failure the master is
// not asked to unpack it.
func (c *command) uploadDirectory(t *transfer, compress string) error {
	if st, err := os.Stat(t.path); err != nil || !st.IsDir() {
		if err == nil {
			err = errors.New("it is no directory")
		}
		return fileError(fmt.Sprintf("Cannot open directory '%s' for upload: %v", t.path, reason(err)))
	}
	c.out.header("sending " + t.path + "\n")
	r, w := io.Pipe()
	packed := make(chan struct{})
	go func() {
		defer close(packed)
		w.CloseWithError(c.pack(w, t.path, compress))
	}()
	err := t.sendAll(c, r)
	r.CloseWithError(errInterrupted) // ends packing if it still goes on
	<-packed
	if err != nil && !errors.Is(err, errTooLarge) {
		return err
	}
	// Buildbot's workers have what was sent unpacked even if it was too much.
	if unpacked := c.to.unpack(c.link); unpacked != nil {
		return errors.Join(err, fmt.Errorf("unpack the directory: %w", unpacked))
	}
	return err
}

// pack writes the tar file of a directory to w.
func (c *command) pack(w io.Writer, dir, compress string) error {
	var z io.WriteCloser
	switch compress {
	case "gz":
		z = gzip.NewWriter(w)
	case "bz2":
		b, err := startBzip2(c.ctx, w, c.session.a.o.Environ)
		if err != nil {
			return err
		}
		z = b
	case "":
		z = plain{w}
	default:
		return fileError(fmt.Sprintf("compress %q: want gz or bz2", compress))
	}
	return errors.Join(c.packTree(z, dir), z.Close())
}

// plain is a compressor that does nothing.
type plain struct{ io.Writer }

func (plain) Close() error { return nil }

// bzip2 compresses by the program of that name: Go's library cannot.
type bzip2 struct {
	io.WriteCloser
	cmd *exec.Cmd
}

func startBzip2(ctx context.Context, w io.Writer, environ []string) (*bzip2, error) {
	cmd := exec.CommandContext(ctx, "bzip2", "-c")
	cmd.Env, cmd.Stdout = environ, w
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fileError("compress with bzip2: " + err.Error())
	}
	return &bzip2{in, cmd}, nil
}

func (b *bzip2) Close() error { return errors.Join(b.WriteCloser.Close(), b.cmd.Wait()) }

// packTree writes what is in a directory, by names relative to it.
func (c *command) packTree(w io.Writer, dir string) error {
	t := tar.NewWriter(w)
	root := filepath.Clean(dir)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if c.interrupted() {
			return errInterrupted
		}
		name, err := filepath.Rel(root, path)
		if err != nil || name == "." {
			return err
		}
		return c.packEntry(t, path, filepath.ToSlash(name), d)
	})
	if err != nil {
		return err
	}
	return t.Close()
}

func (c *command) packEntry(t *tar.Writer, path, name string, d fs.DirEntry) error {
	st, err := d.Info()
	if err != nil {
		return err
	}
	target := ""
	switch mode := st.Mode(); {
	case mode&fs.ModeSymlink != 0:
		if target, err = os.Readlink(path); err != nil {
			return err
		}
	case mode.IsDir():
		name += "/"
	case !mode.IsRegular():
		c.out.stderr(fmt.Sprintf("'%s' is not a file and was left out\n", path))
		return nil
	}
	h, err := tar.FileInfoHeader(st, target)
	if err != nil {
		return err
	}
	h.Name = name
	if !st.Mode().IsRegular() {
		return t.WriteHeader(h)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.CopyN(t, f, h.Size)
	if errors.Is(err, io.EOF) {
		return fileError(fmt.Sprintf("'%s' became shorter while it was sent: %d bytes, not %d", path, n, h.Size))
	}
	return err
}
