package agents

import (
	"context"
	"time"

	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
	"anthill/services/internal/terminal/driver"
)

// What counts when nobody answers in time.
const (
	expiryLeave = "leave" // nothing is typed
	expiryDeny  = "deny"
)

const (
	expiryLook  = time.Hour        // the clock may be set
	expiryRetry = 10 * time.Second // when a denial could not be given
)

// expire lets what waits too long have its default.
func (r *Room) expire() {
	for {
		wait, err := r.expireDue(r.base)
		if err != nil && r.base.Err() == nil {
			r.opt.Log.Error("a prompt could not expire", "error", err)
			wait = expiryRetry
		}
		select {
		case <-r.opt.after(wait):
		case <-r.expiring:
		case <-r.base.Done():
			return
		}
	}
}

// expireDue settles what is overdue, and returns how long the next has.
func (r *Room) expireDue(ctx context.Context) (time.Duration, error) {
	for {
		p, err := r.nextExpiry(ctx)
		if err != nil || p == nil {
			return expiryLook, err
		}
		if left := time.Unix(0, p.Expires).Sub(r.opt.Now()); left > 0 {
			return min(left, expiryLook), nil
		}
		if p.OnExpiry == expiryDeny && r.agent(p.Terminal) != nil {
			if err := r.deny(ctx, p); err != nil {
				return 0, err
			}
			continue
		}
		if err := r.lapse(ctx, p.ID); err != nil {
			return 0, err
		}
	}
}

func (r *Room) nextExpiry(ctx context.Context) (p *prompt, err error) {
	err = r.opt.DB.View(ctx, func(rd store.Reader) error {
		p, err = first(prompts.ScanIndex(rd, byExpiry, store.ScanOptions{Limit: 1}))
		return err
	})
	return p, err
}

// deny answers for nobody. That somebody was first, or the prompt has gone, is as good.
func (r *Room) deny(ctx context.Context, p *prompt) error {
	_, err := r.answer(ctx, p.ID, answerer{by: sourceExpiry, source: sourceExpiry, status: promptExpired,
		justification: "nobody answered in time", choose: func(*prompt) (decision, error) {
			return decision{Answer: driver.Answer{Type: toDeny}, shown: toDeny}, nil
		}})
	now, look := r.prompt(ctx, p.ID)
	if look != nil {
		return look
	}
	if now != nil && now.Status == promptPending {
		return err
	}
	return nil
}

// lapse notes that a prompt has expired, and types nothing.
func (r *Room) lapse(ctx context.Context, id string) error {
	return r.opt.DB.Update(ctx, func(tx store.Tx) error {
		p, err := loadPrompt(tx, id)
		if err != nil || p == nil || p.Status != promptPending {
			return err
		}
		p.Status = promptExpired
		return r.resolve(tx, p, "")
	})
}

// prompt reads one; nil: there is none.
func (r *Room) prompt(ctx context.Context, id string) (p *prompt, err error) {
	err = r.opt.DB.View(ctx, func(rd store.Reader) error {
		p, err = loadPrompt(rd, id)
		return err
	})
	return p, err
}

// Settle is called once every terminal that an earlier process left was given to
// Watch: what the others asked is over.
func (r *Room) Settle(ctx context.Context) error {
	var open []*prompt
	err := r.opt.DB.View(ctx, func(rd store.Reader) error {
		open = nil
		for p, err := range prompts.ScanIndex(rd, byOpen, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			open = append(open, p)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, p := range open {
		if r.agent(p.Terminal) != nil {
			continue
		}
		if err := r.left(ctx, p.ID, "terminal_ended"); err != nil {
			return err
		}
	}
	return nil
}

// promptsAtOnce fit, with their indexes, into a transaction.
const promptsAtOnce = 15

// DeleteSession removes what is kept of a terminal that is deleted for good.
func (r *Room) DeleteSession(ctx context.Context, id string) error {
	for n := promptsAtOnce; n == promptsAtOnce; {
		err := r.opt.DB.Update(ctx, func(tx store.Tx) error {
			var doomed []string
			for p, err := range prompts.ScanIndex(tx, byTerminal, store.ScanOptions{Prefix: key.Of(id), Limit: promptsAtOnce}) {
				if err != nil {
					return err
				}
				doomed = append(doomed, p.ID)
			}
			n = len(doomed)
			for _, id := range doomed {
				if _, err := prompts.Delete(tx, key.Of(id)); err != nil {
					return err
				}
			}
			_, err := notes.Delete(tx, key.Of(id))
			return err
		})
		if err != nil {
			return err
		}
	}
	return r.deleteSends(ctx, id)
}
