package access

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	antv1 "anthill/gen/ant/v1"
	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"
)

const theKey = "the configured key"

// world is a room over a store, with rooms to invite to and a clock by hand.
type world struct {
	*Room
	t  *testing.T
	db store.DB

	mu      sync.Mutex
	clock   time.Time
	ids     int
	handles map[string]string // @handle -> room
	gone    map[string]bool
}

func newWorld(t *testing.T, change ...func(*Options)) *world {
	t.Helper()
	db, err := bolt.Open(bolt.Options{Path: filepath.Join(t.TempDir(), "main.db"), Limits: store.MainLimits, Gather: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, db: db, clock: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		handles: map[string]string{"@planning": "room-a"}, gone: map[string]bool{}}
	w.Room = w.again(change...)
	return w
}

// again is the room after a restart.
func (w *world) again(change ...func(*Options)) *Room {
	o := Options{DB: w.db, Key: theKey, Rooms: w, Now: w.now, NewID: w.newID, Log: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&o)
	}
	return New(o)
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

func (w *world) newID() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ids++
	return fmt.Sprintf("id-%08d", w.ids)
}

// Resolve implements Rooms.
func (w *world) Resolve(_ store.Reader, ref string) (string, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if id, ok := w.handles[ref]; ok {
		ref = id
	}
	if !strings.HasPrefix(ref, "room-") {
		return "", false, nil
	}
	return ref, !w.gone[ref], nil
}

// as is the context of a call that shows credentials: pairs of metadata.
func (w *world) as(pairs ...string) context.Context {
	return metadata.NewIncomingContext(w.t.Context(), metadata.Pairs(pairs...))
}

func bearer(token string) []string { return []string{"authorization", "Bearer " + token} }

// reason is the reason of a fault; "" for nil.
func reason(t *testing.T, err error) string {
	t.Helper()
	var f *fault.Error
	switch {
	case err == nil:
		return ""
	case !errors.As(err, &f):
		t.Fatalf("not a fault: %v", err)
	}
	return f.Reason
}

func (w *world) wantReason(what string, err error, want string) {
	w.t.Helper()
	if got := reason(w.t, err); got != want {
		w.t.Errorf("%s: reason %q (%v), want %q", what, got, err, want)
	}
}

func (w *world) invite(q *antv1.CreateInviteRequest) *antv1.Invite {
	w.t.Helper()
	if q.SessionId == "" {
		q.SessionId = "room-a"
	}
	inv, err := w.CreateInvite(w.t.Context(), q)
	if err != nil {
		w.t.Fatal(err)
	}
	return inv
}

func (w *world) exchange(inv *antv1.Invite, change ...func(*antv1.ExchangeInviteRequest)) (*antv1.ExchangedToken, error) {
	q := &antv1.ExchangeInviteRequest{SessionId: inv.RoomId, InviteId: inv.Id}
	for _, f := range change {
		f(q)
	}
	return w.ExchangeInvite(w.t.Context(), q)
}

func (w *world) guest(inv *antv1.Invite, change ...func(*antv1.ExchangeInviteRequest)) *antv1.ExchangedToken {
	w.t.Helper()
	tok, err := w.exchange(inv, change...)
	if err != nil {
		w.t.Fatal(err)
	}
	return tok
}

// post asks to post in a room, with what a caller shows.
func (w *world) post(room string, shown ...string) (caller.Caller, *antv1.PostMessageRequest, error) {
	q := &antv1.PostMessageRequest{SessionId: room}
	ctx, err := w.Unary(w.as(shown...), antv1.MessagesService_PostMessage_FullMethodName, q)
	if err != nil {
		return caller.Caller{}, q, err
	}
	return caller.From(ctx), q, nil
}

// browser opens a session and returns its plaintext.
func (w *world) browser() (token, id string) {
	w.t.Helper()
	code, _ := w.LaunchCode()
	s, err := w.OpenBrowserSession(w.t.Context(), &antonv1.OpenBrowserSessionRequest{Code: code, UserAgent: "a browser"})
	if err != nil {
		w.t.Fatal(err)
	}
	return s.Token, s.Id
}
