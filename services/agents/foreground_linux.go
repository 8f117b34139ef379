package agents

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// foreground is the command line of what runs in the foreground of a process's
// terminal; nil: it is not known.
func foreground(pid int) []string {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // a name may have blanks and parentheses
	if len(fields) < 6 {
		return nil
	}
	line, err := os.ReadFile("/proc/" + fields[5] + "/cmdline")
	if err != nil {
		return nil
	}
	return strings.Split(string(bytes.TrimRight(line, "\x00")), "\x00")
}
