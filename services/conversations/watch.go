package conversations

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/events"
	"anthill/services/internal/store"
)

// WatchConversations implements antonv1.ConversationsServiceServer.
func (r *Room) WatchConversations(q *antonv1.WatchConversationsRequest, s grpc.ServerStreamingServer[antonv1.ConversationEvent]) error {
	w := &watcher{room: r, stream: s}
	return events.Follow(s.Context(), r.opt.Main, topic, events.Cursor{Seq: q.Seq, Epoch: q.Epoch}, w)
}

// watcher is one subscriber of the topic.
type watcher struct {
	room   *Room
	stream grpc.ServerStreamingServer[antonv1.ConversationEvent]
	ready  *antonv1.ConversationEvent
}

// Snapshot implements events.Subscriber.
func (w *watcher) Snapshot(rd store.Reader, at events.Cursor, truncated bool) error {
	snap := &antonv1.ConversationsSnapshot{}
	for c, err := range conversations.ScanIndex(rd, "activity", store.ScanOptions{Reverse: true, Limit: listMax}) {
		if err != nil {
			return err
		}
		v, err := w.room.view(rd, c)
		if err != nil {
			return err
		}
		if v != nil {
			snap.Conversations = append(snap.Conversations, v)
		}
	}
	w.ready = &antonv1.ConversationEvent{Seq: at.Seq, Epoch: at.Epoch, Truncated: truncated,
		Event: &antonv1.ConversationEvent_Snapshot{Snapshot: snap}}
	return nil
}

// Ready implements events.Subscriber.
func (w *watcher) Ready(context.Context) error { return w.stream.Send(w.ready) }

// Events implements events.Subscriber.
func (w *watcher) Events(ctx context.Context, epoch uint32, entries []store.Entry) error {
	for _, e := range entries {
		ev := &antonv1.ConversationEvent{}
		if err := proto.Unmarshal(e.Event, ev); err != nil {
			return fmt.Errorf("event %d: %w", e.Seq, err)
		}
		ev.Seq, ev.Epoch = e.Seq, epoch
		if c := ev.GetChanged(); c != nil {
			if err := w.render(ctx, c); err != nil {
				return err
			}
		}
		if err := w.stream.Send(ev); err != nil {
			return err
		}
	}
	return nil
}

// render fills in the present state; one that is gone by now stays empty, and
// its deletion follows in the log.
func (w *watcher) render(ctx context.Context, c *antonv1.ConversationChanged) error {
	return w.room.opt.Main.View(ctx, func(rd store.Reader) error {
		conv, err := conversationByID(rd, c.ConversationId)
		if err != nil || conv == nil {
			return err
		}
		c.Conversation, err = w.room.view(rd, conv)
		return err
	})
}
