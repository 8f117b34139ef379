package conversations

import (
	"context"
	"fmt"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// compaction is what requests to models leave out of a conversation. The turns
// stay as they are: without it, or when it does not fit them any more, the next
// turn begins with all of them.
type compaction struct {
	ConvKey  string `json:"conv_key"`
	Messages int    `json:"messages"`
	Clipped  int    `json:"clipped,omitempty"`
	Digest   []byte `json:"digest"`
	Summary  string `json:"summary"`
}

var compactions = store.NewTable(store.TableOptions[compaction]{
	Name: "conversation_compaction",
	Key:  func(c *compaction) key.Key { return key.Key(nil).Str(c.ConvKey) },
})

// forgetCompaction is for when something of a conversation is deleted: the
// summary may speak of it.
func forgetCompaction(tx store.Tx, convKey string) error {
	_, err := compactions.Delete(tx, key.Key(nil).Str(convKey))
	return err
}

// compactionOf says how a turn deals with a long history.
func (r *Room) compactionOf(ctx context.Context, rec *turnRecord, a *asked, m Model) (agent.Compaction, error) {
	c := m.Compaction
	c.Off = bare(a.options) || a.options.GetTruncation() == "disabled"
	if c.Off || rec.ConvKey == "" {
		return c, nil
	}
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		c.Used, c.Earlier = 0, nil
		kept, err := compactions.Get(rd, key.Key(nil).Str(rec.ConvKey))
		if err != nil {
			return err
		}
		if kept != nil {
			c.Earlier = &agent.Compacted{Messages: kept.Messages, Clipped: kept.Clipped, Digest: kept.Digest, Summary: kept.Summary}
		}
		for t, err := range turns.Scan(rd, store.ScanOptions{Prefix: key.Key(nil).Str(rec.ConvKey), Reverse: true}) {
			if err != nil {
				return err
			}
			if t.Ordinal < rec.Ordinal && !t.Given {
				c.Used = t.Used
				return nil
			}
		}
		return nil
	})
	return c, err
}

// Compacted implements agent.Sink.
func (c *recorder) Compacted(to agent.Compacted, note agent.CompactionNote) error {
	if c.send == nil {
		err := c.room.opt.Main.Update(c.ctx, func(tx store.Tx) error {
			return compactions.Put(tx, &compaction{ConvKey: c.rec.ConvKey, Messages: to.Messages, Clipped: to.Clipped,
				Digest: to.Digest, Summary: to.Summary})
		})
		if err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.think(&antonv1.Thought{ThoughtRole: "thought.context_compacted", Content: compactedText(note), Phase: "context",
		Compaction: &antonv1.Compaction{MessagesDropped: int32(note.Dropped), TokensBefore: int32(note.Before),
			TokensAfter: int32(note.After), Method: note.Method}})
}

func compactedText(n agent.CompactionNote) string {
	what := "Older messages were summarised"
	if n.Method == agent.MethodTruncate {
		what = "Older messages and long results of tools were shortened"
	}
	return fmt.Sprintf("%s to fit what the model takes: %d left out, about %d tokens before and %d after.", what, n.Dropped, n.Before, n.After)
}
