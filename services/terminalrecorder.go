package services

import (
	"fmt"
	"io"
	"strconv"

	"anthill/services/internal/terminal"
)

// RecorderCommand is the subcommand of this program that calls RecordTerminal.
const RecorderCommand = "terminal-recorder"

// RecordTerminal is what a process does that records one terminal of tmux: it writes what comes
// from in to the recording in dir, until in ends. keep is in bytes, 0 for the default.
func RecordTerminal(dir, keep string, in io.Reader) error {
	n, err := strconv.ParseInt(keep, 10, 64)
	if err != nil || n < 0 {
		return fmt.Errorf("terminal recorder: %q is no number of bytes", keep)
	}
	return terminal.Record(dir, n, in)
}
