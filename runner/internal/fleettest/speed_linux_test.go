package fleettest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// figures is a table of what was measured.
type figures struct {
	b    *testing.B
	text strings.Builder
}

func (f *figures) row(what, bothy, yardstick, ratio, target string, met bool) {
	said := "no"
	switch {
	case target == "":
		said = ""
	case met:
		said = "yes"
	}
	fmt.Fprintf(&f.text, "| %s | %s | %s | %s | %s | %s |\n", what, bothy, yardstick, ratio, target, said)
}

// BenchmarkFleet measures once, beside Buildbot's own master on the same machine,
// and prints a table. Machines are shared and noisy: read the ratios.
//
//	go test -run '^$' -bench Fleet -benchtime 1x ./runner/internal/fleettest
func BenchmarkFleet(b *testing.B) {
	need(b, "buildbot", "buildbot-worker")
	f := &figures{b: b}
	for _, m := range []struct {
		name    string
		measure func(b *testing.B, f *figures)
	}{
		{"builds", measureBuilds},
		{"memory", measureMemory},
		{"idle", measureIdle},
		{"output", measureOutput},
		{"steps", measureSteps},
	} {
		b.Run(m.name, func(b *testing.B) {
			for range b.N {
				m.measure(b, f)
			}
		})
	}
	fmt.Printf("\n| what | Bothy | yardstick | ratio | target | met |\n|---|---|---|---|---|---|\n%s\n", f.text.String())
}

// cpu is what a process has used so far.
func cpu(t testing.TB, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	var ticks int64
	for _, s := range fields[11:13] { // utime, stime
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100
}

// rss is a process's resident memory in KiB.
func rss(t testing.TB, pid int) int {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "VmRSS:"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no VmRSS of process %d", pid)
	return 0
}

// together asks for builds of several builders and waits for all.
func (m *master) together(builders []string, n int) time.Duration {
	m.t.Helper()
	var names []string
	for i := range n {
		names = append(names, builders[i%len(builders)])
	}
	began := time.Now()
	ids, err := m.force(names...)
	if err != nil {
		m.t.Fatal(err)
	}
	// Requests end in any order; to ask for each in turn costs little.
	for _, id := range ids {
		until(m.t, "builds do not end", func() bool { return m.request(id).Complete })
	}
	took := time.Since(began)
	for _, id := range ids {
		if r := m.request(id); resultName(r.Results) != "success" {
			m.t.Fatalf("request %d: %s", id, resultName(r.Results))
		}
	}
	return took
}

// measureBuilds runs builds of one step on the same ten buildbot-workers under
// each master.
func measureBuilds(b *testing.B, f *figures) {
	type result struct{ rate, cpu float64 }
	found := map[string]result{}
	for _, make := range []string{"buildbot", "bothy"} {
		p := &plan{}
		var names, builders []string
		for i := range 10 {
			names = append(names, fmt.Sprint("w", i))
			p.add(planWorker{Name: names[i], MaxBuilds: 1})
		}
		for i := range 10 {
			builders = append(builders, fmt.Sprint("b", i))
			p.Builders = append(p.Builders, planBuilder{Name: builders[i], Workers: names, Steps: []planStep{{Name: "true", Run: "true"}}})
		}
		m := start(b, make, p)
		for _, name := range names {
			w := startPeer(b, buildbotPB, m, name)
			defer w.kill()
		}
		for _, name := range names {
			m.connected(name, true)
		}
		n := 60
		if make == "bothy" {
			n = 400
		}
		m.together(builders, 20)
		pid := m.Cmd.Process.Pid
		before := cpu(b, pid)
		took := m.together(builders, n)
		found[make] = result{float64(n) / took.Seconds(), (cpu(b, pid) - before).Seconds() * 1000 / float64(n)}
		m.crash()
	}
	ours, theirs := found["bothy"], found["buildbot"]
	f.row("builds/s, 10 buildbot-workers (pb), 1 step", fmt.Sprintf("%.1f", ours.rate), fmt.Sprintf("Buildbot 3.7: %.1f", theirs.rate),
		fmt.Sprintf("%.1f", ours.rate/theirs.rate), "≥ 1", ours.rate >= theirs.rate)
	f.row("CPU of the master per build", fmt.Sprintf("%.1f ms", ours.cpu), fmt.Sprintf("Buildbot 3.7: %.1f ms", theirs.cpu),
		fmt.Sprintf("%.2f", ours.cpu/theirs.cpu), "≤ 1", ours.cpu <= theirs.cpu)
}

// settled is a process's memory when it has not grown for a while.
func settled(t testing.TB, pid int) int {
	t.Helper()
	last := rss(t, pid)
	for same := 0; same < 4; {
		<-time.After(500 * time.Millisecond)
		now := rss(t, pid)
		if same++; now > last+64 {
			same = 0
		}
		last = now
	}
	return last
}

// idleFleet starts a master with n idle workers, and returns it, its memory
// without and with them in KiB.
func idleFleet(b *testing.B, make string, n int, packets bool) (m *master, without, with int) {
	b.Helper()
	p := &plan{}
	var names []string
	for i := range n {
		names = append(names, fmt.Sprint("idle-", i))
		p.add(planWorker{Name: names[i]})
	}
	p.Builders = []planBuilder{{Name: "b", Workers: names[:1], Steps: []planStep{{Name: "true", Run: "true"}}}}
	m = start(b, make, p)
	without = settled(b, m.Cmd.Process.Pid)
	startIdlers(b, m, names, packets)
	for _, name := range []string{names[0], names[n-1]} {
		m.connected(name, true)
	}
	return m, without, settled(b, m.Cmd.Process.Pid)
}

// measureMemory compares the memory of a connection.
func measureMemory(b *testing.B, f *figures) {
	const n = 1000
	each := map[string]float64{}
	for _, make := range []string{"buildbot", "bothy"} {
		m, without, with := idleFleet(b, make, n, false)
		each[make] = float64(with-without) / n
		m.crash()
	}
	f.row("memory of one of 1000 idle connections (msgpack)", fmt.Sprintf("%.1f KiB", each["bothy"]), fmt.Sprintf("Buildbot 3.7: %.1f KiB", each["buildbot"]),
		fmt.Sprintf("%.2f", each["bothy"]/each["buildbot"]), "≤ 1", each["bothy"] <= each["buildbot"])
}

// measureIdle is ten thousand idle connections.
func measureIdle(b *testing.B, f *figures) {
	n := 10000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatal(err)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatal(err)
	}
	if most := int(limit.Max) - 500; n > most {
		b.Logf("RLIMIT_NOFILE allows %d connections only", most)
		n = most
	}
	for _, packets := range []bool{false, true} {
		of := "buildbot-workers (msgpack)"
		if packets {
			of = "Bothys"
		}
		m, without, with := idleFleet(b, "bothy", n, packets)
		pid := m.Cmd.Process.Pid
		const span = 30 * time.Second
		before := cpu(b, pid)
		<-time.After(span)
		used := (cpu(b, pid) - before).Seconds() / span.Seconds() * 100
		m.crash()
		each := float64(with-without) / float64(n)
		f.row(fmt.Sprintf("memory of one of %d idle connections of %s", n, of), fmt.Sprintf("%.1f KiB", each), "", "", "≤ 40 KiB", each <= 40)
		f.row(fmt.Sprintf("CPU with %d idle connections of %s", n, of), fmt.Sprintf("%.2f %%", used), "", "", "≤ 1 %", used <= 1)
	}
}

// measureOutput is one worker's output between two Bothys.
func measureOutput(b *testing.B, f *figures) {
	const mb = 1000
	produce := fmt.Sprintf("yes 'a line of a log as long as lines of logs usually are, or a little longer' | head -c %dM", mb)
	dir := b.TempDir()
	began := time.Now()
	if out, err := exec.Command("sh", "-c", produce+" | cat >"+dir+"/out").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	yardstick := mb * 1.048576 / time.Since(began).Seconds()
	rates := map[breed]float64{}
	var spent [2]time.Duration // by master and worker, between two Bothys
	for _, w := range []breed{bothyMsgpack, buildbotMsgpack} {
		produce, mb := produce, float64(mb)
		if w == buildbotMsgpack {
			mb = 50
			produce = strings.Replace(produce, "1000M", "50M", 1)
		}
		p := &plan{}
		p.add(planWorker{Name: "w"}, planBuilder{Steps: []planStep{{Name: "yes", Run: produce}}})
		m := newBothy(b, p, where{})
		peer := startPeer(b, w, m, "w")
		m.connected("w", true)
		began := time.Now()
		m.together([]string{"w"}, 1)
		rates[w] = mb * 1.048576 / time.Since(began).Seconds()
		if w == bothyMsgpack {
			spent = [2]time.Duration{cpu(b, m.Cmd.Process.Pid), cpu(b, peer.Cmd.Process.Pid)}
		}
		m.crash()
	}
	f.row("output between two Bothys", fmt.Sprintf("%.0f MB/s", rates[bothyMsgpack]), fmt.Sprintf("cat into a file: %.0f MB/s", yardstick),
		fmt.Sprintf("%.2f", rates[bothyMsgpack]/yardstick), "≥ 200 MB/s", rates[bothyMsgpack] >= 200)
	f.row("CPU for 1 GB of output", fmt.Sprintf("master %.1f s, worker %.1f s", spent[0].Seconds(), spent[1].Seconds()), "", "", "", true)
	f.row("output of a buildbot-worker (msgpack)", fmt.Sprintf("%.0f MB/s", rates[buildbotMsgpack]), "", "", "", true)
}

// measureSteps is what a step that does nothing takes.
func measureSteps(b *testing.B, f *figures) {
	began := time.Now()
	for range 200 {
		if err := exec.Command("sh", "-c", "true").Run(); err != nil {
			b.Fatal(err)
		}
	}
	yardstick := time.Since(began) / 200
	each := func(make string, w breed, n int) time.Duration {
		p := &plan{}
		steps := []planStep{}
		for i := range n {
			steps = append(steps, planStep{Name: fmt.Sprint("s", i), Run: "true"})
		}
		p.add(planWorker{Name: "w"}, planBuilder{Name: "-one", Steps: steps[:1]}, planBuilder{Name: "-many", Steps: steps})
		m := start(b, make, p)
		startPeer(b, w, m, "w")
		m.connected("w", true)
		m.together([]string{"w-one"}, 3)
		one := m.together([]string{"w-one"}, 1)
		many := m.together([]string{"w-many"}, 1)
		m.crash()
		return (many - one) / time.Duration(n-1)
	}
	ours, other, theirs := each("bothy", bothyMsgpack, 200), each("bothy", buildbotPB, 100), each("buildbot", buildbotPB, 50)
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1000) }
	f.row("a step between two Bothys, start to end", ms(ours), "sh -c true: "+ms(yardstick), "+"+ms(ours-yardstick), "≤ +5 ms", ours-yardstick <= 5*time.Millisecond)
	f.row("a step on a buildbot-worker (pb)", ms(other), "under Buildbot 3.7: "+ms(theirs), fmt.Sprintf("%.2f", float64(other)/float64(theirs)), "≤ 1", other <= theirs)
}
