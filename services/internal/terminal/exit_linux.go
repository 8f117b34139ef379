package terminal

import (
	"context"
	"os"

	"golang.org/x/sys/unix"
)

// awaitExit blocks until a process that is not ours has ended, or ctx does. False: the
// kernel cannot tell.
func awaitExit(ctx context.Context, pid int) bool {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return err == unix.ESRCH
	}
	file := os.NewFile(uintptr(fd), "pidfd")
	defer file.Close()
	stop := context.AfterFunc(ctx, func() { _ = file.Close() }) // ends the wait
	defer stop()
	conn, err := file.SyscallConn()
	if err != nil {
		return false
	}
	err = conn.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0 && err == nil
	})
	return err == nil || ctx.Err() != nil
}
