package sessions

import (
	"cmp"
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/store"
	"anthill/services/internal/wire"
)

// recoverableMax bounds the part of the list that grows for ever.
const recoverableMax = 1000

// GetSession implements antv1.SessionsServiceServer.
func (r *Room) GetSession(ctx context.Context, q *antv1.GetSessionRequest) (out *antv1.Session, err error) {
	err = r.opt.DB.View(ctx, func(rd store.Reader) error {
		rec, err := find(rd, q.Id)
		if err == nil {
			out, err = show(rd, rec)
		}
		return err
	})
	return out, err
}

// ListSessions implements antv1.SessionsServiceServer.
func (r *Room) ListSessions(ctx context.Context, _ *antv1.ListSessionsRequest) (*antv1.ListSessionsResponse, error) {
	_, focus := r.joined()
	var out *antv1.ListSessionsResponse
	err := r.opt.DB.View(ctx, func(rd store.Reader) error {
		live, err := liveRows(rd, focus)
		if err != nil {
			return err
		}
		gone, err := goneRows(rd)
		out = &antv1.ListSessionsResponse{Sessions: live, Recoverable: gone}
		return err
	})
	return out, err
}

// listed is a row and when something last happened there.
type listed struct {
	row *antv1.Session
	at  int64
}

func liveRows(rd store.Reader, focus Focus) ([]*antv1.Session, error) {
	at, err := places(rd)
	if err != nil {
		return nil, err
	}
	var list []listed
	for rec, err := range records.ScanIndex(rd, byLive, store.ScanOptions{}) {
		if err != nil {
			return nil, err
		}
		changed, err := updated(rd, rec)
		if err != nil {
			return nil, err
		}
		one := row(rec, changed, placeOf(at, rec))
		if err := attend(rd, focus, one); err != nil {
			return nil, err
		}
		list = append(list, listed{one, changed})
	}
	slices.SortFunc(list, func(a, b listed) int {
		return cmp.Or(compareOrNone(a.row.SortIndex, b.row.SortIndex), cmp.Compare(b.at, a.at), cmp.Compare(a.row.Id, b.row.Id))
	})
	rows := make([]*antv1.Session, len(list))
	for i, l := range list {
		rows[i] = l.row
	}
	return rows, nil
}

// compareOrNone sorts what has no place behind all that has one.
func compareOrNone(a, b *int32) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return cmp.Compare(*a, *b)
}

// attend adds what a session is occupied with.
func attend(rd store.Reader, focus Focus, s *antv1.Session) error {
	if focus == nil {
		return nil
	}
	a, err := focus.Attention(rd, s.Id)
	if err != nil || a == nil {
		return err
	}
	s.AttentionState, s.AttentionReason, s.AttentionSetBy = wire.OrNull(a.State), wire.OrNull(a.Reason), wire.OrNull(a.SetBy)
	if !a.Expires.IsZero() {
		s.AttentionExpiresAt = wire.TimeOrNull(a.Expires.UnixNano())
	}
	s.FocusRoomId, s.FocusQueueCount = wire.OrNull(a.RoomID), proto.Int32(int32(a.Queue))
	room, err := byID(rd, a.RoomID)
	if err == nil && room != nil {
		s.FocusRoomName = wire.OrNull(room.Name)
	}
	return err
}

func goneRows(rd store.Reader) (rows []*antv1.Session, err error) {
	for rec, err := range records.ScanIndex(rd, byGone, store.ScanOptions{Reverse: true, Limit: recoverableMax}) {
		if err != nil {
			return nil, err
		}
		changed, err := updated(rd, rec)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row(rec, changed, nil))
	}
	return rows, nil
}
