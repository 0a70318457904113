package mail

import (
	"crypto/rand"
	"fmt"
	netmail "net/mail"
	"regexp"
	"strings"
	"sync"
)

// maxAddress is the length of the longest address that fits into the longest
// path of RFC 5321 4.5.3.1.3, which has 256 bytes with "<" and ">".
const maxAddress = 254

// plainAddress is what may stand in a command of SMTP between "<" and ">": a
// dot-atom and a domain or an address literal. Quoted local parts are left out:
// nobody needs them, and they could carry more than an address.
var plainAddress = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile("^" + atom + `(\.` + atom + `)*@(` + label + `(\.` + label + `)*|\[[0-9A-Fa-fIPv:.]+\])$`)
})

const (
	atom  = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~\\x{80}-\\x{10FFFF}-]+"
	label = `[A-Za-z0-9\x{80}-\x{10FFFF}]([A-Za-z0-9\x{80}-\x{10FFFF}_-]*[A-Za-z0-9\x{80}-\x{10FFFF}])?`
)

// ParseAddress reads one address, "ann@example.com" or "Ann <ann@example.com>".
// It refuses what is legal on paper only: quoted local parts, comments in
// domains, addresses without a domain or longer than 254 bytes. The name is one
// clean line. Letters beyond ASCII need a relay that offers SMTPUTF8.
func ParseAddress(s string) (*netmail.Address, error) {
	a, err := netmail.ParseAddress(s)
	if err != nil {
		return nil, fmt.Errorf("%q is no mail address: %s", s, strings.TrimPrefix(err.Error(), "mail: "))
	}
	if len(a.Address) > maxAddress || !plainAddress().MatchString(a.Address) || oneLine(a.Address, maxAddress) != a.Address {
		return nil, fmt.Errorf("%q is no mail address that can be used", s)
	}
	a.Name = headerText(a.Name, maxName)
	return a, nil
}

// NewMessageID makes up a Message-ID, "<…@domain>", in the domain of the
// address from. It stays with a message however often that is sent, so that the
// recipient's programs recognise a duplicate.
func NewMessageID(from string) string {
	domain := "localhost"
	if a, err := ParseAddress(from); err == nil && isASCII(a.Address) {
		domain = a.Address[strings.LastIndexByte(a.Address, '@')+1:]
	}
	return "<" + strings.ToLower(rand.Text()) + "@" + domain + ">"
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > '~' }) < 0
}
