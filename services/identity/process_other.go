//go:build !linux

package identity

import (
	"os/exec"
	"strconv"
	"strings"
)

// started is when a process began, to the second, as ps says it. Empty: there is
// no such process, or nobody to ask.
func started(pid int) string {
	out, err := exec.Command("ps", "-o", "lstart=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(string(out)), " ")
}
