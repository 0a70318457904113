package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestDescribe(t *testing.T) {
	const file = `
title = "Hut"
[web]
users = [{ name = "ann", password_hash = "$2y$10$abcdefghijklmnopqrstuuK8B4uJz6mJm0Pn0m9kqkqkqkqkqkqkq", role = "admin" }]
[machine]
memory = "8GiB"
[store]
keep_logs = 0
[mail]
username = "u"
password = "geheim"
[[workers]]
name = "bot"
canary = false
properties = { n = 5, os = "x" }
[[workers]]
name = "far"
kind = "remote"
password = "geheim-geheim"
[[builders]]
name = "test"
collapse_requests = false
source = { git = "https://ann:geheim@example.com/x.git", branch = "main" }
workers = ["bot"]
steps = ["make", { name = "unit", run = ["go", "test"], timeout = "90m", always_run = true, decode_rc = { 3 = "warnings" } }]
`
	c, _, err := Parse("bothy.toml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, s := range c.Describe() {
		for _, x := range s.Settings {
			fmt.Fprintf(&b, "%s|%s|%s|%s|%v\n", s.Table, s.Name, x.Key, x.Value, x.Default)
		}
	}
	got := b.String()
	for _, want := range []string{
		`||title|"Hut"|false`, `||basedir|".bothy"|true`,
		`web||listen|"127.0.0.1:8010"|true`, `web||users|[{ name = "ann", password_hash = (in clear), role = "admin" }]|false`,
		`machine||memory|"8 GiB"|false`, `machine||memory_per_build|"1 GiB"|true`,
		`store||keep_logs|"0"|false`, `store||keep_builds|1000|true`, `mail||password|(in clear)|false`,
		`workers|bot|canary|false|false`, `workers|bot|properties|{ n = 5, os = "x" }|false`,
		`workers|far|keepalive_interval|"1h"|false`,
		`builders|test|collapse_requests|false|false`,
		`builders|test|source|{ git = "https://ann:xxxxx@example.com/x.git", branch = "main" }|false`,
		`builders|test|steps[0]|"make"|false`,
		`builders|test|steps[1]|{ name = "unit", run = ["go", "test"], timeout = "1h30m", decode_rc = { 3 = "warnings" }, always_run = true }|false`,
		`store||disk_cap|"20 GiB"|true`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("missing: %s", want)
		}
	}
	if strings.Contains(got, "geheim") || strings.Contains(got, "$2y$") {
		t.Error("a secret is shown")
	}
	if t.Failed() {
		t.Log(got)
	}
}

// TestDescribeURL: what is a secret in a URL is not shown, and only that.
func TestDescribeURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://ann:geheim@h/x.git": "https://ann:xxxxx@h/x.git", "https://geheim@h/x.git": "https://xxxxx@h/x.git",
		"https://ann:gehe%zzim@h/x.git": "(not a valid url)", "ssh://git@h/x.git": "ssh://git@h/x.git",
		"https://h/%zz": "https://h/%zz", "git@h:x.git": "git@h:x.git",
	} {
		if got := shownText("url", in); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}
