package terminal

import (
	"os"
	"path/filepath"
	"strconv"
)

// Begin is the offset of the first byte of the program that runs now: what is
// before is of those that ran in this terminal earlier.
func (t *Terminal) Begin() int64 {
	b, err := os.ReadFile(filepath.Join(t.history.dir, beginName))
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
