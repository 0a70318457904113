package workspace

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"
)

// manifest says what the last snapshot put into a kept directory, to tell its
// files from those that builds made.
type manifest struct {
	taken time.Time
	files []string
}

const (
	manifestMagic = "bothy-files-1\n"
	// maxManifest bounds a manifest when read: as much as git's list of names.
	maxManifest = maxGitOutput
)

var errManifest = errors.New("the list of copied files is damaged")

// decodeManifest reads what encode wrote: the magic, nanoseconds since 1970, the
// names each followed by a zero byte, and a zero byte at the end that tells a
// whole file from a cut one.
func decodeManifest(b []byte) (manifest, error) {
	rest, ok := bytes.CutPrefix(b, []byte(manifestMagic))
	if !ok || len(rest) < 9 {
		return manifest{}, errManifest
	}
	m := manifest{taken: time.Unix(0, int64(binary.BigEndian.Uint64(rest)))}
	rest = rest[8:]
	for {
		name, tail, ok := bytes.Cut(rest, []byte{0})
		switch {
		case !ok:
			return manifest{}, errManifest
		case len(name) == 0 && len(tail) == 0:
			return m, nil
		case !localName(string(name)):
			return manifest{}, errManifest
		}
		m.files = append(m.files, string(name))
		rest = tail
	}
}

// localName tells whether a name stays below the directory. It is fs.ValidPath for
// names that are not UTF-8.
func localName(name string) bool {
	return name != "." && path.Clean(name) == name && filepath.IsLocal(filepath.FromSlash(name))
}

func (m manifest) encode() []byte {
	b := binary.BigEndian.AppendUint64([]byte(manifestMagic), uint64(m.taken.UnixNano()))
	for _, f := range m.files {
		b = append(append(b, f...), 0)
	}
	return append(b, 0)
}

// readManifest returns an error that is fs.ErrNotExist if there is none.
func readManifest(file string) (manifest, error) {
	f, err := os.Open(file)
	if err != nil {
		return manifest{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return manifest{}, err
	}
	if len(b) > maxManifest {
		return manifest{}, errManifest
	}
	return decodeManifest(b)
}

// write replaces the file as a whole. It need not survive a power cut: a damaged
// one makes the next build start anew.
func (m manifest) write(file string) error {
	tmp := file + ".new"
	if err := os.WriteFile(tmp, m.encode(), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}
