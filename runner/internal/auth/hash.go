package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// Parameters of new hashes: the second recommended option of RFC 9106, section
// 4, the one for machines that cannot spare 2 GiB for a login.
const (
	newMemory = 64 << 10 // KiB
	newPasses = 3
	newLanes  = 4
	newSalt   = 16 // bytes
	newKey    = 32 // bytes
)

// Limits of hashes that are read: a configuration must not be able to take the
// master's memory or minutes of its time for one login.
const (
	maxMemory = 256 << 10 // KiB
	maxPasses = 16
	maxLanes  = 16
	maxWork   = maxMemory * newPasses // KiB filled in all passes
	maxCost   = 14                    // of bcrypt, about a second
	maxHash   = 256                   // bytes of the text

	minSalt, maxSalt = 8, 64 // bytes; RFC 9106, section 3.1 requires 8
	minKey, maxKey   = 16, 64
)

// MaxPassword is the length in bytes of the longest password that is hashed or
// compared.
const MaxPassword = 1 << 10

// Hash is a password's hash, as read by [ParseHash]. The zero Hash fits no
// password.
type Hash struct {
	bcrypt []byte // the whole text; nil: argon2id

	memory uint32 // KiB
	passes uint32
	lanes  uint8
	salt   []byte
	key    []byte
}

// HashPassword returns a new argon2id hash of a password with a random salt, as a
// PHC string. It takes 64 MiB for a moment.
func HashPassword(password string) (string, error) {
	switch {
	case password == "":
		return "", errors.New("the password is empty")
	case len(password) > MaxPassword:
		return "", fmt.Errorf("the password has more than %d bytes", MaxPassword)
	}
	salt := make([]byte, newSalt)
	rand.Read(salt) // never fails: it ends the process instead
	h := Hash{memory: newMemory, passes: newPasses, lanes: newLanes, salt: salt}
	h.key = h.derive(password, newKey)
	return h.String(), nil
}

// ParseHash reads an argon2id hash in PHC format, "$argon2id$v=19$m=…,t=…,p=…$SALT$KEY",
// or a bcrypt one, "$2y$…" (also 2a and 2b), as htpasswd -B prints it. Errors do
// not repeat the text.
func ParseHash(s string) (Hash, error) {
	switch {
	case len(s) > maxHash:
		return Hash{}, fmt.Errorf("the hash has more than %d bytes", maxHash)
	case strings.HasPrefix(s, "$argon2id$"):
		return parseArgon2(s)
	case strings.HasPrefix(s, "$2"):
		return parseBcrypt(s)
	case strings.HasPrefix(s, "$argon2"):
		return Hash{}, errors.New("the hash is not of the kind argon2id")
	}
	return Hash{}, errors.New("not a hash of the kind argon2id or bcrypt")
}

// parseArgon2 reads the parts between the dollar signs: "", argon2id, version,
// parameters, salt, key.
func parseArgon2(s string) (h Hash, err error) {
	part := strings.Split(s, "$")
	if len(part) != 6 {
		return Hash{}, errors.New("the hash does not have the form $argon2id$v=19$m=…,t=…,p=…$SALT$KEY")
	}
	if version := fmt.Sprintf("v=%d", argon2.Version); part[2] != version {
		return Hash{}, fmt.Errorf("the hash is of another version of argon2id, want %s", version)
	}
	param := strings.Split(part[3], ",")
	if len(param) != 3 {
		return Hash{}, errors.New("the hash's parameters are not m, t and p, in this order")
	}
	var n [3]uint64
	for i, p := range []struct {
		name string
		max  uint64
	}{{"m=", maxMemory}, {"t=", maxPasses}, {"p=", maxLanes}} {
		if n[i], err = number(param[i], p.name, p.max); err != nil {
			return Hash{}, err
		}
	}
	h.memory, h.passes, h.lanes = uint32(n[0]), uint32(n[1]), uint8(n[2])
	switch {
	case h.memory < 8*uint32(h.lanes): // RFC 9106, section 3.1
		return Hash{}, fmt.Errorf("the hash's parameter m is less than 8 for each of its %d lanes", h.lanes)
	case n[0]*n[1] > maxWork:
		return Hash{}, fmt.Errorf("the hash asks for %d KiB in %d passes, which takes too long", h.memory, h.passes)
	}
	if h.salt, err = decode("salt", part[4], minSalt, maxSalt); err != nil {
		return Hash{}, err
	}
	if h.key, err = decode("key", part[5], minKey, maxKey); err != nil {
		return Hash{}, err
	}
	return h, nil
}

// number reads a parameter: the name, then decimal digits without a leading 0.
func number(s, name string, most uint64) (uint64, error) {
	digits, ok := strings.CutPrefix(s, name)
	n, err := strconv.ParseUint(digits, 10, 32)
	switch {
	case errors.Is(err, strconv.ErrRange):
		n, err = math.MaxUint32, nil
	case err == nil && strconv.FormatUint(n, 10) != digits:
		ok = false
	}
	switch {
	case !ok || err != nil || n == 0:
		return 0, fmt.Errorf("the hash's parameter %s is not a number", strings.TrimSuffix(name, "="))
	case n > most:
		return 0, fmt.Errorf("the hash's parameter %s is more than %d", strings.TrimSuffix(name, "="), most)
	}
	return n, nil
}

// decode reads base64 as PHC strings have it: without padding, and strict, so
// that a hash has one spelling only.
func decode(what, s string, least, most int) ([]byte, error) {
	b, err := base64.RawStdEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") { // the decoder skips line ends
		return nil, fmt.Errorf("the hash's %s is not base64 without padding", what)
	}
	if len(b) < least || len(b) > most {
		return nil, fmt.Errorf("the hash's %s has %d bytes, want %d to %d", what, len(b), least, most)
	}
	return b, nil
}

func parseBcrypt(s string) (Hash, error) {
	const size = 60 // "$2y$10$", 22 letters of salt, 31 of hash
	const letters = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	if len(s) != size || !strings.ContainsRune("aby", rune(s[2])) || s[3] != '$' || s[6] != '$' ||
		strings.Trim(s[7:], letters) != "" {
		return Hash{}, errors.New("the hash does not have the form $2y$COST$ and 53 letters")
	}
	cost, err := bcrypt.Cost([]byte(s))
	switch {
	case err != nil:
		return Hash{}, errors.New("the hash's cost is not a number from 4 to 31")
	case cost > maxCost:
		return Hash{}, fmt.Errorf("the hash's cost is more than %d, which takes too long", maxCost)
	}
	return Hash{bcrypt: []byte(s)}, nil
}

// IsZero reports whether h is the zero Hash.
func (h *Hash) IsZero() bool { return h.bcrypt == nil && h.key == nil }

// String returns the text that [ParseHash] reads, "" for the zero Hash.
func (h *Hash) String() string {
	switch {
	case h.bcrypt != nil:
		return string(h.bcrypt)
	case h.key == nil:
		return ""
	}
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.passes, h.lanes,
		b64.EncodeToString(h.salt), b64.EncodeToString(h.key))
}

// IsWeak reports whether h costs so little that passwords can be tried quickly
// by whoever gets hold of it: less than the OWASP Password Storage Cheat Sheet
// asks for, whose cheapest argon2id is 7 MiB in 5 passes, and for bcrypt a cost
// of 10.
func (h *Hash) IsWeak() bool {
	if h.bcrypt != nil {
		return string(h.bcrypt[4:6]) < "10"
	}
	return uint64(h.memory)*uint64(h.passes) < 7<<10*5
}

// matches does the work of comparing, in constant time for equal parameters.
func (h *Hash) matches(password string) bool {
	switch {
	case h.bcrypt != nil:
		return bcrypt.CompareHashAndPassword(h.bcrypt, []byte(password)) == nil
	case h.key == nil:
		return false
	}
	return subtle.ConstantTimeCompare(h.key, h.derive(password, len(h.key))) == 1
}

func (h *Hash) derive(password string, size int) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.lanes, uint32(size))
}
