// Package evidence is what is known of the work in sessions: run events, in the
// order in which they came.
//
// Hooks of agent programs enter by HooksService; terminals, prompts and tasks
// hand theirs over in the process ([Room.Append], [Room.AppendTx]). An event is
// never changed. Of each session the newest ones are kept, and all of them go
// with it. Nothing here is taken for an instruction, and nothing is typed anywhere.
package evidence

import (
	"bytes"
	"context"
	"time"

	"google.golang.org/grpc"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
	"anthill/services/internal/wire"
)

// Session is what this room needs to know of one.
type Session struct {
	ID       string
	Terminal bool
	Archived bool
	Deleted  bool // softly
}

// Sessions answers from inside a transaction.
type Sessions interface {
	// Find looks a session up by id, handle or alias; by id also archived and
	// softly deleted ones. Nil: there is none, or it is deleted for good.
	Find(r store.Reader, ref string) (*Session, error)
	// LinkedTerminals are the active terminals whose private chat this is.
	LinkedTerminals(r store.Reader, chatID string) ([]*Session, error)
}

// Options open the room.
type Options struct {
	DB       store.DB
	Sessions Sessions
	Now      func() time.Time
	Keep     int // events of a session that are kept; 0: 100,000
}

// Limits of what is kept of a session.
const (
	keepDefault = 100_000
	keepBytes   = 256 << 20 // of rows; what is above is dropped as new events come
)

// Room serves RunEventsService and HooksService.
type Room struct {
	antv1.UnimplementedRunEventsServiceServer
	antv1.UnimplementedHooksServiceServer
	opt Options
}

// Open makes the room. It runs nothing of its own.
func Open(o Options) *Room {
	if o.Keep == 0 {
		o.Keep = keepDefault
	}
	return &Room{opt: o}
}

// Register adds the room's services to a server.
func (r *Room) Register(s grpc.ServiceRegistrar) {
	antv1.RegisterRunEventsServiceServer(s, r)
	antv1.RegisterHooksServiceServer(s, r)
}

// find returns a session, and the one whose events stand for it: a chat shows
// those of its terminal. Guests know one room, so theirs shows its own.
func (r *Room) find(rd store.Reader, ref string, by caller.Caller) (asked, owner *Session, err error) {
	asked, err = r.opt.Sessions.Find(rd, ref)
	if err == nil && asked == nil {
		err = wire.ErrNoSession
	}
	if err != nil || asked.Terminal || by.Scoped() {
		return asked, asked, err
	}
	linked, err := r.opt.Sessions.LinkedTerminals(rd, asked.ID)
	if err != nil || len(linked) == 0 {
		return asked, asked, err
	}
	return asked, linked[0], nil
}

// deleteBatch keeps a removal's transactions well under the store's limits.
const deleteBatch = 50

// DeleteSession removes the events of a session that is deleted for good, so that
// none come meanwhile. Idempotent; it may be called again after a failure.
func (r *Room) DeleteSession(ctx context.Context, id string) error {
	for _, all := range []key.Key{rowsOf(id), onceOf(id), stateKey(id)} {
		for n := deleteBatch; n == deleteBatch; {
			err := r.opt.DB.Update(ctx, func(tx store.Tx) error {
				var doomed [][]byte
				for k := range tx.Scan(store.Prefix(all)) {
					doomed = append(doomed, bytes.Clone(k))
					if len(doomed) == deleteBatch {
						break
					}
				}
				for _, k := range doomed {
					tx.Delete(k)
				}
				n = len(doomed)
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
