package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"bothy/runner/internal/remote/wire"
)

// absolute returns the arguments of a command as MessagePack has them: with
// absolute paths. Over Perspective Broker they are relative to the builder's
// directory, and have other names.
func absolute(name string, a wire.Map, dir string) (wire.Map, error) {
	r := &relative{old: args(a), dir: dir}
	switch name {
	case "mkdir", "rmdir":
		r.set("paths", r.dirs("dir"), "dir")
	case "cpdir":
		r.set("from_path", r.join("fromdir"), "fromdir")
		r.set("to_path", r.join("todir"), "todir")
	case "stat":
		r.set("path", r.join("workdir?", "file"), "file")
	case "glob", "rmfile":
		r.set("path", r.join("path"), "path")
	case "listdir":
		r.set("path", r.join("dir"), "dir")
	case "shell":
		r.set("workdir", r.join("workdir"), "workdir")
	case "uploadFile", "uploadDirectory":
		// Before Buildbot 0.9 it was the slave's.
		r.set("path", r.join("workdir", r.either("~workersrc", "~slavesrc")), "workdir")
	case "downloadFile":
		r.set("path", r.join("workdir", r.either("~workerdest", "~slavedest")), "workdir")
	}
	return append(wire.Map(r.old), r.added...), r.err
}

// relative makes paths absolute.
type relative struct {
	old   args
	added wire.Map
	dir   string
	err   error
}

// set replaces the argument old by key.
func (r *relative) set(key string, v any, old string) {
	var kept args
	for _, f := range r.old {
		if f.Key != old && f.Key != key {
			kept = append(kept, f)
		}
	}
	r.old = kept
	r.added = append(r.added, wire.Field{Key: key, Value: v})
}

// either returns the key of the argument that was sent.
func (r *relative) either(key, older string) string {
	if r.old.get(strings.Trim(key, "~?")) == nil && r.old.get(strings.Trim(older, "~?")) != nil {
		return older
	}
	return key
}

// join joins the directory and arguments. A key that ends in "?" need not be
// there; in one that begins with "~" that is the home directory.
func (r *relative) join(keys ...string) string {
	path := r.dir
	for _, k := range keys {
		key := strings.Trim(k, "~?")
		s, err := r.old.text(key)
		if err != nil || r.old.get(key) == nil && !strings.HasSuffix(k, "?") {
			if err == nil {
				err = fmt.Errorf("argument %q is missing", key)
			}
			r.fail(err)
		}
		if strings.HasPrefix(k, "~") {
			s = expandHome(s)
		}
		path = join(path, s)
	}
	return path
}

// dirs joins the directory and an argument that is a path or a list of paths.
func (r *relative) dirs(key string) []any {
	v := r.old.get(key)
	list, err := wire.Texts(v)
	if err != nil {
		return []any{r.join(key)}
	}
	paths := make([]any, len(list))
	for i, s := range list {
		paths[i] = join(r.dir, s)
	}
	return paths
}

func (r *relative) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// expandHome expands "~" at the beginning of a path.
func expandHome(s string) string {
	if s != "~" && !strings.HasPrefix(s, "~/") && !strings.HasPrefix(s, "~"+string(filepath.Separator)) {
		return s
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return s
	}
	return home + s[1:]
}
