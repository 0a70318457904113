package api

import (
	"bothy/runner/internal/store"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bothy/runner/config"
	"bothy/runner/internal/engine"
)

var update = flag.Bool("update", false, "write the golden files anew")

// moments are times of the machine, and the version of its Go.
var moments = regexp.MustCompile(`\b1[789]\d{8}\b|\b20\d\d-\d\d-\d\dT[\d:]+Z|go1\.\d+(\.\d+)?`)

// spans are lengths of time of the machine.
var spans = regexp.MustCompile(`("(?:duration|waited)_s": ?)[\d.]+`)

// timeless is a text without what differs from run to run.
func timeless(s string) string {
	return spans.ReplaceAllString(moments.ReplaceAllString(s, "TIME"), "${1}SPAN")
}

// golden compares a text with testdata/NAME.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	got = strings.TrimSuffix(timeless(got), "\n") + "\n"
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if diff := cmp.Diff(strings.ReplaceAll(string(want), "\r\n", "\n"), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// story is a master with a bit of everything: a build that went well, one that
// failed, one that runs, one that waits, a paused worker.
func story(t *testing.T) *rig {
	t.Helper()
	conf := basic()
	conf.Workers = []config.Worker{{Name: "w1", MaxBuilds: 1}, {Name: "w2", MaxBuilds: 2}}
	conf.Builders = append(conf.Builders, config.Builder{
		Name: "broken", NoCollapse: true, Workers: []string{"w1"}, Steps: []config.Step{named("a step", "fail"), named("never", "print x")},
	})
	r := newRig(t, conf)
	r.done(r.build("test"))
	r.done(r.build("broken"))
	r.call("workers/w2", "pause", `{"reason": "new disk"}`).want(200)
	r.call("forceschedulers/button", "force", `{"builderid": 2, "level": 3, "reason": "to see", "username": "Ana <ana@example.com>", "branch": "main"}`).want(200)
	r.holds("hold")
	until(t, "its step is on disk", func() bool { return r.get("builds/3/steps/1").status == 200 })
	r.call("builders/hold", "force", `{"properties": {"x": [1, "y"]}, "priority": 5, "worker": "w1"}`).want(200)
	return r
}

func TestGolden(t *testing.T) {
	r := story(t)
	for name, path := range map[string]string{
		"rootlinks":             "",
		"masters":               "masters",
		"workers":               "workers",
		"worker-by-name":        "workers/w2",
		"workers-of-builder":    "builders/3/workers?field=name",
		"builders":              "builders",
		"builders-of-worker":    "workers/w2/builders?field=name&field=builderid",
		"buildrequests":         "buildrequests?property=x",
		"buildrequest-why":      "buildrequests/4/why",
		"buildsets":             "buildsets?order=-bsid&limit=2",
		"builds":                "builds?order=-buildid",
		"builds-with-property":  "builds?buildid=3&property=owner&property=level&property=target&field=properties&field=buildid",
		"builds-that-failed":    "builds?results=2&field=results&field=state_string",
		"build-of-builder":      "builders/broken/builds/1",
		"steps":                 "builds/2/steps",
		"step-by-name":          "builders/3/builds/1/steps/a%20step",
		"logs":                  "builds/2/steps/1/logs",
		"contents":              "logs/1/contents",
		"contents-part":         "builds/1/steps/work/logs/stdio/contents?offset=1&limit=2",
		"properties":            "builds/3/properties",
		"property_list":         "buildsets/4/properties_list",
		"sourcestamps":          "sourcestamps?ssid=3",
		"sourcestamps-of":       "buildsets/3/sourcestamps",
		"changes":               "changes",
		"changesources":         "changesources",
		"schedulers":            "schedulers",
		"forceschedulers":       "forceschedulers",
		"journal":               "journal?field=kind&field=name&field=ref&field=what&field=who&field=reason",
		"mails":                 "mails",
		"builds-that-triggered": "builds/1/triggered_builds",
	} {
		t.Run(name, func(t *testing.T) {
			a := r.get(path, func(q *http.Request) { q.Header.Set("Accept", "text/html") })
			a.want(200)
			if got := a.header.Get("Content-Type"); got != typeText {
				t.Errorf("Content-Type %s, want %s", got, typeText)
			}
			golden(t, name+".json", string(a.body))
			// The compact form says the same.
			compact := r.get(path)
			if got := compact.header.Get("Content-Type"); got != typeJSON {
				t.Errorf("Content-Type %s, want %s", got, typeJSON)
			}
			var many bytes.Buffer
			if err := json.Indent(&many, compact.body, "", "  "); err != nil || timeless(many.String()) != timeless(string(a.body)) && name != "masters" {
				t.Errorf("%v: %s is not %s", err, compact.body, a.body)
			}
		})
	}
	golden(t, "raw.txt", string(r.get("logs/1/raw").body))
	golden(t, "cc.xml", string(r.do("GET", "/cc.xml", nil).body))
	golden(t, "badge.svg", string(r.do("GET", "/badges/broken.svg", nil).body))
	golden(t, "badge-hold.svg", string(r.do("GET", "/badges/hold.svg", nil).body))
	golden(t, "openapi.json", string(r.do("GET", "/api/openapi.json", nil).body))
	golden(t, "versions.json", string(r.do("GET", "/api/", nil).body))
	m, err := r.api.metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range m {
		if !strings.HasPrefix(m[i].name, "bothy_") || strings.HasPrefix(m[i].name, "bothy_answers") {
			m[i].samples = nil // the machine's
		}
	}
	golden(t, "metrics.txt", string(appendMetrics(nil, m)))
}

// Every path of application.spec answers, and is in the OpenAPI document.
func TestEveryPath(t *testing.T) {
	r := story(t)
	stand := strings.NewReplacer("n:masterid", "1", "n:workerid", "1", "i:name", "w1", "n:builderid", "1", "s:buildername", "test", "n:buildid", "1",
		"n:build_number", "1", "n:stepid", id(store.StepID(1, 1)), "n:step_number", "1", "s:step_name", "greet", "n:logid", "1", "i:log_slug", "stdio",
		"n:buildrequestid", "1", "n:bsid", "1", "n:ssid", "1", "n:schedulerid", "1", "s:schedulername", "button", "n:entryid", "1")
	var doc struct{ Paths map[string]any }
	if err := json.Unmarshal(r.do("GET", "/api/openapi.json", nil).body, &doc); err != nil {
		t.Fatal(err)
	}
	specs := r.get("application.spec").rows("specs")
	if len(specs) < 100 {
		t.Errorf("application.spec has %d paths only", len(specs))
	}
	for _, s := range specs {
		pattern, _ := s["path"].(string)
		if path, _ := openPath(pattern); doc.Paths[path] == nil {
			t.Errorf("%s is not in the OpenAPI document", path)
		}
		path := stand.Replace(pattern)
		status := 200
		if strings.Contains(path, "n:") || path == "logchunks" { // there are no mails and no changes
			path, status = strings.NewReplacer("n:changeid", "1", "n:changesourceid", "1", "n:mailid", "1", "n:artifact_number", "1").Replace(path), 404
		}
		a := r.get(path)
		a.want(status)
		if status != 200 || strings.Contains(path, "/raw") {
			continue
		}
		if plural, _ := s["plural"].(string); !strings.Contains(string(a.body), `"`+plural+`":[`) {
			t.Errorf("%s has no %s: %s", path, plural, a.body)
		}
		if head := r.do("HEAD", "/api/v2/"+path, nil); head.status != 200 || len(head.body) != 0 ||
			head.header.Get("ETag") != "" && head.header.Get("Content-Length") != a.header.Get("Content-Length") {
			t.Errorf("HEAD %s: %d, %d bytes, %v", path, head.status, len(head.body), head.header)
		}
	}
}

func TestGetErrors(t *testing.T) {
	r := story(t)
	for path, want := range map[string]struct {
		status int
		text   string
	}{
		"nowhere":                        {404, "Invalid path: nowhere"},
		"builds/":                        {404, "Invalid path: builds/"},
		"builds/99":                      {404, "there is no build 99"},
		"builds/99/steps":                {404, "there is no build 99"},
		"builds/1/steps/9":               {404, "there is no such step in build 1"},
		"builds/1/steps/greet/logs/none": {404, "there is no such log"},
		"steps/7":                        {404, "there is no build 0"},
		"logs/99":                        {404, "there is no log 99"},
		"logs/99/raw":                    {404, "there is no log 99"},
		"builders/99":                    {404, "there is no builder 99"},
		"builders/none/builds":           {404, "there is no builder \\\"none\\\""},
		"builders/1/builds/99":           {404, "there is no build 99 of test"},
		"workers/99":                     {404, "there is no worker 99"},
		"workers/none":                   {404, "there is no worker \\\"none\\\""},
		"masters/2":                      {404, "there is no master 2"},
		"masters/2/workers":              {404, "there is no master 2"},
		"builders/3/workers/w2":          {404, "no worker here"},
		"buildrequests/99":               {404, "there is no request 99"},
		"buildrequests/99/builds":        {404, "there is no request 99"},
		"buildsets/99":                   {404, "there is no request 99"},
		"forceschedulers/none":           {404, "no forcescheduler here"},
		"schedulers/99":                  {404, "no scheduler here"},
		"changes/1":                      {404, "there is no change 1"},
		"builds?buildid__zz=1":           {400, "invalid operator in 'buildid__zz'"},
		"workers?name__zz=1":             {400, "invalid operator in 'name__zz'"},
		"builds?field=nope":              {400, "no such field 'nope'"},
		"builds?limit=x":                 {400, "invalid limit"},
		"builds?nope=1":                  {400, "unrecognized query parameter 'nope'"},
		"builds?order=cpu_s":             {400, "cannot order on field 'cpu_s'"},
		"builds/1?number=1":              {400, "this is not a collection"},
		"workers/w1?paused=1":            {400, "this is not a collection"},
		"buildrequests?claimed_at__gt=1": {400, "cannot filter or order by field 'claimed_at'"},
		"logs/1/raw?x=1":                 {400, "unrecognized query parameter 'x'"},
		"logs/1/contents?x=1":            {400, "unrecognized query parameter 'x'"},
	} {
		a := r.get(path)
		a.want(want.status, `{"error": "`+want.text)
		if got := a.header.Get("Content-Type"); got != typeText {
			t.Errorf("%s: Content-Type %s", path, got)
		}
	}
	for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS"} {
		r.do(method, "/api/v2/builds", nil).want(400, "invalid HTTP method")
	}
	r.do("GET", "/api/v3/builds", nil).want(404, "Invalid path: v3/builds")
	r.do("GET", "/api/latest/builds/1", nil).want(200)
	r.do("GET", "/badges/none.svg", nil).want(404)
	r.do("GET", "/badges/test.png", nil).want(404)
}

// Filters and limits of builds, requests and the like run in the database.
func TestFiltersInDatabase(t *testing.T) {
	r := story(t)
	ids := func(plural, key, path string) string {
		var all []string
		for _, row := range r.get(path).rows(plural) {
			all = append(all, fmt.Sprint(row[key]))
		}
		return strings.Join(all, " ")
	}
	for path, want := range map[string]string{
		"builds":                                 "1 2 3",
		"builds?order=-buildid&limit=2":          "3 2",
		"builds?order=-buildid&limit=2&offset=2": "1",
		"builds?complete=true":                   "1 2",
		"builds?complete=no":                     "3",
		"builds?results__ne=2":                   "1 3",
		"builds?results__lt=2":                   "1",
		"builds?builderid=1&builderid=3":         "1 2",
		"builds?workerid__eq=1":                  ids("builds", "buildid", "workers/w1/builds"),
		"builds?state_string__contains=success":  "1",
		"builds?started_at__gt=99999999999":      "",
		"builds?order=builderid&order=-buildid":  "1 3 2",
		"builders/test/builds":                   "1",
		"buildrequests/2/builds":                 "2",
		"builds?masterid=1":                      "1 2 3",
		"builds?complete_at=null":                "3",
		"builds?results__ne=null":                "1 2",
	} {
		if got := ids("builds", "buildid", path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	for path, want := range map[string]string{
		"buildrequests?complete=0":                          "3 4",
		"buildrequests?claimed=0":                           "4",
		"buildrequests?results=-1":                          "3 4",
		"builders/hold/buildrequests?order=-buildrequestid": "4 3",
		"buildrequests?priority__ge=5":                      "4",
	} {
		if got := ids("buildrequests", "buildrequestid", path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	a := r.get("builds?limit=1")
	a.want(200, `"meta":{"total":3}`)
	for path, want := range map[string]string{
		"workers?paused=1":               "w2",
		"workers?blocked__contains=disk": "w2",
		"workers?order=-name":            "w2 w1",
		"workers?builds__contains=3":     "w1",
		"workers?connected=true&limit=1": "w1",
		"builders/3/workers":             "w1",
		"masters/1/builders/3/workers":   "w1",
	} {
		if got := ids("workers", "name", path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// An answer is never older than what the client was told.
func TestReadYourWrites(t *testing.T) {
	r := newRig(t, basic())
	for i := range 20 {
		action, want := "pause", true
		if i%2 == 1 {
			action, want = "unpause", false
		}
		r.call("workers/w1", action, `{}`).want(200)
		if got := r.get("workers/w1").one("workers")["paused"]; got != want {
			t.Fatalf("after %s the worker is paused: %v", action, got)
		}
		_, b := r.done(r.build("test"))
		if got := r.get("builds?order=-buildid&limit=1").one("builds"); got["buildid"] != float64(b.ID) || got["complete"] != true {
			t.Fatalf("after build %d the last one is %v", b.ID, got)
		}
	}
}

func TestCompressionAndETag(t *testing.T) {
	conf := basic()
	conf.Workers = []config.Worker{{Name: "w", Count: 50}}
	r := newRig(t, conf)
	plain := r.get("workers").want(200)
	zip := func(q *http.Request) { q.Header.Set("Accept-Encoding", "gzip") }
	zipped := r.get("workers", zip).want(200)
	if zipped.header.Get("Content-Encoding") != "gzip" || len(zipped.body)*4 > len(plain.body) {
		t.Fatalf("not compressed: %d of %d bytes, %v", len(zipped.body), len(plain.body), zipped.header)
	}
	z, err := gzip.NewReader(bytes.NewReader(zipped.body))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(z); err != nil || !bytes.Equal(text, plain.body) {
		t.Errorf("another text: %v", err)
	}
	if r.get("workers/w-1", zip).header.Get("Content-Encoding") != "" {
		t.Error("a short answer is compressed")
	}
	if r.get("workers", func(q *http.Request) { q.Header.Set("Accept-Encoding", "gzip;q=0") }).header.Get("Content-Encoding") != "" {
		t.Error("compressed for one who does not want it")
	}
	for _, a := range []reply{plain, zipped} {
		tag := a.header.Get("ETag")
		same := func(q *http.Request) {
			q.Header.Set("If-None-Match", `"x", W/`+tag)
			if a.header.Get("Content-Encoding") != "" {
				zip(q)
			}
		}
		if again := r.get("workers", same); again.status != 304 || len(again.body) != 0 || again.header.Get("ETag") != tag {
			t.Errorf("%s again: %d, %d bytes, %v", tag, again.status, len(again.body), again.header)
		}
	}
	r.call("workers/w-7", "pause", `{}`).want(200)
	r.get("workers", func(q *http.Request) { q.Header.Set("If-None-Match", plain.header.Get("ETag")) }).want(200, `"paused":true`)
}

func TestHealth(t *testing.T) {
	r := newRig(t, basic(), rigOptions{access: Access{Identify: func(*http.Request) (Identity, error) { return Identity{}, ErrNoCredentials }}})
	r.do("GET", "/healthz", nil).want(200, "ok")
	r.e.Stop(engine.AtOnce)
	<-r.e.Done()
	r.do("GET", "/healthz", nil).want(503, "stopping")
}
