package fleettest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Many buildbot-workers share many builds; two of them are killed meanwhile and
// come back. Nothing is lost, all are used, none is given more than it takes.
func TestCrowd(t *testing.T) {
	t.Parallel()
	workers, builds := 10, 300
	if soak {
		workers, builds = 20, 2000
	}
	const takes = 2
	dir := t.TempDir()
	p := &plan{}
	var names []string
	for i := range workers {
		names = append(names, fmt.Sprint("bot-", i))
		p.add(planWorker{Name: names[i], MaxBuilds: takes})
	}
	ledger := fmt.Sprintf("%s/$BOTHY_WORKER", dir)
	for i := range 4 {
		p.Builders = append(p.Builders, planBuilder{Name: fmt.Sprint("b", i), Workers: names, Steps: []planStep{{
			Name: "work", Run: fmt.Sprintf("echo + >>%[1]s; echo built; sleep 0.02; echo - >>%[1]s", ledger),
		}}})
	}
	m := newBothy(t, p, where{})
	var peers []*peer
	for i, name := range names {
		peers = append(peers, startPeer(t, []breed{buildbotPB, buildbotMsgpack}[i%2], m, name))
	}
	for _, name := range names {
		m.connected(name, true)
	}
	began := time.Now()
	var wanted []string
	for i := range builds {
		wanted = append(wanted, fmt.Sprint("b", i%4))
	}
	requests, err := m.force(wanted...)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range peers[:2] {
		m.done(requests[(i+1)*builds/4])
		w.kill()
		w.launch()
	}
	until(t, "builds do not end", func() bool {
		return len(rows[requestRow](m, "buildrequests?complete=false&limit=1")) == 0
	})
	took := time.Since(began)
	m.checkCrowd(requests, took)
	for i, name := range names {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Errorf("%s was not used: %v", name, err)
			continue
		}
		running, most := 0, 0
		for l := range strings.Lines(string(b)) {
			if strings.TrimSpace(l) == "+" {
				running++
			} else {
				running--
			}
			most = max(most, running)
		}
		if i >= 2 && (most > takes || running != 0) { // what was killed has not said that it ended
			t.Errorf("%s ran %d builds at once, and %d still", name, most, running)
		}
	}
}

// checkCrowd checks that each request succeeded in the end, after lost builds only.
func (m *master) checkCrowd(requests []int64, took time.Duration) {
	m.t.Helper()
	per := map[int64][]string{}
	for _, b := range rows[struct {
		buildRow
		Request int64 `json:"buildrequestid"`
	}](m, "builds?order=buildid&limit=100000") {
		per[b.Request] = append(per[b.Request], b.result())
	}
	retries := 0
	for _, r := range requests {
		got := strings.Join(per[r], " ")
		retries += len(per[r]) - 1
		if want := strings.Repeat("retry ", max(0, len(per[r])-1)) + "success"; got != want {
			m.t.Errorf("request %d: %q", r, got)
		}
	}
	if retries == 0 || retries > 4 { // two workers of two builds each were killed
		m.t.Errorf("%d retries", retries)
	}
	m.t.Logf("%d builds in %v: %.0f/s, %d retries", len(requests), took.Round(time.Millisecond), float64(len(requests))/took.Seconds(), retries)
}
