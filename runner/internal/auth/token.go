package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
)

// tokenPrefix lets people, and programs that look for leaked secrets, recognise
// a token.
const tokenPrefix = "bothy_"

// tokenSize is how many random bytes a token has. With 256 bits a fast hash
// protects it as well as a slow one would.
const tokenSize = 32

// NewToken returns a random token of 256 bits: "bothy_" and 43 letters, digits,
// - and _.
func NewToken() string {
	b := make([]byte, tokenSize)
	rand.Read(b) // never fails: it ends the process instead
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// TokenDigest returns the SHA-256 of a token in hex, which is what is stored of
// it. Since a token cannot be guessed, digests may be compared, or looked up in
// a map, in any way.
func TokenDigest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// IsDigest reports whether s is a SHA-256 in hex.
func IsDigest(s string) bool {
	_, ok := parseDigest(s)
	return ok
}

func parseDigest(s string) (sum [sha256.Size]byte, ok bool) {
	if len(s) != hex.EncodedLen(sha256.Size) {
		return sum, false
	}
	_, err := hex.Decode(sum[:], []byte(s))
	return sum, err == nil
}

// VerifyToken reports, in constant time, whether token is the one that is
// stored: as a SHA-256 in hex, or in clear. Nothing fits an empty stored one.
func VerifyToken(stored, token string) bool {
	want, isDigest := parseDigest(stored)
	if !isDigest {
		want = sha256.Sum256([]byte(stored))
	}
	got := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1 && stored != ""
}
