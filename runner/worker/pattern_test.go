package worker

import (
	"path"
	"strings"
	"testing"
)

func TestPattern(t *testing.T) {
	for _, tt := range []struct {
		pattern   string
		fits, not string
		fixed     string
	}{
		{"dist/*", "dist/a dist/a.tar.gz", "a dist dist/b/c dist/.a x/dist/a", "dist"},
		{"**", "a a/b a/b/c", ".a a/.b .a/b", "."},
		{"**/*.xml", "a.xml a/b/c.xml", "a.txt .git/a.xml a/.b.xml", "."},
		{"./out//**/r/*.xml", "out/r/a.xml out/x/y/r/a.xml", "r/a.xml out/a.xml out/.x/r/a.xml", "out"},
		{"out/**", "out/a out/a/b", "out outer/a", "out"},
		{"a/b/c", "a/b/c", "a/b a/b/c/d", "a/b"},
		{".cache/*", ".cache/a", ".cache/.b cache/a", ".cache"},
		{"**/.x", ".x a/.x", ".y/.x x", "."},
		{`a\*/b`, "a*/b", "ab/b", "."},
		{"[a-c]?/**/**/x", "ax/x bz/1/2/x", "dx/x a/x", "."},
	} {
		p, err := ParsePattern(tt.pattern)
		if err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
			continue
		}
		for name := range strings.FieldsSeq(tt.fits) {
			if !p.Fits(name) {
				t.Errorf("%s does not fit %s", tt.pattern, name)
			}
			for dir := path.Dir(name); ; dir = path.Dir(dir) {
				if !p.FitsBelow(dir) {
					t.Errorf("%s is not looked for in %s", tt.pattern, dir)
				}
				if dir == "." {
					break
				}
			}
		}
		for name := range strings.FieldsSeq(tt.not) {
			if p.Fits(name) {
				t.Errorf("%s fits %s", tt.pattern, name)
			}
		}
		if got := p.Fixed(); got != tt.fixed {
			t.Errorf("%s is below %s, want %s", tt.pattern, got, tt.fixed)
		}
	}
	if p, _ := ParsePattern("a/*"); p.FitsBelow("b") || p.FitsBelow("a/b") || p.FitsBelow("a/b/c") {
		t.Error("more is looked through than can fit")
	}
}

func TestNoPattern(t *testing.T) {
	for _, s := range []string{"", ".", "/", "/etc/*", "../x", "a/../../b", "[", "a/[x", "a\x00", strings.Repeat("a/", 65) + "b"} {
		if p, err := ParsePattern(s); err == nil {
			t.Errorf("%q is %q", s, p)
		}
	}
}

// FuzzPattern: whatever fits is a plain name, and lies where it is looked for.
func FuzzPattern(f *testing.F) {
	for _, s := range []string{"**/*.xml a/b.xml", "dist/** dist/a", "[a-z]*/**/x.? ab/c/x.y", `a\*b a*b`, ".* .x"} {
		f.Add(strings.Split(s, " ")[0], strings.Split(s, " ")[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		p, err := ParsePattern(pattern)
		if err != nil {
			return
		}
		again, err := ParsePattern(p.String())
		if err != nil || again.String() != p.String() {
			t.Fatalf("%q is %q, and that is %q: %v", pattern, p, again, err)
		}
		if p.Fits(name) && path.Clean(name) == name {
			if dir := path.Dir(name); !p.FitsBelow(dir) {
				t.Fatalf("%q fits %q, and is not looked for in %q", pattern, name, dir)
			}
			if fixed := p.Fixed(); fixed != "." && !strings.HasPrefix(name, fixed+"/") {
				t.Fatalf("%q fits %q, which is not in %q", pattern, name, fixed)
			}
		}
	})
}
