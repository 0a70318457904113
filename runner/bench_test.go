package runner_test

import (
	"testing"

	"bothy/runner"
	"bothy/runner/config"
)

// BenchmarkTrivialBuilds runs builds of one step "true", all durable. The table
// of "task bench" sets it beside xargs.
func BenchmarkTrivialBuilds(b *testing.B) {
	cfg := &config.Config{
		Dir: b.TempDir(), Machine: config.Machine{MemoryPerBuild: 64 << 20},
		Builders: []config.Builder{{Name: "true", NoCollapse: true, Source: config.Source{Kind: config.SourceTree}, Steps: []config.Step{config.Shell("true")}}},
	}
	r, err := runner.Open(cfg, runner.Options{})
	if err != nil {
		b.Fatal(err)
	}
	if err := r.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	qs := make([]runner.Request, b.N)
	for i := range qs {
		qs[i].Builder = "true"
	}
	b.ResetTimer()
	reqs, err := r.SubmitAll(b.Context(), qs...)
	if err != nil {
		b.Fatal(err)
	}
	for _, q := range reqs {
		if bd, err := q.Wait(b.Context()); err != nil || bd.Err() != nil {
			b.Fatal(err, bd)
		}
	}
	b.StopTimer()
	if err := r.Shutdown(b.Context()); err != nil {
		b.Fatal(err)
	}
}
