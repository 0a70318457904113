package worker

import (
	"runtime"
	"slices"
	"testing"
)

func TestBaseEnv(t *testing.T) {
	for _, tt := range []struct {
		goos           string
		in, pass, want []string
	}{
		{
			in:   []string{"PATH=/bin", "LC_ALL=C", "AWS_SECRET=x", "BOTHY_PASSWORD_FILE=f", "BOTHY_TOKEN=t", "GOPROXY=p=q", "HOME=/h", "=C:=x", "odd", "TMPDIR="},
			pass: []string{"GOPROXY", "BOTHY_PASSWORD_FILE", "odd"},
			want: []string{"PATH=/bin", "LC_ALL=C", "GOPROXY=p=q", "HOME=/h", "TMPDIR="},
		},
		{goos: "windows", in: []string{"Path=x", "goproxy=p", "Bothy_Token=t"}, pass: []string{"GOPROXY", "bothy_token"}, want: []string{"Path=x", "goproxy=p"}},
		{goos: "linux", in: []string{"Path=x", "goproxy=p"}, pass: []string{"GOPROXY"}},
	} {
		if tt.goos != "" && tt.goos != runtime.GOOS {
			continue // how names are told apart is the system's matter
		}
		if got := BaseEnv(tt.in, tt.pass); !slices.Equal(got, tt.want) {
			t.Errorf("BaseEnv(%q, %q) = %q, want %q", tt.in, tt.pass, got, tt.want)
		}
	}
}
