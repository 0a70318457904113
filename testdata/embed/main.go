// Program embed is the smallest program with a build runner inside: a dozen
// lines, one step in Go and one for the shell.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"bothy/runner"
	"bothy/runner/build"
	"bothy/runner/config"
)

func greet(_ context.Context, s *runner.StepContext) (build.Result, error) {
	fmt.Fprintf(s.Stdout, "hello from %s\n", s.Builder)
	return build.Success, s.SetProperty("greeting", "hello")
}

func main() {
	runner.Helper()
	ctx := context.Background()
	cfg := &config.Config{Dir: os.Args[1], Builders: []config.Builder{{
		Name: "test", Steps: []config.Step{config.Func("greet"), config.Shell("test '%(prop:greeting)s' = hello")},
	}}}
	r, err := runner.Open(cfg, runner.Options{Steps: map[string]runner.StepFunc{"greet": greet}})
	if err != nil {
		log.Fatal(err)
	}
	if err := r.Start(ctx); err != nil {
		log.Fatal(err)
	}
	req, err := r.Submit(ctx, runner.Request{Builder: "test"})
	if err != nil {
		log.Fatal(err)
	}
	b, err := req.Wait(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(b.Builder, b.Number, b.Result)
	if err := r.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
}
