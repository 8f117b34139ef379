package bolt_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anthill/services/internal/store"

	"go.etcd.io/bbolt"
)

// BenchmarkDurableAppend compares Update with one Append of 1 KiB to plain
// bbolt on the same machine in the same run. Short rounds of either take turns,
// and what counts is the median of the ratios of neighbours, so that a machine
// that is busy or changes its pace hits both alike. The reference puts the same
// bytes under rising keys, for many callers from one goroutine that gathers what
// is queued. Run it with -benchtime 1x.
func BenchmarkDurableAppend(b *testing.B) {
	const rounds = 31
	fmt.Printf("%-36s | %8s | %11s | %5s | %s\n", "path", "ours/s", "reference/s", "ratio", "target")
	for _, row := range []struct {
		name    string
		callers int
		topics  int
		target  float64
	}{
		{"64 callers, one log", 64, 1, 0.8},
		{"64 callers, 64 logs", 64, 64, 0.8},
		{"8 callers, 8 logs", 8, 8, 0.8},
		{"1 caller", 1, 1, 0.9},
	} {
		b.Run(row.name, func(b *testing.B) {
			event := make([]byte, 1<<10)
			ours := openStore(b)
			ref := openReference(b, row.callers > 1)
			topics := make([]string, row.topics)
			for i := range topics {
				topics[i] = fmt.Sprintf("room/%04d", i)
			}
			for b.Loop() {
				var oursRates, refRates, ratios []float64
				write := func(caller int) error {
					return ours.Update(context.Background(), func(tx store.Tx) error {
						tx.Append(topics[caller%len(topics)], event)
						return nil
					})
				}
				for range rounds {
					o := rate(row.callers, write)
					r := rate(row.callers, func(int) error { return ref.put(event) })
					oursRates, refRates, ratios = append(oursRates, o), append(refRates, r), append(ratios, o/r)
				}
				o, r, ratio := median(oursRates), median(refRates), median(ratios)
				b.ReportMetric(o, "ours/s")
				b.ReportMetric(r, "ref/s")
				b.ReportMetric(ratio, "ratio")
				b.ReportMetric(0, "ns/op")
				fmt.Printf("%-36s | %8.0f | %11.0f | %5.2f | %.2f\n", "durable append, "+row.name, o, r, ratio, row.target)
			}
		})
	}
}

// rate runs write from so many callers for a while and returns calls a second.
func rate(callers int, write func(caller int) error) float64 {
	const length = 100 * time.Millisecond
	var n atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for caller := range callers {
		wg.Go(func() {
			for time.Since(start) < length {
				if err := write(caller); err != nil {
					panic(err)
				}
				n.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(n.Load()) / time.Since(start).Seconds()
}

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}

// reference is what a careful program does with bbolt alone.
type reference struct {
	db    *bbolt.DB
	queue chan refJob // nil: every caller runs its own transaction
}

type refJob struct {
	value []byte
	done  chan error
}

func openReference(tb testing.TB, group bool) *reference {
	tb.Helper()
	db, err := bbolt.Open(filepath.Join(tb.TempDir(), "reference.db"), 0o600, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { db.Close() })
	if err := db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte("log"))
		return err
	}); err != nil {
		tb.Fatal(err)
	}
	r := &reference{db: db}
	if group {
		r.queue = make(chan refJob, 1024)
		go r.run()
		tb.Cleanup(func() { close(r.queue) })
	}
	return r
}

func (r *reference) put(value []byte) error {
	if r.queue == nil {
		return r.commit(refJob{value: value})
	}
	j := refJob{value, make(chan error, 1)}
	r.queue <- j
	return <-j.done
}

func (r *reference) run() {
	size := 0
	for j := range r.queue {
		batch := []refJob{j}
		var limit <-chan time.Time
		if size > 1 {
			limit = time.After(300 * time.Microsecond)
		}
	gather:
		for {
			select {
			case j, ok := <-r.queue:
				if !ok {
					break gather
				}
				batch = append(batch, j)
				continue
			default:
			}
			if len(batch) >= size {
				break
			}
			select {
			case j, ok := <-r.queue:
				if !ok {
					break gather
				}
				batch = append(batch, j)
			case <-limit:
				break gather
			}
		}
		size = len(batch)
		err := r.commit(batch...)
		for _, j := range batch {
			j.done <- err
		}
	}
}

func (r *reference) commit(batch ...refJob) error {
	return r.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("log"))
		for _, j := range batch {
			seq, err := b.NextSequence()
			if err != nil {
				return err
			}
			var key [8]byte
			for i := range key {
				key[i] = byte(seq >> (56 - 8*i))
			}
			if err := b.Put(key[:], j.value); err != nil {
				return err
			}
		}
		return nil
	})
}
