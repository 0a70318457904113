package auth

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// minPassword is how long a password must be that a machine sends: nobody
	// has to remember it.
	minPassword = 12
	// minDistinct is how many different characters it must have.
	minDistinct = 6
)

// common are what passwords are made of that are tried first.
var common = []string{
	"", "admin", "bothy", "buildbot", "changeme", "default", "letmein", "pass", "passwd", "password",
	"qwerty", "qwertyuiop", "s3cret", "sample", "secret", "supersecret", "test", "welcome", "worker",
}

// Weakness says why the password of a machine's account can be guessed; "" if it
// looks good. It never repeats the password.
func Weakness(name, password string) string {
	letters := func(s string) string {
		return strings.Map(func(r rune) rune {
			if !unicode.IsLetter(r) {
				return -1
			}
			return unicode.ToLower(r)
		}, s)
	}
	distinct := map[rune]bool{}
	for _, r := range password {
		distinct[r] = true
	}
	words := letters(password)
	switch n := utf8.RuneCountInString(password); {
	case n < minPassword:
		return fmt.Sprintf("it has only %d characters", n)
	case len(distinct) < minDistinct:
		return fmt.Sprintf("it has only %d different characters", len(distinct))
	case slices.Contains(common, words) || slices.Contains(common, strings.ToLower(password)):
		return "it is made of a word that is tried first"
	case words == letters(name):
		return "it is made of the name"
	}
	return ""
}
