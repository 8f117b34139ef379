//go:build !linux

package usage

import "os/exec"

// list asks ps, which every other system has.
func list() ([]process, error) {
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=,rss=,time=,etime=").Output()
	if err != nil {
		return nil, err
	}
	return parsePS(string(out)), nil
}
