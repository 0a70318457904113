package cli

import (
	"fmt"

	"bothy/runner/config"
)

// didYouMean returns ` (did you mean "x"?)` for the candidate nearest to word,
// "" when none is near.
func didYouMean(word string, candidates []string) string {
	if near := config.Closest(word, candidates); near != "" {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	return ""
}
