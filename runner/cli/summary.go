package cli

import (
	"fmt"
	"strings"
	"time"

	"bothy/runner/build"
)

// summary is what is said at the end of a run: a row for each request with its
// result, time, slowest step and log; below it what else a person must know.
func (p *progress) summary(env Env) []line {
	var lines []line
	counts := map[build.Result]int{}
	for _, r := range p.requests {
		result, _ := r.outcome()
		counts[result]++
		lines = append(lines, r.summary(env)...)
	}
	if len(p.requests) > 1 && p.end != nil {
		l := row(resultStyle(p.end.Result), resultWord(p.end.Result), took(p.end.Time.Sub(p.began)))
		lines = append(lines, append(l, span{styleBold, "all"}, span{styleNone, ": " + countText(counts)}))
	}
	return lines
}

func (r *requestView) summary(env Env) []line {
	result, text := r.outcome()
	why, b := span{styleNone, because(result, text)}, r.build
	if b == nil {
		return []line{append(row(resultStyle(result), resultWord(result), ""), span{styleBold, r.builder}, why)}
	}
	first := append(row(resultStyle(result), resultWord(result), took(b.elapsed)), span{styleBold, b.label()}, why)
	if b.ran > 1 {
		first = append(first, span{styleDim, fmt.Sprintf("  slowest: %s %s", oneLine(b.slowest.name), took(b.slowest.took))})
	}
	lines := []line{first}
	add := func(format string, args ...any) {
		lines = append(lines, below(fmt.Sprintf(format, args...)))
	}
	if b.logPath != "" {
		add("log: %s", env.show(b.logPath))
	}
	if b.kept != "" {
		add("kept: %s", env.show(b.kept))
	}
	if len(b.ended) > 0 {
		add("ended %s: %s", plural(len(b.ended), "left-over process", "left-over processes"), oneLine(strings.Join(b.ended, ", ")))
	}
	return lines
}

// because is what there is to say, after the word for it, of a result that is
// not plain success: "", " (exit 7)", ": why".
func because(r build.Result, text string) string {
	text = oneLine(text)
	if r == build.Success || text == "" || text == resultWord(r) {
		return ""
	}
	for _, word := range []string{resultWord(r), "failed"} {
		if rest, ok := strings.CutPrefix(text, word); ok && rest != "" && (rest[0] == ' ' || rest[0] == ':') {
			return rest
		}
	}
	return ": " + text
}

// countText says how many requests ended how, worst first.
func countText(counts map[build.Result]int) string {
	order := []struct {
		result build.Result
		ended  string
	}{
		{build.Cancelled, "cancelled"}, {build.Retry, "to be retried"}, {build.Exception, "with an exception"},
		{build.Failure, "failed"}, {build.Warnings, "with warnings"}, {build.Success, "succeeded"},
		{build.Skipped, "skipped"}, {build.None, "unknown"},
	}
	var parts []string
	for _, o := range order {
		if n := counts[o.result]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, o.ended))
		}
	}
	return strings.Join(parts, ", ")
}

// elapsedSince is the time between two moments of one clock, never negative.
func elapsedSince(now, then time.Time) time.Duration { return max(now.Sub(then), 0) }
