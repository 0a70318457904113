//go:build ignore

// Quiet reads what "go test -json" prints and passes on what matters: a line for
// each package, the output of tests that failed, and which were skipped for a
// reason that none of the arguments, regular expressions, matches. Such a skip
// is a failure here: its exit code is 1.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

// event is what a line says; see "go doc test2json".
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64 // seconds
}

func byName(a, b [2]string) int { return slices.Compare(a[:], b[:]) }

func main() {
	known := regexp.MustCompile(strings.Join(os.Args[1:], "|"))
	said := map[[2]string][]string{} // by package and test, "" for the package itself
	code := 0
	for d := json.NewDecoder(os.Stdin); ; {
		var e event
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			fmt.Fprintln(os.Stderr, "quiet:", err)
			os.Exit(1)
		}
		key := [2]string{e.Package, e.Test}
		switch e.Action {
		case "build-output":
			fmt.Print(e.Output)
		case "output":
			if !strings.HasPrefix(strings.TrimSpace(e.Output), "=== ") {
				said[key] = append(said[key], e.Output)
			}
		case "skip":
			if reason := strings.Join(said[key], ""); e.Test != "" && !known.MatchString(reason) {
				fmt.Printf("SKIPPED %s %s, which must not be:\n%s", e.Package, e.Test, reason)
				code = 1
			}
			delete(said, key)
		case "pass":
			if e.Test == "" {
				fmt.Printf("ok    %6.1f s  %s\n", e.Elapsed, e.Package)
			}
			delete(said, key)
		case "fail":
			if e.Test != "" {
				continue // it is said with the package's end
			}
			for _, k := range slices.SortedFunc(maps.Keys(said), byName) { // those that failed, or did not end
				if k[0] == e.Package {
					fmt.Printf("--- %s %s\n%s", k[0], k[1], strings.Join(said[k], ""))
					delete(said, k)
				}
			}
			fmt.Printf("FAIL  %6.1f s  %s\n", e.Elapsed, e.Package)
			code = 1
		}
	}
	os.Exit(code)
}
