package conversations

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"

	"google.golang.org/protobuf/proto"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent"
	"anthill/services/internal/index"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// Texts are what people and models said, as the search index takes it: a
// conversation is a scope, its title a document and each of its turns another.
type Texts struct{ room *Room }

// Texts of the room's conversations.
func (r *Room) Texts() Texts { return Texts{r} }

// titleName is the name of the document that is a title; the others have the ids
// of turns, which begin with turnPrefix.
const titleName = "title"

// Topic is the log that says what changes.
func (Texts) Topic() string { return topic }

// Changed says which documents events of the topic are about.
func (Texts) Changed(entries []store.Entry) ([]index.Change, error) {
	var out []index.Change
	for _, e := range entries {
		ev := &antonv1.ConversationEvent{}
		if err := proto.Unmarshal(e.Event, ev); err != nil {
			return nil, fmt.Errorf("event %d: %w", e.Seq, err)
		}
		one := func(conversation, name string) {
			out = append(out, index.Change{Ref: index.Ref{Scope: conversation, Name: name}, Adopt: true})
		}
		switch ev := ev.Event.(type) {
		case *antonv1.ConversationEvent_TurnStarted:
			one(ev.TurnStarted.ConversationId, titleName)
			one(ev.TurnStarted.ConversationId, ev.TurnStarted.TurnId)
		case *antonv1.ConversationEvent_TurnEnded:
			one(ev.TurnEnded.ConversationId, ev.TurnEnded.TurnId)
		case *antonv1.ConversationEvent_TurnDeleted:
			one(ev.TurnDeleted.ConversationId, ev.TurnDeleted.TurnId)
		case *antonv1.ConversationEvent_Changed:
			out = append(out, index.Change{Ref: index.Ref{Scope: ev.Changed.ConversationId}, Whole: true})
		case *antonv1.ConversationEvent_Deleted:
			out = append(out, index.Change{Ref: index.Ref{Scope: ev.Deleted.ConversationId}, Whole: true})
		}
	}
	return out, nil
}

// Names are the documents of a conversation with their stamps; none if it is gone.
func (t Texts) Names(ctx context.Context, conversationID string) (map[string]uint64, error) {
	var names map[string]uint64
	err := t.room.opt.Main.View(ctx, func(rd store.Reader) error {
		names = map[string]uint64{}
		c, err := conversationByID(rd, conversationID)
		if err != nil || c == nil {
			return err
		}
		names[titleName] = c.stamp()
		for rec, err := range turns.Scan(rd, store.ScanOptions{Prefix: convPrefix(c)}) {
			if err != nil {
				return err
			}
			names[rec.ID] = rec.stamp()
		}
		return nil
	})
	return names, err
}

// stamp changes when the title does.
func (c *conversation) stamp() uint64 {
	h := fnv.New64a()
	h.Write([]byte(c.Title)) //nolint:errcheck // it cannot fail
	return h.Sum64() >> 1
}

// stamp changes when what a turn says does.
func (t *turnRecord) stamp() uint64 {
	n := uint64(len(t.Cut)) << 1
	if t.Status != statusRunning {
		n |= 1
	}
	return n
}

// Load reads documents; those that are gone are left out.
func (t Texts) Load(ctx context.Context, refs []index.Ref) ([]index.Document, error) {
	found, err := t.Read(ctx, refs)
	if err != nil {
		return nil, err
	}
	var out []index.Document
	for i, f := range found {
		if f != nil {
			out = append(out, index.Document{Ref: refs[i], Stamp: f.stamp, Text: f.Text})
		}
	}
	return out, nil
}

// Found is a document as it is now.
type Found struct {
	Conversation *antonv1.Conversation
	TurnID       string // empty: the text is the title
	Text         string
	Lines        []Line // what Text is made of; none of a title
	At           int64  // ms: when the turn was asked
	stamp        uint64
}

// Line is what one side said in a turn.
type Line struct{ Role, Text string }

// Read reads documents in the order of refs; nil for those that are gone.
func (t Texts) Read(ctx context.Context, refs []index.Ref) ([]*Found, error) {
	out := make([]*Found, len(refs))
	for i, ref := range refs {
		var err error
		if out[i], err = t.read(ctx, ref); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (t Texts) read(ctx context.Context, ref index.Ref) (*Found, error) {
	var f *Found
	var rec *turnRecord
	err := t.room.opt.Main.View(ctx, func(rd store.Reader) error {
		f, rec = nil, nil
		c, err := conversationByID(rd, ref.Scope)
		if err != nil || c == nil {
			return err
		}
		v, err := t.room.view(rd, c)
		if err != nil || v == nil {
			return err
		}
		if ref.Name == titleName {
			f = &Found{Conversation: v, Text: c.Title, stamp: c.stamp()}
			return nil
		}
		rec, err = turns.Lookup(rd, "id", key.Key(nil).Str(ref.Name))
		if rec != nil && rec.ConvKey == c.Key {
			f = &Found{Conversation: v, TurnID: rec.ID, At: rec.Created, stamp: rec.stamp()}
		}
		return err
	})
	if err != nil || f == nil || f.TurnID == "" {
		return f, err
	}
	past, err := t.room.history(ctx, rec.ConvKey, &rec.Ordinal)
	if err != nil {
		return nil, err
	}
	var said []string
	for _, p := range past {
		for _, m := range append(p.input, p.messages...) {
			if (m.Role == agent.RoleUser || m.Role == agent.RoleAssistant) && strings.TrimSpace(m.Text) != "" {
				said = append(said, m.Text)
				f.Lines = append(f.Lines, Line{string(m.Role), m.Text})
			}
		}
	}
	f.Text = strings.Join(said, "\n")
	return f, nil
}

// A step of Walk ends behind this many turns, or bytes of text.
const (
	walkTurns = 64
	walkBytes = 1 << 20
)

// Walk returns the documents behind a place, those of the conversation with the
// oldest activity first, and the place where to go on; "" at the end.
func (t Texts) Walk(ctx context.Context, after string) (docs []index.Document, next string, err error) {
	at, err := readPlace(after)
	if err != nil {
		return nil, "", err
	}
	for n, size := 0, 0; n < walkTurns && size < walkBytes; {
		refs, err := t.walkOne(ctx, &at, walkTurns-n)
		if err != nil {
			return nil, "", err
		}
		if at.id == "" {
			return docs, "", nil
		}
		n += len(refs)
		some, err := t.Load(ctx, refs)
		if err != nil {
			return nil, "", err
		}
		for _, d := range some {
			size += len(d.Text)
		}
		docs = append(docs, some...)
	}
	return docs, at.String(), nil
}

// place is where a walk stands: in a conversation, before the turn with the
// ordinal; past its turns if that is negative. The zero place is the beginning.
type place struct {
	activity uint64
	ordinal  int64
	id       string
}

// walkOne moves a place on within a conversation, or to the next one, and says
// what lies between. Behind the last conversation it becomes the zero place.
func (t Texts) walkOne(ctx context.Context, at *place, most int) (refs []index.Ref, err error) {
	start := *at
	err = t.room.opt.Main.View(ctx, func(rd store.Reader) error {
		refs, *at = nil, start
		if at.id == "" || at.ordinal < 0 {
			var after key.Key
			if at.id != "" {
				after = key.Key(nil).Uint(at.activity).Str(at.id)
			}
			*at = place{}
			for c, err := range conversations.ScanIndex(rd, "activity", store.ScanOptions{After: after, Limit: 1}) {
				if err != nil {
					return err
				}
				*at = place{activity: c.Activity, id: c.ID}
				refs = append(refs, index.Ref{Scope: c.ID, Name: titleName})
			}
			return nil
		}
		c, err := conversationByID(rd, at.id)
		if err != nil {
			return err
		}
		if c == nil { // deleted meanwhile
			at.ordinal = -1
			return nil
		}
		o := store.ScanOptions{Prefix: convPrefix(c), Limit: most}
		if at.ordinal > 0 {
			o.After = turnKey(c.Key, uint64(at.ordinal)-1)
		}
		for rec, err := range turns.Scan(rd, o) {
			if err != nil {
				return err
			}
			refs = append(refs, index.Ref{Scope: c.ID, Name: rec.ID})
			at.ordinal = int64(rec.Ordinal) + 1
		}
		if len(refs) < most {
			at.ordinal = -1
		}
		return nil
	})
	return refs, err
}

func (p place) String() string { return fmt.Sprintf("%d %d %s", p.activity, p.ordinal, p.id) }

var errPlace = errors.New("conversations: not a place of a walk")

func readPlace(s string) (p place, err error) {
	if s == "" {
		return p, nil
	}
	if n, err := fmt.Sscanf(s, "%d %d %s", &p.activity, &p.ordinal, &p.id); err != nil || n != 3 {
		return p, errPlace
	}
	return p, nil
}
