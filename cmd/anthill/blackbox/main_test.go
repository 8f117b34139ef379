// Package blackbox tests the built program from outside. Every test starts the
// real binary as a process, with homes of its own, and speaks HTTP, server-sent
// events and gRPC to it, as clients do; model providers are played by servers
// in the test. Nothing of the program is imported but its generated clients.
//
// The names of the tests follow the "Done when" lines of issue 2. With
// ANTHILL_SOAK=1 those that repeat themselves do it much longer.
package blackbox

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// patience bounds every wait for something that must happen. It is long: only a
// broken program ever needs it.
const patience = 45 * time.Second

var (
	binary string // the program under test
	soak   = os.Getenv("ANTHILL_SOAK") != ""
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "anthill-blackbox-")
	if err != nil {
		return 0, err
	}
	defer func() {
		if failed := os.RemoveAll(dir); failed != nil && err == nil {
			err = failed
		}
	}()
	binary = filepath.Join(dir, "anthill")
	args := []string{"build", "-buildvcs=false", "-o", binary}
	if raceOn {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "anthill/cmd/anthill")...)
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return m.Run(), nil
}
