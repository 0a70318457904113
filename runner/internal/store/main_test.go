package store

import (
	"bufio"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"bothy/runner/build"
	"bothy/runner/worker"
)

// Helpers: the test binary runs one of these instead of tests when the
// variable names it and the database, as in "crash:/tmp/x/state.db".
const helperVariable = "STORE_TEST_HELPER"

func TestMain(m *testing.M) {
	name, path, _ := strings.Cut(os.Getenv(helperVariable), ":")
	run := map[string]func(string) error{"crash": commitForever, "eio": commitThroughErrors}[name]
	if run == nil {
		if raceDetector { // -rapid.checks still has the last word
			if err := flag.Set("rapid.checks", "10"); err != nil {
				panic(err)
			}
		}
		goleak.VerifyTestMain(m)
		return
	}
	if err := run(path); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// commitForever commits batches until it is killed, and says after each which
// it was. Batch n is made of what numbered puts.
func commitForever(path string) error {
	s, err := Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	r, err := s.Start()
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	fmt.Fprintf(out, "epoch %d next %d log %d\n", r.Epoch, r.NextRequest, r.NextLog)
	if err := out.Flush(); err != nil {
		return err
	}
	for n, log := r.NextRequest, r.NextLog; ; n, log = n+1, log+1 {
		b := NewBatch()
		numbered(b, n, log, r.Epoch)
		told(b, n)
		if err := s.Commit(b); err != nil {
			return err
		}
		fmt.Fprintf(out, "%d %d\n", n, log)
		if err := out.Flush(); err != nil {
			return err
		}
	}
}

// numbered puts a finished request with its build, step and log, every tenth
// time with properties of many pages.
func numbered(b *Batch, n, log, epoch int64) {
	at := time.Unix(n, n).UTC()
	props := build.Properties{"n": {Value: n, Source: "test"}}
	if n%10 == 0 {
		props["big"] = build.Property{Value: strings.Repeat(strconv.FormatInt(n, 10), 8000), Source: "test"}
	}
	b.PutRequest(&Request{ID: n, Builder: "b", Submitted: at, State: Done, Completed: at, Properties: props})
	b.PutBuild(&Build{ID: n, Request: n, Builder: "b", Number: n, Token: worker.Token{Epoch: epoch, Counter: n}, Started: at, Completed: at, Properties: props})
	b.PutStep(&Step{Build: n, Number: 1, Name: "s", Started: at, Completed: at})
	b.PutLog(&Log{ID: log, Build: n, Step: 1, Name: "stdio", Ref: "r", Complete: true})
}

// told puts what is told about batch n: a mail and a line of the journal.
func told(b *Batch, n int64) {
	at := time.Unix(n, n).UTC()
	b.PutMail(&Mail{ID: n, Key: strconv.FormatInt(n, 10), Build: n, Recipient: "r", Created: at, State: MailQueued})
	b.PutEntry(&Entry{ID: n, Time: at, Kind: "build", Ref: n, What: "finished"})
}

// commitThroughErrors starts and commits ten batches, each as often as it takes,
// and says how each attempt went. It is run with failing system calls.
func commitThroughErrors(path string) error {
	s, err := Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	r, err := s.Start()
	for err != nil {
		fmt.Printf("error %v\n", err)
		r, err = s.Start()
	}
	for n := r.NextRequest; n < r.NextRequest+10; n++ {
		b := NewBatch()
		numbered(b, n, r.NextLog+n, r.Epoch)
		told(b, n)
		for {
			err := s.Commit(b)
			if err == nil {
				break
			}
			fmt.Printf("error %v\n", err)
		}
		fmt.Printf("done %d\n", n)
	}
	if err := s.Close(); err != nil {
		fmt.Printf("error %v\n", err)
	}
	return nil
}
