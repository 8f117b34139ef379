package services

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/exports"
	"anthill/services/files"
)

// openExports joins what a room's file holds, in the order of the file.
func openExports(c Config, s *Services) *exports.Room {
	return exports.Open(exports.Options{Sessions: s.sessions, Messages: s.rooms, Lists: []exports.List{
		{Name: "participants", Title: "Participants", Each: s.eachParticipant, Line: participantLine},
		{Name: "settings", Each: s.roomSettings},
		{Name: "tasks", Title: "Tasks", Each: s.eachTask, Line: taskLine},
		{Name: "asks", Title: "Questions", Each: s.eachAsk, Line: askLine},
		{Name: "file_refs", Title: "Files", Each: s.eachFileRef, Line: fileRefLine},
		{Name: "attachments", Title: "Uploads", Each: s.eachAttachment, Line: attachmentLine},
		{Name: "links", Title: "Linked rooms", Each: s.eachLink, Line: linkLine},
		{Name: "incoming_links", Each: s.eachIncomingLink},
		{Name: "reads", Each: s.eachRead},
		{Name: exports.RunEvents, Each: s.eachRunEvent},
	}, Uploads: s.eachUpload, ObsidianVault: c.ObsidianVault, OpenSlideDir: c.OpenSlideDir, Now: time.Now, Version: c.Version, Log: c.Log})
}

// everyPage hands on the rows of all pages. fetch returns a page and the cursor of
// the next one, empty if there is none.
func everyPage[M proto.Message](emit func(proto.Message) error, fetch func(cursor string) (rows []M, next string, err error)) error {
	for cursor := ""; ; {
		rows, next, err := fetch(cursor)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if err := emit(row); err != nil {
				return err
			}
		}
		if cursor = next; next == "" {
			return nil
		}
	}
}

// onlyIf is a cursor if there is more behind it.
func onlyIf(more bool, cursor string) string {
	if !more {
		return ""
	}
	return cursor
}

func (s *Services) eachParticipant(ctx context.Context, room string, emit func(proto.Message) error) error {
	return everyPage(emit, func(string) ([]*antv1.Participant, string, error) {
		v, err := s.rooms.ListParticipants(ctx, &antv1.ListParticipantsRequest{RoomId: room})
		return v.GetAll(), "", err
	})
}

func participantLine(m proto.Message) string {
	p := m.(*antv1.Participant)
	if p.GetHandle() != "" && p.GetHandle() != p.Name {
		return p.Name + " (" + p.GetHandle() + "), " + p.Role
	}
	return p.Name + ", " + p.Role
}

func (s *Services) roomSettings(ctx context.Context, room string, emit func(proto.Message) error) error {
	v, err := s.rooms.GetRoomSettings(ctx, &antv1.GetRoomSettingsRequest{SessionId: room})
	if err != nil {
		return err
	}
	return emit(v)
}

func (s *Services) eachTask(ctx context.Context, room string, emit func(proto.Message) error) error {
	return everyPage(emit, func(cursor string) ([]*antv1.Task, string, error) {
		v, err := s.tasks.ListTasks(ctx, &antv1.ListTasksRequest{SessionId: room, Cursor: cursor})
		return v.GetTasks(), onlyIf(v.GetHasMore(), v.GetNewer()), err
	})
}

func taskLine(m proto.Message) string {
	t := m.(*antv1.Task)
	line := t.Status + ": " + t.Title
	if t.GetAssignedTo() != "" {
		line += ", " + t.GetAssignedTo()
	}
	return line
}

func (s *Services) eachAsk(ctx context.Context, room string, emit func(proto.Message) error) error {
	return everyPage(emit, func(cursor string) ([]*antv1.PostedAsk, string, error) {
		v, err := s.rooms.ListAsks(ctx, &antv1.ListAsksRequest{SessionId: room, Cursor: cursor})
		return v.GetAsks(), onlyIf(v.GetHasMore(), v.GetOlder()), err
	})
}

func askLine(m proto.Message) string {
	a := m.(*antv1.PostedAsk)
	if a.GetAnswer() != "" {
		return a.Title + ": " + a.GetAnswer()
	}
	return a.Title + ", " + a.Status
}

func (s *Services) eachLink(ctx context.Context, room string, emit func(proto.Message) error) error {
	return everyPage(emit, func(string) ([]*antv1.OutgoingLink, string, error) {
		v, err := s.rooms.ListLinks(ctx, &antv1.ListLinksRequest{SessionId: room})
		return v.GetOutgoing(), "", err
	})
}

func linkLine(m proto.Message) string {
	l := m.(*antv1.OutgoingLink)
	return l.Relationship + ": " + l.GetTargetName() + " " + l.TargetRoomId
}

func (s *Services) eachIncomingLink(ctx context.Context, room string, emit func(proto.Message) error) error {
	return everyPage(emit, func(string) ([]*antv1.IncomingLink, string, error) {
		v, err := s.rooms.ListLinks(ctx, &antv1.ListLinksRequest{SessionId: room})
		return v.GetIncoming(), "", err
	})
}

func (s *Services) eachRead(ctx context.Context, room string, emit func(proto.Message) error) error {
	return everyPage(emit, func(cursor string) ([]*antv1.ReadMessage, string, error) {
		v, err := s.rooms.ListReads(ctx, &antv1.ListReadsRequest{SessionId: room, Cursor: cursor})
		return v.GetMessages(), onlyIf(v.GetHasMore(), v.GetOlder()), err
	})
}

// eachRunEvent leaves a terminal's events to the file of the terminal.
func (s *Services) eachRunEvent(ctx context.Context, room string, emit func(proto.Message) error) error {
	after := uint32(0)
	for {
		v, err := s.evidence.ListRunEvents(ctx, &antv1.ListRunEventsRequest{SessionId: room, After: &after})
		if err != nil {
			return err
		}
		for _, e := range v.Events {
			if e.SessionId != room {
				return nil
			}
			if err := emit(e); err != nil {
				return err
			}
		}
		if !v.HasMore {
			return nil
		}
		after = v.Newer
	}
}

func (s *Services) eachFileRef(ctx context.Context, room string, emit func(proto.Message) error) error {
	return everyPage(emit, func(cursor string) ([]*antv1.FileRef, string, error) {
		v, err := s.files.ListFileRefs(ctx, &antv1.ListFileRefsRequest{SessionId: room, Cursor: cursor})
		return v.GetRefs(), onlyIf(v.GetHasMore(), v.GetNewer()), err
	})
}

func fileRefLine(m proto.Message) string {
	r := m.(*antv1.FileRef)
	if r.GetNote() != "" {
		return r.FilePath + ": " + r.GetNote()
	}
	return r.FilePath
}

func (s *Services) eachAttachment(ctx context.Context, room string, emit func(proto.Message) error) error {
	return everyPage(emit, func(cursor string) ([]*antv1.Attachment, string, error) {
		v, err := s.files.ListRoomAttachments(ctx, &antv1.ListRoomAttachmentsRequest{SessionId: room, Cursor: cursor})
		return v.GetAttachments(), onlyIf(v.GetHasMore(), v.GetNewer()), err
	})
}

func attachmentLine(m proto.Message) string {
	a := m.(*antv1.Attachment)
	return a.Name + ", " + a.Id
}

func (s *Services) eachUpload(ctx context.Context, room string, emit func(exports.Upload) error) error {
	return s.files.EachUpload(ctx, room, func(u files.Upload) error { return emit(exports.Upload(u)) })
}
