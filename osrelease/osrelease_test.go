package osrelease

import (
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	tests := []struct {
		name, text string
		want       Fields
		warnings   []string
	}{
		{"plain", "ID=debian\nVERSION_ID=12\n", Fields{"ID": "debian", "VERSION_ID": "12"}, nil},
		{"double quotes", `NAME="Debian GNU/Linux"`, Fields{"NAME": "Debian GNU/Linux"}, nil},
		{"single quotes", `NAME='Debian GNU/Linux'`, Fields{"NAME": "Debian GNU/Linux"}, nil},
		{"escapes in double quotes", "NAME=\"a\\\"b\\\\c\\$d\\`e\\'f\"", Fields{"NAME": "a\"b\\c$d`e'f"}, nil},
		{"other backslashes stay in double quotes", `NAME="a\n\x"`, Fields{"NAME": `a\n\x`}, nil},
		{"no escapes in single quotes", `NAME='a\\b\n$c"'`, Fields{"NAME": `a\\b\n$c"`}, nil},
		{"escapes without quotes", `NAME=a\ \"b\\\n`, Fields{"NAME": `a "b\n`}, nil},
		{"blanks without quotes", "NAME=Wind River Linux  \n", Fields{"NAME": "Wind River Linux"}, nil},
		{"empty values", "A=\nB=\"\"\nC=''\n", Fields{"A": "", "B": "", "C": ""}, nil},
		{"comments and blank lines", "# ID=no\n\n  \t\n  # x\nID=a\n", Fields{"ID": "a"}, nil},
		{"a hash elsewhere is no comment", "A=x#y\nB=\"#\"\n", Fields{"A": "x#y", "B": "#"}, nil},
		{"nothing is expanded", "A=$HOME\nB=\"$(id)\"\n", Fields{"A": "$HOME", "B": "$(id)"}, nil},
		{"equals sign in the value", "A=b=c", Fields{"A": "b=c"}, nil},
		{"last key wins", "ID=a\nID=b\n", Fields{"ID": "b"}, nil},
		{"a bad line does not hide an earlier good one", "ID=a\nID=\"b\n", Fields{"ID": "a"}, []string{"line 2: ID: no closing quote"}},
		{"line ends of Windows, blanks around", "  ID=\"a\" \r\nB=c\r\n", Fields{"ID": "a", "B": "c"}, nil},
		{"UTF-8", "NAME=\"Häuschen\"", Fields{"NAME": "Häuschen"}, nil},
		{"lower case and digits in keys", "a_1=b", Fields{"a_1": "b"}, nil},
		{"nothing", "", Fields{}, nil},
		{
			"bad lines", "word\n=x\nA B=c\nexport D=e\n1A=x\nA='b\nB=\"c\\\"\nC=\"a\"b\nD='a''b'\nE=a\"b\"\nF=a\\\nG=\xff\nH=\"a\x00b\"\nI=ok",
			Fields{"I": "ok"},
			[]string{
				"line 1: not an assignment: no =",
				"line 2: the text before = is not a variable name",
				"line 3: the text before = is not a variable name",
				"line 4: the text before = is not a variable name",
				"line 5: the text before = is not a variable name",
				"line 6: A: no closing quote",
				"line 7: B: no closing quote",
				"line 8: C: text after the closing quote",
				"line 9: D: text after the closing quote",
				"line 10: E: a quote inside a value that does not start with one",
				"line 11: F: nothing after the last backslash",
				"line 12: G: the value is not UTF-8",
				"line 13: H: the value has a control character",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, warnings, err := Parse(strings.NewReader(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("fields (-want +got):\n%s", d)
			}
			if d := cmp.Diff(tt.warnings, texts(warnings)); d != "" {
				t.Errorf("warnings (-want +got):\n%s", d)
			}
		})
	}
}

func texts(warnings []Warning) []string {
	var lines []string
	for _, w := range warnings {
		lines = append(lines, w.String())
	}
	return lines
}

func TestParseLimits(t *testing.T) {
	full := "A=" + strings.Repeat("x", MaxSize-2)
	if fields, _, err := Parse(strings.NewReader(full)); err != nil || len(fields["A"]) != MaxSize-2 {
		t.Errorf("a file of MaxSize: %v", err)
	}
	if _, _, err := Parse(strings.NewReader(full + "x")); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one byte more: %v, want ErrTooLarge", err)
	}
	broken := errors.New("disk on fire")
	if _, _, err := Parse(io.MultiReader(strings.NewReader("A=b\n"), failing{broken})); !errors.Is(err, broken) {
		t.Errorf("error of the reader: got %v", err)
	}
	_, warnings, err := Parse(strings.NewReader(strings.Repeat("bad\n", 1000)))
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != maxWarnings+1 || warnings[maxWarnings].String() != "980 more bad lines" {
		t.Errorf("%d warnings, the last: %s", len(warnings), warnings[len(warnings)-1])
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestProperties(t *testing.T) {
	tests := []struct {
		name   string
		fields Fields
		want   map[string]any
	}{
		{"nothing known", nil, map[string]any{"os_id": nil, "os_id_like": nil, "os_version_id": nil, "os_version_codename": nil}},
		{
			"present, empty and others", Fields{"ID": "a", "ID_LIKE": "", "HOME_URL": "u"},
			map[string]any{"os_id": "a", "os_id_like": "", "os_version_id": nil, "os_version_codename": nil, "os_home_url": "u"},
		},
		{
			"capitals win", Fields{"id": "low", "ID": "high", "Id": "mixed"},
			map[string]any{"os_id": "high", "os_id_like": nil, "os_version_id": nil, "os_version_codename": nil},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, Properties(tt.fields)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// TestShell holds the parser against what os-release(5) promises: that a shell
// which sources the file sees the same.
func TestShell(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("SKIPPED: no sh to compare with")
	}
	text := strings.Join([]string{
		`A=plain`, `B="a \"b\" \\ \$HOME c\n"`, "C=\"\\`id\\`\"", `D='single \\ $HOME "x" \n'`, `E=un\ quoted\"\\\n\$`, `F=`, `G=""`, `H=a#b`, `I="ä € 😀"`, `A=last`,
	}, "\n") + "\n"
	file := t.TempDir() + "/os-release"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, warnings, err := Parse(strings.NewReader(text))
	if err != nil || warnings != nil {
		t.Fatal(err, warnings)
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		want, err := exec.Command(sh, "-c", `. "$1"; printf %s "$`+key+`"`, "sh", file).Output()
		if err != nil {
			t.Fatalf("sh: %v", err)
		}
		if got[key] != string(want) {
			t.Errorf("%s: got %q, the shell has %q", key, got[key], want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("ID=debian\nNAME=\"Debian \\\"GNU\\\"\"\n"))
	f.Add([]byte("# c\n\n A='b' \r\nx\n1=\n=\nB=\"\nC='\\'\nD=\\"))
	f.Add([]byte("A=\xff\xfe\x00\nA\xc3=b\nNAME=Wind River Linux"))
	f.Fuzz(func(t *testing.T, data []byte) {
		fields, warnings, err := Parse(strings.NewReader(string(data)))
		if err != nil {
			if len(data) <= MaxSize {
				t.Fatal(err)
			}
			return
		}
		if lines := strings.Count(string(data), "\n") + 1; len(fields)+len(warnings) > lines {
			t.Errorf("%d fields and %d warnings from %d lines", len(fields), len(warnings), lines)
		}
		// What was understood must survive being written as the manual page asks.
		var b strings.Builder
		escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`")
		for key, value := range fields {
			b.WriteString(key + `="` + escape.Replace(value) + "\"\n")
		}
		if b.Len() > MaxSize {
			return
		}
		again, warnings, err := Parse(strings.NewReader(b.String()))
		if err != nil || warnings != nil {
			t.Fatalf("%q: %v %v", b.String(), err, warnings)
		}
		if d := cmp.Diff(fields, again); d != "" {
			t.Errorf("(-first +second):\n%s", d)
		}
	})
}
