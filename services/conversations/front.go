package conversations

import (
	"context"

	"google.golang.org/grpc"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
)

// front is the room as callers see it: calls about what is in memory alone go to
// the room that has it, and lists have the rest.
type front struct{ *Room }

// of is the room that has a conversation.
func (f front) of(ctx context.Context, convID string) *Room {
	if f.ephemeral.has(ctx, convID) {
		return f.ephemeral
	}
	return f.Room
}

func (r *Room) has(ctx context.Context, convID string) (found bool) {
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		c, err := conversationByID(rd, convID)
		found = c != nil
		return err
	})
	return err == nil && found
}

// ofResponse is the room that has a response, or will have it.
func (f front) ofResponse(ctx context.Context, id string) *Room {
	if t, err := f.ephemeral.turnOf(ctx, id); err == nil && t != nil {
		return f.ephemeral
	}
	if e, err := f.ephemeral.queuedAs(ctx, id); err == nil && e != nil {
		return f.ephemeral
	}
	return f.Room
}

// CreateResponse implements antonv1.ResponsesServiceServer.
func (f front) CreateResponse(q *antonv1.CreateResponseRequest, s grpc.ServerStreamingServer[antonv1.ResponseEvent]) error {
	ctx := s.Context()
	previous := q.GetOptions().GetPreviousResponseId()
	in := f.of(ctx, q.Conversation)
	if previous != "" {
		in = f.ofResponse(ctx, previous)
	}
	if !q.Ephemeral || in == f.ephemeral {
		return in.CreateResponse(q, s)
	}
	if previous != "" || f.Room.has(ctx, q.Conversation) {
		return fault.BadField("value_error", "The conversation is stored already: fork it with ephemeral instead", "ephemeral")
	}
	if err := f.ephemeral.makeRoom(ctx); err != nil {
		return err
	}
	return f.ephemeral.CreateResponse(q, s)
}

// CreateConversation implements antonv1.ConversationsServiceServer.
func (f front) CreateConversation(ctx context.Context, q *antonv1.CreateConversationRequest) (*antonv1.Conversation, error) {
	if !q.Ephemeral {
		return f.Room.CreateConversation(ctx, q)
	}
	if err := f.ephemeral.makeRoom(ctx); err != nil {
		return nil, err
	}
	return f.ephemeral.CreateConversation(ctx, q)
}

// ForkConversation implements antonv1.ConversationsServiceServer.
func (f front) ForkConversation(ctx context.Context, q *antonv1.ForkConversationRequest) (*antonv1.Conversation, error) {
	from := f.of(ctx, q.Id)
	to := from
	if q.Ephemeral != nil {
		if to = f.Room; *q.Ephemeral {
			to = f.ephemeral
		}
	}
	if to == f.ephemeral {
		if err := to.makeRoom(ctx); err != nil {
			return nil, err
		}
	}
	return from.forkInto(ctx, q, to)
}

// GetConversation implements antonv1.ConversationsServiceServer.
func (f front) GetConversation(ctx context.Context, q *antonv1.GetConversationRequest) (*antonv1.Conversation, error) {
	return f.of(ctx, q.Id).GetConversation(ctx, q)
}

// SetConversationMetadata implements antonv1.ConversationsServiceServer.
func (f front) SetConversationMetadata(ctx context.Context, q *antonv1.SetConversationMetadataRequest) (*antonv1.Conversation, error) {
	return f.of(ctx, q.Id).SetConversationMetadata(ctx, q)
}

// ListItems implements antonv1.ConversationsServiceServer.
func (f front) ListItems(ctx context.Context, q *antonv1.ListItemsRequest) (*antonv1.ListItemsResponse, error) {
	return f.of(ctx, q.Id).ListItems(ctx, q)
}

// CreateItems implements antonv1.ConversationsServiceServer.
func (f front) CreateItems(ctx context.Context, q *antonv1.CreateItemsRequest) (*antonv1.ListItemsResponse, error) {
	return f.of(ctx, q.Id).CreateItems(ctx, q)
}

// GetItem implements antonv1.ConversationsServiceServer.
func (f front) GetItem(ctx context.Context, q *antonv1.GetItemRequest) (*antonv1.Item, error) {
	return f.of(ctx, q.Id).GetItem(ctx, q)
}

// DeleteItem implements antonv1.ConversationsServiceServer.
func (f front) DeleteItem(ctx context.Context, q *antonv1.DeleteItemRequest) (*antonv1.Conversation, error) {
	return f.of(ctx, q.Id).DeleteItem(ctx, q)
}

// ListMessages implements antonv1.ConversationsServiceServer.
func (f front) ListMessages(ctx context.Context, q *antonv1.ListMessagesRequest) (*antonv1.ListMessagesResponse, error) {
	return f.of(ctx, q.Id).ListMessages(ctx, q)
}

// UpdateConversation implements antonv1.ConversationsServiceServer.
func (f front) UpdateConversation(ctx context.Context, q *antonv1.UpdateConversationRequest) (*antonv1.Conversation, error) {
	return f.of(ctx, q.Id).UpdateConversation(ctx, q)
}

// DeleteTurn implements antonv1.ConversationsServiceServer.
func (f front) DeleteTurn(ctx context.Context, q *antonv1.DeleteTurnRequest) (*antonv1.DeleteTurnResponse, error) {
	return f.of(ctx, q.Id).DeleteTurn(ctx, q)
}

// DeleteConversation implements antonv1.ConversationsServiceServer.
func (f front) DeleteConversation(ctx context.Context, q *antonv1.DeleteConversationRequest) (*antonv1.DeleteConversationResponse, error) {
	return f.of(ctx, q.Id).DeleteConversation(ctx, q)
}

// ListQueue implements antonv1.ConversationsServiceServer.
func (f front) ListQueue(ctx context.Context, q *antonv1.ListQueueRequest) (*antonv1.ListQueueResponse, error) {
	return f.of(ctx, q.Id).ListQueue(ctx, q)
}

// TakeBackQueued implements antonv1.ConversationsServiceServer.
func (f front) TakeBackQueued(ctx context.Context, q *antonv1.TakeBackQueuedRequest) (*antonv1.TakeBackQueuedResponse, error) {
	return f.of(ctx, q.Id).TakeBackQueued(ctx, q)
}

// ResumeQueue implements antonv1.ConversationsServiceServer.
func (f front) ResumeQueue(ctx context.Context, q *antonv1.ResumeQueueRequest) (*antonv1.ListQueueResponse, error) {
	return f.of(ctx, q.Id).ResumeQueue(ctx, q)
}

// GetInFlight implements antonv1.ResponsesServiceServer.
func (f front) GetInFlight(ctx context.Context, q *antonv1.GetInFlightRequest) (*antonv1.GetInFlightResponse, error) {
	return f.of(ctx, q.ConversationId).GetInFlight(ctx, q)
}

// CancelResponse implements antonv1.ResponsesServiceServer.
func (f front) CancelResponse(ctx context.Context, q *antonv1.CancelResponseRequest) (*antonv1.CancelResponseResponse, error) {
	return f.of(ctx, q.ConversationId).CancelResponse(ctx, q)
}

// GetResponse implements antonv1.ResponsesServiceServer.
func (f front) GetResponse(ctx context.Context, q *antonv1.GetResponseRequest) (*antonv1.Response, error) {
	return f.ofResponse(ctx, q.ResponseId).GetResponse(ctx, q)
}

// StopResponse implements antonv1.ResponsesServiceServer.
func (f front) StopResponse(ctx context.Context, q *antonv1.StopResponseRequest) (*antonv1.Response, error) {
	return f.ofResponse(ctx, q.ResponseId).StopResponse(ctx, q)
}

// DeleteResponse implements antonv1.ResponsesServiceServer.
func (f front) DeleteResponse(ctx context.Context, q *antonv1.DeleteResponseRequest) (*antonv1.DeleteResponseResponse, error) {
	return f.ofResponse(ctx, q.ResponseId).DeleteResponse(ctx, q)
}

// ListInputItems implements antonv1.ResponsesServiceServer.
func (f front) ListInputItems(ctx context.Context, q *antonv1.ListInputItemsRequest) (*antonv1.ListItemsResponse, error) {
	return f.ofResponse(ctx, q.ResponseId).ListInputItems(ctx, q)
}

// TailResponse implements antonv1.ResponsesServiceServer.
func (f front) TailResponse(q *antonv1.TailResponseRequest, s grpc.ServerStreamingServer[antonv1.ResponseEvent]) error {
	return f.of(s.Context(), q.ConversationId).TailResponse(q, s)
}

// StreamResponse implements antonv1.ResponsesServiceServer.
func (f front) StreamResponse(q *antonv1.StreamResponseRequest, s grpc.ServerStreamingServer[antonv1.ResponseEvent]) error {
	return f.ofResponse(s.Context(), q.ResponseId).StreamResponse(q, s)
}
