package terminal_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"anthill/services/internal/terminal"
)

const benchBytes = 64 << 20

// BenchmarkCat reads 64 MiB of cat live, and has tmux alone record them to a file beside it.
func BenchmarkCat(b *testing.B) {
	for _, host := range []string{"tmux", "pty"} {
		b.Run(host, func(b *testing.B) {
			h := newHome(b, host)
			e, _ := h.open()
			file := filepath.Join(h.dir, "huge")
			want := hugeFile(b, file, benchBytes)
			b.SetBytes(benchBytes)
			b.ResetTimer()
			for i := range b.N {
				term := start(b, e, fmt.Sprint("t", i), terminal.Spec{Argv: []string{"/bin/sh", "-c", `stty raw; exec cat "$1"`, "sh", file}})
				sum, n := sha256.New(), 0
				for r := term.Reader(0); ; {
					c, err := r.Next(b.Context())
					if errors.Is(err, io.EOF) {
						break
					}
					if err != nil {
						b.Fatal(err)
					}
					sum.Write(c.Data)
					n += len(c.Data)
				}
				if [32]byte(sum.Sum(nil)) != want {
					b.Fatalf("%d bytes of %d, or not what was printed", n, benchBytes)
				}
			}
		})
	}
	b.Run("tmux alone", func(b *testing.B) {
		h := newHome(b, "tmux")
		file, out := filepath.Join(h.dir, "huge"), filepath.Join(h.dir, "out")
		hugeFile(b, file, benchBytes)
		socket := filepath.Join(h.dir, "alone.sock")
		b.Cleanup(func() { _ = exec.Command("tmux", "-S", socket, "kill-server").Run() })
		b.SetBytes(benchBytes)
		b.ResetTimer()
		for i := range b.N {
			if err := os.RemoveAll(out); err != nil {
				b.Fatal(err)
			}
			name := fmt.Sprint("s", i)
			cmd := exec.Command("tmux", "-S", socket, "-f", "/dev/null", "new-session", "-d", "-s", name, "-x", "120", "-y", "30",
				"/bin/sh", "-c", `stty raw; cat "$1"; exec sleep 1000`, "sh", file, ";", "pipe-pane", "-O", "-t", name, "exec cat > "+out)
			if said, err := cmd.CombinedOutput(); err != nil {
				b.Fatal(err, string(said))
			}
			for {
				if info, err := os.Stat(out); err == nil && info.Size() >= benchBytes {
					break
				}
				time.Sleep(time.Millisecond)
			}
		}
	})
}

// BenchmarkEcho types a character and waits until it is read.
func BenchmarkEcho(b *testing.B) {
	for _, host := range []string{"tmux", "pty"} {
		b.Run(host, func(b *testing.B) {
			e, _ := newHome(b, host).open()
			term := start(b, e, "t", sh("stty raw -echo; echo ready; exec cat"))
			r := term.Reader(0)
			until(b, r, "ready")
			r = term.Reader(term.End())
			took := make([]time.Duration, 0, b.N)
			for b.Loop() {
				begun := time.Now()
				if err := term.Write(b.Context(), []byte("x")); err != nil {
					b.Fatal(err)
				}
				if _, err := r.Next(b.Context()); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(begun))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
		})
	}
}
