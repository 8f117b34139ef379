package projects

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/documents"
	"anthill/services/internal/store"
)

func attachHeader(project, session, name string) *antonv1.UploadAttachmentsRequest {
	return &antonv1.UploadAttachmentsRequest{Part: &antonv1.UploadAttachmentsRequest_Header{
		Header: &antonv1.AttachmentHeader{Project: project, SessionId: session, Name: name}}}
}

func attachData(b string) *antonv1.UploadAttachmentsRequest {
	return &antonv1.UploadAttachmentsRequest{Part: &antonv1.UploadAttachmentsRequest_Data{Data: []byte(b)}}
}

func (h *house) send(parts ...*antonv1.UploadAttachmentsRequest) ([]*antonv1.Attachment, error) {
	h.t.Helper()
	stream, err := h.attached.UploadAttachments(h.t.Context())
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		if err := stream.Send(p); errors.Is(err, io.EOF) { // the room has answered already
			break
		} else if err != nil {
			return nil, err
		}
	}
	a, err := stream.CloseAndRecv()
	return a.GetAttachments(), err
}

// attach uploads files, given as names and contents in turn.
func (h *house) attach(project, session string, pairs ...string) []*antonv1.Attachment {
	h.t.Helper()
	var parts []*antonv1.UploadAttachmentsRequest
	for i := 0; i < len(pairs); i += 2 {
		parts = append(parts, attachHeader(project, session, pairs[i]), attachData(pairs[i+1]))
	}
	list, err := h.send(parts...)
	if err != nil || len(list) != len(pairs)/2 {
		h.t.Fatalf("attach: %v %v", list, err)
	}
	return list
}

// settled returns an attachment once its text is read.
func (h *house) settled(id string) *antonv1.Attachment {
	h.t.Helper()
	if _, err := h.room.awaitTexts(h.t.Context(), []string{id}); err != nil {
		h.t.Fatal(err)
	}
	a, err := h.attached.GetAttachment(h.t.Context(), &antonv1.GetAttachmentRequest{Id: id})
	if err != nil || a.Status == "processing" {
		h.t.Fatalf("%v %v", a, err)
	}
	return a
}

func (h *house) listed(q *antonv1.ListAttachmentsRequest) (names []string) {
	h.t.Helper()
	l, err := h.attached.ListAttachments(h.t.Context(), q)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, a := range l.Attachments {
		names = append(names, a.Name)
	}
	return names
}

func (h *house) raw(id string) (*antonv1.Attachment, []byte, error) {
	h.t.Helper()
	stream, err := h.attached.DownloadAttachment(h.t.Context(), &antonv1.DownloadAttachmentRequest{Id: id})
	if err != nil {
		return nil, nil, err
	}
	first, err := stream.Recv()
	if err != nil {
		return nil, nil, err
	}
	var all []byte
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return first.GetHeader(), all, nil
		}
		if err != nil {
			return nil, nil, err
		}
		all = append(all, m.GetData()...)
	}
}

// uploads lists what is below .anton/uploads of a project.
func (h *house) uploads(project string) (paths []string) {
	h.t.Helper()
	root := filepath.Join(h.dir, project, ".anton", "uploads")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && path != root {
			rel, _ := filepath.Rel(root, path)
			paths = append(paths, rel)
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return paths
}

// rows are the attachments in the store, in any state.
func (h *house) rows() (all []attachment) {
	h.t.Helper()
	err := h.db.View(h.t.Context(), func(rd store.Reader) error {
		all = nil
		for a, err := range attachments.Scan(rd, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			all = append(all, *a)
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return all
}

func (h *house) wantNoAttachments(project string) {
	h.t.Helper()
	if rows, files := h.rows(), h.uploads(project); len(rows) > 0 || len(files) > 0 {
		h.t.Errorf("left behind: %+v, %q", rows, files)
	}
}

func picture() string {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 3, 2))); err != nil {
		panic(err)
	}
	return b.String()
}

func TestAttach(t *testing.T) {
	h := newHouse(t)
	h.create("work")
	content := "# Ferry\n\nIt leaves   at 07:30.\n"
	one := h.attach("work", "20260101_000000_abcdef", "plan.md", content)[0]
	sum := sha256.Sum256([]byte(content))
	if one.Status != "processing" || !attachmentIDs.MatchString(one.Id) || one.Size != float64(len(content)) || one.Bytes != one.Size ||
		one.Mime != "text/markdown" || one.Sha256 != hex.EncodeToString(sum[:]) || one.Project != "work" || one.SessionId != "20260101_000000_abcdef" ||
		one.Name != "plan.md" || one.Filename != "plan.md" {
		t.Errorf("%v", one)
	}
	if b, err := os.ReadFile(one.Path); err != nil || string(b) != content ||
		one.Path != filepath.Join(h.dir, "work", ".anton/uploads", one.SessionId, one.Id, "plan.md") {
		t.Errorf("%s: %q %v", one.Path, b, err)
	}
	for _, at := range []string{one.CreatedAt, one.UpdatedAt} {
		if when, err := time.ParseInLocation("2006-01-02T15:04:05.000000", at, time.Local); err != nil || time.Since(when).Abs() > time.Hour {
			t.Errorf("%q: %v", at, err)
		}
	}
	one = h.settled(one.Id)
	if one.Status != "ready" || one.Reason != "" || one.TextPreview != "# Ferry It leaves at 07:30." || one.TextLength == 0 || one.Truncated {
		t.Errorf("%v", one)
	}
	if b, err := os.ReadFile(one.TextPath); err != nil || string(b) != strings.TrimSpace(content) || filepath.Dir(one.TextPath) != filepath.Dir(one.Path) {
		t.Errorf("%s: %q %v", one.TextPath, b, err)
	}
	large := strings.Repeat("0123456789abcdef", 60<<10)
	more := h.attach("", "", "a.bin", "\x00\x01"+large, "pic", picture(), "empty.txt", "")
	if more[0].SessionId != more[1].SessionId || more[0].SessionId == "" || more[0].Project != "general" {
		t.Errorf("without project and session: %v", more)
	}
	states := map[string]string{}
	for _, a := range more {
		a = h.settled(a.Id)
		states[a.Name] = a.Status + " " + a.Mime + " " + a.Reason
		if a.TextPath != "" {
			t.Errorf("%v has a text", a)
		}
	}
	if want := fmt.Sprint(map[string]string{"a.bin": "failed application/octet-stream No text can be read from a file of this kind (application/octet-stream).",
		"pic": "ready image/png ", "empty.txt": "ready text/plain "}); fmt.Sprint(states) != want {
		t.Errorf("%v\nwant %v", states, want)
	}
	if head, b, err := h.raw(more[0].Id); err != nil || string(b) != "\x00\x01"+large || head.Size != float64(len(b)) || head.Name != "a.bin" {
		t.Errorf("raw: %v %d %v", head, len(b), err)
	}
	for _, tc := range []struct {
		q    *antonv1.ListAttachmentsRequest
		want string
	}{
		{&antonv1.ListAttachmentsRequest{}, "empty.txt pic a.bin plan.md"},
		{&antonv1.ListAttachmentsRequest{Project: "all", Limit: 2}, "empty.txt pic"},
		{&antonv1.ListAttachmentsRequest{Project: "work"}, "plan.md"},
		{&antonv1.ListAttachmentsRequest{Project: "general", SessionId: one.SessionId}, ""},
		{&antonv1.ListAttachmentsRequest{Project: "work", SessionId: one.SessionId}, "plan.md"},
		{&antonv1.ListAttachmentsRequest{SessionId: more[0].SessionId}, "empty.txt pic a.bin"},
		{&antonv1.ListAttachmentsRequest{Ids: []string{one.Id, more[1].Id, "att_x"}}, "pic plan.md"},
		{&antonv1.ListAttachmentsRequest{SessionId: "unknown"}, ""},
	} {
		if got := strings.Join(h.listed(tc.q), " "); got != tc.want {
			t.Errorf("%v: %q, want %q", tc.q, got, tc.want)
		}
	}
	if _, err := h.attached.DeleteAttachment(t.Context(), &antonv1.DeleteAttachmentRequest{Id: one.Id, Project: "work", SessionId: one.SessionId}); err != nil {
		t.Error(err)
	}
	if h.uploads("work") != nil {
		t.Errorf("after the deletion: %q", h.uploads("work"))
	}
	_, err := h.attached.GetAttachment(t.Context(), &antonv1.GetAttachmentRequest{Id: one.Id})
	wantFault(t, err, "ATTACHMENT_NOT_FOUND", "Attachment not found")
	_, err = h.attached.DeleteAttachment(t.Context(), &antonv1.DeleteAttachmentRequest{Id: one.Id})
	wantFault(t, err, "ATTACHMENT_NOT_FOUND", "Attachment not found")
}

func TestAttachRefuses(t *testing.T) {
	h := newHouse(t)
	session := "A session id has 1 to 128 letters, digits, '.', '_', '~' or '-'"
	h.create("work")
	for name, tc := range map[string]struct {
		parts        []*antonv1.UploadAttachmentsRequest
		reason, text string
	}{
		"nothing":           {nil, "INVALID_FIELD", "Field required"},
		"data first":        {[]*antonv1.UploadAttachmentsRequest{attachData("x")}, "INVALID_UPLOAD", "Data came before a header"},
		"an empty part":     {[]*antonv1.UploadAttachmentsRequest{{}}, "INVALID_UPLOAD", "A part is neither a header nor data"},
		"a large part":      {[]*antonv1.UploadAttachmentsRequest{attachHeader("", "s", "a"), attachData(strings.Repeat("x", 1<<20+1))}, "INVALID_UPLOAD", "A part carries up to 1048576 bytes"},
		"unknown project":   {[]*antonv1.UploadAttachmentsRequest{attachHeader("unknown", "s", "a")}, "PROJECT_NOT_FOUND", "Project not found"},
		"a path as project": {[]*antonv1.UploadAttachmentsRequest{attachHeader("../work", "s", "a")}, "PROJECT_NOT_FOUND", "Project not found"},
		"session up":        {[]*antonv1.UploadAttachmentsRequest{attachHeader("work", "..", "a")}, "INVALID_SESSION_ID", session},
		"session dot":       {[]*antonv1.UploadAttachmentsRequest{attachHeader("work", ".", "a")}, "INVALID_SESSION_ID", session},
		"session path":      {[]*antonv1.UploadAttachmentsRequest{attachHeader("work", "a/b", "a")}, "INVALID_SESSION_ID", session},
		"session colon":     {[]*antonv1.UploadAttachmentsRequest{attachHeader("work", "a:b", "a")}, "INVALID_SESSION_ID", session},
		"session long":      {[]*antonv1.UploadAttachmentsRequest{attachHeader("work", strings.Repeat("s", 129), "a")}, "INVALID_SESSION_ID", session},
		"no name":           {[]*antonv1.UploadAttachmentsRequest{attachHeader("work", "s", "")}, "INVALID_UPLOAD", "A file needs a name"},
		"name with folders": {[]*antonv1.UploadAttachmentsRequest{attachHeader("work", "s", "../x")}, "INVALID_UPLOAD", "Folders are not accepted in a name"},
		"name with drive":   {[]*antonv1.UploadAttachmentsRequest{attachHeader("work", "s", `c:\x`)}, "INVALID_UPLOAD", "Folders are not accepted in a name"},
		"name up":           {[]*antonv1.UploadAttachmentsRequest{attachHeader("work", "s", "..")}, "INVALID_UPLOAD", "Invalid file name"},
		"name with NUL":     {[]*antonv1.UploadAttachmentsRequest{attachHeader("work", "s", "a\x00b")}, "INVALID_UPLOAD", "Invalid file name"},
		"name with CSI":     {[]*antonv1.UploadAttachmentsRequest{attachHeader("work", "s", "a\u009b2Jb")}, "INVALID_UPLOAD", "Invalid file name"},
		"the second is bad": {[]*antonv1.UploadAttachmentsRequest{attachHeader("work", "s", "a"), attachData("x"), attachHeader("", "", "..")}, "INVALID_UPLOAD", "Invalid file name"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.send(tc.parts...)
			wantFault(t, err, tc.reason, tc.text)
		})
	}
	var many []*antonv1.UploadAttachmentsRequest
	for i := range attachmentsOfCall + 1 {
		many = append(many, attachHeader("work", "s", fmt.Sprint(i)), attachData("x"))
	}
	_, err := h.send(many...)
	wantFault(t, err, "TOO_MANY_FILES", "One call takes up to 50 files.")
	for _, id := range []string{"x", "att_", "att_0123456789abcdeg", "../att_0123456789abcdef", "att_0123456789abcdef/.."} {
		_, err := h.attached.GetAttachment(t.Context(), &antonv1.GetAttachmentRequest{Id: id})
		wantFault(t, err, "INVALID_ATTACHMENT_ID", "Invalid attachment id")
	}
	_, err = h.attached.ListAttachments(t.Context(), &antonv1.ListAttachmentsRequest{SessionId: "../x"})
	wantFault(t, err, "INVALID_SESSION_ID", session)
	_, err = h.attached.ListAttachments(t.Context(), &antonv1.ListAttachmentsRequest{Project: "unknown"})
	wantFault(t, err, "PROJECT_NOT_FOUND", "Project not found")
	for _, limit := range []int32{-1, 1001} {
		_, err = h.attached.ListAttachments(t.Context(), &antonv1.ListAttachmentsRequest{Limit: limit})
		wantFault(t, err, "INVALID_FIELD", "Input should be from 1 to 1000")
	}
	h.wantNoAttachments("work")
}

func TestAttachTooMuch(t *testing.T) {
	h := newHouse(t)
	h.create("work")
	chunk := attachData(strings.Repeat("x", 1<<20))
	parts := []*antonv1.UploadAttachmentsRequest{attachHeader("work", "s", "small"), attachData("x"), attachHeader("", "", "large.bin")}
	for range attachmentMax>>20 + 1 {
		parts = append(parts, chunk)
	}
	_, err := h.send(parts...)
	wantFault(t, err, "FILE_TOO_LARGE", "large.bin exceeds 100 MiB")
	h.wantNoAttachments("work")
	id := h.id("work")
	for n := range attachmentsOf / publishBatch {
		err := h.db.Update(t.Context(), func(tx store.Tx) error {
			for i := range publishBatch {
				seq := uint64(n*publishBatch + i + 1)
				if err := attachments.Put(tx, &attachment{Seq: 1000 + seq, ID: fmt.Sprintf("att_%016x", seq), ProjectID: id, Session: "full", Status: statusReady}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err = h.send(attachHeader("work", "full", "a"))
	wantFault(t, err, "TOO_MANY_FILES", "A conversation takes up to 500 attachments: delete some first.")
	if got := h.uploads("work"); got != nil {
		t.Errorf("%q", got)
	}
}

// A client that goes away in the middle leaves nothing.
func TestAttachBrokenOff(t *testing.T) {
	h := newHouse(t)
	h.create("work")
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := h.attached.UploadAttachments(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*antonv1.UploadAttachmentsRequest{attachHeader("work", "s", "a"), attachData("x"), attachHeader("", "", "b"), attachData("y")} {
		if err := stream.Send(p); err != nil {
			t.Fatal(err)
		}
	}
	wake, stop := h.db.Watch(attachmentsTopic)
	defer stop()
	for len(h.rows()) < 2 { // both have arrived
		<-wake
	}
	if names := h.listed(&antonv1.ListAttachmentsRequest{}); names != nil {
		t.Errorf("shown before the end: %q", names)
	}
	cancel()
	if err := stream.RecvMsg(&antonv1.UploadAttachmentsResponse{}); status.Code(err) != codes.Canceled {
		t.Errorf("%v", err)
	}
	h.served() // the call has ended
	h.wantNoAttachments("work")
}

func TestFileName(t *testing.T) {
	long := strings.Repeat("ü", 300)
	for name, want := range map[string]string{
		"a.txt": "a.txt", ".env": "env", "...": "file", " x . ": "x", "a:b*c?.txt": "a_b_c_.txt", "con": "con", "C:x": "C_x",
		"größe 😀.pdf": "größe 😀.pdf", "a\x01b": "a_b", "a\u202egpj.exe": "a_gpj.exe", long + ".docx": strings.Repeat("ü", 97) + ".docx",
		"x." + strings.Repeat("e", 50): "x." + strings.Repeat("e", 50), ".extracted.txt": "extracted.txt",
	} {
		if got := fileName(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

// A preview ends at a word, and has text also where there are no words.
func TestPreview(t *testing.T) {
	for text, want := range map[string]string{
		"": "", " a\n\n b\t": "a b", strings.Repeat("x", 5000): strings.Repeat("x", 300), strings.Repeat("渡船", 500): strings.Repeat("渡船", 150),
		strings.Repeat("word ", 500): strings.TrimSpace(strings.Repeat("word ", 60)), "a " + strings.Repeat("x", 500): "a",
	} {
		if got := preview(text); got != want {
			t.Errorf("%.20q: %q, want %q", text, got, want)
		}
	}
}

func TestAttachmentsAreReadOnce(t *testing.T) {
	h := newHouse(t)
	h.create("work")
	tries := 0
	h.reading = func(context.Context, string, *os.File) (documents.Text, error) {
		tries++
		return documents.Text{}, errors.New("out of processes")
	}
	a := h.settled(h.attach("work", "s", "a.txt", "x")[0].Id)
	if a.Status != "failed" || a.Reason != "The server could not read the file: its log says why." || tries != readTries+1 {
		t.Errorf("after %d tries: %v", tries, a)
	}
	if !strings.Contains(h.log.String(), "out of processes") {
		t.Errorf("log: %s", h.log)
	}
	h.reopen()
	if again := h.settled(a.Id); again.Status != "failed" || tries != readTries+1 {
		t.Errorf("after a restart: %v", again)
	}
}

// What was not read when the server stopped is read by the next one.
func TestAttachmentsAreReadAfterRestart(t *testing.T) {
	h := newHouse(t)
	h.create("work")
	entered := make(chan struct{})
	h.reading = func(ctx context.Context, _ string, _ *os.File) (documents.Text, error) {
		close(entered)
		<-ctx.Done()
		return documents.Text{}, ctx.Err()
	}
	a := h.attach("work", "s", "a.txt", "hello")[0]
	<-entered
	h.close()
	h.reading = nil
	h.open(h.db)
	if a = h.settled(a.Id); a.Status != "ready" || a.TextPreview != "hello" {
		t.Errorf("%v", a)
	}
}

// Deleting does not wait for the reader, and the reader writes nothing behind it.
func TestDeleteAttachmentBeingRead(t *testing.T) {
	for name, drop := range map[string]func(h *house, a *antonv1.Attachment) error{
		"by id": func(h *house, a *antonv1.Attachment) error {
			_, err := h.attached.DeleteAttachment(h.t.Context(), &antonv1.DeleteAttachmentRequest{Id: a.Id})
			return err
		},
		"with its conversation": func(h *house, a *antonv1.Attachment) error { return h.room.DeleteSession(h.t.Context(), a.SessionId) },
		"with its project":      func(h *house, a *antonv1.Attachment) error { return h.delete("work") },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.create("work")
			entered := make(chan struct{})
			h.reading = func(ctx context.Context, _ string, _ *os.File) (documents.Text, error) {
				close(entered)
				<-ctx.Done()
				return documents.Text{Text: "too late"}, nil
			}
			a := h.attach("work", "s", "a.txt", "hello")[0]
			<-entered
			if err := drop(h, a); err != nil {
				t.Fatal(err)
			}
			if names := h.listed(&antonv1.ListAttachmentsRequest{}); names != nil {
				t.Errorf("still listed: %q", names)
			}
			h.purged()
			h.idle()
			h.wantNoAttachments("work")
		})
	}
}

func TestDeleteSession(t *testing.T) {
	h := newHouse(t)
	h.create("work")
	var pairs []string
	for i := range 25 {
		pairs = append(pairs, fmt.Sprint(i), "x")
	}
	h.attach("work", "s", pairs...)
	kept := h.attach("work", "other", "kept", "x")[0]
	for range 2 { // it may be asked again
		if err := h.room.DeleteSession(t.Context(), "s"); err != nil {
			t.Fatal(err)
		}
		if got := h.listed(&antonv1.ListAttachmentsRequest{}); !slices.Equal(got, []string{"kept"}) {
			t.Errorf("%q", got)
		}
	}
	h.settled(kept.Id)
	h.idle()
	if got := h.rows(); len(got) != 1 {
		t.Errorf("%+v", got)
	}
	if got := h.uploads("work"); len(got) != 4 { // session, attachment, file, text
		t.Errorf("%q", got)
	}
}

func TestAttachmentsFollowTheirProject(t *testing.T) {
	h := newHouse(t)
	h.create("work")
	a := h.settled(h.attach("work", "s", "a.txt", "x")[0].Id)
	if _, err := h.rename("work", "done"); err != nil {
		t.Fatal(err)
	}
	b, err := h.attached.GetAttachment(t.Context(), &antonv1.GetAttachmentRequest{Id: a.Id})
	if err != nil || b.Project != "done" || b.Path != filepath.Join(h.dir, "done", ".anton/uploads/s", a.Id, "a.txt") {
		t.Errorf("%v %v", b, err)
	}
	if _, data, err := h.raw(a.Id); err != nil || string(data) != "x" {
		t.Errorf("%q %v", data, err)
	}
	if err := h.delete("done"); err != nil {
		t.Fatal(err)
	}
	if names := h.listed(&antonv1.ListAttachmentsRequest{}); names != nil {
		t.Errorf("%q", names)
	}
	_, _, err = h.raw(a.Id)
	wantFault(t, err, "ATTACHMENT_NOT_FOUND", "Attachment not found")
	h.purged()
	if rows := h.rows(); rows != nil {
		t.Errorf("%+v", rows)
	}
}

func TestAttachmentsOnlyOfTheirFolder(t *testing.T) {
	h := newHouse(t)
	h.create("work")
	a := h.settled(h.attach("work", "s", "a.txt", "x")[0].Id)
	outside := filepath.Join(t.TempDir(), "secret.txt")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{a.Path, a.TextPath} {
		if err := errors.Join(os.Remove(path), os.Symlink(outside, path)); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := h.raw(a.Id)
	wantFault(t, err, "INVALID_PATH", "Invalid path")
	got, err := h.room.AttachmentsFor(t.Context(), h.id("work"), "s", []string{a.Id})
	if err != nil || got[0].Status != "failed" || got[0].Text != "" {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := h.attached.DeleteAttachment(t.Context(), &antonv1.DeleteAttachmentRequest{Id: a.Id}); err != nil {
		t.Error(err)
	}
	h.wantNoAttachments("work")
	if err := errors.Join(os.RemoveAll(filepath.Join(h.dir, "work/.anton/uploads")), os.Symlink(filepath.Dir(outside), filepath.Join(h.dir, "work/.anton/uploads"))); err != nil {
		t.Fatal(err)
	}
	_, err = h.send(attachHeader("work", "s", "a.txt"), attachData("x"))
	wantFault(t, err, "INVALID_PATH", "Invalid path")
	if entries, err := os.ReadDir(filepath.Dir(outside)); err != nil || len(entries) != 1 {
		t.Errorf("%v %v", entries, err)
	}
	if rows := h.rows(); rows != nil {
		t.Errorf("%+v", rows)
	}
}
