package machine

import (
	"fmt"
	"strconv"
	"strings"
)

// Explain returns lines of plain text that say where each number comes from.
// Chains that were decoded from JSON have lost their order and are explained by
// Why only.
func (r Report) Explain() []string {
	cpus, memory := formatCPUs(r.CPUs.Value), FormatBytes(r.Memory.Bytes)
	if r.CPUs.decides < 0 {
		cpus = "not known, 1 assumed"
	}
	if r.Memory.decides < 0 {
		memory = "not known"
	}
	lines := []string{"CPUs: " + cpus}
	lines = append(lines, r.CPUs.explain(formatCPUs)...)
	lines = append(lines, "memory: "+memory)
	lines = append(lines, r.Memory.explain(func(v float64) string { return FormatBytes(int64(v)) })...)

	reserve := "as configured"
	if r.Memory.autoReserve {
		reserve = "10 % of memory, at least 256 MiB"
	}
	lines = append(lines, fmt.Sprintf("reserve: %s for the master and the system (%s)", FormatBytes(r.Memory.Reserve), reserve))

	byCPU, byMemory := shares(r.CPUs.Value, r.Memory.Bytes, r.Memory.Reserve, r.Memory.PerBuild)
	decides := "both decide"
	switch {
	case max(byCPU, byMemory) < 1 || min(byCPU, byMemory) < 1:
		decides = "there is always one"
	case byCPU < byMemory:
		decides = "CPUs decide"
	case byMemory < byCPU:
		decides = "memory decides"
	}
	return append(lines, fmt.Sprintf("slots: %d, the least of %d (%s CPUs) and %d ((%s - %s) / %s per build); %s",
		r.Slots, byCPU, formatCPUs(r.CPUs.Value), byMemory, memory, FormatBytes(r.Memory.Reserve), FormatBytes(r.Memory.PerBuild), decides))
}

func (c Chain) explain(format func(float64) string) []string {
	var lines []string
	for i, r := range c.readings {
		value := format(r.value)
		switch {
		case r.err != nil:
			value = "could not be read"
		case r.unlimited:
			value = "unlimited"
		case r.soft:
			value += ", soft"
		}
		line := fmt.Sprintf("  %-10s  %s: %s", r.source, r.path, value)
		var remarks []string
		if r.raw != "" && r.err == nil {
			remarks = append(remarks, r.raw)
		}
		if r.note != "" {
			remarks = append(remarks, r.note)
		}
		if r.err != nil {
			remarks = append(remarks, reason(r.err))
		}
		if len(remarks) > 0 {
			line += " (" + strings.Join(remarks, "; ") + ")"
		}
		if i == c.decides {
			line += " <- decides"
		}
		lines = append(lines, line)
	}
	return lines
}

// formatCPUs keeps two decimals, without zeros at the end.
func formatCPUs(v float64) string {
	s := strconv.FormatFloat(v, 'f', 2, 64)
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}

// FormatBytes writes a size for a person: "3.9 GiB", "512 MiB", "100 B".
func FormatBytes(n int64) string {
	if n > -1024 && n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v := float64(n)
	unit := -1
	for v >= 1024 || v <= -1024 {
		v /= 1024
		unit++
	}
	s := strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
	return s + " " + string("KMGTPE"[unit]) + "iB"
}
