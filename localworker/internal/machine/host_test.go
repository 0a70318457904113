package machine

import (
	"os"
	"runtime"
	"testing"
)

// TestThisMachine looks at the machine the test runs on.
func TestThisMachine(t *testing.T) {
	r, err := Detect("/", Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range append(r.Why, r.Warnings...) {
		t.Log(line)
	}
	if r.Slots < 1 || r.CPUs.Value <= 0 || r.CPUs.Value > float64(runtime.NumCPU()) {
		t.Errorf("%d slots, %v CPUs; the runtime has %d", r.Slots, r.CPUs.Value, runtime.NumCPU())
	}
	if r.Memory.Bytes <= 0 {
		t.Errorf("%d bytes of memory", r.Memory.Bytes)
	}
	if len(r.Memory.Limits) == 0 || r.Memory.Limits[0].Source != sourceRAM {
		t.Errorf("RAM is not the first limit: %+v", r.Memory.Limits)
	}
	if runtime.GOOS != "linux" {
		return
	}
	// gopsutil and our own reader, used below other roots, must not disagree.
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	if own, err := parseMemTotal(data); err != nil || float64(own) != r.Memory.Limits[0].Value {
		t.Errorf("meminfo: %d bytes, error %v; gopsutil: %v", own, err, r.Memory.Limits[0].Value)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	allowed, err := parseAllowed(status)
	if err != nil {
		t.Fatal(err)
	}
	n, err := hostAffinity()
	if err != nil {
		t.Fatal(err)
	}
	if allowed.count() < n {
		t.Errorf("status allows %d CPUs, sched_getaffinity %d", allowed.count(), n)
	}
}
