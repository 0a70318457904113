package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	c, _, err := Parse("x", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const beforeChange = `
[web]
users = [
  { name = "ana", password_hash = "$2y$05$pnWIy63GjVT/6zJruQEZFukrmAGmAf20KM.wkFKhuYsPFvjKQqMtm" },
  { name = "ben", password_hash = "$2y$05$pnWIy63GjVT/6zJruQEZFukrmAGmAf20KM.wkFKhuYsPFvjKQqMtm" },
]
[[workers]]
name = "bot1"
[[workers]]
name = "bot2"
[[workers]]
name = "far"
kind = "remote"
password = { secret = "far" }
[[builders]]
name = "test"
steps = ["true"]
[[builders]]
name = "gone"
steps = ["true"]
[[schedulers]]
name = "button"
kind = "force"
builders = ["test"]
[[reports]]
kind = "mail"
to = "a@example.com"
[[reports]]
kind = "mail"
to = "b@example.com"
[[secrets]]
kind = "dir"
[[secrets]]
kind = "env"
`

func TestDiff(t *testing.T) {
	old := mustParse(t, beforeChange)
	changed := mustParse(t, `
title = "Other"
basedir = "elsewhere"
[web]
tls_cert = "cert.pem"
tls_key = "key.pem"
users = [{ name = "ana", password_hash = "$2y$06$pnWIy63GjVT/6zJruQEZFukrmAGmAf20KM.wkFKhuYsPFvjKQqMtm", role = "admin" }]
tokens = [{ name = "ci", secret = { env = "X" } }]
[machine]
cpus = 2
[store]
keep_builds = 5
[[workers]]
name = "bot3"
[[workers]]
name = "bot1"
canary = false
[[workers]]
name = "far"
kind = "remote"
password = { env = "FAR" }
missing_timeout = "2h"
[[builders]]
name = "test"
collapse_requests = false
steps = ["true", "false"]
[[schedulers]]
name = "button"
kind = "force"
builders = ["test"]
reason = "because"
[[reports]]
kind = "mail"
to = "b@example.com"
[[reports]]
kind = "mail"
to = "c@example.com"
mode = "all"
[[reports]]
kind = "mail"
to = "d@example.com"
[[locks]]
name = "gpu"
[[secrets]]
kind = "env"
[[secrets]]
kind = "dir"
`)
	want := []string{
		"title changed", "url changed", "basedir changed", "web.tls_cert changed", "web.tls_key changed", "machine.cpus changed", "store.keep_builds changed", "secrets changed",
		"user ben removed", "user ana: password_hash, role changed", "token ci added",
		"worker bot3 added", "worker bot2 removed", "worker bot1: canary changed", "worker far: missing_timeout, password changed",
		"builder gone removed", "builder test: collapse_requests, steps changed",
		"scheduler button: reason changed",
		"lock gpu added",
		"reports[2] added", "reports[1]: mode, to changed",
	}
	d := Diff(old, changed)
	got := d.Lines()
	for i := range got {
		if what, keys, ok := strings.Cut(got[i], ": "); ok { // the order of keys is that of our structs
			list := strings.Split(strings.TrimSuffix(keys, " changed"), ", ")
			slices.Sort(list)
			got[i] = what + ": " + strings.Join(list, ", ") + " changed"
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if d.IsZero() || !strings.Contains(d.String(), "title changed\n") {
		t.Errorf("prints as %q", d.String())
	}
	j, err := json.Marshal(d)
	if err != nil || !strings.Contains(string(j), `"locks":{"added":["gpu"]}`) {
		t.Errorf("as JSON %s, %v", j, err)
	}
	if strings.Contains(string(j), "$2y$") {
		t.Errorf("a hash is shown: %s", j)
	}
}

func TestDiffOfEqualOnes(t *testing.T) {
	for _, name := range []string{"full.toml", "later.toml", "product.toml", "small.toml"} {
		d := Diff(ofFile(t, testdata+"/"+name), ofFile(t, testdata+"/"+name))
		if !d.IsZero() || d.Lines() != nil || d.String() != "" {
			t.Errorf("%s: equal ones differ: %q", name, d.Lines())
		}
		if j, err := json.Marshal(d); err != nil || string(j) != "{}" {
			t.Errorf("%s: no difference as JSON: %s, %v", name, j, err)
		}
	}
}

func TestDiffIsShort(t *testing.T) {
	old, changed := &Config{}, &Config{}
	for i := range 1000 {
		changed.Locks = append(changed.Locks, Lock{Name: fmt.Sprintf("lock%d", i)})
	}
	lines := Diff(old, changed).Lines()
	if last := lines[len(lines)-1]; len(lines) != maxDiffLines || last != "and 801 more changes" {
		t.Errorf("%d lines, the last %q", len(lines), last)
	}
}

func TestDiffOfUnnamed(t *testing.T) {
	to := func(names ...string) (all []Report) {
		for _, n := range names {
			all = append(all, Report{To: []string{n}})
		}
		return all
	}
	for _, c := range []struct {
		old, new []Report
		want     Delta
	}{
		{to("a", "b"), to("b"), Delta{Removed: []string{"x[0]"}}},
		{to("a"), to("b", "a"), Delta{Added: []string{"x[0]"}}},
		{to("a", "a"), to("a"), Delta{Removed: []string{"x[1]"}}},
		{to("a", "b", "c"), to("c", "d"), Delta{Removed: []string{"x[1]"}, Changed: []Modified{{"x[1]", []string{"to"}}}}},
		{nil, nil, Delta{}},
	} {
		if diff := cmp.Diff(c.want, diffPlaced("x", c.old, c.new)); diff != "" {
			t.Errorf("%v to %v: %s", c.old, c.new, diff)
		}
	}
}

// leafKeys returns the keys that changedKeys has for a struct.
func leafKeys(of reflect.Type) []string {
	a, b := reflect.New(of).Elem(), reflect.New(of).Elem()
	var differ func(v reflect.Value)
	differ = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				if v.Field(i).CanSet() {
					differ(v.Field(i))
				}
			}
		case reflect.String:
			v.SetString("x")
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Int, reflect.Int64:
			v.SetInt(1)
		case reflect.Float64:
			v.SetFloat(1)
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		case reflect.Map:
			v.Set(reflect.MakeMap(v.Type()))
		case reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
		default:
			if v.Kind() != reflect.Interface {
				panic(v.Type())
			}
		}
	}
	differ(b)
	return changedKeys("", a, b)
}

// Every key that a difference names is one of the file.
func TestDiffKnowsTheKeys(t *testing.T) {
	tables := map[string][]string{
		"web": method((*Web).read), "remote": method((*Remote).read), "machine": method((*Machine).read),
		"store": method((*Store).read), "mail": method((*Mail).read), "": method((*Config).read),
	}
	var settings []string
	for table, keys := range tables {
		for _, key := range keys {
			settings = append(settings, strings.TrimPrefix(table+"."+key, "."))
		}
	}
	for what, c := range map[string]struct {
		of   reflect.Type
		keys []string
	}{
		"config":    {reflect.TypeFor[Config](), settings},
		"user":      {reflect.TypeFor[User](), []string{"name", "password_hash", "role"}},
		"token":     {reflect.TypeFor[Token](), []string{"name", "secret", "role"}},
		"worker":    {reflect.TypeFor[Worker](), anyKind(workerKeys, workerKinds())},
		"builder":   {reflect.TypeFor[Builder](), keysOf(readBuilder)},
		"scheduler": {reflect.TypeFor[Scheduler](), anyKind(schedulerKeys, schedulerKinds())},
		"lock":      {reflect.TypeFor[Lock](), keysOf(readLock)},
		"report":    {reflect.TypeFor[Report](), anyKind(reportKeys, reportKinds())},
		"provider":  {reflect.TypeFor[SecretProvider](), anyKind(providerKeys, providerKinds())},
	} {
		known := map[string]bool{}
		for _, key := range c.keys {
			known[key] = true
		}
		got := map[string]bool{}
		for _, key := range leafKeys(c.of) {
			if got[key] = true; !known[key] {
				t.Errorf("%s: %q is not a key of the file: %q", what, key, slices.Sorted(maps.Keys(known)))
			}
		}
		if len(got) < 3 {
			t.Errorf("%s: only %d keys", what, len(got))
		}
	}
}
