package auth

import (
	"context"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

const (
	// echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -e  (Debian's argon2)
	argonHash = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	// htpasswd -nbB -C 5 ana 'correct horse'  (Debian's apache2-utils)
	bcryptHash = "$2y$05$pnWIy63GjVT/6zJruQEZFukrmAGmAf20KM.wkFKhuYsPFvjKQqMtm"
	// echo -n password | argon2 somesalt -id -t 1 -k 8 -p 1 -l 16 -e
	cheapHash = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$9zpz0nGFnSHvRUZdoSvfhg"
)

func ExampleHashPassword() {
	hash, err := HashPassword("correct horse")
	if err != nil {
		fmt.Println(err)
		return
	}
	v := NewVerifier(hash)
	fmt.Println(v.VerifyPassword(context.Background(), hash, "correct horse"))
	fmt.Println(v.VerifyPassword(context.Background(), hash, "battery staple"))
	fmt.Println(v.VerifyPassword(context.Background(), "", "whatever")) // no such user
	// Output:
	// true
	// false
	// false
}

func ExampleVerifyToken() {
	token := NewToken()
	stored := TokenDigest(token)
	fmt.Println(VerifyToken(stored, token), VerifyToken(stored, stored))
	// Output: true false
}

func TestVerifyPassword(t *testing.T) {
	v := NewVerifier(cheapHash)
	for _, c := range []struct {
		hash, password string
		want           bool
	}{
		{argonHash, "password", true},
		{argonHash, "Password", false},
		{cheapHash, "password", true},
		{argonHash, "", false},
		{bcryptHash, "correct horse", true},
		{strings.Replace(bcryptHash, "$2y$", "$2b$", 1), "correct horse", true},
		{strings.Replace(bcryptHash, "$2y$", "$2a$", 1), "correct horse", true},
		{bcryptHash, "correct horse ", false},
		{"", "", false},
		{"", "password", false},
		{"plain", "plain", false},
		{argonHash, strings.Repeat("x", MaxPassword+1), false},
	} {
		if got := v.VerifyPassword(t.Context(), c.hash, c.password); got != c.want {
			t.Errorf("%.12s… and %.20q: %v, want %v", c.hash, c.password, got, c.want)
		}
	}
}

func TestHashPassword(t *testing.T) {
	first, err := HashPassword("x")
	if err != nil {
		t.Fatal(err)
	}
	second, err := HashPassword("x")
	if err != nil {
		t.Fatal(err)
	}
	if first == second {
		t.Error("two hashes are equal: there is no salt")
	}
	if form := regexp.MustCompile(`^\$argon2id\$v=19\$m=65536,t=3,p=4\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`); !form.MatchString(first) {
		t.Errorf("%s does not have the form %s", first, form)
	}
	for _, bad := range []string{"", strings.Repeat("x", MaxPassword+1)} {
		if h, err := HashPassword(bad); err == nil {
			t.Errorf("a password of %d bytes: %s, want an error", len(bad), h)
		}
	}
}

func TestParseHash(t *testing.T) {
	const salt, key = "c29tZXNhbHQ", "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	argon := func(version, param, salt, key string) string {
		return "$argon2id$" + version + "$" + param + "$" + salt + "$" + key
	}
	for hash, want := range map[string]string{
		"":                                               "not a hash",
		"password":                                       "not a hash",
		"$1$abc$def":                                     "not a hash",
		"$argon2i$v=19$m=8,t=1,p=1$a$b":                  "not of the kind argon2id",
		"$argon2id$v=19":                                 "does not have the form",
		argonHash + "$":                                  "does not have the form",
		argon("v=16", "m=8,t=1,p=1", salt, key):          "another version",
		argon("v=19", "m=8,t=1", salt, key):              "are not m, t and p",
		argon("v=19", "t=1,m=8,p=1", salt, key):          "m is not a number",
		argon("v=19", "m=8,t=01,p=1", salt, key):         "t is not a number",
		argon("v=19", "m=8,t=+1,p=1", salt, key):         "t is not a number",
		argon("v=19", "m=8,t=0,p=1", salt, key):          "t is not a number",
		argon("v=19", "m=8,t=1,p=2", salt, key):          "less than 8 for each",
		argon("v=19", "m=2097152,t=1,p=4", salt, key):    "m is more than 262144", // RFC 9106, first option
		argon("v=19", "m=99999999999,t=1,p=4", "", ""):   "m is more than",
		argon("v=19", "m=262144,t=4,p=4", salt, key):     "takes too long",
		argon("v=19", "m=8,t=17,p=1", salt, key):         "t is more than 16",
		argon("v=19", "m=2048,t=1,p=17", salt, key):      "p is more than 16",
		argon("v=19", "m=8,t=1,p=1", "c2hvcnQ", key):     "salt has 5 bytes",
		argon("v=19", "m=8,t=1,p=1", salt+"=", key):      "salt is not base64",
		argon("v=19", "m=8,t=1,p=1", salt, "c2hvcnQ"):    "key has 5 bytes",
		argon("v=19", "m=8,t=1,p=1", salt, key+"\n"):     "key is not base64",
		argon("v=19", "m=8,t=1,p=1", salt, key[:42]+"d"): "key is not base64", // another spelling of the same bits
		strings.Repeat("$", maxHash+1):                   "more than 256 bytes",
		bcryptHash[:59]:                                  "does not have the form",
		strings.Replace(bcryptHash, "$2y$", "$2x$", 1):   "does not have the form",
		bcryptHash[:59] + "!":                            "does not have the form",
		strings.Replace(bcryptHash, "$05$", "$15$", 1):   "cost is more than 14",
		strings.Replace(bcryptHash, "$05$", "$03$", 1):   "cost is not a number",
		strings.Replace(bcryptHash, "$05$", "$xx$", 1):   "cost is not a number",
	} {
		_, err := ParseHash(hash)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", hash, err, want)
		} else if len(hash) > 20 && strings.Contains(err.Error(), hash[len(hash)-20:]) {
			t.Errorf("%q: the error repeats the hash: %v", hash, err)
		}
	}
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// The memory that argon2id takes shows that it was computed.
func TestUnknownUserCostsAsMuch(t *testing.T) {
	for name, c := range map[string]struct {
		hashes []string
		least  uint64
	}{
		"no users":         {nil, newMemory << 10},
		"users":            {[]string{cheapHash, argonHash, bcryptHash, "bad"}, 64 << 20},
		"only cheap users": {[]string{cheapHash}, 8 << 10},
	} {
		v := NewVerifier(c.hashes...)
		if got := allocated(func() { v.VerifyPassword(t.Context(), "", "x") }); got < c.least {
			t.Errorf("%s: computing for an unknown user took %d bytes, want at least %d", name, got, c.least)
		}
	}
	if v := NewVerifier(bcryptHash, strings.Replace(bcryptHash, "$05$", "$06$", 1)); string(v.dummy.bcrypt[4:6]) != "06" {
		t.Errorf("computed for unknown users: %s, want the one of cost 06", v.dummy.bcrypt)
	}
}

func TestIsWeak(t *testing.T) {
	for hash, want := range map[string]bool{
		argonHash: false, cheapHash: true, bcryptHash: true,
		strings.Replace(bcryptHash, "$05$", "$10$", 1):             false,
		strings.Replace(argonHash, "m=65536", "m=7168", 1):         true,
		strings.Replace(argonHash, "m=65536,t=2", "m=7168,t=5", 1): false,
	} {
		h, err := ParseHash(hash)
		if err != nil {
			t.Fatal(err)
		}
		if got := h.IsWeak(); got != want {
			t.Errorf("%s: weak %v, want %v", hash, got, want)
		}
	}
	if h, err := HashPassword("x"); err != nil {
		t.Error(err)
	} else if h, err := ParseHash(h); err != nil || h.IsWeak() {
		t.Errorf("a new hash is weak: %v, %v", h.String(), err)
	}
}

func TestFewAtATime(t *testing.T) {
	v := NewVerifier()
	for _, hash := range []string{"", argonHash, bcryptHash} {
		if !v.budget.TryAcquire(memoryBudget - newMemory + 1) {
			t.Fatal("the budget is not free")
		}
		ctx, cancel := context.WithCancel(t.Context())
		waiting := make(chan bool)
		go func() { waiting <- v.VerifyPassword(ctx, hash, "password") }()
		cancel() // nothing else ends the waiting
		if <-waiting {
			t.Errorf("%.10s: verified without room for it", hash)
		}
		v.budget.Release(memoryBudget - newMemory + 1)
	}
	if !v.budget.TryAcquire(memoryBudget) {
		t.Error("something was not given back")
	}
	v.budget.Release(memoryBudget)
	large := Hash{memory: maxMemory, passes: 1, lanes: 1, salt: make([]byte, newSalt), key: make([]byte, newKey)}
	if n := large.weight(); n > memoryBudget {
		t.Errorf("the largest hash weighs %d, which is never free", n)
	}
}

func TestTokens(t *testing.T) {
	a, b := NewToken(), NewToken()
	if a == b {
		t.Error("two tokens are equal")
	}
	if form := regexp.MustCompile(`^bothy_[A-Za-z0-9_-]{43}$`); !form.MatchString(a) {
		t.Errorf("%s does not have the form %s", a, form)
	}
	// echo -n abc | sha256sum
	const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	for _, c := range []struct {
		stored, token string
		want          bool
	}{
		{abc, "abc", true},
		{strings.ToUpper(abc), "abc", true},
		{abc, abc, false},
		{abc, "abd", false},
		{"in clear", "in clear", true},
		{"in clear", "in clea", false},
		{"", "", false},
		{"", "x", false},
		{TokenDigest(a), a, true},
		{TokenDigest(a), b, false},
		{TokenDigest(""), "", true}, // what somebody wrote
	} {
		if got := VerifyToken(c.stored, c.token); got != c.want {
			t.Errorf("%q and %q: %v, want %v", c.stored, c.token, got, c.want)
		}
	}
	if !IsDigest(abc) || IsDigest("abc") || IsDigest(abc[1:]+"x") {
		t.Error("IsDigest does not know digests")
	}
}

func FuzzParseHash(f *testing.F) {
	for _, s := range []string{
		"", argonHash, bcryptHash, cheapHash, "$argon2id$v=19$m=8,t=1,p=1$$", "$argon2id$v=19$m=,t=,p=$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
		"$2y$", "$2a$14$" + strings.Repeat(".", 53),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseHash(s)
		if err != nil {
			if !h.IsZero() {
				t.Errorf("%q: a hash and an error: %v", s, err)
			}
			return
		}
		if h.String() != s {
			t.Errorf("%q is written as %q", s, h.String())
		}
		if h.bcrypt == nil && (h.memory > maxMemory || h.passes > maxPasses || h.lanes > maxLanes || len(h.key) < minKey) {
			t.Errorf("%q: %+v is beyond the limits", s, h)
		}
		if h.bcrypt == nil && h.memory <= 64 {
			h.matches("x") // does not panic
		}
	})
}
