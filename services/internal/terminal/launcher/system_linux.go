package launcher

import (
	"os"
	"syscall"
)

// adopt makes the orphans of the terminal children of this process, so that none gets out of sight.
func adopt() {
	const prSetChildSubreaper = 36
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0) // every kernel since 3.4 can
}

// goOn lets a terminal print that somebody stopped (Ctrl-S).
func goOn() {
	const tcxonc, tcoon = 0x540a, 1
	_, _, _ = syscall.Syscall(syscall.SYS_IOCTL, os.Stdout.Fd(), tcxonc, tcoon) // it may be gone
}
