package remote

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// oldest returns those of the retained directories among names that go when only
// keep may stay: the ones of the lowest builds.
func oldest(names []string, keep int) []string {
	type kept struct {
		name   string
		number int64
	}
	var all []kept
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, failedPrefix)
		if !ok {
			continue
		}
		number, _, _ := strings.Cut(rest, "-")
		if n, err := strconv.ParseInt(number, 10, 64); err == nil {
			all = append(all, kept{name, n})
		}
	}
	slices.SortFunc(all, func(a, b kept) int { return cmp.Or(cmp.Compare(a.number, b.number), strings.Compare(a.name, b.name)) })
	var out []string
	for i := range max(0, len(all)-keep) {
		out = append(out, all[i].name)
	}
	return out
}
