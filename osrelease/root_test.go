package osrelease

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree makes a root directory. A content that starts with "-> " is the target of
// a symbolic link.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			if err := os.Symlink(target, file); err != nil {
				t.Skipf("SKIPPED: no symbolic links here: %v", err)
			}
			continue
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestRead(t *testing.T) {
	tests := []struct {
		name     string
		files    map[string]string
		id       string
		warnings []string
		err      error
	}{
		{"etc first", map[string]string{"etc/os-release": "ID=etc", "usr/lib/os-release": "ID=usr"}, "etc", nil, nil},
		{"usr/lib second", map[string]string{"usr/lib/os-release": "ID=usr"}, "usr", nil, nil},
		{"relative link", map[string]string{"etc/os-release": "-> ../usr/lib/os-release", "usr/lib/os-release": "ID=usr"}, "usr", nil, nil},
		{"absolute link", map[string]string{"etc/os-release": "-> /usr/lib/os-release", "usr/lib/os-release": "ID=usr"}, "usr", nil, nil},
		{"link that climbs over the root", map[string]string{"etc/os-release": "-> ../../../../x", "x": "ID=x"}, "x", nil, nil},
		{"links through linked directories", map[string]string{
			"etc":                   "-> /system/etc",
			"system/etc/os":         "-> ../rel/./now",
			"system/rel":            "-> /r",
			"r/now":                 "ID=far",
			"system/etc/unused":     "",
			"system/etc/os-release": "-> os",
		}, "far", nil, nil},
		{"dangling link", map[string]string{"etc/os-release": "-> /nowhere", "usr/lib/os-release": "ID=usr"}, "usr", nil, nil},
		{
			"link loop", map[string]string{"etc/os-release": "-> os-release", "usr/lib/os-release": "ID=usr"}, "usr",
			[]string{"/etc/os-release: not read: too many symbolic links"}, nil,
		},
		{
			"directory", map[string]string{"etc/os-release/x": "", "usr/lib/os-release": "ID=usr"}, "usr",
			[]string{"/etc/os-release: not read: not a regular file"}, nil,
		},
		{
			"too large", map[string]string{"etc/os-release": strings.Repeat("#", MaxSize+1), "usr/lib/os-release": "ID=usr"}, "usr",
			[]string{"/etc/os-release: not read: file is too large: the limit is 65536 bytes"}, nil,
		},
		{"bad line", map[string]string{"etc/os-release": "ID=a\nx\n"}, "a", []string{"/etc/os-release:2: not an assignment: no ="}, nil},
		{"none", map[string]string{"etc/x": ""}, "", nil, fs.ErrNotExist},
		{"both too large", map[string]string{"etc/os-release": strings.Repeat("#", MaxSize+1), "usr/lib/os-release": strings.Repeat("#", MaxSize+1)}, "", nil, ErrTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := tree(t, tt.files)
			fields, warnings, err := Read(root)
			if !errors.Is(err, tt.err) || (tt.err == nil && err != nil) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if err != nil && strings.Contains(err.Error(), root) {
				t.Errorf("error names the root: %v", err)
			}
			if fields["ID"] != tt.id {
				t.Errorf("ID=%q, want %q", fields["ID"], tt.id)
			}
			if d := cmp.Diff(tt.warnings, texts(warnings)); d != "" {
				t.Errorf("warnings (-want +got):\n%s", d)
			}
		})
	}
}

// A link must not lead out of the root, even where its target exists outside.
func TestRootHolds(t *testing.T) {
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("ID=outside"), 0o644); err != nil {
		t.Fatal(err)
	}
	root := tree(t, map[string]string{"etc/os-release": "-> " + filepath.ToSlash(secret)})
	if fields, _, err := Read(root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read %v, error %v; want not found", fields, err)
	}
}
