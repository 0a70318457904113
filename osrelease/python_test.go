package osrelease

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// freedesktop prints what platform.freedesktop_os_release() returns for each
// file named on its command line. Names inside the module differ between
// versions of Python, so it is loaded afresh for each file and given an open()
// that opens that file.
const freedesktop = `
import importlib, json, platform, sys
out = {}
for path in sys.argv[1:]:
    importlib.reload(platform)
    platform.open = lambda _, **options: open(path, **options)
    out[path] = platform.freedesktop_os_release()
json.dump(out, sys.stdout)
`

// TestPython compares with Python on real files. Python also invents NAME, ID
// and PRETTY_NAME where they are missing; only keys that we have are compared,
// and no other may be missing here.
func TestPython(t *testing.T) {
	files, err := filepath.Glob("../../shared/os-release/*")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("SKIPPED: no collection of real files in ../shared/os-release")
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("SKIPPED: no python3 to compare with")
	}
	var stderr bytes.Buffer
	cmd := exec.Command(python, append([]string{"-c", freedesktop}, files...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if bytes.Contains(stderr.Bytes(), []byte("has no attribute 'freedesktop_os_release'")) {
		t.Skip("SKIPPED: python3 is older than 3.10")
	}
	if err != nil {
		t.Fatalf("python3: %v\n%s", err, stderr.Bytes())
	}
	var python3 map[string]map[string]string
	if err := json.Unmarshal(out, &python3); err != nil {
		t.Fatal(err)
	}
	invented := map[string]string{"NAME": "Linux", "ID": "linux", "PRETTY_NAME": "Linux"}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		fields, warnings, err := Parse(f)
		f.Close()
		if err != nil || len(warnings) != 0 {
			t.Errorf("%s: %v %v", file, err, warnings)
		}
		want := python3[file]
		for key, value := range fields {
			if want[key] != value {
				t.Errorf("%s: %s=%q, Python has %q", file, key, value, want[key])
			}
		}
		for key, value := range want {
			if _, ok := fields[key]; !ok && value != invented[key] {
				t.Errorf("%s: %s=%q is missing", file, key, value)
			}
		}
	}
}
