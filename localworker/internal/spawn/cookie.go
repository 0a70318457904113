package spawn

import (
	"math"
	"strconv"
	"strings"
)

// CookieName is the environment variable that every process of a build has.
// Its value is BASEID.EPOCH.COUNTER.STEP; a spawner's own is BASEID.EPOCH.0.0.
const CookieName = "BOTHY_COOKIE"

// unknownEpoch is in the cookies of spawners that were started before their
// master knew its epoch. Nobody is older than it.
const unknownEpoch = math.MaxInt64

type cookie struct {
	base                 string
	epoch, counter, step int64
}

func (c cookie) String() string {
	b := make([]byte, 0, 96)
	b = append(append(b, c.base...), '.')
	b = append(strconv.AppendInt(b, c.epoch, 10), '.')
	b = append(strconv.AppendInt(b, c.counter, 10), '.')
	return string(strconv.AppendInt(b, c.step, 10))
}

func parseCookie(s string) (c cookie, ok bool) {
	part := strings.Split(s, ".")
	if len(part) != 4 || part[0] == "" {
		return c, false
	}
	c.base = part[0]
	for i, n := range []*int64{&c.epoch, &c.counter, &c.step} {
		v, err := strconv.ParseInt(part[i+1], 10, 64)
		if err != nil {
			return cookie{}, false
		}
		*n = v
	}
	return c, true
}

// withCookie returns env with the cookie, and without any other one.
func withCookie(env []string, c cookie) []string {
	out := make([]string, 0, len(env)+1)
	for _, e := range env {
		if !strings.HasPrefix(e, CookieName+"=") && !strings.HasPrefix(e, marker+"=") {
			out = append(out, e)
		}
	}
	return append(out, CookieName+"="+c.String())
}

// marker is the environment variable that makes [Main] a spawner.
const marker = "BOTHY_SPAWNER"
