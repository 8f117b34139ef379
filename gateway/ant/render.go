package ant

import (
	"bytes"
	"encoding/json"

	antv1 "anthill/gen/ant/v1"
)

// sessionsChannel is what clients join to hear of changes of the list of sessions.
const sessionsChannel = "__ant_sessions__"

// envelope is what every event on /ws and /api/events begins with.
type envelope struct {
	Type  string `json:"type"`
	Room  string `json:"room,omitempty"`
	Seq   uint64 `json:"seq,omitempty"` // none: the event is not kept
	Epoch uint32 `json:"epoch,omitempty"`
}

// inRoom is an envelope of most events. compat: ant.md 2.2, camel case beside rows in snake case.
type inRoom struct {
	envelope
	SessionID string `json:"sessionId"`
}

// Render is an event as JSON: one pure function for every door. It is nil for an
// event that these doors do not show.
func Render(e *antv1.Event) []byte {
	head := envelope{Room: e.SessionId, Seq: e.Seq, Epoch: e.Epoch}
	named := func(typ string) inRoom {
		head.Type = typ
		return inRoom{head, e.SessionId}
	}
	switch v := e.Event.(type) {
	case *antv1.Event_MessageCreated:
		m := v.MessageCreated
		return encode(struct {
			inRoom
			ID        string  `json:"id"`
			Session   string  `json:"session_id"`
			Role      string  `json:"role"`
			Content   string  `json:"content"`
			Format    string  `json:"format"`
			Status    string  `json:"status"`
			SenderID  *string `json:"sender_id"`
			Target    *string `json:"target"`
			ReplyTo   *string `json:"reply_to"`
			MsgType   string  `json:"msg_type"`
			Meta      string  `json:"meta"`
			CreatedAt string  `json:"created_at"`
		}{named("message_created"), m.Id, e.SessionId, m.Role, m.Content, m.Format, m.Status, m.SenderId, m.Target, m.ReplyTo,
			m.MsgType, m.Meta, m.CreatedAt})
	case *antv1.Event_MessageUpdated:
		return encode(struct {
			inRoom
			ID   string          `json:"msgId"`
			Meta json.RawMessage `json:"meta"`
		}{named("message_updated"), v.MessageUpdated.Id, metaObject(v.MessageUpdated.Meta)})
	case *antv1.Event_MessageDeleted:
		return encode(struct {
			inRoom
			ID string `json:"msgId"`
		}{named("message_deleted"), v.MessageDeleted.Id})
	case *antv1.Event_MessagePinned:
		return encode(struct {
			inRoom
			ID     string `json:"msgId"`
			Pinned bool   `json:"pinned"`
		}{named("message_pinned"), v.MessagePinned.Id, v.MessagePinned.Pinned})
	case *antv1.Event_MessageRead:
		return encode(struct {
			inRoom
			ID     string       `json:"messageId"`
			Reader string       `json:"readerId"`
			Reads  []readByJSON `json:"reads"`
		}{named("message_read"), v.MessageRead.Id, v.MessageRead.ReaderId, readsJSON(v.MessageRead.Reads)})
	case *antv1.Event_Typing:
		head.Type = "typing"
		return encode(struct {
			envelope        // compat: ant.md 2.2, no sessionId
			Handle   string `json:"handle"`
			Typing   bool   `json:"typing"`
		}{head, v.Typing.Handle, v.Typing.Typing})
	case *antv1.Event_PresenceChanged:
		return encode(struct {
			inRoom
			Handle string `json:"handle"`
			Status string `json:"status"`
		}{named("presence_changed"), v.PresenceChanged.Handle, v.PresenceChanged.Status})
	case *antv1.Event_ParticipantsChanged:
		p := v.ParticipantsChanged
		return encode(struct {
			inRoom
			Change      string  `json:"change"`
			Participant string  `json:"participantId"`
			Handle      *string `json:"handle"`
		}{named("participants_changed"), p.Change, p.ParticipantId, p.Handle})
	case *antv1.Event_HandleUpdated:
		return encode(struct {
			inRoom
			Handle *string `json:"handle"`
			Name   *string `json:"display_name"`
		}{named("handle_updated"), v.HandleUpdated.Handle, v.HandleUpdated.DisplayName})
	case *antv1.Event_CliFlagUpdated:
		return encode(struct {
			inRoom
			Flag *string `json:"cli_flag"`
		}{named("cli_flag_updated"), v.CliFlagUpdated.CliFlag})
	case *antv1.Event_SessionDeleted:
		return encode(struct {
			inRoom
			Hard bool `json:"hard"`
		}{named("session_deleted"), v.SessionDeleted.Hard})
	case *antv1.Event_TaskCreated:
		return encode(taskEvent{named("task_created"), taskRow(v.TaskCreated.Task)})
	case *antv1.Event_TaskUpdated:
		return encode(taskEvent{named("task_updated"), taskRow(v.TaskUpdated.Task)})
	case *antv1.Event_TaskDeleted:
		return encode(struct {
			inRoom
			ID string `json:"taskId"`
		}{named("task_deleted"), v.TaskDeleted.Id})
	case *antv1.Event_FileRefCreated:
		ref, err := marshaler.Marshal(v.FileRefCreated.Ref)
		if err != nil {
			return nil // only text that is not UTF-8, which is not stored
		}
		return encode(struct {
			inRoom
			Ref json.RawMessage `json:"ref"`
		}{named("file_ref_created"), ref})
	case *antv1.Event_FileRefDeleted:
		return encode(struct {
			inRoom
			ID string `json:"refId"`
		}{named("file_ref_deleted"), v.FileRefDeleted.Id})
	case *antv1.Event_RoomLinkCreated:
		l := v.RoomLinkCreated
		head.Type = "room_link_created"
		return encode(struct {
			envelope             // compat: ant.md 2.2, roomId instead of sessionId
			RoomID       string  `json:"roomId"`
			ID           string  `json:"linkId"`
			Target       string  `json:"targetRoomId"`
			Relationship string  `json:"relationship"`
			Title        *string `json:"title,omitempty"`
		}{head, e.SessionId, l.LinkId, l.TargetRoomId, l.Relationship, l.Title})
	case *antv1.Event_RoomLinkDeleted:
		head.Type = "room_link_deleted"
		return encode(struct {
			envelope
			RoomID string `json:"roomId"`
			ID     string `json:"linkId"`
		}{head, e.SessionId, v.RoomLinkDeleted.LinkId})
	case *antv1.Event_AskCreated:
		return encode(askEvent{named("ask_created"), askRow(v.AskCreated.Ask)})
	case *antv1.Event_AskUpdated:
		return encode(askEvent{named("ask_updated"), askRow(v.AskUpdated.Ask)})
	case *antv1.Event_RunEventCreated:
		return encode(struct {
			inRoom
			Event runEventJSON `json:"event"`
		}{named("run_event_created"), runEventText(v.RunEventCreated.Event)})
	case *antv1.Event_SessionsChanged:
		head.Type = "sessions_changed"
		return encode(struct {
			envelope
			Removed []string `json:"removedIds,omitempty"`
		}{head, v.SessionsChanged.RemovedIds})
	case *antv1.Event_SessionActivity:
		return encode(struct {
			inRoom
			Last   string `json:"last_activity"`
			Source string `json:"activity_source"`
		}{named("session_activity"), v.SessionActivity.LastActivity, v.SessionActivity.ActivitySource})
	case *antv1.Event_Resync:
		head.Type = "resync"
		return encode(struct {
			envelope
			SessionID string `json:"sessionId,omitempty"`
			Oldest    uint64 `json:"oldestSeq"`
			Truncated bool   `json:"truncated"`
		}{head, e.SessionId, v.Resync.OldestSeq, true})
	}
	return renderTerminal(e)
}

type askEvent struct {
	inRoom
	Ask json.RawMessage `json:"ask"`
}

// askRow is a question as REST answers it.
func askRow(a *antv1.PostedAsk) json.RawMessage {
	b, err := marshaler.Marshal(a)
	if err != nil {
		return nil // only text that is not UTF-8, which is not stored
	}
	return b
}

type readByJSON struct {
	SessionID string  `json:"session_id"`
	ReadAt    string  `json:"read_at"`
	Name      *string `json:"reader_name"`
	Handle    *string `json:"reader_handle"`
}

func readsJSON(list []*antv1.MessageReader) []readByJSON {
	out := make([]readByJSON, 0, len(list))
	for _, r := range list {
		out = append(out, readByJSON{r.SessionId, r.ReadAt, r.ReaderName, r.ReaderHandle})
	}
	return out
}

// metaObject is stored metadata, which is a JSON object, as such.
func metaObject(meta string) json.RawMessage {
	if meta == "" {
		return json.RawMessage("{}")
	}
	return json.RawMessage(meta)
}

// encode is JSON on one line, for readers that are no web page.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil // only metadata that is no JSON, which is not stored
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
