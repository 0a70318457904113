package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// binarySize builds the program as it is shipped.
func binarySize(_ context.Context, b *bench) error {
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", b.binary, "bothy")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	st, err := os.Stat(b.binary)
	if err != nil {
		return err
	}
	mb := float64(st.Size()) / 1e6
	b.add(row{"binary, stripped", fmt.Sprintf("%.1f MB", mb), "", "", "≤ 20 MB", mb <= 20})
	return nil
}

// timed runs a command n times and returns the median.
func timed(n int, dir string, argv ...string) (time.Duration, error) {
	var took []time.Duration
	for range n {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir = dir
		start := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, out)
		}
		took = append(took, time.Since(start))
	}
	return median(took), nil
}

// runTrue compares "bothy run -- true" with "sh -c true" as whole processes.
func runTrue(_ context.Context, b *bench) error {
	sh, err := timed(50, b.dir, "sh", "-c", "true")
	if err != nil {
		return err
	}
	var firsts []time.Duration
	for i := range 9 {
		dir := filepath.Join(b.dir, "first", strconv.Itoa(i))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		d, err := timed(1, dir, b.binary, "run", "--", "true")
		if err != nil {
			return err
		}
		firsts = append(firsts, d)
	}
	first := median(firsts)
	later, err := timed(50, filepath.Join(b.dir, "first", "0"), b.binary, "run", "--", "true")
	if err != nil {
		return err
	}
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) }
	b.add(row{"bothy run -- true, first run", ms(first), "sh -c true: " + ms(sh), "+" + ms(first-sh), "≤ +25 ms", first-sh <= 25*time.Millisecond})
	b.add(row{"bothy run -- true, later", ms(later), "sh -c true: " + ms(sh), "+" + ms(later-sh), "≤ +10 ms", later-sh <= 10*time.Millisecond})
	return nil
}

// serveStart measures from exec to the first good answer, and the memory of an
// idle master.
func serveStart(_ context.Context, b *bench) error {
	dir := filepath.Join(b.dir, "serve")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		return err
	}
	conf := fmt.Sprintf("[web]\nlisten = %q\n[[builders]]\nname = \"x\"\nsteps = [\"true\"]\n", addr)
	if err := os.WriteFile(filepath.Join(dir, "bothy.toml"), []byte(conf), 0o600); err != nil {
		return err
	}
	var took []time.Duration
	rss := 0
	for range 9 {
		d, kib, err := b.serveOnce(dir, addr)
		if err != nil {
			return err
		}
		took, rss = append(took, d), max(rss, kib)
	}
	m := median(took)
	b.add(row{"serve: exec → healthy", fmt.Sprintf("%.1f ms", float64(m)/1e6), "", "", "≤ 50 ms", m <= 50*time.Millisecond})
	mb := float64(rss) / 1024
	b.add(row{"serve: idle RSS", fmt.Sprintf("%.1f MiB", mb), "", "", "≤ 25 MiB", mb <= 25})
	return nil
}

func (b *bench) serveOnce(dir, addr string) (up time.Duration, rssKiB int, err error) {
	cmd := exec.Command(b.binary, "serve")
	cmd.Dir = dir
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if werr := cmd.Wait(); err == nil && werr != nil {
			err = fmt.Errorf("serve: %w", werr)
		}
	}()
	for up == 0 {
		resp, err := http.Get("http://" + addr + "/healthz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				up = time.Since(start)
			}
		}
		if time.Since(start) > 20*time.Second {
			return 0, 0, fmt.Errorf("not healthy after 20 s: %v", err)
		}
		time.Sleep(500 * time.Microsecond)
	}
	time.Sleep(500 * time.Millisecond) // idle
	rssKiB, err = rss(cmd.Process.Pid)
	return up, rssKiB, err
}

// rss is a process's resident memory in KiB.
func rss(pid int) (int, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "VmRSS:"); ok {
			return strconv.Atoi(strings.Fields(rest)[0])
		}
	}
	return 0, fmt.Errorf("no VmRSS of process %d", pid)
}
