package usage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of times in /proc, on every architecture that Go runs on.
const tick = time.Second / 100

// list reads /proc.
func list() ([]process, error) {
	up, err := uptime()
	if err != nil {
		return nil, err
	}
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	names, err := dir.Readdirnames(-1)
	if err := errors.Join(err, dir.Close()); err != nil {
		return nil, err
	}
	var all []process
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue // it has ended
		}
		if one, ok := parseStat(pid, stat, up); ok {
			all = append(all, one)
		}
	}
	return all, nil
}

func uptime() (time.Duration, error) {
	b, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(b), " ")
	seconds, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0, fmt.Errorf("usage: /proc/uptime: %w", err)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// Fields of /proc/PID/stat, counted from the one behind the name of the program.
const (
	statParent = 1
	statUser   = 11
	statSystem = 12
	statStart  = 19
	statRSS    = 21
)

func parseStat(pid int, stat []byte, up time.Duration) (process, bool) {
	// The name may hold blanks and parentheses, but nothing behind it does.
	i := bytes.LastIndexByte(stat, ')')
	if i < 0 {
		return process{}, false
	}
	fields := strings.Fields(string(stat[i+1:]))
	if len(fields) <= statRSS {
		return process{}, false
	}
	number := func(at int) int64 {
		n, err := strconv.ParseInt(fields[at], 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	return process{pid: pid, parent: int(number(statParent)),
		cpu: time.Duration(number(statUser)+number(statSystem)) * tick,
		age: up - time.Duration(number(statStart))*tick,
		rss: uint64(max(number(statRSS), 0)) * uint64(os.Getpagesize())}, true
}
