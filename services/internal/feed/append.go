package feed

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/store"
)

// Topic holds every durable event of the ANT API.
const Topic = "ant"

// keep is how many events stay readable; older ones are dropped as new ones come.
const keep = 1_000_000

// Append adds an event to the log, in the transaction of the change that it
// tells of, and sets its Seq. The event needs AtMs, and SessionID unless it
// concerns no session; what is marked rendered is not stored. Call it with the
// same event on every run of the transaction. An event counts as two writes of
// the transaction, or a few more once the log is full.
func Append(tx store.Tx, e *antv1.Event) error {
	if e.GetEvent() == nil || ephemeral(e) {
		return fmt.Errorf("feed: an event of type %T is not for the log", e.GetEvent())
	}
	b, err := proto.Marshal(bare(e))
	if err != nil {
		return fmt.Errorf("feed: encode: %w", err)
	}
	e.Seq = tx.Append(Topic, b)
	tx.Trim(Topic, keep)
	return nil
}

// bare is what the log keeps of an event: without what is rendered when it is read.
func bare(e *antv1.Event) *antv1.Event {
	out := &antv1.Event{AtMs: e.AtMs, SessionId: e.SessionId, Event: e.Event}
	switch v := e.Event.(type) {
	case *antv1.Event_MessageCreated:
		out.Event = &antv1.Event_MessageCreated{MessageCreated: &antv1.MessageCreated{Id: v.MessageCreated.GetId()}}
	case *antv1.Event_MessageUpdated:
		out.Event = &antv1.Event_MessageUpdated{MessageUpdated: &antv1.MessageUpdated{Id: v.MessageUpdated.GetId()}}
	case *antv1.Event_RunEventCreated:
		out.Event = &antv1.Event_RunEventCreated{RunEventCreated: &antv1.RunEventCreated{
			Event: &antv1.RunEvent{Id: v.RunEventCreated.GetEvent().GetId()}}}
	}
	return out
}

// ephemeral says whether an event is never kept.
func ephemeral(e *antv1.Event) bool {
	switch e.Event.(type) {
	case *antv1.Event_Ready, *antv1.Event_Resync, *antv1.Event_Typing, *antv1.Event_PresenceChanged, *antv1.Event_SessionHealth,
		*antv1.Event_AgentStatusUpdated, *antv1.Event_SessionIdleAttention, *antv1.Event_SessionStallDetected:
		return true
	}
	return false
}
