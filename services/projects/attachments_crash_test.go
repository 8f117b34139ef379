package projects

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/store"
)

func (h *house) move(id string) (*antonv1.MoveAttachmentToProjectResponse, error) {
	return h.attached.MoveAttachmentToProject(h.t.Context(), &antonv1.MoveAttachmentToProjectRequest{Id: id})
}

// top lists the top folder of a project, without the hidden.
func (h *house) top(project string) (names []string) {
	h.t.Helper()
	entries, err := os.ReadDir(filepath.Join(h.dir, project))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestMoveAttachmentToProject(t *testing.T) {
	h := newHouse(t)
	h.create("work")
	h.put("work/plan.tar.gz", "mine")
	h.mkdir("work/plan.tar (2).gz")
	list := h.attach("work", "s", "plan.tar.gz", "brought", "other", "x", "gone", "x")
	m, err := h.move(list[0].Id)
	if err != nil || !m.Ok || m.ProjectPath != "plan.tar (3).gz" || m.AbsolutePath != filepath.Join(h.dir, "work", m.ProjectPath) {
		t.Fatalf("%v %v", m, err)
	}
	if b, err := os.ReadFile(m.AbsolutePath); err != nil || string(b) != "brought" {
		t.Errorf("%q %v", b, err)
	}
	if b, err := h.download("work", m.ProjectPath); err != nil || string(b) != "brought" {
		t.Errorf("as a file of the project: %q %v", b, err)
	}
	_, err = h.move(list[0].Id)
	wantFault(t, err, "ATTACHMENT_NOT_FOUND", "Attachment not found")
	h.remove("work/.anton/uploads/s/" + list[2].Id)
	_, err = h.move(list[2].Id)
	wantFault(t, err, "FILE_NOT_FOUND", "File not found")
	if got := h.listed(&antonv1.ListAttachmentsRequest{}); !slices.Equal(got, []string{"gone", "other"}) {
		t.Errorf("%q", got)
	}
	h.settled(list[1].Id)
	h.idle()
	if got := h.uploads("work"); len(got) != 4 {
		t.Errorf("%q", got)
	}
}

// TestAttachmentCrashPoints opens the room over every state that a crash leaves.
func TestAttachmentCrashPoints(t *testing.T) {
	const id = "att_0123456789abcdef"
	const dir = "work/.anton/uploads/s/" + id
	for _, tc := range []struct {
		name   string
		status attachmentStatus
		disk   []string // files below the projects folder
		link   bool     // the attachment's file has its new name, too
		listed bool
		top    []string
	}{
		{"receiving, before the file", statusReceiving, nil, false, false, nil},
		{"receiving, in the file", statusReceiving, []string{dir + "/.anthill-x.part"}, false, false, nil},
		{"receiving, after the file", statusReceiving, []string{dir + "/a.txt"}, false, false, nil},
		{"processing", statusProcessing, []string{dir + "/a.txt"}, false, true, nil},
		{"processing, half a text", statusProcessing, []string{dir + "/a.txt", dir + "/.anthill-y.part"}, false, true, nil},
		{"processing, after the text", statusProcessing, []string{dir + "/a.txt", dir + "/.extracted.txt"}, false, true, nil},
		{"processing, removed by hand", statusProcessing, nil, false, true, nil},
		{"ready", statusReady, []string{dir + "/a.txt"}, false, true, nil},
		{"deleting, before", statusDeleting, []string{dir + "/a.txt", dir + "/.extracted.txt"}, false, false, nil},
		{"deleting, after", statusDeleting, nil, false, false, nil},
		{"moving, before", statusMoving, []string{dir + "/a.txt"}, false, false, []string{"b.txt"}},
		{"moving, both names", statusMoving, []string{dir + "/a.txt"}, true, false, []string{"b.txt"}},
		{"moving, after", statusMoving, []string{"work/b.txt"}, false, false, []string{"b.txt"}},
		{"moving, name taken by hand", statusMoving, []string{dir + "/a.txt", "work/b.txt"}, false, true, []string{"b.txt"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHouse(t)
			h.create("work")
			project := h.id("work")
			h.close()
			for _, f := range tc.disk {
				h.put(f, "content")
			}
			if tc.link {
				if err := os.Link(filepath.Join(h.dir, dir, "a.txt"), filepath.Join(h.dir, "work/b.txt")); err != nil {
					t.Fatal(err)
				}
			}
			err := h.db.Update(t.Context(), func(tx store.Tx) error {
				return attachments.Put(tx, &attachment{Seq: 1, ID: id, ProjectID: project, Session: "s", Dir: "s", File: "a.txt", Name: "a.txt", Status: tc.status, Target: "b.txt"})
			})
			if err != nil {
				t.Fatal(err)
			}
			h.open(h.db)
			h.idle()
			if tc.listed {
				a := h.settled(id)
				if _, data, err := h.raw(id); a.Status == "ready" && (err != nil || string(data) != "content") {
					t.Errorf("%v: %q %v", a, data, err)
				}
			} else {
				h.wantNoAttachments("work")
			}
			if got := h.top("work"); !slices.Equal(got, tc.top) {
				t.Errorf("top folder %q, want %q", got, tc.top)
			}
			for _, name := range tc.top {
				if b, err := os.ReadFile(filepath.Join(h.dir, "work", name)); err != nil || string(b) != "content" {
					t.Errorf("%s: %q %v", name, b, err)
				}
			}
		})
	}
}

func TestMoveSession(t *testing.T) {
	h := newHouse(t)
	h.create("work")
	h.create("other")
	work, other := h.id("work"), h.id("other")
	var pairs []string
	for i := range 12 {
		pairs = append(pairs, string(rune('a'+i)), "x")
	}
	list := h.attach("work", "s", pairs...)
	stays := h.attach("work", "another", "stays", "x")[0]
	h.remove("work/.anton/uploads/s/" + list[3].Id)
	for _, to := range []string{other, other, work, other} {
		if err := h.room.MoveSession(t.Context(), "s", to); err != nil {
			t.Fatal(err)
		}
	}
	h.settled(stays.Id)
	for _, a := range list {
		a = h.settled(a.Id)
		if a.Id == list[3].Id { // it had no files to move
			continue
		}
		if _, data, err := h.raw(a.Id); err != nil || string(data) != "x" || a.Project != "other" || a.Path != filepath.Join(h.dir, "other/.anton/uploads/s", a.Id, a.Name) || a.Status != "ready" {
			t.Errorf("%v %q %v", a, data, err)
		}
	}
	h.idle()
	if got := h.listed(&antonv1.ListAttachmentsRequest{Project: "other", SessionId: "s"}); len(got) != 11 {
		t.Errorf("%q", got)
	}
	if got := h.uploads("work"); len(got) != 4 {
		t.Errorf("left behind: %q", got)
	}
	if err := h.delete("work"); err != nil {
		t.Fatal(err)
	}
	if got := h.listed(&antonv1.ListAttachmentsRequest{}); len(got) != 11 {
		t.Errorf("%q", got)
	}
	if err := h.room.DeleteSession(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	h.purged()
	h.idle()
	h.wantNoAttachments("other")
}

// TestMoveSessionCrashPoints opens the room with a move under way.
func TestMoveSessionCrashPoints(t *testing.T) {
	const id = "att_0123456789abcdef"
	const dir = "/.anton/uploads/s/" + id + "/a.txt"
	for name, tc := range map[string]struct {
		at     string // where the file is
		status attachmentStatus
		gone   bool // the project that it was to go to
		want   string
	}{
		"before": {"work", statusReady, false, "other"}, "after": {"other", statusReady, false, "other"}, "no file": {"", statusReady, false, "work"},
		"not read": {"work", statusProcessing, false, "other"}, "no project": {"work", statusReady, true, "work"},
		"deleted before": {"work", statusDeleting, false, ""}, "deleted after": {"other", statusDeleting, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.create("work")
			h.create("other")
			a := attachment{Seq: 1, ID: id, ProjectID: h.id("work"), Rehome: h.id("other"), Session: "s", Dir: "s", File: "a.txt", Name: "a.txt", Status: tc.status}
			if tc.gone {
				if err := h.delete("other"); err != nil {
					t.Fatal(err)
				}
				h.purged()
			}
			h.close()
			if tc.at != "" {
				h.put(tc.at+dir, "content")
			}
			if err := h.db.Update(t.Context(), func(tx store.Tx) error { return attachments.Put(tx, &a) }); err != nil {
				t.Fatal(err)
			}
			h.open(h.db)
			h.idle()
			if tc.want == "" {
				h.wantNoAttachments("work")
				h.wantNoAttachments("other")
				return
			}
			got := h.settled(id)
			if _, data, err := h.raw(id); got.Project != tc.want || tc.at != "" && (err != nil || string(data) != "content") {
				t.Errorf("%v %q %v", got, data, err)
			}
			if rows := h.rows(); rows[0].Rehome != "" {
				t.Errorf("%+v", rows)
			}
		})
	}
}

// TestAttachPowerCut ends the store after each update: what was acknowledged is
// there after the restart, and nothing is half there.
func TestAttachPowerCut(t *testing.T) {
	for name, act := range map[string]func(h *house, id string) error{
		"upload": func(h *house, _ string) error {
			_, err := h.send(attachHeader("work", "s", "new.txt"), attachData("new"), attachHeader("", "", "newer.txt"), attachData("newer"))
			return err
		},
		"delete": func(h *house, id string) error {
			_, err := h.attached.DeleteAttachment(h.t.Context(), &antonv1.DeleteAttachmentRequest{Id: id})
			return err
		},
		"move":         func(h *house, id string) error { _, err := h.move(id); return err },
		"conversation": func(h *house, _ string) error { return h.room.DeleteSession(h.t.Context(), "s") },
	} {
		t.Run(name, func(t *testing.T) {
			for left := range 6 {
				h := newHouse(t)
				h.create("work")
				old := h.settled(h.attach("work", "s", "old.txt", "old")[0].Id)
				h.close()
				db := &cut{DB: h.db}
				db.left.Store(1 << 40)
				h.open(db)
				db.left.Store(int64(left))
				failed := act(h, old.Id)
				h.close()
				h.open(h.db)
				h.idle()
				names := h.listed(&antonv1.ListAttachmentsRequest{})
				isNew := slices.Contains(names, "new.txt") && slices.Contains(names, "newer.txt")
				isOld := slices.Contains(names, "old.txt")
				switch {
				case name == "upload" && (!isOld || failed == nil && !isNew || len(names) == 2),
					name != "upload" && failed == nil && isOld:
					t.Errorf("after %d updates (%v): %q", left, failed, names)
				}
				moved := len(h.top("work")) == 1
				if name == "move" && moved == isOld {
					t.Errorf("after %d updates (%v): moved %v, listed %q", left, failed, moved, names)
				}
				if got := len(h.rows()); got != len(names) {
					t.Errorf("after %d updates: %d rows, %q", left, got, names)
				}
				if got := h.uploads("work"); len(names) == 0 && got != nil || len(names) > 0 && len(got) != 1+3*len(names) {
					t.Errorf("after %d updates: %q, on disk %q", left, names, got)
				}
			}
		})
	}
}

// A full disk refuses an upload and keeps what is there readable.
func TestAttachFullDisk(t *testing.T) {
	h := newHouse(t)
	h.create("work")
	a := h.settled(h.attach("work", "s", "a.txt", "x")[0].Id)
	h.close()
	db := &fullDisk{DB: h.db}
	h.open(db)
	db.on.Store(true)
	_, err := h.send(attachHeader("work", "s", "b.txt"), attachData("y"))
	wantFault(t, err, "DISK_FULL", "No space left on the disk: free some and try again.")
	if _, data, err := h.raw(a.Id); err != nil || string(data) != "x" {
		t.Errorf("%q %v", data, err)
	}
	db.on.Store(false)
	h.settled(h.attach("work", "s", "b.txt", "y")[0].Id)
	if got := h.listed(&antonv1.ListAttachmentsRequest{}); !slices.Equal(got, []string{"b.txt", "a.txt"}) {
		t.Errorf("%q", got)
	}
	if got := h.uploads("work"); len(got) != 7 {
		t.Errorf("%q", got)
	}
	if err := h.room.DeleteSession(t.Context(), "s"); err != nil {
		t.Error(err)
	}
}
