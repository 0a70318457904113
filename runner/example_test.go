package runner_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"bothy/runner"
	"bothy/runner/build"
	"bothy/runner/config"
)

// A program that has a build runner inside.
func Example() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	cfg := &config.Config{
		Dir: dir,
		Builders: []config.Builder{{
			Name:  "test",
			Steps: []config.Step{config.Shell("echo testing"), config.Shell("exit 3")},
		}},
	}
	r, err := runner.Open(cfg, runner.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := r.Start(ctx); err != nil {
		log.Fatal(err)
	}
	defer r.Shutdown(ctx)

	req, err := r.Submit(ctx, runner.Request{Builder: "test"})
	if err != nil {
		log.Fatal(err)
	}
	b, err := req.Wait(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(b.Result)
	fmt.Println(b.Text)
	// Output:
	// failure
	// failed: 'exit 3' failure (exit 3)
}

// A step may be a Go function. It writes to the build's log, sets properties
// for the steps after it, and its panics are the build's own.
func ExampleStepFunc() {
	greet := func(ctx context.Context, s *runner.StepContext) (build.Result, error) {
		fmt.Fprintf(s.Stdout, "building %s on %s\n", s.Builder, s.Worker)
		return build.Success, s.SetProperty("greeting", "hello")
	}
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	cfg := &config.Config{Dir: dir, Builders: []config.Builder{{
		Name:  "greet",
		Steps: []config.Step{config.Func("greet"), config.Shell(`test "%(prop:greeting)s" = hello`)},
	}}}
	r, err := runner.Open(cfg, runner.Options{Steps: map[string]runner.StepFunc{"greet": greet}})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()

	req, err := r.Submit(ctx, runner.Request{Builder: "greet"})
	if err != nil {
		log.Fatal(err)
	}
	b, err := req.Wait(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(b.Result, b.Properties.Get("greeting"))
	stop()
	fmt.Println(<-ended)
	// Output:
	// success hello
	// <nil>
}

// Events tell what happens, after it is on disk.
func ExampleRunner_Events() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	cfg := &config.Config{Dir: dir, Builders: []config.Builder{{Name: "test", Steps: []config.Step{config.Shell("true")}}}}
	r, err := runner.Open(cfg, runner.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := r.Start(ctx); err != nil {
		log.Fatal(err)
	}
	events := r.Events(ctx)
	if _, err := r.Submit(ctx, runner.Request{Builder: "test", Reason: "because"}); err != nil {
		log.Fatal(err)
	}
	for ev := range events {
		switch ev := ev.(type) {
		case runner.RequestSubmitted:
			fmt.Println("submitted", ev.Builder, ev.Reason)
		case runner.BuildStarted:
			fmt.Println("started", ev.Build.Builder, ev.Build.Number)
		case runner.StepFinished:
			fmt.Println("step", ev.Step.Name, ev.Step.Result)
		case runner.RequestFinished:
			fmt.Println("finished", ev.Builder, ev.Result)
			if err := r.Shutdown(ctx); err != nil {
				log.Fatal(err)
			}
		}
	}
	// Output:
	// submitted test because
	// started test 1
	// step true success
	// finished test success
}
