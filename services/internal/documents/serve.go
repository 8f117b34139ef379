package documents

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	stackMax  = 128 << 20 // bytes; a parser that needs more has lost its way
	watchEach = 20 * time.Millisecond
)

// Serve is the other end of a Process: it reads the document that file is, and
// writes what it says to out. limits is the argument that the Process gave. It
// ends the program when the document takes more memory or time than that.
func Serve(file *os.File, out io.Writer, limits string) error {
	var q question
	if err := json.Unmarshal([]byte(limits), &q); err != nil {
		return fmt.Errorf("documents: this is for the server to call: %w", err)
	}
	debug.SetMaxStack(stackMax)
	debug.SetMemoryLimit(int64(q.Limits.Memory) * 3 / 4)
	go watchMemory(q.Limits.Memory)
	deadline := time.AfterFunc(q.Limits.Time, func() { os.Exit(exitTime) })
	defer deadline.Stop()
	a, text := serve(file, q)
	head, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("documents: %w", err)
	}
	w := bufio.NewWriter(out)
	for _, part := range [][]byte{head, []byte("\n"), []byte(text)} {
		if _, err := w.Write(part); err != nil {
			return fmt.Errorf("documents: %w", err)
		}
	}
	return w.Flush()
}

func serve(file *os.File, q question) (a answer, text string) {
	info, err := file.Stat()
	if err != nil {
		return answer{Broken: err.Error()}, ""
	}
	t, err := Extract(context.Background(), Source{Name: q.Name, Data: file, Size: info.Size()}, q.Limits)
	a = answer{Format: t.Format, Truncated: t.Truncated}
	var f *Failure
	switch {
	case errors.As(err, &f):
		a.Reason = f.Reason
	case err != nil:
		a.Broken = err.Error()
	}
	return a, t.Text
}

// watchMemory ends the program when more is in use than it may have. What is
// only reserved, as by a length that lies, counts as soon as it is allocated.
func watchMemory(most uint64) {
	use := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	for range time.Tick(watchEach) {
		metrics.Read(use)
		if use[0].Value.Uint64()+use[1].Value.Uint64() > most {
			os.Exit(exitMemory)
		}
	}
}
