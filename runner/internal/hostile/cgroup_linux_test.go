package hostile

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"bothy/runner/internal/testrig"
)

// containment is the acceptance scene: processes that leave by every door.
const containment = `
[[builders]]
name = "cancelled"
steps = [{ name = "flee", sigterm_time = "1s", run = '''
setsid sleep 1000.7 & sleep 1001.7 & nohup sh -c 'trap "" TERM; sleep 1002.7; sleep 1003.7' >/dev/null 2>&1 &
(setsid sh -c 'sleep 1004.7 & sleep 1005.7' &)
sleep 0.3; echo fled; sleep 1006.7''' }]
[[builders]]
name = "daemons"
steps = [
  { name = "start", run = "setsid sleep 1007.7 & echo $! >daemons; sleep 1008.7 & echo $! >>daemons; sleep 0.2; echo started" },
  { name = "use", run = "n=0; for p in $(cat daemons); do kill -0 $p && n=$((n+1)); done; echo alive $n" },
]
`

// checkContainment runs the acceptance scene: a step that is cancelled, and one
// that ends while its daemons hold its output open.
func checkContainment(t *testing.T, s *testrig.Scene) {
	t.Helper()
	p := s.Start("run", "cancelled")
	p.Awaits("| fled\n")
	interruptOurs(s)
	if took := p.Exits(130); took > enough {
		t.Errorf("the cancelled step took %v, its grace is 1 s", took)
	}
	p.Prints("ended ", "left-over process")
	s.NothingLeft("the cancelled build", enough)

	// A step that waited for its daemons would wait for a quarter of an hour.
	p = s.Run(0, "run", "daemons")
	p.Prints("| started\n", "| alive 2\n", "ended ", "left-over process")
	s.NothingLeft("the build with daemons", enough)
}

type doctor struct {
	Slots       int
	Containment string
	Text        []string `json:"containment_text"`
}

func doctorOf(s *testrig.Scene) (d doctor, text string) {
	s.T.Helper()
	p := s.Run(0, "doctor", "--json")
	if err := json.Unmarshal([]byte(p.Out.String()), &d); err != nil {
		s.T.Fatalf("doctor: %v\n%s", err, p.All())
	}
	return d, s.Run(0, "doctor").Out.String()
}

// Without writable cgroups containment falls back, says so, and holds.
func TestNoCgroups(t *testing.T) {
	t.Parallel()
	testrig.NeedRoot(t)
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		testrig.Missing(t, "no unshare")
	}
	for name, prepare := range map[string]string{
		"read-only": `mount --make-rprivate / && awk '$2 ~ "^/sys/fs/cgroup" {print $2}' /proc/self/mounts | sort -r | while read m; do mount -o remount,bind,ro "$m" || exit 1; done`,
		"none":      `mount --make-rprivate / && umount -R /sys/fs/cgroup`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, containment)
			s.Wrap = []string{unshare, "-m", "sh", "-c", prepare + ` && exec "$@"`, "sh"}
			d, text := doctorOf(s)
			t.Logf("%+v\n%s", d, text)
			if strings.HasPrefix(d.Containment, "cgroup") || d.Containment == "" || d.Slots < 1 {
				t.Errorf("doctor: %+v", d)
			}
			if !strings.Contains(text, "containment: "+d.Containment) {
				t.Errorf("doctor says:\n%s", text)
			}
			checkContainment(t, s)
		})
	}
}

// With the cgroups there are.
func TestContainment(t *testing.T) {
	s := newScene(t, containment)
	d, _ := doctorOf(s)
	t.Logf("containment: %s", d.Containment)
	checkContainment(t, s)
}
