package terminal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"anthill/services/internal/terminal/launcher"
)

// openNews opens the pipe of a recording, and makes it if it is not there.
func openNews(dir string) (*os.File, error) {
	path := filepath.Join(dir, launcher.News)
	if err := syscall.Mkfifo(path, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("terminal: make a pipe: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0) // so it has two ends whoever else is there
	if err != nil {
		return nil, fmt.Errorf("terminal: open a pipe: %w", err)
	}
	return f, nil
}

// await returns after a piece of news, at the latest when d is over or the pipe is closed.
func await(news *os.File, d time.Duration) {
	var said [256]byte
	if err := news.SetReadDeadline(time.Now().Add(d)); err != nil {
		return
	}
	_, _ = news.Read(said[:]) // whatever it is, the recording is looked at
}

// announcer is the recorder's end of the pipe; negative: nobody can be told.
type announcer int

func openAnnouncer(dir string) announcer {
	fd, err := syscall.Open(filepath.Join(dir, launcher.News), syscall.O_RDWR|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return -1 // who follows looks now and then by itself
	}
	return announcer(fd)
}

// tell does not wait: a pipe that is full says enough.
func (a announcer) tell() {
	if a >= 0 {
		_, _ = syscall.Write(int(a), []byte{0})
	}
}
