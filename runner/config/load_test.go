package config

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"bothy/runner/build"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const testdata = "../../testdata/config"

// examples returns the test files matching a pattern below testdata.
func examples(t testing.TB, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(testdata, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files match %s: %v", pattern, err)
	}
	return files
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; rewrite with -update):\n%s", name, diff)
	}
}

func TestErrorTexts(t *testing.T) {
	for _, file := range append(examples(t, "*.toml"), examples(t, "bad/*.toml")...) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".toml"), func(t *testing.T) {
			_, warnings, err := Parse("bothy.toml", readFile(t, file))
			var b strings.Builder
			for _, w := range warnings {
				fmt.Fprintln(&b, "warning:", w)
			}
			if err != nil {
				fmt.Fprintln(&b, err)
			}
			if strings.Contains(file, "bad") && err == nil {
				t.Error("accepted")
			}
			golden(t, strings.TrimSuffix(file, ".toml")+".err", b.String())
		})
	}
}

// ofFile reads a file as Parse does, but takes also what is not available.
func ofFile(t *testing.T, file string) *Config {
	t.Helper()
	p := &problems{}
	c := parse(p, file, readFile(t, file))
	if c == nil {
		t.Fatal(p.errs)
	}
	c.check(p)
	if len(p.errs) > 0 {
		t.Fatal(p.errs)
	}
	return c
}

// plain leaves out what only a file has.
var plain = cmp.Options{
	cmpopts.IgnoreUnexported(Config{}, Worker{}),
	cmpopts.IgnoreFields(Config{}, "Digest", "File", "Dir"),
}

func TestProductExampleIsTheDefault(t *testing.T) {
	// product.md: every value is the default, unless it is an example.
	got := ofFile(t, filepath.Join(testdata, "product.toml"))
	want := &Config{
		Workers: []Worker{
			{Name: "bot1"},
			{
				Name: "bot-solaris", Kind: WorkerRemote, MaxBuilds: 2,
				Properties: map[string]any{"os": "solaris"}, DefaultProperties: map[string]any{"parallel_make": 10},
				Remote: RemoteWorker{Password: Secret{Name: "bot-solaris"}, NotifyOnMissing: []string{"bob@example.com"}},
			},
			{
				Name: "burst", Kind: WorkerCommand,
				Command: CommandDriver{
					Start: []string{"ssh", "big", "bothy worker …"}, Stop: []string{"ssh", "big", "…"},
					Check: []string{"…"}, List: []string{"…"},
				},
			},
		},
		Builders: []Builder{{
			Name: "test", Workers: []string{"bot1"}, Tags: []string{}, Memory: 512 << 20,
			Steps: []Step{
				Shell("go vet ./..."),
				{
					Name: "unit", Run: Run{Argv: []string{"go", "test", "./..."}},
					MaxTime: time.Hour, Env: map[string]string{"CGO_ENABLED": "0"},
				},
			},
		}},
		Schedulers: []Scheduler{{Name: "nightly", Kind: SchedulerCron, Builders: []string{"test"}, Cron: Cron{Spec: "0 3 * * *"}}},
		Reports:    []Report{{Kind: ReportMail, To: []string{"team@example.com"}, Builders: []string{"test"}}},
		Locks:      []Lock{{Name: "gpu"}},
		Secrets:    []SecretProvider{{Kind: SecretDir}},
	}
	p := &problems{}
	want.check(p)
	if len(p.errs) > 0 {
		t.Fatal(p.errs)
	}
	if diff := cmp.Diff(want, got, plain); diff != "" {
		t.Error(diff)
	}
}

func TestEveryKey(t *testing.T) {
	c := ofFile(t, filepath.Join(testdata, "full.toml"))
	flags := build.DefaultFlags()
	noHalt := build.Flags{FlunkOnFailure: true}
	want := &Config{
		Title: "Everything", URL: "https://ci.example.com/", BaseDir: "state",
		Web: Web{
			Listen: "localhost:8010", TLSCert: "cert.pem", TLSKey: "key.pem",
			Users: []User{
				{Name: "ana", PasswordHash: Secret{Text: "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"}, Role: Admin},
				{Name: "ben", PasswordHash: Secret{Name: "ben"}, Role: Viewer},
			},
			Tokens: []Token{
				{Name: "ci", Secret: Secret{Text: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}, Role: Operator},
				{Name: "badge", Secret: Secret{Env: "BADGE_TOKEN"}, Role: Viewer},
			},
		},
		Remote:  Remote{Listen: "[::1]:9989", TLSCert: "cert.pem", TLSKey: "key.pem", ClientCA: "ca.pem"},
		Machine: Machine{CPUs: 3.5, Memory: 6 << 30, ReserveMemory: Off, MemoryPerBuild: 700 << 20, PassEnv: []string{"GOPROXY", "GOFLAGS"}},
		Store:   Store{KeepBuilds: 10, KeepLogs: 36 * time.Hour, KeepFailedWorkspaces: Off, DiskCap: 5e9},
		Mail: Mail{
			From: "Bothy <bothy@example.com>", Relay: "mail.example.com:587", TLS: TLSStartTLS,
			Username: "bothy", Password: Secret{Env: "SMTP_PASSWORD"}, ReplyTo: "team@example.com",
		},
		Workers: []Worker{
			{
				Name: "bot1", Kind: WorkerLocal, MaxBuilds: 2, NoCanary: true, Workdir: "first", Count: 1,
				Properties:        map[string]any{"os": "linux", "cores": int64(4), "nested": map[string]any{"a": []any{int64(1), 2.5, true}}},
				DefaultProperties: map[string]any{"parallel_make": int64(10)},
			},
			{Name: "pool", Kind: WorkerLocal, Workdir: "pool", Count: 3},
			{
				Name: "bot-solaris", Kind: WorkerRemote, MaxBuilds: 2, NoCanary: true,
				Properties: map[string]any{"os": "solaris"}, DefaultProperties: map[string]any{"parallel_make": int64(10)},
				Remote: RemoteWorker{
					Password: Secret{File: "bot-solaris.password"}, KeepaliveInterval: Off, MissingTimeout: 10 * time.Minute,
					NotifyOnMissing: []string{"Bob <bob@example.com>"}, NotifyOnReturn: true, Lease: 30 * time.Second,
				},
			},
			{
				Name: "bot-token", Kind: WorkerRemote,
				Remote: RemoteWorker{
					PasswordSHA256:    "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
					KeepaliveInterval: time.Hour, MissingTimeout: time.Hour, Lease: 2 * time.Minute,
				},
			},
		},
		Builders: []Builder{
			{
				Name: "test", Description: "What everybody runs.", Workers: []string{"bot1", "pool"}, Tags: []string{"fast", "unit"},
				Env:               map[string]string{"GREETING": "hello %(prop:who:-world)s", "EMPTY": ""},
				Properties:        map[string]any{"who": "you"},
				DefaultProperties: map[string]any{"level": int64(3)},
				Locks:             []LockAccess{{"gpu", LockCounting, 1}, {"disk", LockExclusive, 1}},
				CPUs:              2, Memory: 512 << 20, MaxRetries: Off, NoCollapse: true, Priority: -1, Exclusive: true,
				Source: Git("https://example.com/x.git", "main"), Workspace: WorkspaceKeep, CleanupTime: 30 * time.Second,
				Steps: []Step{
					{Name: "make", Run: Run{Shell: "make"}, Timeout: 20 * time.Minute, SigtermTime: 10 * time.Second, Flags: &flags},
					{Name: "make_2", Run: Run{Shell: "make"}, Timeout: 20 * time.Minute, SigtermTime: 10 * time.Second, Flags: &flags},
					{Name: "date +%s", Run: Run{Shell: "  date +%s\n  set -e\n  "}, Timeout: 20 * time.Minute, SigtermTime: 10 * time.Second, Flags: &flags},
					{Name: "make_1", Run: Run{Shell: "make install"}, Timeout: 20 * time.Minute, SigtermTime: 10 * time.Second, Flags: &noHalt},
					{Name: "greet", Func: "greet", Timeout: 20 * time.Minute, SigtermTime: 10 * time.Second, Flags: &flags},
				},
			},
			{
				Name: "other", Workers: []string{"pool-2"}, CPUs: 1, MaxRetries: 3,
				Source: Source{Kind: SourceTree}, Workspace: WorkspaceFresh, CleanupTime: time.Minute,
				Steps: []Step{{
					Name: "unit", Run: Run{Argv: []string{"go", "test", "-run", "%(prop:run:-.)s"}},
					Workdir: "sub/%(prop:dir)s", Env: map[string]string{"CGO_ENABLED": "0"},
					Timeout: Off, MaxTime: time.Hour, SigtermTime: 2500 * time.Millisecond, PTY: true, LogEnviron: true, MaxLines: 1000,
					DecodeRC: map[int]build.Result{1: build.Warnings, 77: build.Skipped},
					Flags:    &build.Flags{FlunkOnWarnings: true, WarnOnFailure: true, WarnOnWarnings: true, AlwaysRun: true},
					DoIf:     "%(prop:run)s", HideIf: "no",
					Locks:    []LockAccess{{"disk", LockCounting, 2}},
					LogFiles: []LogFile{{Name: "tail", Path: "tail.log", Follow: true}, {Name: "test.log", Path: "out/test.log"}},
					Stdin:    "%(secret:answer)s", Retries: 2,
					Artifacts: []string{"dist/**", "%(prop:version)s.tar.gz"}, JUnit: []string{"reports/*.xml"},
				}},
			},
		},
		Schedulers: []Scheduler{
			{
				Name: "button", Kind: SchedulerForce, Builders: []string{"test"}, Properties: map[string]any{"full": true}, Priority: 3,
				Force: Force{
					Label: "Build it", Button: "Go",
					Reason: Parameter{
						Name: "reason", Type: ParameterString, Label: "Why", Tooltip: "One line.", Default: "because",
						Required: true, Hide: true, Regex: "[a-z]", Size: 40, MaxSize: 100,
					},
					Username: Parameter{
						Name: "username", Type: ParameterUsername, Label: "Who", Default: "Ana <ana@example.com>",
						Required: true, Size: 30, MaxSize: 64 << 10, NoEmail: true,
					},
					Parameters: []Parameter{
						{Name: "who", Type: ParameterString, Label: "Who", Default: "you", Required: true, Size: 10, MaxSize: 64 << 10},
						{Name: "notes", Type: ParameterText, Label: "notes", Cols: 40, Rows: 3, MaxSize: 64 << 10},
						{Name: "level", Type: ParameterChoice, Label: "level", Choices: []string{"low", "high"}, Default: "low", Open: true},
						{Name: "many", Type: ParameterChoice, Label: "many", Choices: []string{"a", "b"}, Multiple: true, Default: []any{"a"}},
						{Name: "n", Type: ParameterInt, Label: "n", Default: int64(3), Size: 10},
						{Name: "clean", Type: ParameterBool, Label: "clean", Default: true},
						{Name: "origin", Type: ParameterFixed, Label: "origin", Default: "form"},
						{Name: "target", Type: ParameterNested, Label: "Target", Columns: 3, Fields: []Parameter{
							{Name: "host", Type: ParameterString, Label: "host", Size: 10, MaxSize: 64 << 10},
							{Name: "port", Type: ParameterInt, Label: "port", Size: 10},
						}},
						{Type: ParameterNested, Columns: 1, Fields: []Parameter{
							{Name: "asked-by", Type: ParameterUsername, Label: "asked-by", Size: 30, MaxSize: 64 << 10, NoEmail: true},
						}},
					},
				},
			},
			{
				Name: "plain", Kind: SchedulerForce, Builders: []string{"other"},
				Force: Force{
					Label: "plain", Button: "plain",
					Reason:   Parameter{Name: "reason", Type: ParameterString, Label: "Reason", Default: "just so", Size: 20, MaxSize: 64 << 10},
					Username: Parameter{Name: "username", Type: ParameterUsername, Label: "Your name", Size: 30, MaxSize: 64 << 10},
				},
			},
		},
		Reports: []Report{
			{
				Kind: ReportMail, Builders: []string{"test"}, Tags: []string{"fast"}, Mode: []ReportMode{ModeChange, ModeException},
				To: []string{"team@example.com", "Ana <ana@example.com>"}, SendToInterestedUsers: true, Lookup: "example.com",
				Subject: "%(prop:buildername)s", AddLogs: true,
			},
			{Kind: ReportMail, To: []string{"team@example.com"}, Mode: []ReportMode{ModeFailing, ModeWarnings}},
		},
		Locks: []Lock{
			{Name: "gpu", MaxCount: 1, Scope: LockMaster},
			{Name: "disk", MaxCount: 2, Scope: LockWorker, MaxCountForWorker: map[string]int{"bot1": 4}},
		},
		Secrets: []SecretProvider{
			{Kind: SecretDir, Path: "keys"},
			{Kind: SecretEnv, Prefix: "CI_"},
			{Kind: SecretPass, Path: "store", Passphrase: Secret{File: "passphrase"}},
			{Kind: SecretVault, Vault: VaultOptions{
				Address: "https://vault.example.com", CACert: "vault.pem", Namespace: "team/ci", Mount: "kv", APIVersion: 1,
				RoleID: "bothy", SecretID: Secret{File: "vault-secret"},
			}},
			{Kind: SecretVault, Vault: VaultOptions{Address: "http://127.0.0.1:8200", Mount: "secret", APIVersion: 2, Token: Secret{Env: "VAULT_TOKEN"}}},
			{Kind: SecretSystemd},
		},
	}
	if diff := cmp.Diff(want, c, plain); diff != "" {
		t.Error(diff)
	}
}

func TestCompleteAgainChangesNothing(t *testing.T) {
	for _, name := range []string{"full.toml", "later.toml", "product.toml", "small.toml"} {
		once, twice := ofFile(t, filepath.Join(testdata, name)), ofFile(t, filepath.Join(testdata, name))
		p := &problems{}
		twice.check(p)
		if len(p.errs) > 0 {
			t.Error(name, p.errs)
		}
		if diff := cmp.Diff(once, twice, plain); diff != "" {
			t.Error(name, diff)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, FileName)
	text := "[[builders]]\nname = \"test\"\nsteps = [\"true\"]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, warnings, err := Load(file)
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	if c.File != file || c.Dir != dir {
		t.Errorf("file %q in %q, want %q in %q", c.File, c.Dir, file, dir)
	}
	// printf '[[builders]]\nname = "test"\nsteps = ["true"]\n' | sha256sum
	if want := "650f41c5b2be1cf118b60e7688c0b40bff9c5da38e11f4d93596874a6561b2b1"; c.Digest != want {
		t.Errorf("digest %s, want %s", c.Digest, want)
	}
	if got, err := c.Abs(c.BaseDir); err != nil || got != filepath.Join(dir, ".bothy") {
		t.Errorf("base directory %q, %v", got, err)
	}
	if _, _, err := Load(filepath.Join(dir, "none.toml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	big := filepath.Join(dir, "big.toml")
	if err := os.WriteFile(big, make([]byte, MaxFileSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(big); err == nil || !strings.Contains(err.Error(), "more than 1024 KiB") {
		t.Errorf("a file that is too large: %v", err)
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b")
	if err := os.MkdirAll(filepath.Join(deep, FileName), 0o700); err != nil { // a directory does not count
		t.Fatal(err)
	}
	file := filepath.Join(dir, "a", FileName)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Find(deep); err != nil || got != file {
		t.Errorf("found %q, %v; want %q", got, err, file)
	}
	if got, err := Find(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("found %q, %v; want nothing", got, err)
	}
}

func TestByteOrderMark(t *testing.T) {
	_, _, err := Parse("x", []byte("\ufefftitel = 1\n"))
	if err == nil || !strings.HasPrefix(err.Error(), "x:1:1: ") {
		t.Errorf("got %v", err)
	}
}

func TestManyProblemsInOneLine(t *testing.T) {
	// As many as fit: what takes a second would take minutes if every position
	// or name were looked for from the beginning.
	const n = 250_000
	text := "[[builders]]\nname='a'\nsteps=['x']\nlocks=[" + strings.Repeat("'x',", n) + "]\n"
	start := time.Now()
	_, _, err := Parse("x", []byte(text))
	errs := problemsOf(err)
	if len(errs) != n {
		t.Fatalf("%d errors, want %d", len(errs), n)
	}
	if last := errs[n-1]; last.Line != 4 || last.Column != 8+4*(n-1) {
		t.Errorf("the last at %d:%d", last.Line, last.Column)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("took %v", took)
	}
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"*.toml", "bad/*.toml"} {
		for _, file := range examples(f, pattern) {
			f.Add(readFile(f, file))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, warnings, err := Parse("x", data)
		again, warningsAgain, errAgain := Parse("x", data)
		if fmt.Sprint(err) != fmt.Sprint(errAgain) || !reflect.DeepEqual(warnings, warningsAgain) {
			t.Fatalf("two answers:\n%v %v\n%v %v", err, warnings, errAgain, warningsAgain)
		}
		if !cmp.Equal(c, again, plain) {
			t.Fatalf("two values: %s", cmp.Diff(c, again, plain))
		}
		for _, e := range problemsOf(err) {
			if e.Line < 1 || e.Column < 1 {
				t.Errorf("no position: %v", e)
			}
		}
	})
}

func problemsOf(err error) Errors {
	var errs Errors
	errors.As(err, &errs)
	return errs
}

// TestURLFollowsListen: what is not said of the URL follows from web.listen.
func TestURLFollowsListen(t *testing.T) {
	host, err := os.Hostname()
	if err != nil || !isName(host) {
		host = "localhost"
	}
	users := []User{{Name: "ana", PasswordHash: Secret{Env: "ANA"}}}
	for _, tt := range []struct{ url, listen, cert, want string }{
		{"", "", "", "http://127.0.0.1:8010/"},
		{"", "", "cert.pem", "https://127.0.0.1:8010/"},
		{"", "127.0.0.1:9000", "", "http://127.0.0.1:9000/"},
		{"", "[::1]:9000", "cert.pem", "https://[::1]:9000/"},
		{"", "ci.example.com:443", "cert.pem", "https://ci.example.com:443/"},
		{"", ":9000", "", "http://" + host + ":9000/"},
		{"", "0.0.0.0:9000", "", "http://" + host + ":9000/"},
		{"", "[::]:9000", "cert.pem", "https://" + host + ":9000/"},
		{"https://ci.example.com", ":9000", "", "https://ci.example.com/"},
	} {
		c := &Config{URL: tt.url, Web: Web{Listen: tt.listen, Users: users}}
		if tt.cert != "" {
			c.Web.TLSCert, c.Web.TLSKey = tt.cert, "key.pem"
		}
		if _, err := c.Complete(); err != nil || c.URL != tt.want {
			t.Errorf("url %q, listen %q, certificate %q: %s, want %s; %v", tt.url, tt.listen, tt.cert, c.URL, tt.want, err)
		}
	}
	for _, listen := range []string{"nonsense", "a b:80", "127.0.0.1:x", "127.0.0.1:70000", "x/y:80"} {
		c := &Config{Web: Web{Listen: listen, Users: users}}
		var errs Errors
		if _, err := c.Complete(); !errors.As(err, &errs) || len(errs) != 1 {
			t.Errorf("listen %q: %v, want one error", listen, err)
		}
	}
}
