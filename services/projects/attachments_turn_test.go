package projects

import (
	"context"
	"errors"
	"os"
	"testing"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/documents"
)

func TestAttachmentsFor(t *testing.T) {
	h := newHouse(t)
	h.create("work")
	h.create("other")
	work, other := h.id("work"), h.id("other")
	list := h.attach("work", "conv", "a.md", "# Über", "pic.png", picture(), "a.bin", "\x00\x01", "empty.txt", "")
	ids := []string{list[3].Id, list[0].Id, list[1].Id, list[2].Id}
	got, err := h.room.AttachmentsFor(t.Context(), work, "conv", ids)
	if err != nil || len(got) != 4 {
		t.Fatalf("%+v %v", got, err)
	}
	if a := got[0]; a.ID != list[3].Id || a.Status != "ready" || a.Text != "" || a.Image != nil {
		t.Errorf("empty: %+v", a)
	}
	if a := got[1]; a.Name != "a.md" || a.MIME != "text/markdown" || a.Status != "ready" || a.Text != "# Über" || a.Path != ".anton/uploads/conv/"+a.ID+"/a.md" {
		t.Errorf("text: %+v", a)
	}
	if a := got[2]; a.MIME != "image/png" || a.Status != "ready" || string(a.Image) != picture() || a.Text != "" {
		t.Errorf("image: %+v", a)
	}
	if a := got[3]; a.Status != "failed" || a.Reason == "" || a.Text != "" || a.Image != nil {
		t.Errorf("unreadable: %+v", a)
	}
	if got, err := h.room.AttachmentsFor(t.Context(), other, "conv", ids[:1]); err != nil || len(got) != 1 {
		t.Errorf("a conversation that moved: %v %v", got, err)
	}
	if got, err := h.room.AttachmentsFor(t.Context(), work, "another", ids[1:2]); err != nil || got[0].Text != "# Über" {
		t.Errorf("another conversation of the project: %v %v", got, err)
	}
	if got := h.listed(&antonv1.ListAttachmentsRequest{SessionId: "another"}); got != nil {
		t.Errorf("it took %q from the first", got)
	}
	if got, err := h.room.AttachmentsFor(t.Context(), work, "conv", nil); err != nil || got != nil {
		t.Errorf("none: %v %v", got, err)
	}
	for _, tc := range []struct{ project, session, id string }{
		{work, "conv", "att_0000000000000000"}, {work, "conv", "../x"}, {work, "conv", ""}, {other, "another", ids[0]},
	} {
		_, err := h.room.AttachmentsFor(t.Context(), tc.project, tc.session, []string{ids[1], tc.id})
		if tc.project == other {
			_, err = h.room.AttachmentsFor(t.Context(), tc.project, tc.session, []string{tc.id})
		}
		wantFault(t, asStatus(err), "ATTACHMENT_NOT_FOUND", "Attachment not found: "+tc.id)
	}
	if err := os.RemoveAll(list[0].Path); err != nil {
		t.Fatal(err)
	}
	h.remove("work/.anton/uploads/conv/" + ids[1])
	if got, err := h.room.AttachmentsFor(t.Context(), work, "conv", ids[1:2]); err != nil || got[0].Status != "failed" || got[0].Reason == "" {
		t.Errorf("removed by hand: %+v %v", got, err)
	}
}

// Files may come before the conversation has its id, and belong to it then.
func TestAttachmentsFindTheirConversation(t *testing.T) {
	for name, session := range map[string]string{"no session": "", "a provisional one": "tmp-12"} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.create("work")
			var pairs, ids []string
			for i := range 12 {
				pairs = append(pairs, string(rune('a'+i)), "x")
			}
			for _, a := range h.attach("work", session, pairs...) {
				ids = append(ids, a.Id)
			}
			if _, err := h.room.AttachmentsFor(t.Context(), h.id("work"), "conv", ids); err != nil {
				t.Fatal(err)
			}
			if got := h.listed(&antonv1.ListAttachmentsRequest{Project: "work", SessionId: "conv"}); len(got) != 12 {
				t.Errorf("%q", got)
			}
			if err := h.room.DeleteSession(t.Context(), "conv"); err != nil {
				t.Fatal(err)
			}
			h.idle()
			h.wantNoAttachments("work")
		})
	}
}

func TestAttachmentsForWaits(t *testing.T) {
	h := newHouse(t)
	h.create("work")
	free, entered := make(chan struct{}), make(chan struct{}, 2)
	h.reading = func(ctx context.Context, name string, _ *os.File) (documents.Text, error) {
		entered <- struct{}{}
		select {
		case <-free:
			return documents.Text{Text: "the text"}, nil
		case <-ctx.Done():
			return documents.Text{}, ctx.Err()
		}
	}
	a := h.attach("work", "conv", "a.txt", "x")[0]
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got, err := h.room.AttachmentsFor(ctx, h.id("work"), "conv", []string{a.Id})
	if err != nil && !errors.Is(err, context.Canceled) || err == nil && got[0].Status != "processing" {
		t.Errorf("whose time is over: %+v %v", got, err)
	}
	type result struct {
		list []Attached
		err  error
	}
	done := make(chan result, 1)
	go func() {
		list, err := h.room.AttachmentsFor(t.Context(), h.id("work"), "conv", []string{a.Id})
		done <- result{list, err}
	}()
	close(free)
	if r := <-done; r.err != nil || r.list[0].Text != "the text" || r.list[0].Status != "ready" {
		t.Errorf("%+v", r)
	}
}
