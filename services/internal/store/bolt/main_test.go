package bolt_test

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"
)

// childPath names a store in the environment of a process that TestKill starts.
const childPath = "ANTHILL_TEST_STORE"

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		if err := writeForEver(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const childTopics = 4

// writeForEver appends from many goroutines and prints each event once it is
// acknowledged, as "topic seq id".
func writeForEver(path string) error {
	d, err := bolt.Open(bolt.Options{Path: path})
	if err != nil {
		return err
	}
	var print sync.Mutex
	errs := make(chan error)
	for caller := range 16 {
		go func() {
			for call := 0; ; call++ {
				topic := (caller + call) % childTopics
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), caller, call)
				var seq uint64
				if err := d.Update(context.Background(), func(tx store.Tx) error {
					seq = tx.Append(topicName(topic), []byte(id))
					tx.Put([]byte(id), nil)
					return nil
				}); err != nil {
					errs <- err
					return
				}
				print.Lock()
				fmt.Println(topic, seq, id)
				print.Unlock()
			}
		}()
	}
	return <-errs
}

func topicName(i int) string { return fmt.Sprintf("topic/%d", i) }

// TestKill kills a writing process again and again: what it has acknowledged
// must be there, under the seq that it said, in logs without gaps.
func TestKill(t *testing.T) {
	const rounds = 10
	path := filepath.Join(t.TempDir(), "store.db")
	acked := map[string]string{} // id to "topic seq"
	for round := range rounds {
		for line := range killAfter(t, path, 1+round*round*20) {
			var topic, seq int
			var id string
			if _, err := fmt.Sscan(line, &topic, &seq, &id); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			acked[id] = fmt.Sprint(topic, " ", seq)
		}
		d, err := bolt.Open(bolt.Options{Path: path})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		stored := map[string]string{}
		err = d.View(context.Background(), func(r store.Reader) error {
			for topic := range childTopics {
				list, head := r.Log(topicName(topic), 0, math.MaxInt)
				if head.Last != uint64(len(list)) {
					t.Errorf("round %d: topic %d has %d entries, head %+v", round, topic, len(list), head)
				}
				for i, e := range list {
					if e.Seq != uint64(i+1) {
						t.Fatalf("round %d: topic %d has seq %d at place %d", round, topic, e.Seq, i)
					}
					if r.Get(e.Event) == nil {
						t.Errorf("round %d: half a transaction: no row %s", round, e.Event)
					}
					if stored[string(e.Event)] != "" {
						t.Errorf("round %d: %s is there twice", round, e.Event)
					}
					stored[string(e.Event)] = fmt.Sprint(topic, " ", e.Seq)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for id, at := range acked {
			if stored[id] != at {
				t.Fatalf("round %d: %s was acknowledged at %s, but is at %q", round, id, at, stored[id])
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killAfter runs the writer, kills it after n lines and yields all it printed.
func killAfter(t *testing.T, path string, n int) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childPath+"="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := 0
		in := bufio.NewReader(out)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				break // what is cut off was not said
			}
			if lines++; lines == n {
				cmd.Process.Kill()
			}
			if !yield(strings.TrimSpace(line)) {
				break
			}
		}
		cmd.Wait()
		if lines < n {
			t.Fatalf("the writer stopped by itself after %d lines", lines)
		}
	}
}
