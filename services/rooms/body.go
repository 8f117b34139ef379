package rooms

import (
	"bytes"
	"context"
	"fmt"

	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

const (
	inlineMax = 64 << 10  // bytes of content that a row has itself
	chunkMax  = 512 << 10 // bytes of a body in one value
)

// Bodies are contents too large for a row. One is announced before it is written
// and its announcement goes with the transaction that stores its message, so what
// a crash leaves is known without looking at all of them.

func bodiesOf(room string) key.Key             { return key.Of("ant_body").Str(room) }
func doomedKey(room, body string) key.Key      { return key.Of("ant_doomed").Str(room).Str(body) }
func bodyPrefix(room, body string) key.Key     { return bodiesOf(room).Str(body) }
func (r *Room) bodyName(room, b string) string { return room + "/" + b }

// writeBody stores a content; release must be called when its message is stored,
// or will not be.
func (r *Room) writeBody(ctx context.Context, room, content string) (body string, release func(), err error) {
	body = newChance()
	name := r.bodyName(room, body)
	r.mu.Lock()
	r.held[name] = true
	r.mu.Unlock()
	release = func() {
		r.mu.Lock()
		delete(r.held, name)
		r.mu.Unlock()
		r.Wake()
	}
	err = r.opt.Main.Update(ctx, func(tx store.Tx) error {
		tx.Put(doomedKey(room, body), []byte{})
		return nil
	})
	if err == nil {
		err = r.opt.Bulk.Update(ctx, func(tx store.Tx) error {
			for i := 0; i*chunkMax < len(content); i++ {
				tx.Put(bodyPrefix(room, body).Uint(uint64(i)), []byte(content[i*chunkMax:min(len(content), (i+1)*chunkMax)]))
			}
			return nil
		})
	}
	if err != nil {
		release()
		return "", nil, fmt.Errorf("write the content: %w", err)
	}
	return body, release, nil
}

// content returns what a message says. ok is false if it was deleted meanwhile.
// Never call it in a transaction.
func (r *Room) content(ctx context.Context, m *message) (text string, ok bool, err error) {
	if m.Body == "" {
		return m.Content, true, nil
	}
	var b bytes.Buffer
	err = r.opt.Bulk.View(ctx, func(rd store.Reader) error {
		b.Reset()
		for _, chunk := range rd.Scan(store.Prefix(bodyPrefix(m.Room, m.Body))) {
			b.Write(chunk)
		}
		return nil
	})
	if err != nil {
		return "", false, fmt.Errorf("read the content of message %s: %w", m.ID, err)
	}
	return b.String(), b.Len() == m.Size, nil
}

// fill reads the contents of messages and leaves out those that are gone by now.
func (r *Room) fill(ctx context.Context, list []*message) ([]*message, error) {
	kept := list[:0]
	for _, m := range list {
		text, ok, err := r.content(ctx, m)
		if err != nil {
			return nil, err
		}
		if ok {
			m.Content = text
			kept = append(kept, m)
		}
	}
	return kept, nil
}

// sweepBodies removes bodies that no message leads to any more.
func (r *Room) sweepBodies(ctx context.Context) error {
	var rooms, bodies []string
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		rooms, bodies = nil, nil
		for k := range rd.Scan(store.Prefix(key.Of("ant_doomed"))) {
			p := key.Parse(k)
			p.Str()
			room, body := p.Str(), p.Str()
			if err := p.Err(); err != nil {
				return err
			}
			rooms, bodies = append(rooms, room), append(bodies, body)
			if len(rooms) == 1000 {
				break
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, body := range bodies {
		r.mu.Lock()
		held := r.held[r.bodyName(rooms[i], body)]
		r.mu.Unlock()
		if held {
			continue
		}
		// A message may have taken it between the view and the release.
		doomed := false
		err := r.opt.Main.View(ctx, func(rd store.Reader) error {
			doomed = rd.Get(doomedKey(rooms[i], body)) != nil
			return nil
		})
		if err != nil {
			return err
		}
		if !doomed {
			continue
		}
		if err := store.DeleteRange(ctx, r.opt.Bulk, store.Prefix(bodyPrefix(rooms[i], body))); err != nil {
			return err
		}
		err = r.opt.Main.Update(ctx, func(tx store.Tx) error {
			tx.Delete(doomedKey(rooms[i], body))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
