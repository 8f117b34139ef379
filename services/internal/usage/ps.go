package usage

import (
	"strconv"
	"strings"
	"time"
)

// parsePS reads lines of pid, parent, kilobytes, CPU time and age; lines that it does not understand are left out.
func parsePS(out string) (all []process) {
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) != 5 {
			continue
		}
		pid, err := strconv.Atoi(f[0])
		parent, err2 := strconv.Atoi(f[1])
		kib, err3 := strconv.ParseUint(f[2], 10, 53)
		cpu, ok := clock(f[3])
		age, ok2 := clock(f[4])
		if err == nil && err2 == nil && err3 == nil && ok && ok2 {
			all = append(all, process{pid: pid, parent: parent, rss: kib << 10, cpu: cpu, age: age})
		}
	}
	return all
}

// clock reads [[days-]hours:]minutes:seconds[.fraction].
func clock(s string) (time.Duration, bool) {
	var total float64
	if days, rest, ok := strings.Cut(s, "-"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, false
		}
		total, s = float64(n)*24, rest
	}
	parts := strings.Split(s, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return 0, false
	}
	if len(parts) == 2 {
		parts = append([]string{"0"}, parts...)
	}
	for i, part := range parts {
		n, err := strconv.ParseFloat(part, 64)
		if err != nil || n < 0 || n > 1e6 {
			return 0, false
		}
		if i > 0 {
			total *= 60
		}
		total += n
	}
	return time.Duration(total * float64(time.Second)), true
}
