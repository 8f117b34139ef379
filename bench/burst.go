package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	burstStreams = 8
	targetBurst  = 0.5
)

// burst lets a provider send as fast as it can on several streams, and counts
// its events until every client has the whole text.
func (b *bench) burst(ctx context.Context) ([]result, error) {
	anthill, provider, err := b.servers(ctx)
	if err != nil {
		return nil, err
	}
	s := newStreamer()
	model := fmt.Sprintf("burst-%d", b.chunks)
	ours := b.relay(func(ctx context.Context) error {
		got := 0
		err := s.ask(ctx, anthill.addr, model, func(text []byte) error {
			got += textLen(text)
			return nil
		})
		if want := burstText(b.chunks); err == nil && got != want {
			err = fmt.Errorf("anthill gave %d bytes of text instead of %d", got, want)
		}
		return err
	})
	direct := b.relay(func(ctx context.Context) error {
		got := -3 // the finish reason, the usage, [DONE]
		err := s.complete(ctx, provider.addr, model, func([]byte) error {
			got++
			return nil
		})
		if err == nil && got != b.chunks {
			err = fmt.Errorf("the provider gave %d events instead of %d", got, b.chunks)
		}
		return err
	})
	p, err := b.alternate(ctx, ours, direct)
	return []result{atLeast(fmt.Sprintf("SSE relay burst, %d streams of %d chunks", burstStreams, b.chunks),
		" events/s", p, targetBurst)}, err
}

// relay measures the provider's events per second over streams read at once.
func (b *bench) relay(read func(context.Context) error) side {
	return func(ctx context.Context) (float64, error) {
		began := time.Now()
		all, ctx := errgroup.WithContext(ctx)
		for range burstStreams {
			all.Go(func() error { return read(ctx) })
		}
		err := all.Wait()
		return float64(burstStreams*b.chunks) / time.Since(began).Seconds(), err
	}
}
