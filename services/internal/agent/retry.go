package agent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	firstWait = time.Second
	longWait  = 30 * time.Second // the most that we wait by ourselves
	longAsk   = 60 * time.Second // the most that we wait because we are asked to
)

// backOff waits before another attempt and says whether to make one. Its error
// is the sink's. The provider's own Retry-After is the least we wait; the two
// budgets are kept apart, so that a polite wait does not use up the retries.
func (t *turn) backOff(ctx context.Context, attempt int, failure *Error) (again bool, err error) {
	if ctx.Err() != nil || !failure.Temporary() || failure.RetryAfter > longAsk {
		return false, nil
	}
	wait := longWait
	if attempt < 4 {
		wait = min(wait, firstWait*[...]time.Duration{1, 3, 9, 27}[attempt])
	}
	// A spread of a fifth keeps many turns from coming back at one moment.
	wait += time.Duration((rand.Float64()*0.4 - 0.2) * float64(wait))
	asked := failure.RetryAfter > 0
	budget := t.limits.RetryBudget
	if asked {
		wait, budget = max(wait, failure.RetryAfter), t.limits.RateLimitBudget
	}
	if t.waited[asked]+wait > budget {
		return false, nil
	}
	t.waited[asked] += wait

	p := Progress{Phase: PhasePlanning, ETA: wait,
		Message: fmt.Sprintf("The model provider does not answer, trying again in %.0f s", wait.Seconds())}
	if failure.Code == CodeRateLimited || failure.Code == CodeOverloaded {
		p.Phase = PhaseRateLimited
		p.Message = fmt.Sprintf("The model provider is busy, trying again in %.0f s", wait.Seconds())
	}
	if err := t.sink.Progress(p); err != nil {
		return false, err
	}
	t.Log.WarnContext(ctx, "provider failed, trying again", "code", failure.Code, "status", failure.Status,
		"wait", wait, "cause", failure.Unwrap())
	return t.Sleep(ctx, wait) == nil, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
