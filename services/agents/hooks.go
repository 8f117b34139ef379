package agents

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"anthill/services/internal/feed"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

const (
	hookTries = 3
	hookLimit = 10 * time.Second // for one try
	hookRetry = 5 * time.Second  // between two, and twice that after the second
)

// hook is a post that an address is owed.
type hook struct {
	Order uint64 `json:"order"`
	URL   string `json:"url"`
	Body  []byte `json:"body"`
}

var hooks = store.NewTable(store.TableOptions[hook]{
	Name: "ant_prompt_hook",
	Key:  func(h *hook) key.Key { return key.Key(nil).Uint(h.Order) },
})

// oweHook notes what an address is to be told of a prompt.
func oweHook(tx store.Tx, url string, p *prompt, s *Session) error {
	body, err := json.Marshal(map[string]any{"type": "prompt_detected", "prompt": map[string]any{"id": p.ID, "terminal_id": p.Terminal,
		"session_id": orElse(p.Chat, p.Terminal), "session_name": s.Name, "raw_text": orElse(p.Text, p.summary()), "summary": p.summary(),
		"class": p.Class, "detector": p.detector(), "ts": stamp(p.Created), "options": p.choices()}})
	if err != nil {
		return err
	}
	_, head := tx.Log(feed.Topic, 0, 0)
	order := head.Last << 3 // several may be owed for one prompt
	for {
		taken, err := hooks.Get(tx, key.Key(nil).Uint(order))
		if err != nil {
			return err
		}
		if taken == nil {
			return hooks.Put(tx, &hook{Order: order, URL: url, Body: body})
		}
		order++
	}
}

// postHooks posts what is owed, in order, also what an earlier process owed.
func (r *Room) postHooks() {
	for {
		if err := r.postOwed(r.base); err != nil && r.base.Err() == nil {
			r.opt.Log.Error("a webhook's post is not noted", "error", err)
		}
		select {
		case <-r.posting:
		case <-r.base.Done():
			return
		}
	}
}

func (r *Room) postOwed(ctx context.Context) error {
	for {
		var h *hook
		err := r.opt.DB.View(ctx, func(rd store.Reader) (err error) {
			h, err = first(hooks.Scan(rd, store.ScanOptions{Limit: 1}))
			return err
		})
		if err != nil || h == nil {
			return err
		}
		if err := r.post(ctx, h); err != nil {
			if ctx.Err() != nil {
				return nil // the room closes: it is posted later
			}
			r.opt.Log.Warn("a webhook was not reached; it is not told", "error", err)
		}
		err = r.opt.DB.Update(ctx, func(tx store.Tx) error {
			_, err := hooks.Delete(tx, key.Key(nil).Uint(h.Order))
			return err
		})
		if err != nil {
			return err
		}
	}
}

// post tries a few times.
func (r *Room) post(ctx context.Context, h *hook) (err error) {
	if r.opt.Hooks == nil {
		return errors.New("nothing is posted here")
	}
	for try := range hookTries {
		if try > 0 {
			select {
			case <-r.opt.after(hookRetry << (try - 1)):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		limited, cancel := context.WithTimeout(ctx, hookLimit)
		err = r.opt.Hooks.Post(limited, h.URL, h.Body)
		cancel()
		if err == nil {
			return nil
		}
	}
	return err
}
