package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"bothy/runner/build"

	"github.com/google/go-cmp/cmp"
)

func ExampleConfig_Complete() {
	c := &Config{
		Builders: []Builder{{
			Name:  "test",
			Steps: []Step{Shell("go vet ./..."), Argv("go", "test", "./...")},
		}},
	}
	_, err := c.Complete()
	fmt.Println(err, c.Workers[0].Name, c.Builders[0].MaxRetries, c.Builders[0].Steps[1].Name)

	c.Builders[0].Workers = []string{"bot2"}
	c.Builders[0].Steps[1].Timeout = -time.Minute
	_, err = c.Complete()
	fmt.Println(err)
	// Output:
	// <nil> bot1 3 go test ./...
	// builders[0] "test": workers[0]: unknown worker "bot2" (did you mean "bot1"?)
	// builders[0] "test": steps[1] "go test ./...": timeout: -1m0s is negative; none is written as Off
}

func TestErrorsOfConfigBuiltInGo(t *testing.T) {
	bad := build.Result(9)
	c := &Config{
		Title:  "a\nb",
		Store:  Store{KeepBuilds: -2},
		Mail:   Mail{TLS: "maybe"},
		Remote: Remote{TLSKey: "key.pem"},
		Workers: []Worker{
			{Name: "bot1", Count: -1},
			{Name: "x", Kind: "imaginary"},
		},
		Locks: []Lock{{Name: "gpu", MaxCount: -1}},
		Builders: []Builder{
			{
				Name: "test", CPUs: -1, Memory: -1, MaxRetries: -2, Source: Source{Kind: SourceTree, URL: "x"},
				Properties: map[string]any{"f": func() {}},
				Locks:      []LockAccess{{Name: "gpu", Count: -2}},
				Steps: []Step{
					{Run: Run{Shell: "true", Argv: []string{"true"}}},
					{Name: "decode", Run: Run{Shell: "true"}, DecodeRC: map[int]build.Result{1: bad}},
					{Name: "log", Run: Run{Shell: "true"}, LogFiles: []LogFile{{Name: "a", Path: "a"}, {Name: "a"}}},
					{Name: "text", Run: Run{Argv: []string{"echo", "%(nothing"}}},
				},
			},
			{Name: "git", Source: Source{Kind: SourceGit}, Steps: []Step{Func("greet")}},
		},
		Schedulers: []Scheduler{{Name: "never"}},
	}
	_, err := c.Complete()
	var got []string
	for _, e := range problemsOf(err) {
		got = append(got, e.Error())
	}
	want := []string{
		`title: must be one line`,
		`remote: tls_key: needs tls_cert`,
		`store: keep_builds: -2 is negative; none is written as Off`,
		`mail: tls: unknown value "maybe": want auto, starttls, implicit, none`,
		`workers[0] "bot1": count: -1 is less than 1`,
		`workers[1] "x": kind: unknown value "imaginary": want local, remote, command, docker, nomad, kubernetes, ec2`,
		`locks[0] "gpu": max_count: -1 is less than 1`,
		`builders[0] "test": properties: f: property f: json: unsupported type: func()`,
		`builders[0] "test": locks[0]: count: must not be negative`,
		`builders[0] "test": cpus: -1 is less than 0`,
		`builders[0] "test": memory: -1 is less than 0`,
		`builders[0] "test": max_retries: -2 is negative; none is written as Off`,
		`builders[0] "test": source: a URL or branch is for git only`,
		`builders[0] "test": steps[0] "true": run: is both a line for the shell and a list`,
		`builders[0] "test": steps[1] "decode": decode_rc: 1: result(9) is not a result of a step`,
		`builders[0] "test": steps[2] "log": logfiles: a: there is another log "a"`,
		`builders[0] "test": steps[3] "text": run[1]: "%(" without its ")" (write "%%(" for plain text)`,
		`builders[1] "git": source: git: the repository's URL is missing`,
		`schedulers[0] "never": builders: scheduler "never" names no builder`,
		`schedulers[0] "never": kind: the kind is missing`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWorkersOf(t *testing.T) {
	c := ofFile(t, testdata+"/full.toml")
	var local []string
	for _, w := range c.LocalWorkers() {
		local = append(local, w.Name+" in "+w.Workdir)
	}
	want := []string{"bot1 in first", "pool-1 in pool-1", "pool-2 in pool-2", "pool-3 in pool-3"}
	if diff := cmp.Diff(want, local); diff != "" {
		t.Error(diff)
	}
	for builder, want := range map[string][]string{
		"test":    {"bot1", "pool-1", "pool-2", "pool-3"},
		"other":   {"pool-2"},
		"unknown": nil,
	} {
		if got := c.WorkersOf(builder); !slices.Equal(got, want) {
			t.Errorf("workers of %s: %v, want %v", builder, got, want)
		}
	}
	product := ofFile(t, testdata+"/product.toml")
	product.Builders[0].Workers = nil
	if got, want := product.WorkersOf("test"), []string{"bot1", "bot-solaris", "burst"}; !slices.Equal(got, want) {
		t.Errorf("workers of a builder for all: %v, want %v", got, want)
	}
	if got := product.LocalWorkers(); len(got) != 1 {
		t.Errorf("local workers %v, want only bot1", got)
	}
}

func TestCheckMachine(t *testing.T) {
	text := `[[builders]]
name = "big"
cpus = 8
memory = "3GiB"
steps = ["true"]
[[builders]]
name = "small"
steps = ["true"]
`
	c, _, err := Parse("bothy.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []struct {
		cpus   float64
		memory int64
		want   string
	}{
		{8, 3 << 30, ""},
		{8, 0, ""},
		{4, 2 << 30, "bothy.toml:3:8: builder \"big\" needs 8 CPUs, the machine has 4\n" +
			"bothy.toml:4:10: builder \"big\" needs 3 GiB of memory, the machine has 2 GiB"},
		{0.5, 4 << 30, "bothy.toml:3:8: builder \"big\" needs 8 CPUs, the machine has 0.5"},
	} {
		if got := Errors(c.CheckMachine(m.cpus, m.memory)).Error(); got != m.want {
			t.Errorf("%v CPUs, %d bytes: got\n%s\nwant\n%s", m.cpus, m.memory, got, m.want)
		}
	}
}

func TestStepNames(t *testing.T) {
	long := strings.Repeat("x", 60)
	steps := []Step{
		{Name: "a"}, {Name: "a"}, {Name: "a_1"}, {Name: "a"},
		Shell("\n  make all\nmake more"), Argv("go", "test"), Func("greet"), Shell(long), Shell(long), Shell(" \n\t"),
	}
	b := Builder{Name: "test", Steps: steps}
	b.setDefaults()
	var got []string
	for _, s := range b.Steps {
		got = append(got, s.Name)
	}
	want := []string{
		"a", "a_2", "a_1", "a_3", "make all", "go test", "greet",
		strings.Repeat("x", 49) + "…", strings.Repeat("x", 47) + "…_1", "step",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSecretIsNotShown(t *testing.T) {
	c := Config{Mail: Mail{Password: Secret{Text: "hunter2"}}}
	j, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{string(j), fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c.Mail), fmt.Sprintf("%q", c.Mail.Password)} {
		if strings.Contains(shown, "hunter2") || !strings.Contains(shown, "in clear") {
			t.Errorf("shown: %s", shown)
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "5m": 5 * time.Minute, "1h30m": 90 * time.Minute, "90d": 90 * day,
		"1d12h": 36 * time.Hour, "0.5d": 12 * time.Hour, "0": 0, "-1s": -time.Second, "1.5s": 1500 * time.Millisecond,
	} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "90", "d", "1d-1h", "-1d1h", "-1d-1h", "1w", "NaNd", "Infd", "1e300d", "106752d", "99999999h", "1d1", "soon", " 1s"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q: %v, want an error", text, got)
		}
	}
	for _, n := range []float64{math.NaN(), math.Inf(1), 1e300} {
		if got, err := seconds(n); err == nil {
			t.Errorf("%v seconds: %v, want an error", n, got)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"512MiB": 512 << 20, "1KiB": 1024, "2GiB": 2 << 30, "1TiB": 1 << 40, "1.5 GiB": 3 << 29, "20GB": 20e9,
		"1KB": 1000, "1kB": 1000, "3MB": 3e6, "2TB": 2e12, "17": 17, "17B": 17, "9223372036854775807": math.MaxInt64,
	} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "lots", "1 000MiB", "0x10MiB", "1_0MiB", "NaNMiB", "InfMiB", "99999999999TiB", "9223372036854775808", "1mib"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q: %v, want an error", text, got)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1 KiB", 3 << 29: "1.5 GiB", 4 << 40: "4 TiB", 700 << 20: "700 MiB"} {
		if got := FormatSize(n); got != want {
			t.Errorf("%d bytes: %q, want %q", n, got, want)
		}
	}
}

func TestCron(t *testing.T) {
	for _, spec := range []string{"0 3 * * *", "*/5 0-6,22 L jan-mar mon-fri", "0 0 1 */3 *", "0 0 * * 5#3", "0 0 * * sun#1,7", "@daily"} {
		if err := checkCron(spec); err != nil {
			t.Errorf("%q: %v", spec, err)
		}
	}
	for _, spec := range []string{
		"", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "*/0 * * * *", "5-1 * * * *",
		"* * * * 5#6", "* * * * 9#1", "L * * * *", "* * 1#1 * *", "a * * * *", "1- * * * *", ", * * * *", "@reboot", "-1 * * * *", "TZ=0 * * * * *", "99999999999999999999 * * * *",
	} {
		if err := checkCron(spec); err == nil {
			t.Errorf("%q: want an error", spec)
		}
	}
}

func TestClosest(t *testing.T) {
	names := []string{"bot1", "bot2", "steps", "workers"}
	for name, want := range map[string]string{
		"bot3": "bot1", "stpes": "steps", "worker": "workers", "step": "steps", "elephant": "", "": "", "b": "",
		strings.Repeat("x", 1000): "",
	} {
		if got := Closest(name, names); got != want {
			t.Errorf("closest to %q: %q, want %q", name, got, want)
		}
	}
}

func TestErrorsUnwrap(t *testing.T) {
	_, _, err := Parse("x", []byte("a = 1\nb = 2\n"))
	var first *Error
	if !errors.As(err, &first) || first.Line != 1 || first.Path != "a" {
		t.Errorf("first error %+v", first)
	}
}
