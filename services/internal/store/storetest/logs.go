package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"anthill/services/internal/store"
)

func testLog(t *testing.T, db store.DB) {
	view(t, db, func(r store.Reader) {
		if list, head := r.Log("a", 0, 10); len(list) != 0 || head != (store.Head{}) {
			t.Errorf("a log that was never written: %s, %+v", events(list), head)
		}
		if list, head := r.Log("", 0, 10); len(list) != 0 || head != (store.Head{}) {
			t.Errorf("the log without a name: %s, %+v", events(list), head)
		}
	})
	update(t, db, func(tx store.Tx) {
		event := []byte("one")
		tx.Append("a", event)
		clear(event) // the engine must have its own copy
		tx.Append("b", []byte("other"))
		if seq := tx.Append("a", nil); seq != 2 {
			t.Errorf("seq = %d, want 2", seq)
		}
	})
	var epoch uint32
	view(t, db, func(r store.Reader) {
		list, head := r.Log("a", 0, 10)
		if got, want := events(list), "1:one 2:"; got != want {
			t.Errorf("log a: %s, want %s", got, want)
		}
		if head.First != 1 || head.Last != 2 || head.Epoch == 0 || head.Epoch > math.MaxInt32 {
			t.Errorf("head of a: %+v", head)
		}
		epoch = head.Epoch
		if list, _ := r.Log("b", 0, 10); events(list) != "1:other" {
			t.Errorf("log b: %s", events(list))
		}
		if got := scan(r, store.Range{}); got != "" {
			t.Errorf("a log shows among the rows: %s", got)
		}
	})
	update(t, db, func(tx store.Tx) { tx.Append("a", []byte("three")) })
	view(t, db, func(r store.Reader) {
		if _, head := r.Log("a", 0, 0); head != (store.Head{Epoch: epoch, First: 1, Last: 3}) {
			t.Errorf("head of a: %+v, epoch was %d", head, epoch)
		}
	})
}

func testLogPaging(t *testing.T, db store.DB) {
	const n = 700
	for done := 0; done < n; done += 50 {
		update(t, db, func(tx store.Tx) {
			for i := range 50 {
				tx.Append("a", fmt.Append(nil, "e", done+i+1))
				if i%7 == 0 {
					tx.Append("b", nil)
				}
			}
		})
	}
	view(t, db, func(r store.Reader) {
		for _, tc := range []struct {
			after    uint64
			limit    int
			from, to uint64 // to < from: none
		}{
			{0, 10, 1, 10},
			{0, n, 1, n},
			{0, math.MaxInt, 1, n},
			{100, 300, 101, 400},
			{n - 1, 10, n, n},
			{127, 2, 128, 129},
			{n, 10, 1, 0},
			{n + 5, 10, 1, 0},
			{math.MaxUint64, 10, 1, 0},
			{5, 0, 1, 0},
			{5, -1, 1, 0},
		} {
			list, head := r.Log("a", tc.after, tc.limit)
			if head.First != 1 || head.Last != n {
				t.Errorf("head: %+v", head)
			}
			want := 0
			if tc.to >= tc.from {
				want = int(tc.to - tc.from + 1)
			}
			if len(list) != want {
				t.Errorf("after %d limit %d: %d entries, want %d", tc.after, tc.limit, len(list), want)
				continue
			}
			for i, e := range list {
				if e.Seq != tc.from+uint64(i) || string(e.Event) != fmt.Sprint("e", e.Seq) {
					t.Fatalf("after %d limit %d: place %d has %d:%s", tc.after, tc.limit, i, e.Seq, e.Event)
				}
			}
		}
	})
}

// testLogsUnderLoad appends to a few topics from many goroutines, some of which
// fail: each log must hold exactly the acknowledged events under the seqs that
// their writers were told.
func testLogsUnderLoad(t *testing.T, db store.DB) {
	const callers, calls, topics = 24, 40, 3
	type ack struct {
		topic int
		seq   uint64
		event string
	}
	acks := make(chan ack, callers*calls)
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for call := range calls {
				a := ack{topic: (caller + call) % topics, event: fmt.Sprintf("%d/%d", caller, call)}
				err := db.Update(context.Background(), func(tx store.Tx) error {
					a.seq = tx.Append(topicName(a.topic), []byte(a.event))
					if call%5 == 0 {
						return errRefused
					}
					return nil
				})
				if err == nil {
					acks <- a
				} else if err != errRefused {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	close(acks)
	want := map[int]map[uint64]string{}
	for a := range acks {
		if want[a.topic] == nil {
			want[a.topic] = map[uint64]string{}
		}
		if want[a.topic][a.seq] != "" {
			t.Errorf("topic %d gave seq %d twice", a.topic, a.seq)
		}
		want[a.topic][a.seq] = a.event
	}
	view(t, db, func(r store.Reader) {
		for topic := range topics {
			list, head := r.Log(topicName(topic), 0, math.MaxInt)
			if len(list) != len(want[topic]) || head.First != 1 || head.Last != uint64(len(list)) {
				t.Fatalf("topic %d: %d entries, %+v, want %d", topic, len(list), head, len(want[topic]))
			}
			for i, e := range list {
				if e.Seq != uint64(i+1) || string(e.Event) != want[topic][e.Seq] {
					t.Fatalf("topic %d: place %d has %d:%s, want %s", topic, i, e.Seq, e.Event, want[topic][e.Seq])
				}
			}
		}
	})
}

func topicName(i int) string { return fmt.Sprintf("topic/%d", i) }

func testTrim(t *testing.T, db store.DB) {
	const n = 600
	head := func() (h store.Head) {
		view(t, db, func(r store.Reader) { _, h = r.Log("a", 0, 0) })
		return h
	}
	update(t, db, func(tx store.Tx) { tx.Trim("never written", 0) })
	for range n {
		update(t, db, func(tx store.Tx) {
			seq := tx.Append("a", []byte("e"))
			tx.Append("b", []byte("other")) // lies in between
			if seq > 300 {
				tx.Trim("a", 50)
			}
		})
	}
	h := head()
	if h.Last != n || h.First > n-50+1 || h.First < n-50+1 {
		t.Errorf("appending and trimming together left %+v", h)
	}
	view(t, db, func(r store.Reader) {
		list, _ := r.Log("a", 0, math.MaxInt)
		if len(list) != 50 || list[0].Seq != h.First || list[49].Seq != n {
			t.Errorf("%d entries are left", len(list))
		}
		if list, _ := r.Log("b", 0, math.MaxInt); len(list) != n {
			t.Errorf("the other log has %d entries, want %d", len(list), n)
		}
	})
	for i := 0; head().First <= n; i++ {
		if i > n {
			t.Fatalf("trimming to nothing ends at %+v", head())
		}
		update(t, db, func(tx store.Tx) { tx.Trim("a", 0) })
	}
	update(t, db, func(tx store.Tx) {
		if list, h := tx.Log("a", 0, 10); len(list) != 0 || h.First != n+1 || h.Last != n {
			t.Errorf("an empty log: %s, %+v", events(list), h)
		}
		if seq := tx.Append("a", []byte("next")); seq != n+1 {
			t.Errorf("seq after trimming everything = %d, want %d", seq, n+1)
		}
		tx.Trim("a", 5)
	})
	view(t, db, func(r store.Reader) {
		if list, h := r.Log("a", 0, 10); events(list) != fmt.Sprintf("%d:next", n+1) || h.First != n+1 {
			t.Errorf("after appending again: %s, %+v", events(list), h)
		}
	})
}

func testWatch(t *testing.T, db store.DB) {
	a, cancelA := db.Watch("a")
	other, cancelOther := db.Watch("other")
	defer cancelOther()
	again, cancelAgain := db.Watch("a")
	defer cancelAgain()

	if err := db.Update(context.Background(), func(tx store.Tx) error {
		tx.Append("a", nil)
		return errRefused
	}); err != errRefused {
		t.Fatal(err)
	}
	update(t, db, func(tx store.Tx) { tx.Append("other", nil) })
	receive(t, other)
	select {
	case <-a:
		t.Error("woken although nothing was appended")
	default:
	}

	for range 3 { // coalesce, and block nobody
		update(t, db, func(tx store.Tx) { tx.Append("a", []byte("x")) })
	}
	receive(t, a)
	receive(t, again)
	view(t, db, func(r store.Reader) {
		if list, _ := r.Log("a", 0, 10); len(list) == 0 {
			t.Error("woken before the entry can be read")
		}
	})

	cancelA()
	cancelA() // harmless
	update(t, db, func(tx store.Tx) { tx.Append("a", nil) })
	receive(t, again)
}

func receive(t *testing.T, wake <-chan struct{}) {
	t.Helper()
	select {
	case <-wake:
	case <-time.After(20 * time.Second):
		t.Fatal("no wake-up")
	}
}

func testContext(t *testing.T, db store.DB) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	mustNotRun := func(store.Tx) error {
		t.Error("a function ran after its context had ended")
		return nil
	}
	if err := db.Update(ctx, mustNotRun); !errors.Is(err, context.Canceled) {
		t.Errorf("Update = %v", err)
	}
	if err := db.View(ctx, func(store.Reader) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("View = %v", err)
	}

	// While one update is busy, a second one is dropped from the queue.
	busyCtx, cancelBusy := context.WithCancel(context.Background())
	started, release := make(chan struct{}, 1), make(chan struct{})
	busy := make(chan error, 1)
	go func() {
		busy <- db.Update(busyCtx, func(tx store.Tx) error {
			select {
			case started <- struct{}{}:
			default:
			}
			<-release
			put(tx, "busy", "1")
			return nil
		})
	}()
	<-started
	queuedCtx, cancelQueued := context.WithCancel(context.Background())
	queued := make(chan error, 1)
	go func() { queued <- db.Update(queuedCtx, mustNotRun) }()
	cancelQueued()
	if err := <-queued; !errors.Is(err, context.Canceled) {
		t.Errorf("the queued update = %v", err)
	}
	close(release)
	if err := <-busy; err != nil || get(t, db, "busy") != "1" {
		t.Errorf("the busy update = %v", err)
	}
	cancelBusy()
}

func testClose(t *testing.T, db store.DB) {
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for {
				err := db.Update(context.Background(), func(tx store.Tx) error {
					put(tx, strconv.Itoa(i), "1")
					return nil
				})
				if err != nil {
					if !errors.Is(err, store.ErrClosed) {
						t.Errorf("Update while closing = %v", err)
					}
					return
				}
			}
		})
	}
	if err := db.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	wg.Wait()
	if err := db.View(context.Background(), func(store.Reader) error { return nil }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("View after Close = %v", err)
	}
	if err := db.Err(); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Err after Close = %v", err)
	}
}

func update(t *testing.T, db store.DB, fn func(store.Tx)) {
	t.Helper()
	if err := db.Update(context.Background(), func(tx store.Tx) error { fn(tx); return nil }); err != nil {
		t.Fatalf("update: %v", err)
	}
}

func view(t *testing.T, db store.DB, fn func(store.Reader)) {
	t.Helper()
	if err := db.View(context.Background(), func(r store.Reader) error { fn(r); return nil }); err != nil {
		t.Fatalf("view: %v", err)
	}
}

// put writes pairs of key and value.
func put(tx store.Tx, kv ...string) {
	for i := 0; i < len(kv); i += 2 {
		tx.Put([]byte(kv[i]), []byte(kv[i+1]))
	}
}

func get(t *testing.T, db store.DB, key string) (value string) {
	t.Helper()
	view(t, db, func(r store.Reader) { value = string(r.Get([]byte(key))) })
	return value
}

func scan(r store.Reader, rg store.Range) string {
	var out [][2]string
	for k, v := range r.Scan(rg) {
		out = append(out, [2]string{string(k), string(v)})
	}
	return pairs(out)
}

func pairs(list [][2]string) string {
	parts := make([]string, len(list))
	for i, kv := range list {
		parts[i] = kv[0] + "=" + kv[1]
	}
	return strings.Join(parts, " ")
}

func events(list []store.Entry) string {
	var b bytes.Buffer
	for i, e := range list {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%d:%s", e.Seq, e.Event)
	}
	return b.String()
}

func number(b []byte) int {
	n, _ := strconv.Atoi(string(b))
	return n
}
