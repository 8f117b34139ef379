//go:build unix

package workspace

import (
	"io/fs"
	"syscall"
)

// links counts the names of a file. One with several may be a name for a file
// outside of the folder.
func links(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Nlink)
	}
	return 1
}
