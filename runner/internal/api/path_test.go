package api

import (
	"fmt"
	"strings"
	"testing"
)

func TestRouter(t *testing.T) {
	d := &resources{}
	var r router
	for _, ep := range endpoints(d) {
		for _, p := range ep.patterns {
			if err := r.add(p, &endpoint{patterns: []string{p}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for path, want := range map[string]string{ // "pattern name=text …"; "": none
		"":                            "",
		"builds":                      "builds",
		"builds/":                     "-",
		"builds/12":                   "builds/n:buildid buildid=12",
		"builds/x":                    "-",
		"builds/-1":                   "-",
		"builds/99999999999999999999": "-",
		"builders/7":                  "builders/n:builderid builderid=7",
		"builders/a.b%20c":            "builders/s:buildername buildername=a.b c",
		"builders/a/builds/3":         "builders/s:buildername/builds/n:build_number buildername=a build_number=3",
		"builders/7/builds/3/steps/go%2Fvet/logs/stdio/raw": "builders/n:builderid/builds/n:build_number/steps/s:step_name/logs/i:log_slug/raw builderid=7 build_number=3 step_name=go/vet log_slug=stdio",
		"workers/bot-1":                    "workers/i:name name=bot-1",
		"workers/9":                        "workers/n:workerid workerid=9",
		"workers/a%20b":                    "-",
		"masters/1/builders/2/workers/w":   "masters/n:masterid/builders/n:builderid/workers/i:name masterid=1 builderid=2 name=w",
		"steps/1048577/logs":               "steps/n:stepid/logs stepid=1048577",
		"logs/4/contents":                  "logs/n:logid/contents logid=4",
		"logs":                             "-",
		"//":                               "-",
		"builds//steps":                    "-",
		"%zz":                              "-",
		strings.Repeat("builds/", 100):     "-",
		"builds/1/steps/1/logs/1/contents": "-",
	} {
		els, err := splitPath(path)
		got := "-"
		if err == nil {
			if ep, args := r.find(els); ep != nil {
				got = ep.patterns[0]
				for _, a := range args {
					got += fmt.Sprintf(" %s=%s", a.name, a.text)
				}
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// Two endpoints at one place, or two names for one variable, are mistakes in the
// table.
func TestRouterRefuses(t *testing.T) {
	for _, second := range []string{"a/n:id", "a/n:other"} {
		var r router
		if err := r.add("a/n:id", &endpoint{}); err != nil {
			t.Fatal(err)
		}
		if err := r.add(second, &endpoint{}); err == nil {
			t.Errorf("a/n:id and %s are both taken", second)
		}
	}
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{"", "builds/1", "builders/x%2Fy/builds/2/steps/a%20b/logs/stdio/contents", "%", "//", "workers/w/builds", "a/../b"} {
		f.Add(s)
	}
	var r router
	for _, ep := range endpoints(&resources{}) {
		for _, p := range ep.patterns {
			if err := r.add(p, ep); err != nil {
				f.Fatal(err)
			}
		}
	}
	f.Fuzz(func(t *testing.T, path string) {
		els, err := splitPath(path)
		if err != nil {
			return
		}
		ep, args := r.find(els)
		if ep == nil {
			return
		}
		for _, a := range args {
			if a.text == "" || a.n < 0 {
				t.Errorf("%q: %+v", path, args)
			}
		}
		if len(els) > maxElements {
			t.Errorf("%q has %d elements", path, len(els))
		}
	})
}
