// Package search is the room that finds texts of both APIs: what was said in
// conversations and written in rooms.
//
// Calls enter by its two gRPC services. Its indexes are derived: they follow the
// logs of the rooms that own the texts, and a text is read again from its room
// before it is shown, so what was deleted is not found. A search waits until the
// index has what was acknowledged before it, a second at most; then it says that
// it is partial. The room writes nothing but its own files, which any start makes
// again if they are gone.
package search

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"

	antv1 "anthill/gen/ant/v1"
	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/index"
	"anthill/services/internal/store"
)

// Messages are those of rooms.
type Messages interface {
	Feed
	// Room is the id of a room that is named by id, handle or alias, also of a
	// deleted one that can be restored; "": there is none.
	Room(ctx context.Context, ref string) (string, error)
	// Read reads messages in the order of refs, all but the snippet; nil for those
	// that are gone.
	Read(ctx context.Context, refs []index.Ref) ([]*antv1.FoundMessage, error)
}

// Conversations are those of the CoWork API.
type Conversations interface {
	Feed
	// Read reads texts in the order of refs; nil for those that are gone.
	Read(ctx context.Context, refs []index.Ref) ([]*Said, error)
}

// Said is a title or a turn of a conversation.
type Said struct {
	Conversation *antonv1.Conversation
	TurnID       string // empty: the text is the title
	Text         string
}

// Projects are found by name.
type Projects interface {
	List(ctx context.Context) ([]Project, error)
}

// Project is one of them.
type Project struct{ ID, Name, Path string }

// Options open the room.
type Options struct {
	Dir           string // of its files; made when there is something to index
	DB            store.DB
	Messages      Messages
	Conversations Conversations
	Projects      Projects
	Log           *slog.Logger
}

// Room serves both search services. Safe for concurrent use.
type Room struct {
	opt           Options
	messages      *follower
	conversations *follower
	stop          context.CancelFunc
	followers     sync.WaitGroup
}

// Open begins to bring the indexes up to date and does not wait for it.
func Open(o Options) *Room {
	r := &Room{opt: o}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	r.messages = r.follow(ctx, "messages.db", index.Parts, o.Messages)
	r.conversations = r.follow(ctx, "conversations.db", index.Words, o.Conversations)
	return r
}

func (r *Room) follow(ctx context.Context, file string, by index.Unit, feed Feed) *follower {
	x := index.New(index.Options{Path: filepath.Join(r.opt.Dir, file), By: by, Log: r.opt.Log})
	f := newFollower(x, r.opt.DB, feed, r.opt.Log)
	r.followers.Go(func() { f.run(ctx) })
	return f
}

// Register adds the room's services to a server.
func (r *Room) Register(s grpc.ServiceRegistrar) {
	antonv1.RegisterSearchServiceServer(s, coworkService{room: r})
	antv1.RegisterSearchServiceServer(s, roomsService{room: r})
}

// Close stops following and closes the files. What the indexes lack then, they
// get after the next start.
func (r *Room) Close(context.Context) error {
	r.stop()
	r.followers.Wait()
	return errors.Join(r.messages.index.Close(), r.conversations.index.Close())
}

const (
	// patience is how long a search waits for the index.
	patience = time.Second
	// budget is how long a search looks.
	budget = 2 * time.Second

	queryMax = 1000 // characters
	termsMax = 32
)

// parse reads a query; it refuses nothing but length.
func parse(by index.Unit, text string) (index.Query, error) {
	if utf8.RuneCountInString(text) > queryMax {
		return index.Query{}, fault.New(fault.Invalid, "QUERY_TOO_LONG", "A query has up to %d characters", queryMax)
	}
	q := index.Parse(by, text)
	if q.Terms() > termsMax {
		return q, fault.New(fault.Invalid, "QUERY_TOO_LONG", "A query has up to %d terms", termsMax)
	}
	return q, nil
}

// ready waits for the index as long as a search may, and says whether it is up
// to date.
func (f *follower) ready(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return f.await(ctx)
}

// find asks the index. complete is false if it could not answer all: its time is
// up, or its file was found damaged and is being made again.
func (f *follower) find(ctx context.Context, q index.Query, p index.Page) (hits []index.Hit, complete bool, err error) {
	hits, err = f.index.Find(ctx, q, p)
	switch {
	case err == nil:
		return hits, true, nil
	case errors.Is(err, index.ErrUseless):
		f.lost()
		return nil, false, nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return hits, false, nil
	}
	return nil, false, err
}
