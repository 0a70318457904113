package logs

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"bothy/runner/worker"

	"pgregory.net/rapid"
)

// masked runs p through a masker in pieces of the given sizes, repeated.
func masked(secrets []string, p string, cuts ...int) string {
	m := NewMasker(secrets)
	if m.empty() {
		return p
	}
	t := maskState{m: m}
	var out bytes.Buffer
	for i := 0; len(p) > 0; i++ {
		n := len(p)
		if len(cuts) > 0 {
			n = min(n, max(cuts[i%len(cuts)], 1))
		}
		out.Write(t.feed([]byte(p[:n])))
		p = p[n:]
	}
	out.Write(t.flush())
	return out.String()
}

func TestMask(t *testing.T) {
	const key = "-----BEGIN KEY-----\nAAAABBBB\nxy\nCCCCDDDD\n-----END KEY-----\n"
	for _, c := range []struct {
		name    string
		secrets []string
		in, out string
	}{
		{"none", nil, "text", "text"},
		{"plain", []string{"hunter2"}, "login hunter2 ok\n", "login ******** ok\n"},
		{"all of it", []string{"hunter2"}, "hunter2", "********"},
		{"too short", []string{"abc"}, "abc abc", "abc abc"},
		{"four", []string{"abcd"}, "abc abcd", "abc ********"},
		{"longest first", []string{"pass", "password"}, "password pass passwor", "******** ******** ********wor"},
		{"overlapping", []string{"abcd", "cdef"}, "xabcdefx", "x********x"},
		{"self overlapping", []string{"abab"}, "xababababx", "x********x"},
		{"touching", []string{"abcd"}, "xabcdabcdx", "x********x"},
		{"inner", []string{"bcde", "abcdefgh"}, "abcdefgx", "a********fgx"},
		{"beginning only", []string{"secret"}, "secre", "secre"},
		{"again after a start", []string{"aaab"}, "aaaaab", "aa********"},
		{"lines", []string{key}, "k: AAAABBBB CCCCDDDD xy\n", "k: ******** ******** xy\n"},
		{"whole key", []string{key}, "[" + key + "]", "[********\n]"},
		{"key with other line ends", []string{key}, strings.ReplaceAll(key, "\n", "\r\n"),
			"********\r\n********\r\nxy\r\n********\r\n********\r\n"},
		{"secret with CRLF", []string{"aaaa\r\nbbbb"}, "aaaa\nbbbb\n", "********\n********\n"},
		{"binary", []string{"\x00\xff\x00\xfe"}, "a\x00\xff\x00\xfe\x00", "a********\x00"},
		{"many", []string{"alpha", "bravo", "charlie", "delta"}, "alph bravo charlie1 adelta", "alph ******** ********1 a********"},
		{"three of a size", []string{"aaaa", "bbbb", "cccc"}, strings.Repeat("-", 300) + "bbbb" + strings.Repeat("-", 300), strings.Repeat("-", 300) + "********" + strings.Repeat("-", 300)},
	} {
		for _, cuts := range [][]int{nil, {1}, {2}, {3}, {7, 1}, {64}} {
			if got := masked(c.secrets, c.in, cuts...); got != c.out {
				t.Errorf("%s, cut %v: %q, want %q", c.name, cuts, got, c.out)
			}
		}
	}
}

// TestMaskEveryByte has secrets in which all byte values occur.
func TestMaskEveryByte(t *testing.T) {
	var b []byte
	for i := range 256 {
		if i != '\n' {
			b = append(b, byte(i))
		}
	}
	b = bytes.Trim(b, "\r")
	if got := masked([]string{string(b)}, "x"+string(b)+"x", 100); got != "x********x" {
		t.Errorf("%q", got)
	}
}

// TestHoldBack: only what may become a secret is hidden, and not for longer.
func TestHoldBack(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{})
	w := mustCreate(t, s, 1, NewMasker([]string{"password1", "wordy secret"}))
	for _, c := range []struct{ write, want string }{
		{"user: pass", "0o:user:  (partial)\n"},
		{"word", "0o:user:  (partial)\n"},
		{"y", "0o:user: pass (partial)\n"},
		{" time", "0o:user: passwordy time (partial)\n"},
		{" password1", "0o:user: passwordy time ******** (partial)\n"},
		{"\nwo", "0o:user: passwordy time ********\n"},
	} {
		mustWrite(t, w, worker.Stdout, c.write)
		same(t, fmt.Sprintf("after %q", c.write), all(t, s, 1, ""), c.want)
	}
	mustWrite(t, w, worker.Stderr, "pass")
	mustFinish(t, w)
	same(t, "finished", all(t, s, 1, ""), "0o:user: passwordy time ********\n1o:wo\n2e:pass\n")
}

// TestMaskModel compares with masking every occurrence found by looking at every place.
func TestMaskModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secrets := rapid.SliceOfN(rapid.StringMatching(`[ab\n]{1,9}`), 0, 6).Draw(t, "secrets")
		text := rapid.StringMatching(`[ab\n]{0,200}`).Draw(t, "text")
		cuts := rapid.SliceOfN(rapid.IntRange(1, 40), 1, 5).Draw(t, "cuts")
		checkMask(t, secrets, text, cuts)
	})
}

// patterns are the strings that must not come through.
func patterns(secrets []string) []string {
	var ps []string
	for _, s := range secrets {
		for _, p := range append(strings.Split(s, "\n"), s) {
			if p = strings.Trim(p, "\r\n"); len(p) >= minSecret {
				ps = append(ps, p)
			}
		}
	}
	return ps
}

func checkMask(t interface{ Fatalf(string, ...any) }, secrets []string, text string, cuts []int) {
	hide := make([]bool, len(text))
	for _, p := range patterns(secrets) {
		for i := range len(text) {
			if strings.HasPrefix(text[i:], p) {
				for j := range len(p) {
					hide[i+j] = true
				}
			}
		}
	}
	var want strings.Builder
	for i := range hide {
		if !hide[i] {
			want.WriteByte(text[i])
		} else if i == 0 || !hide[i-1] {
			want.WriteString(maskText)
		}
	}
	for _, cut := range [][]int{nil, cuts} {
		if got := masked(secrets, text, cut...); got != want.String() {
			t.Fatalf("secrets %q, text %q, cut %v: %q, want %q", secrets, text, cut, got, want.String())
		}
	}
}

// FuzzMask: no secret comes through, cutting changes nothing, and without
// secrets nothing is changed.
func FuzzMask(f *testing.F) {
	f.Add("hunter2", "password", "secret\nlines here", "x hunter2 passwordhunter2 lines here", 3)
	f.Add("abab", "baba", "", "abababababab", 1)
	f.Add("\x00\x01\x02\x03", "ab", "aaaa\r\n\r\nbbbb", "aaaa\r\n\r\nbbbb\x00\x01\x02\x03", 5)
	f.Fuzz(func(t *testing.T, a, b, c, text string, cut int) {
		if len(a)+len(b)+len(c) > 4096 || len(text) > 1<<16 {
			t.Skip("larger than needed")
		}
		secrets := []string{a, b, c}
		cuts := []int{cut&63 + 1, cut>>6&63 + 1}
		hideable := len(patterns(secrets)) > 0
		got := masked(secrets, text)
		if pieces := masked(secrets, text, cuts...); pieces != got {
			t.Fatalf("cut %v: %q, whole: %q", cuts, pieces, got)
		}
		if !hideable && got != text {
			t.Fatalf("nothing to hide, but %q became %q", text, got)
		}
		for _, p := range patterns(secrets) {
			if !strings.Contains(p, "*") && strings.Contains(got, p) {
				t.Fatalf("secret %q in %q", p, got)
			}
		}
		if len(text) < 1000 {
			checkMask(t, secrets, text, cuts)
		}
	})
}
