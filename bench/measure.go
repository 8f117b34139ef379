package main

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// warmUp is the part of each measurement that does not count.
const warmUp = 250 * time.Millisecond

// side measures one of the two sides of a row once.
type side func(context.Context) (float64, error)

// pairs are the measurements of a row, one of each side per round.
type pairs struct{ ours, reference []float64 }

// alternate measures both sides in turns. Every other round begins with the
// other side, so that a drifting machine is fair to both.
func (b *bench) alternate(ctx context.Context, ours, reference side) (pairs, error) {
	p := pairs{make([]float64, b.rounds), make([]float64, b.rounds)}
	for round := range b.rounds {
		order := []struct {
			measure side
			into    *float64
		}{{ours, &p.ours[round]}, {reference, &p.reference[round]}}
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, s := range order {
			if err := ctx.Err(); err != nil {
				return p, err
			}
			var err error
			if *s.into, err = s.measure(ctx); err != nil {
				return p, err
			}
		}
	}
	return p, nil
}

// ratios are taken round by round: neighbours share the state of the machine.
func (p pairs) ratios() []float64 {
	return p.combine(func(ours, reference float64) float64 { return ours / reference })
}

// differences are what anthill adds, round by round.
func (p pairs) differences() []float64 {
	return p.combine(func(ours, reference float64) float64 { return ours - reference })
}

func (p pairs) combine(f func(ours, reference float64) float64) []float64 {
	out := make([]float64, len(p.ours))
	for i := range out {
		out[i] = f(p.ours[i], p.reference[i])
	}
	return out
}

// median is 0 for no values.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// percentile is the value that p (0 to 1) of all values do not exceed. It sorts
// them, and is 0 for none.
func percentile(values []time.Duration, p float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[min(int(p*float64(len(values))), len(values)-1)]
}

// counter has a cache line of its own.
type counter struct {
	atomic.Int64
	_ [56]byte
}

// rate lets all callers call at once, each again as soon as it has its answer,
// and returns the answers per second over span.
func rate(callers []func() error, span time.Duration) (float64, error) {
	counts := make([]counter, len(callers))
	total := func() (n int64) {
		for i := range counts {
			n += counts[i].Load()
		}
		return n
	}
	var stop atomic.Bool
	var all errgroup.Group
	for i, call := range callers {
		all.Go(func() error {
			for !stop.Load() {
				if err := call(); err != nil {
					return err
				}
				counts[i].Add(1)
			}
			return nil
		})
	}
	time.Sleep(warmUp)
	before, began := total(), time.Now()
	time.Sleep(span)
	n, took := total()-before, time.Since(began)
	stop.Store(true)
	return float64(n) / took.Seconds(), all.Wait()
}
