package hostile

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"
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
  { name = "start", run = "setsid sleep 1007.7 & sleep 1008.7 & sleep 0.2; echo started" },
  { name = "use", run = "pgrep -f '^sleep 100[78].7' | wc -l | sed 's/^ */alive /'" },
]
`

// checkContainment runs the acceptance scene: a step that is cancelled, and one
// that ends while its daemons hold its output open.
func checkContainment(t *testing.T, s *scene) {
	t.Helper()
	p := s.start("run", "cancelled")
	p.awaits("| fled\n")
	p.signalOurs(s)
	if took := p.exits(130, 20*time.Second); took > 4*time.Second {
		t.Errorf("the cancelled step took %v, its grace is 1 s", took)
	}
	p.prints("ended ", "left-over process")
	s.nothingLeft("the cancelled build", 2*time.Second)

	began := time.Now()
	p = s.run(0, "run", "daemons")
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the steps took %v: something waited for the daemons", took)
	}
	p.prints("| started\n", "| alive 2\n", "ended ", "left-over process")
	s.nothingLeft("the build with daemons", 2*time.Second)
}

type doctor struct {
	Slots       int
	Containment string
	Text        []string `json:"containment_text"`
}

func (s *scene) doctor() (d doctor, text string) {
	s.t.Helper()
	p := s.run(0, "doctor", "--json")
	if err := json.Unmarshal([]byte(p.out.String()), &d); err != nil {
		s.t.Fatalf("doctor: %v\n%s", err, p.all())
	}
	return d, s.run(0, "doctor").out.String()
}

// Without writable cgroups containment falls back, says so, and holds.
func TestNoCgroups(t *testing.T) {
	needRoot(t)
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		missing(t, "no unshare")
	}
	for name, prepare := range map[string]string{
		"read-only": `mount --make-rprivate / && awk '$2 ~ "^/sys/fs/cgroup" {print $2}' /proc/self/mounts | sort -r | while read m; do mount -o remount,bind,ro "$m" || exit 1; done`,
		"none":      `mount --make-rprivate / && umount -R /sys/fs/cgroup`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, containment)
			s.wrap = []string{unshare, "-m", "sh", "-c", prepare + ` && exec "$@"`, "sh"}
			d, text := s.doctor()
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
	d, _ := s.doctor()
	t.Logf("containment: %s", d.Containment)
	checkContainment(t, s)
}
