package identity

import (
	"bytes"
	"fmt"
	"os"
)

// started is when a process began: ticks since the machine did, and which start
// of the machine that was. Empty: there is no such process.
func started(pid int) string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The second field is a name in parentheses and may hold anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 || bytes.Equal(fields[0], []byte("Z")) {
		return ""
	}
	return string(bytes.TrimSpace(boot)) + ":" + string(fields[19])
}
