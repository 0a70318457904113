package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// parseDuration reads "90s", "1h30m", "90d" or "1d12h": what time.ParseDuration
// reads, and days of 24 hours before that.
func parseDuration(s string) (time.Duration, error) {
	const day = 24 * time.Hour
	number, rest, hasDays := strings.Cut(s, "d")
	if !hasDays {
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, fmt.Errorf(`%q is not a duration, such as "90s", "5m" or "90d"`, s)
		}
		return d, nil
	}
	days, err := strconv.ParseFloat(number, 64)
	var d time.Duration
	if err == nil && rest != "" {
		d, err = time.ParseDuration(rest)
		if days < 0 || d < 0 {
			err = errors.New("sign")
		}
	}
	if err != nil || math.IsNaN(days) {
		return 0, fmt.Errorf(`%q is not a duration, such as "90s", "5m" or "90d"`, s)
	}
	total := days*float64(day) + float64(d)
	if math.Abs(total) >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is too long", s)
	}
	return time.Duration(math.Round(days*float64(day))) + d, nil
}

// seconds returns a number of seconds as a duration.
func seconds(n float64) (time.Duration, error) {
	d := n * float64(time.Second)
	if math.IsNaN(d) || math.Abs(d) >= math.MaxInt64 {
		return 0, fmt.Errorf("%v seconds is not a duration", n)
	}
	return time.Duration(math.Round(d)), nil
}

// units are those of parseSize, the longer before the ones they end in.
var units = []struct {
	name  string
	bytes float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"KB", 1e3}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"B", 1},
}

// parseSize reads "512MiB", "1.5 GiB", "20GB" or plain bytes.
func parseSize(s string) (int64, error) {
	number, factor := s, 1.0
	for _, u := range units {
		if n, ok := strings.CutSuffix(s, u.name); ok {
			number, factor = strings.TrimRight(n, " "), u.bytes
			break
		}
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil && factor == 1 {
		return n, nil
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || strings.ContainsAny(number, "xX_pPnN") {
		return 0, fmt.Errorf(`%q is not a size, such as "512MiB", "20GB" or a number of bytes`, s)
	}
	if n *= factor; math.Abs(n) >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is too large", s)
	}
	return int64(n), nil
}

// FormatSize writes bytes as a configuration would: the largest binary unit that
// leaves at most one decimal.
func FormatSize(n int64) string {
	for _, u := range []struct {
		name  string
		bytes int64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.bytes {
			return strconv.FormatFloat(math.Round(float64(n)/float64(u.bytes)*10)/10, 'f', -1, 64) + " " + u.name
		}
	}
	return strconv.FormatInt(n, 10) + " B"
}
