package feed

import antv1 "anthill/gen/ant/v1"

// Filter says what a follower gets to see, beside what is for everybody.
type Filter struct {
	Guest    bool            // and not even that
	All      bool            // every room
	Rooms    map[string]bool // these rooms
	Sessions bool            // changes of the list of sessions
}

func (f *Filter) wants(e *antv1.Event) bool {
	switch v := e.Event.(type) {
	case *antv1.Event_SessionsChanged:
		return f.Sessions || v.SessionsChanged.GetEveryone() && !f.Guest
	case *antv1.Event_SessionActivity, *antv1.Event_AgentStatusUpdated, *antv1.Event_SessionNeedsInput, *antv1.Event_SessionInputResolved,
		*antv1.Event_PromptDetected, *antv1.Event_PromptBridgeResolved, *antv1.Event_SessionIdleAttention, *antv1.Event_SessionStallDetected,
		*antv1.Event_AttentionUpdated:
		return !f.Guest
	}
	return f.All || f.Rooms[e.SessionId]
}
