package remote

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"bothy/runner/worker"
)

// Files are found and fetched from every kind of worker, by our patterns.
func TestPeerFetch(t *testing.T) {
	overBoth(t, func(t *testing.T, speaks protocol) {
		c, _, _ := connect(t, speaks)
		b := startBuild(t, c, "test", nil)
		ctx := within(t)
		run(t, b, sh(b, `mkdir -p out/sub/.git out/none 'a[b'; echo one >out/1.xml; echo two >out/sub/2.xml; echo x >out/sub/.git/3.xml
			echo four >'a[b/x*y'; mkfifo out/pipe; ln -s 1.xml out/link.xml; ln -s /none out/dead.xml`))
		for _, tt := range []struct{ patterns, want string }{
			{"out/**/*.xml", "out/1.xml out/dead.xml out/link.xml out/sub/2.xml"},
			{"out/[^2-9].xml out/sub/*", "out/1.xml out/sub/2.xml"},
			{`a\[b/*\** none/**`, "a[b/x*y"},
			{"**/.git/*.xml", "out/sub/.git/3.xml"}, {"**/3.xml", ""},
			{"out/sub/.git/*", "out/sub/.git/3.xml"},
		} {
			var patterns []worker.Pattern
			for s := range strings.FieldsSeq(tt.patterns) {
				p, err := worker.ParsePattern(s)
				if err != nil {
					t.Fatal(err)
				}
				patterns = append(patterns, p)
			}
			names, more, err := b.Find(ctx, patterns, 10)
			if got := strings.Join(names, " "); err != nil || more || got != tt.want {
				t.Errorf("%s: %q, %v, %v", tt.patterns, got, more, err)
			}
			if names, more, err := b.Find(ctx, patterns, 0); err != nil || more != (tt.want != "") || len(names) > 0 {
				t.Errorf("%s, none at most: %q, %v, %v", tt.patterns, names, more, err)
			}
		}
		for _, tt := range []struct {
			name  string
			limit int64
			text  string
			want  error
		}{
			{"out/1.xml", 4, "one\n", nil},
			{"a[b/x*y", 5, "four\n", nil},
			{"out/link.xml", 4, "one\n", nil},
			{"out/1.xml", 3, "", worker.ErrTooLarge},
			{"out/sub", 100, "", worker.ErrDir},
			{"out/pipe", 100, "", worker.ErrNoFile},
			{"out/dead.xml", 100, "", worker.ErrNoFile},
			{"../../x", 100, "", worker.ErrNoFile},
		} {
			var got bytes.Buffer
			if err := b.Fetch(ctx, tt.name, &got, tt.limit); !errors.Is(err, tt.want) || err == nil && got.String() != tt.text {
				t.Errorf("%s, %d at most: %q, %v, want %v", tt.name, tt.limit, &got, err, tt.want)
			}
		}
		end(t, b, worker.DropDir)
	})
}
