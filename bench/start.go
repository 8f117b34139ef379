package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	fillConversations = 1000
	fillAtOnce        = 64
	idleAfter         = 2 * time.Second // without any work
	idleWithin        = time.Minute
	targetStart       = 200 * time.Millisecond
	targetMemory      = 64 << 20
)

// start fills a home with messages and measures how long a server over it takes
// to be healthy, and what it holds of the memory when idle. The files are in the
// page cache.
func (b *bench) start(ctx context.Context) ([]result, error) {
	dir := filepath.Join(b.dir, "filled")
	began := time.Now()
	messages, err := b.fillHome(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("fill the home: %w", err)
	}
	fmt.Fprintf(b.log, "filled a home with %d messages in %s\n", messages, time.Since(began).Round(time.Second))
	var took, memory []float64
	for range b.rounds {
		t, m, err := b.startOnce(ctx, dir)
		if err != nil {
			return nil, err
		}
		took, memory = append(took, float64(t)), append(memory, m)
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	healthy := median(took)
	lines := []result{{path: fmt.Sprintf("start to healthy, %d messages", messages), anthill: millis(healthy),
		reference: none, ratio: none, target: "< " + millis(float64(targetStart)),
		verdict: verdict(healthy < float64(targetStart))}}
	held := median(memory)
	return append(lines, result{path: fmt.Sprintf("resident memory when idle, %d messages", messages),
		anthill: mebibytes(held), reference: none, ratio: none, target: "< " + mebibytes(targetMemory),
		verdict: verdict(held < targetMemory)}), nil
}

func mebibytes(n float64) string { return fmt.Sprintf("%.1f MiB", n/(1<<20)) }

// startOnce starts a server with no provider at work, and stops it.
func (b *bench) startOnce(ctx context.Context, dir string) (took time.Duration, memory float64, err error) {
	p, err := b.serve(ctx, dir, nil)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	if _, err := once(p.addr, request(http.MethodGet, p.addr, "/health", "")); err != nil {
		return 0, 0, err
	}
	took = time.Since(p.started)
	if err := idle(ctx, p); err != nil {
		return 0, 0, err
	}
	memory, err = p.memory()
	return took, memory, err
}

// idle waits until a process has done next to nothing for a while.
func idle(ctx context.Context, p *process) error {
	deadline := time.Now().Add(idleWithin)
	before, err := p.processor()
	if err != nil {
		return err
	}
	for time.Now().Before(deadline) && ctx.Err() == nil {
		time.Sleep(idleAfter)
		now, err := p.processor()
		if err != nil {
			return err
		}
		if now-before < idleAfter.Seconds()/50 {
			return nil
		}
		before = now
	}
	return errors.Join(ctx.Err(), errors.New("it is never idle"))
}

// fillHome runs turns until there are enough messages or the time for it is
// over. It returns how many there are: each turn has two.
func (b *bench) fillHome(ctx context.Context, dir string) (messages int, err error) {
	model, err := peer(ctx, "provider", nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, model.stop()) }()
	p, err := b.serve(ctx, dir, model)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	deadline := time.Now().Add(b.fill)
	var taken, done atomic.Int64
	all, ctx := errgroup.WithContext(ctx)
	for range fillAtOnce {
		all.Go(func() error {
			w, err := dial(p.addr)
			if err != nil {
				return err
			}
			defer w.conn.Close() // nothing is under way on it
			// A worker has a conversation to itself: a busy one refuses turns.
			for n := int(taken.Add(1)) - 1; n < fillConversations; n = int(taken.Add(1)) - 1 {
				turn := request(http.MethodPost, p.addr, "/v1/responses", fmt.Sprintf(
					`{"stream":false,"conversation":"bench-%d","input":"When does the ferry leave?"}`, n))
				for range share(b.messages/2, n) {
					if err := ctx.Err(); err != nil {
						return err
					}
					if time.Now().After(deadline) {
						return nil
					}
					if err := w.call(turn); err != nil {
						return err
					}
					done.Add(1)
				}
			}
			return nil
		})
	}
	err = all.Wait()
	return int(done.Load()) * 2, err
}

// share is how many of all turns conversation n gets.
func share(turns, n int) int {
	if n < turns%fillConversations {
		return turns/fillConversations + 1
	}
	return turns / fillConversations
}
