package rooms

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/fxamacker/cbor/v2"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/fault"
	"anthill/services/internal/feed"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
	"anthill/services/internal/wire"
)

const (
	readersMax    = 1000 // of one message
	readersTold   = 100  // of them in an event
	readsPageMax  = 1000 // messages of a page
	readsPage     = 200  // if no number is given
	readsPageRows = 2000 // readers that end a page
)

// reading is that somebody has read a message, one row for each reader of each.
type reading struct {
	Message string `json:"message"`           // its id
	Reader  string `json:"-"`                 // session id, or the name that was given
	Session bool   `json:"session,omitempty"` // the reader is one
	At      int64  `json:"at"`                // ns
}

func readsOf(room string) key.Key             { return key.Of("ant_read").Str(room) }
func readsOn(room string, seq uint64) key.Key { return readsOf(room).Uint(seq) }

// unreadOf are messages that were deleted, whose readers are still to be removed:
// there may be more of them than fit into the transaction.
func unreadOf(room string) key.Key { return key.Of("ant_unread").Str(room) }

// MarkRead implements antv1.ReadsServiceServer.
func (r *Room) MarkRead(ctx context.Context, q *antv1.MarkReadRequest) (*antv1.MarkReadResponse, error) {
	name := caller.From(ctx).As(q.ReaderId)
	if name == "" {
		return nil, fault.BadField("missing", "reader_id required", "reader_id")
	}
	if err := checkName("reader_id", name, nameMax); err != nil {
		return nil, err
	}
	var out *antv1.MarkReadResponse
	err := r.opt.Main.Update(ctx, func(tx store.Tx) error {
		room, err := r.writable(tx, q.SessionId)
		if err != nil {
			return err
		}
		m, err := loadMessage(tx, room.ID, q.MsgId)
		if err != nil {
			return err
		}
		if m == nil {
			return errNoMessage
		}
		by := reading{Reader: name}
		if s, err := r.opt.Sessions.Find(tx, name); err != nil {
			return err
		} else if s != nil {
			by.Reader, by.Session = s.ID, true
		}
		list, full, err := r.noteRead(tx, m, by)
		if err != nil {
			return err
		}
		if full {
			return fault.New(fault.Precondition, "READERS_FULL", "The message has %d readers: no more are noted.", readersMax)
		}
		out = &antv1.MarkReadResponse{Ok: true}
		out.Reads, err = r.viewReaders(tx, list, nil)
		return err
	})
	return out, err
}

// noteRead notes who has read a message, tells the room of it, and returns all
// readers; nothing changes for one who has read it before. full: there are as
// many as are kept.
func (r *Room) noteRead(tx store.Tx, m *message, by reading) (list []reading, full bool, err error) {
	if list, err = readers(tx, m.Room, m.Seq); err != nil {
		return nil, false, err
	}
	for _, known := range list {
		if known.Reader == by.Reader {
			return list, false, nil
		}
	}
	if len(list) >= readersMax {
		return list, true, nil
	}
	now := r.opt.Now()
	by.Message, by.At = m.ID, now.UnixNano()
	if err := save(tx, readsOn(m.Room, m.Seq).Str(by.Reader), &by); err != nil {
		return nil, false, err
	}
	list = append(list, by)
	told, err := r.viewReaders(tx, list[max(0, len(list)-readersTold):], nil)
	if err != nil {
		return nil, false, err
	}
	return list, false, feed.Append(tx, &antv1.Event{AtMs: float64(now.UnixMilli()), SessionId: m.Room,
		Event: &antv1.Event_MessageRead{MessageRead: &antv1.MessageRead{Id: m.ID, ReaderId: by.Reader, Reads: told}}})
}

// readers of a message, the first one first.
func readers(rd store.Reader, room string, seq uint64) (list []reading, err error) {
	for k, row := range rd.Scan(store.Prefix(readsOn(room, seq))) {
		_, by, err := decodeReading(k, row)
		if err != nil {
			return nil, err
		}
		list = append(list, by)
	}
	inOrder(list)
	return list, nil
}

func inOrder(list []reading) {
	slices.SortFunc(list, func(a, b reading) int {
		return cmp.Or(cmp.Compare(a.At, b.At), strings.Compare(a.Reader, b.Reader))
	})
}

func decodeReading(k, row []byte) (seq uint64, by reading, err error) {
	p := key.Parse(k)
	p.Str()
	p.Str()
	seq, by.Reader = p.Uint(), p.Str()
	if err := p.Err(); err != nil {
		return 0, by, err
	}
	if err := cbor.Unmarshal(row, &by); err != nil {
		return 0, by, fmt.Errorf("decode reader: %w", err)
	}
	return seq, by, nil
}

// viewReaders shows readers by the names that they have now. known has the
// sessions that were looked up before; it may be nil.
func (r *Room) viewReaders(rd store.Reader, list []reading, known map[string]*Session) ([]*antv1.MessageReader, error) {
	out := make([]*antv1.MessageReader, 0, len(list))
	for _, by := range list {
		v := &antv1.MessageReader{SessionId: by.Reader, ReadAt: wire.Time(by.At)}
		out = append(out, v)
		if !by.Session {
			v.ReaderName = wire.OrNull(by.Reader)
			if strings.HasPrefix(by.Reader, "@") {
				v.ReaderHandle = wire.OrNull(by.Reader)
			}
			continue
		}
		s, looked := known[by.Reader]
		if !looked {
			var err error
			if s, err = r.opt.Sessions.Find(rd, by.Reader); err != nil {
				return nil, err
			}
			if known != nil {
				known[by.Reader] = s
			}
		}
		if s != nil {
			v.ReaderName, v.ReaderHandle = wire.OrNull(s.Name), wire.OrNull(s.Handle)
		}
	}
	return out, nil
}

// GetMessageReads implements antv1.ReadsServiceServer.
func (r *Room) GetMessageReads(ctx context.Context, q *antv1.GetMessageReadsRequest) (*antv1.GetMessageReadsResponse, error) {
	out := &antv1.GetMessageReadsResponse{}
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		room, err := r.readable(rd, q.SessionId)
		if err != nil {
			return err
		}
		m, err := loadMessage(rd, room.ID, q.MsgId)
		if err != nil {
			return err
		}
		if m == nil {
			return errNoMessage
		}
		list, err := readers(rd, room.ID, m.Seq)
		if err != nil {
			return err
		}
		out.Reads, err = r.viewReaders(rd, list, nil)
		return err
	})
	return out, err
}

// ListReads implements antv1.ReadsServiceServer. It goes through what was read, so
// that messages that nobody has read cost nothing.
func (r *Room) ListReads(ctx context.Context, q *antv1.ListReadsRequest) (*antv1.ListReadsResponse, error) {
	limit, err := pageLimit(q.Limit, readsPage, readsPageMax)
	if err != nil {
		return nil, err
	}
	out := &antv1.ListReadsResponse{}
	err = r.opt.Main.View(ctx, func(rd store.Reader) error {
		room, err := r.readable(rd, q.SessionId)
		if err != nil {
			return err
		}
		before, err := beforeCursor(rd, room.ID, q.Cursor)
		if err != nil {
			return err
		}
		page, more, err := readMessages(rd, room.ID, before, limit)
		if err != nil {
			return err
		}
		known := map[string]*Session{}
		for _, one := range page {
			inOrder(one.by)
			list, err := r.viewReaders(rd, one.by, known)
			if err != nil {
				return err
			}
			out.Messages = append(out.Messages, &antv1.ReadMessage{Id: one.by[0].Message, Reads: list})
		}
		if more {
			out.HasMore, out.Older = true, olderCursor(page[0].seq)
		}
		return nil
	})
	return out, err
}

// beforeCursor is the seq that a page of the past ends before.
func beforeCursor(rd store.Reader, room, cursor string) (uint64, error) {
	st, err := loadState(rd, room)
	if err != nil || cursor == "" {
		return st.LastSeq + 1, err
	}
	w := window{}
	if err := w.fromCursor(cursor, st.LastSeq); err != nil {
		return 0, err
	}
	if w.up {
		return 0, fault.BadField("value_error", "cursor is none of this list", "cursor")
	}
	return w.high, nil
}

// pageLimit reads how long a page may be.
func pageLimit(asked *int32, otherwise, most int) (int, error) {
	switch {
	case asked == nil:
		return otherwise, nil
	case *asked < 1:
		return 0, fault.BadField("value_error", "limit is a number of 1 or more", "limit")
	}
	return min(int(*asked), most), nil
}

// readMessage is a message with its readers.
type readMessage struct {
	seq uint64
	by  []reading
}

// readMessages are the newest messages before a seq that somebody has read, the
// oldest of them first. more says that there are older ones.
func readMessages(rd store.Reader, room string, before uint64, limit int) (page []readMessage, more bool, err error) {
	rows := 0
	at, gone := uint64(0), false // the message that the scan is at; it was deleted
	for k, row := range rd.Scan(store.Range{Start: readsOf(room), End: readsOn(room, before), Reverse: true}) {
		seq, by, err := decodeReading(k, row)
		if err != nil {
			return nil, false, err
		}
		if seq != at {
			at, gone = seq, rd.Get(messageKey(room, seq)) == nil
			if !gone {
				if len(page) == limit || rows >= readsPageRows {
					more = true
					break
				}
				page = append(page, readMessage{seq: seq})
			}
		}
		if gone {
			continue
		}
		rows++
		last := &page[len(page)-1]
		last.by = append(last.by, by)
	}
	slices.Reverse(page)
	return page, more, nil
}

// forgetReads lets the readers of a message that is being deleted be removed.
func forgetReads(tx store.Tx, m *message) {
	for range tx.Scan(store.Prefix(readsOn(m.Room, m.Seq))) {
		tx.Put(unreadOf(m.Room).Uint(m.Seq), []byte{})
		return
	}
}

// sweepReads removes the readers of messages that were deleted.
func (r *Room) sweepReads(ctx context.Context) error {
	for {
		var room string
		var seq uint64
		err := r.opt.Main.View(ctx, func(rd store.Reader) error {
			room, seq = "", 0
			for k := range rd.Scan(store.Prefix(key.Of("ant_unread"))) {
				p := key.Parse(k)
				p.Str()
				room, seq = p.Str(), p.Uint()
				return p.Err()
			}
			return nil
		})
		if err != nil || room == "" {
			return err
		}
		if err := store.DeleteRange(ctx, r.opt.Main, store.Prefix(readsOn(room, seq))); err != nil {
			return err
		}
		err = r.opt.Main.Update(ctx, func(tx store.Tx) error {
			tx.Delete(unreadOf(room).Uint(seq))
			return nil
		})
		if err != nil {
			return err
		}
	}
}
