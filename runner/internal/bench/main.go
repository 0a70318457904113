// Program bench measures Bothy beside yardsticks on the same machine in the same
// run, and prints a table. Machines are shared and noisy: read the ratios.
//
//	go run ./runner/internal/bench
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"bothy/runner"
)

func main() {
	runner.Helper()
	only := flag.String("only", "", "run only the measurements whose name contains `TEXT`")
	flag.Parse()
	if err := run(*only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// row is one line of the table.
type row struct {
	what, got, yardstick, ratio, target string
	met                                 bool
}

// bench is what the measurements share.
type bench struct {
	dir    string // scratch, removed at the end
	binary string // the program, stripped
	rows   []row
}

func (b *bench) add(r row) { b.rows = append(b.rows, r) }

func run(only string) (err error) {
	dir, err := os.MkdirTemp("", "bothy-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bench{dir: dir, binary: filepath.Join(dir, "bothy")}
	sync, err := fsyncTime(dir)
	if err != nil {
		return err
	}
	for _, m := range []struct {
		name string
		f    func(context.Context, *bench) error
	}{
		{"binary", binarySize},
		{"run", runTrue},
		{"serve", serveStart},
		{"builds", trivialBuilds},
		{"submit", submits},
		{"first step", firstStep},
		{"log", logIngest},
		{"decision", decisions},
		{"workers", idleWorkers},
	} {
		if m.name != "binary" && !strings.Contains(m.name, only) {
			continue
		}
		fmt.Fprintln(os.Stderr, "measuring:", m.name)
		if err := m.f(context.Background(), b); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	fmt.Printf("fsync of a small append on this disk: %v (median)\n\n", sync.Round(time.Microsecond))
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "| what\t| Bothy\t| yardstick\t| ratio\t| target\t| met\t|")
	fmt.Fprintln(w, "|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, r := range b.rows {
		met := "yes"
		if !r.met {
			met = "no"
		}
		fmt.Fprintf(w, "| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t|\n", r.what, r.got, r.yardstick, r.ratio, r.target, met)
	}
	return w.Flush()
}

// fsyncTime is the median time of a small append and its fsync.
func fsyncTime(dir string) (time.Duration, error) {
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var took []time.Duration
	for range 200 {
		start := time.Now()
		if _, err := f.Write([]byte("a small append\n")); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(start))
	}
	return median(took), nil
}

func median(ds []time.Duration) time.Duration {
	slices.Sort(ds)
	return ds[len(ds)/2]
}
