package main

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	paceStreams = 200
	// paceSlack is the time that all streams may take to begin; tokens of
	// that time do not count.
	paceSlack  = 2 * time.Second
	targetPace = 2 * time.Millisecond
)

// lag is how late a token was, and when it was sent.
type lag struct {
	sent time.Time
	late time.Duration
}

// pace has many streams at the speed of a usual model, and asks what anthill
// adds to the time a token takes to its reader.
func (b *bench) pace(ctx context.Context) ([]result, error) {
	anthill, provider, err := b.servers(ctx)
	if err != nil {
		return nil, err
	}
	s := newStreamer()
	model := fmt.Sprintf("pace-%d", (b.span + paceSlack).Milliseconds())
	var p99 pairs
	ours := b.lags(&p99.ours, func(ctx context.Context, note func(text []byte) error) error {
		return s.ask(ctx, anthill.addr, model, note)
	})
	direct := b.lags(&p99.reference, func(ctx context.Context, note func(text []byte) error) error {
		return s.complete(ctx, provider.addr, model, func(data []byte) error {
			if text, ok := stringAfter(data, contentKey); ok {
				return note(text)
			}
			return nil
		})
	})
	p50, err := b.alternate(ctx, ours, direct)
	if err != nil {
		return nil, err
	}
	path := fmt.Sprintf("SSE lag %%s, %d streams at 50 tokens/s", paceStreams)
	mid, high := added(fmt.Sprintf(path, "p50"), p50), added(fmt.Sprintf(path, "p99"), p99)
	mid.target = fmt.Sprintf("<= +%s", millis(float64(targetPace)))
	mid.verdict = verdict(median(p50.differences()) <= float64(targetPace))
	return []result{mid, high}, nil
}

// added is the line of a lag, in nanoseconds.
func added(path string, p pairs) result {
	return result{path: path, anthill: millis(median(p.ours)), reference: millis(median(p.reference)),
		ratio: "+" + millis(median(p.differences())), target: none, verdict: none}
}

func millis(ns float64) string { return fmt.Sprintf("%.2f ms", ns/1e6) }

// lags measures the p50 of all tokens' lag, and appends their p99 to high. read
// reads one stream and notes each piece of its text.
func (b *bench) lags(high *[]float64, read func(ctx context.Context, note func(text []byte) error) error) side {
	return func(ctx context.Context) (float64, error) {
		streams := make([][]lag, paceStreams)
		all, ctx := errgroup.WithContext(ctx)
		for i := range streams {
			all.Go(func() error {
				return read(ctx, func(text []byte) (err error) {
					streams[i], err = noteLags(streams[i], text, time.Now())
					return err
				})
			})
		}
		if err := all.Wait(); err != nil {
			return 0, err
		}
		late, err := steady(streams)
		*high = append(*high, float64(percentile(late, 0.99)))
		return float64(percentile(late, 0.50)), err
	}
}

// noteLags reads the times in a piece of text that arrived at now.
func noteLags(lags []lag, text []byte, now time.Time) ([]lag, error) {
	for token := range bytes.FieldsSeq(text) {
		ns, err := strconv.ParseInt(string(token), 10, 64)
		if err != nil {
			return lags, fmt.Errorf("a token was torn: %q", text)
		}
		sent := time.Unix(0, ns)
		lags = append(lags, lag{sent, now.Sub(sent)})
	}
	return lags, nil
}

// steady are the lags from when every stream ran to when the first one ended.
func steady(streams [][]lag) ([]time.Duration, error) {
	var from, to time.Time
	for _, s := range streams {
		if len(s) == 0 {
			return nil, fmt.Errorf("a stream gave no token")
		}
		if first := s[0].sent; first.After(from) {
			from = first
		}
		if last := s[len(s)-1].sent; to.IsZero() || last.Before(to) {
			to = last
		}
	}
	var out []time.Duration
	for _, s := range streams {
		for _, l := range s {
			if l.sent.After(from) && l.sent.Before(to) {
				out = append(out, l.late)
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%d streams never ran at once: they took longer than %s to begin", len(streams), paceSlack)
	}
	return out, nil
}
