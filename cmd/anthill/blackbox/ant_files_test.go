package blackbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	antv1 "anthill/gen/ant/v1"
)

func antFileRoutes(e *everyRoute, conn grpc.ClientConnInterface) {
	c := antv1.NewFilesServiceClient(conn)
	room := e.s.chatRoom("files of both")
	const refs, one = "/api/sessions/{session_id}/file-refs", "/api/sessions/{session_id}/attachments/{attachment_id}"
	made, err := c.CreateFileRef(e.s.call(), &antv1.CreateFileRefRequest{SessionId: room, FilePath: "a", Note: "n", FlaggedBy: "@x"})
	alike(e, e.call("POST "+refs, object{"file_path": "a", "note": "n", "flagged_by": "@x"}, room), made, err)
	list, err := c.ListFileRefs(e.s.call(), &antv1.ListFileRefsRequest{SessionId: room})
	same(e, e.call("GET "+refs, nil, room), list, err)
	gone, err := c.DeleteFileRef(e.s.call(), &antv1.DeleteFileRefRequest{SessionId: room, RefId: made.Ref.Id})
	same(e, e.call("DELETE "+refs, nil, room, "?refId=unknown"), gone, err)

	e.rest["POST /api/upload"] = true
	a, err := sendFile(e.s, c, room, "a.txt", "@x", "bytes")
	alike(e, e.s.uploadTo("/api/upload?handle=@x&session_id="+room, "file/a.txt", "bytes"), a, err)
	all, err := c.ListRoomAttachments(e.s.call(), &antv1.ListRoomAttachmentsRequest{SessionId: room})
	same(e, e.call("GET /api/sessions/{session_id}/attachments", nil, room), all, err)
	got, err := c.GetRoomAttachment(e.s.call(), &antv1.GetRoomAttachmentRequest{SessionId: room, AttachmentId: a.Id})
	same(e, e.call("GET "+one, nil, room, a.Id), got, err)
	if data, err := fetchFile(e.s, c, room, a.Id, 2); err != nil || data != "tes" {
		e.t.Errorf("from the third byte on %q %v", data, err)
	}
	if b := e.call("GET "+one+"/raw", nil, room, a.Id); string(b.body) != "bytes" {
		e.t.Errorf("%v", b)
	}
	removed, err := c.DeleteRoomAttachment(e.s.call(), &antv1.DeleteRoomAttachmentRequest{SessionId: room, AttachmentId: a.Id})
	same(e, e.call("DELETE "+one, nil, room, all.Attachments[1].Id), removed, err)
}

// sendFile uploads over gRPC, in pieces.
func sendFile(s *server, c antv1.FilesServiceClient, room, name, handle string, pieces ...string) (*antv1.Attachment, error) {
	call, err := c.UploadAttachment(s.call())
	if err != nil {
		return nil, err
	}
	err = call.Send(&antv1.UploadAttachmentRequest{SessionId: room, Part: &antv1.UploadAttachmentRequest_File{File: &antv1.UploadedFile{Name: name, Handle: handle}}})
	for _, p := range pieces {
		if err == nil {
			err = call.Send(&antv1.UploadAttachmentRequest{SessionId: room, Part: &antv1.UploadAttachmentRequest_Data{Data: []byte(p)}})
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return call.CloseAndRecv()
}

// fetchFile downloads over gRPC.
func fetchFile(s *server, c antv1.FilesServiceClient, room, id string, from int64) (string, error) {
	call, err := c.DownloadRoomAttachment(s.call(), &antv1.DownloadRoomAttachmentRequest{SessionId: room, AttachmentId: id, Offset: from})
	if err != nil {
		return "", err
	}
	var data []byte
	for {
		m, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return string(data), nil
		}
		if err != nil {
			return "", err
		}
		data = append(data, m.GetData()...)
	}
}

// Done when: references are rows of their room, each change is told once, and no
// other room can reach them.
func TestAntFileRefs(t *testing.T) {
	t.Parallel()
	s := start(t)
	room, other := s.chatRoom("plan"), s.chatRoom("other")
	path, elsewhere := "/api/sessions/"+room+"/file-refs", "/api/sessions/"+other+"/file-refs"
	c := s.socket()
	c.join(room)

	// A path is text: what it names is neither opened nor needed.
	first := s.post(path, object{"file_path": "/etc/passwd", "note": "look", "flagged_by": "@ann"}).created()["ref"].(object)
	want := object{"id": nil, "session_id": room, "flagged_by": "@ann", "file_path": "/etc/passwd", "note": "look", "created_at": nil}
	if err := has(first, want); err != nil || !rowTime.MatchString(str(first, "created_at")) || len(str(first, "id")) != 21 {
		t.Errorf("%v: %v", first, err)
	}
	second := s.post(path, object{"file_path": "../../x <b>"}).created()["ref"].(object)
	third := s.post(path, object{"file_path": "c"}).created()["ref"].(object)
	if second["note"] != nil || second["flagged_by"] != nil {
		t.Errorf("%v", second)
	}
	id := func(o object) string { return str(o, "id") }
	for _, miss := range []string{"unknown", id(first)[:7], strings.Repeat("x", 300), "../" + room} {
		if o := s.delete(path + "?refId=" + url.QueryEscape(miss)).ok(); has(o, object{"ok": true}) != nil {
			t.Errorf("%v", o)
		}
	}
	s.delete(elsewhere + "?refId=" + id(first)).ok() // of another room: nothing happens
	s.delete(elsewhere + "?refId=" + id(first)[:8]).ok()
	s.delete(path + "?refId=" + id(second)[:8]).ok() // as the client's flag remove
	s.delete(path + "?refId=" + id(second)).ok()
	events := only(c.heard(s, room), "file_ref_created", "file_ref_deleted")
	if len(events) != 4 {
		t.Fatalf("%d events of three references and one removal: %v", len(events), events)
	}
	if err := has(events[0], object{"type": "file_ref_created", "room": room, "sessionId": room, "seq": nil, "epoch": nil, "ref": first}); err != nil {
		t.Error(err)
	}
	if err := has(events[3], object{"type": "file_ref_deleted", "room": room, "sessionId": room, "seq": nil, "epoch": nil, "refId": second["id"]}); err != nil {
		t.Error(err)
	}
	holds := func() {
		t.Helper()
		if o := s.get(path).ok(); has(o, object{"refs": []any{first, third}, "newer": "", "has_more": false}) != nil {
			t.Errorf("%v", o)
		}
		if o := s.get(elsewhere).ok(); len(o["refs"].([]any)) != 0 {
			t.Errorf("%v", o)
		}
	}
	holds()
	s.kill()
	s.restart()
	holds()
	page := s.get(path + "?limit=1").ok()
	if page["has_more"] != true || !reflect.DeepEqual(page["refs"], []any{first}) {
		t.Errorf("%v", page)
	}
	if page = s.get(path + "?limit=1&cursor=" + str(page, "newer")).ok(); page["has_more"] != false || !reflect.DeepEqual(page["refs"], []any{third}) {
		t.Errorf("%v", page)
	}

	s.delete(path).refused(http.StatusBadRequest, "refId required")
	s.delete("/api/sessions/unknown/file-refs?refId=x").refused(http.StatusNotFound, "Session not found")
	s.get("/api/sessions/unknown/file-refs").refused(http.StatusNotFound, "Session not found")
	s.post("/api/sessions/unknown/file-refs", object{"file_path": "x"}).refused(http.StatusNotFound, "Session not found")
	for _, bad := range []object{{}, {"file_path": ""}, {"file_path": " "}, {"file_path": 7}, {"file_path": "a\nb"}, {"file_path": "a\x00b"},
		{"file_path": strings.Repeat("x", 4097)}, {"file_path": "x", "note": strings.Repeat("x", 4097)}, {"file_path": "x", "flagged_by": strings.Repeat("x", 257)}} {
		s.post(path, bad).refused(http.StatusBadRequest, "")
	}
	for _, bad := range []string{"?limit=0", "?limit=1001", "?limit=x", "?cursor=x", "?cursor=f", "?cursor=f0"} {
		s.get(path+bad).refused(http.StatusBadRequest, "")
	}
	_, err := antv1.NewFilesServiceClient(s.dial()).DeleteFileRef(s.call(), &antv1.DeleteFileRefRequest{SessionId: room})
	wantCode(t, "no refId", err, codes.InvalidArgument)
	s.patch("/api/sessions/"+room, object{"archived": true}).ok()
	s.post(path, object{"file_path": "x"}).refused(http.StatusConflict, "")
	s.delete(path+"?refId="+id(first)).refused(http.StatusConflict, "")
	s.uploadTo("/api/upload?session_id="+room, "file/a.txt", "x").refused(http.StatusConflict, "")
	holds()
}

// kept are the files on disk under uploads, by name.
func (s *server) kept() (names []string) {
	s.t.Helper()
	list, err := os.ReadDir(filepath.Join(s.home, "uploads"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

func sum(content string) string {
	h := sha256.Sum256([]byte(content))
	return hex.EncodeToString(h[:])
}

// uploaded is what an upload answers with.
func (s *server) uploaded(room, name, content string) object {
	s.t.Helper()
	return s.uploadTo("/api/upload?handle=@ann&session_id="+room, "file/"+name, content).created()
}

// Done when: an upload is what was sent, under a name that the server gave, and
// outlives a crash from its acknowledgement on.
func TestAntUpload(t *testing.T) {
	t.Parallel()
	s := start(t)
	room, other := s.chatRoom("plan"), s.chatRoom("other")
	content := strings.Repeat("0123456789abcdef", 1<<16) + "the end" // several pieces
	up := s.uploaded(room, "notes.txt", content)
	path := "/api/sessions/" + room + "/attachments"
	raw := path + "/" + str(up, "id") + "/raw"
	if err := has(up, object{"id": nil, "session_id": room, "url": raw, "hash": sum(content), "size": float64(len(content)), "name": "notes.txt",
		"content_type": "text/plain", "uploaded_by": "@ann", "created_at": nil}); err != nil || !rowTime.MatchString(str(up, "created_at")) {
		t.Errorf("%v: %v", up, err)
	}
	empty := s.uploaded(room, "empty", "")
	s.kill()
	s.restart()
	a := s.get(raw)
	if a.status != http.StatusOK || string(a.body) != content || a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Fatalf("%d %v: %d bytes", a.status, a.header, len(a.body))
	}
	if a := s.get(str(empty, "url")); a.status != http.StatusOK || len(a.body) != 0 {
		t.Errorf("%v", a)
	}
	if o := s.get(path).ok(); has(o, object{"attachments": []any{up, empty}, "newer": "", "has_more": false}) != nil {
		t.Errorf("%v", o)
	}
	page := s.get(path + "?limit=1").ok()
	if page = s.get(path + "?limit=1&cursor=" + str(page, "newer")).ok(); !reflect.DeepEqual(page["attachments"], []any{empty}) {
		t.Errorf("%v", page)
	}
	for _, bad := range []string{"?limit=0", "?limit=x", "?cursor=x", "?cursor=f0"} {
		s.get(path+bad).refused(http.StatusBadRequest, "")
	}
	for _, r := range []struct {
		ask, want, of string
		code          int
	}{
		{"bytes=0-3", "0123", "bytes 0-3/1048583", http.StatusPartialContent},
		{"bytes=1048570-", "abcdefthe end", "bytes 1048570-1048582/1048583", http.StatusPartialContent},
		{"bytes=-7", "the end", "bytes 1048576-1048582/1048583", http.StatusPartialContent},
		{"bytes=524290-524291", "23", "bytes 524290-524291/1048583", http.StatusPartialContent},
		{"bytes=2000000-", "", "bytes */1048583", http.StatusRequestedRangeNotSatisfiable},
	} {
		a := s.do(http.MethodGet, raw, nil, headers("Range", r.ask))
		if a.status != r.code || a.header.Get("Content-Range") != r.of || r.want != "" && string(a.body) != r.want {
			t.Errorf("%s: %d %v %.50q", r.ask, a.status, a.header, a.body)
		}
	}
	if a := s.do(http.MethodGet, raw, nil, headers("If-None-Match", `"`+sum(content)+`"`)); a.status != http.StatusNotModified {
		t.Errorf("%v", a)
	}
	if a := s.do(http.MethodHead, raw, nil); a.status != http.StatusOK || a.header.Get("Content-Length") != "1048583" || len(a.body) != 0 {
		t.Errorf("%d %v", a.status, a.header)
	}

	// An id of this room leads nowhere in another.
	id := str(up, "id")
	for _, p := range []string{"", "/raw"} {
		s.get("/api/sessions/"+other+"/attachments/"+id+p).refused(http.StatusNotFound, "attachment not found")
		s.get("/api/sessions/unknown/attachments/"+id+p).refused(http.StatusNotFound, "Session not found")
	}
	s.delete("/api/sessions/"+other+"/attachments/"+id).refused(http.StatusNotFound, "attachment not found")
	s.get("/api/sessions/unknown/attachments").refused(http.StatusNotFound, "Session not found")
	c := antv1.NewFilesServiceClient(s.dial())
	_, err := fetchFile(s, c, other, id, 0)
	wantCode(t, "of another room", err, codes.NotFound)
	for _, from := range []int64{-1, 1 << 40} {
		_, err = fetchFile(s, c, room, id, from)
		wantCode(t, "outside", err, codes.InvalidArgument)
	}
	if got, err := fetchFile(s, c, room, id, 0); err != nil || got != content {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// Equal contents are kept once, and as long as somebody has them.
func TestAntUploadsShareContent(t *testing.T) {
	t.Parallel()
	s := start(t)
	room, other := s.chatRoom("plan"), s.chatRoom("other")
	one, two := s.uploaded(room, "one.txt", "the same"), s.uploaded(room, "two.txt", "the same")
	there := s.uploaded(other, "three.txt", "the same")
	s.uploaded(other, "own.txt", "its own")
	both := []string{sum("the same"), sum("its own")}
	slices.Sort(both)
	if names := s.kept(); !slices.Equal(names, both) {
		t.Fatalf("%v, want %v", names, both)
	}
	s.delete(strings.TrimSuffix(str(one, "url"), "/raw")).ok()
	s.get(str(one, "url")).refused(http.StatusNotFound, "attachment not found")
	for _, up := range []object{two, there} {
		if a := s.get(str(up, "url")); string(a.body) != "the same" {
			t.Errorf("%v", a)
		}
	}
	if a := s.delete("/api/sessions/" + other + "?hard=true"); a.status != http.StatusNoContent {
		t.Fatalf("%v", a)
	}
	s.get(str(there, "url")).refused(http.StatusNotFound, "Session not found")
	if a := s.get(str(two, "url")); string(a.body) != "the same" {
		t.Errorf("%v", a)
	}
	s.stop() // what is deleted for good is cleared away by a job, which a start ends
	s.restart()
	s.eventually("only what is referred to", func() bool { return slices.Equal(s.kept(), []string{sum("the same")}) })
	s.delete(strings.TrimSuffix(str(two, "url"), "/raw")).ok()
	if names := s.kept(); len(names) != 0 {
		t.Errorf("%v is left", names)
	}
	// What a crash leaves is removed at the start; what is not ours is let be.
	s.stop()
	for _, name := range []string{"part-CUT", sum("orphan"), "README"} {
		if err := os.WriteFile(filepath.Join(s.home, "uploads", name), []byte("orphan"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.restart()
	if names := s.kept(); !slices.Equal(names, []string{"README"}) {
		t.Errorf("%v", names)
	}
}

// Done when: what is cut off, too large or no form leaves nothing.
func TestAntUploadRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chatRoom("plan")
	to := "/api/upload?session_id=" + room
	const whole = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"cut.txt\"\r\n\r\nall of it\r\n--x--\r\n"
	form := headers("Content-Type", "multipart/form-data; boundary=x")
	for n := range len(whole) - len("--\r\n") {
		s.do(http.MethodPost, to, whole[:n], form).refused(http.StatusBadRequest, "")
	}
	s.uploadTo(to, "file/a", "a", "file/b", "b").refused(http.StatusBadRequest, "One request takes one file")
	s.uploadTo(to, "other/a", "a").refused(http.StatusBadRequest, "file required")
	s.uploadTo(to, "file", "a").refused(http.StatusBadRequest, "file required")
	s.uploadTo("/api/upload", "file/a", "a").refused(http.StatusBadRequest, "")
	s.uploadTo("/api/upload?session_id=unknown", "file/a", "a").refused(http.StatusNotFound, "Session not found")
	s.uploadTo(to+"&handle="+strings.Repeat("x", 257), "file/a", "a").refused(http.StatusBadRequest, "")
	for _, over := range []int64{1, 10 << 20} { // the file is, and the form
		large, form := endless(100<<20 + over)
		s.do(http.MethodPost, to, large, form).refused(http.StatusRequestEntityTooLarge, "")
	}

	c := antv1.NewFilesServiceClient(s.dial())
	for _, name := range []string{"", ".", "..", "../up", "a/b", `a\b`, "a\x00b", "a\nb", "\x1b[2J", " a", "\u202etxt.exe", strings.Repeat("x", 256)} {
		_, err := sendFile(s, c, room, name, "", "x")
		wantCode(t, fmt.Sprintf("%q", name), err, codes.InvalidArgument)
	}
	_, err := sendFile(s, c, room, "a", "", strings.Repeat("x", 1<<20+1))
	wantCode(t, "a large piece", err, codes.InvalidArgument)
	_, err = sendFile(s, c, room, "a", "", slices.Repeat([]string{strings.Repeat("x", 1<<20)}, 101)...)
	wantCode(t, "a large file", err, codes.InvalidArgument)
	if reason, _ := reasonOf(err); reason != "BODY_TOO_LARGE" {
		t.Errorf("%v", err)
	}
	call, err := c.UploadAttachment(s.call())
	if err == nil {
		_, err = call.CloseAndRecv()
	}
	wantCode(t, "nothing", err, codes.InvalidArgument)
	call, err = c.UploadAttachment(s.call())
	if err == nil {
		err = call.Send(&antv1.UploadAttachmentRequest{SessionId: room, Part: &antv1.UploadAttachmentRequest_Data{Data: []byte("x")}})
	}
	if err == nil {
		_, err = call.CloseAndRecv()
	}
	wantCode(t, "no header", err, codes.InvalidArgument)

	// A caller that goes away in the middle.
	ctx, cancel := context.WithCancel(s.call())
	call, err = c.UploadAttachment(ctx)
	if err == nil {
		err = call.Send(&antv1.UploadAttachmentRequest{SessionId: room, Part: &antv1.UploadAttachmentRequest_File{File: &antv1.UploadedFile{Name: "a"}}})
	}
	if err != nil {
		t.Fatal(err)
	}
	s.eventually("the upload begins", func() bool { return len(s.kept()) == 1 })
	cancel()
	s.eventually("nothing is left", func() bool { return len(s.kept()) == 0 })
	if o := s.get("/api/sessions/" + room + "/attachments").ok(); len(o["attachments"].([]any)) != 0 {
		t.Errorf("%v", o)
	}
}

// Done when: no name leads anywhere, and nothing that is uploaded runs in a browser.
func TestAntUploadsAreHarmless(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chatRoom("plan")
	png := "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"
	for i, f := range []struct{ name, content, typ, disposition string }{
		{"page.html", "<!doctype html><script>alert(1)</script>", "application/octet-stream", "attachment"},
		{"page.txt", "<!doctype html><script>alert(1)</script>", "text/plain; charset=utf-8", "inline"},
		{"page.png", "<html><script>alert(1)</script>", "", ""},
		{"image.svg", `<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>`, "application/octet-stream", "attachment"},
		{"feed.xml", `<?xml version="1.0"?><x xmlns="http://www.w3.org/1999/xhtml"><script/></x>`, "application/octet-stream", "attachment"},
		{"code.js", "alert(1)", "", ""},
		{"a.pdf", "%PDF-1.7\n", "application/octet-stream", "attachment"},
		{"a.png", png, "image/png", "inline"},
		{"notes.md", "# hello", "text/plain; charset=utf-8", "inline"},
		{"Ünï \"q\"; filename=x.html.md", "# hello", "text/plain; charset=utf-8", "inline"},
	} {
		up, err := sendFile(s, antv1.NewFilesServiceClient(s.dial()), room, f.name, "", f.content)
		if err != nil {
			t.Fatalf("%s: %v", f.name, err)
		}
		a := s.get(up.Url)
		h := a.header
		typ, disposition := h.Get("Content-Type"), h.Get("Content-Disposition")
		safe := f.typ == "" && (typ == "application/octet-stream" && strings.HasPrefix(disposition, "attachment;") || typ == "text/plain; charset=utf-8" || strings.HasPrefix(typ, "image/"))
		if !safe && (typ != f.typ || !strings.HasPrefix(disposition, f.disposition+"; filename*=UTF-8''")) || strings.Count(disposition, ";") != 1 ||
			h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") || string(a.body) != f.content {
			t.Errorf("%d, %s: %s %s %v", i, f.name, typ, disposition, h)
		}
	}
	for _, name := range []string{"..", ".", `..\\..\\up.txt`, "a\tb", " "} {
		s.uploadTo("/api/upload?session_id="+room, "file/"+name, "x").unacceptable(name)
	}
	// The rest of a path is what forms are not believed.
	if up := s.uploaded(room, "../../../etc/cron.d/evil", "evil"); str(up, "name") != "evil" {
		t.Errorf("%v", up)
	}
	for _, name := range s.kept() {
		if b, err := hex.DecodeString(name); err != nil || len(b) != sha256.Size {
			t.Errorf("%q is a name on disk", name)
		}
	}
	// A content that is gone is said to be, not made up.
	up := s.uploaded(room, "gone.txt", "gone soon")
	if err := os.Remove(filepath.Join(s.home, "uploads", sum("gone soon"))); err != nil {
		t.Fatal(err)
	}
	s.get(str(up, "url")).refused(http.StatusNotFound, "")
}

// Done when: guests of the room read and, with the scope, add under their own name;
// those of another room get nowhere.
func TestAntFilesOfGuests(t *testing.T) {
	t.Parallel()
	c := assemble(t)
	up := c.uploaded(c.room, "a.txt", "secret")
	ref := c.post("/api/sessions/"+c.room+"/file-refs", object{"file_path": "x"}).created()["ref"].(object)
	anonymous := *c.server
	anonymous.opts.key = ""
	for _, a := range c.actors {
		if a.guest == "" || a.unknown {
			continue
		}
		body, h := fields(t, "file/b.txt", "of a guest")
		h["Authorization"] = a.headers["Authorization"]
		raw := anonymous.do(http.MethodGet, str(up, "url"), nil, a.headers)
		sent := anonymous.do(http.MethodPost, "/api/upload?handle=@boss&session_id="+c.room, body, h)
		removed := anonymous.do(http.MethodDelete, "/api/sessions/"+c.room+"/file-refs?refId="+str(ref, "id"), nil, a.headers)
		if removed.status != http.StatusForbidden {
			t.Errorf("%s removes: %v", a.name, removed)
		}
		switch {
		case a.foreign:
			raw.refused(http.StatusForbidden, wrongRoom)
			sent.refused(http.StatusForbidden, wrongRoom)
		case a.guest == "web":
			if string(raw.body) != "secret" {
				t.Errorf("%s: %v", a.name, raw)
			}
			sent.refused(http.StatusForbidden, readOnly)
		default:
			if by := str(sent.created(), "uploaded_by"); string(raw.body) != "secret" || by == "@boss" || by == "" {
				t.Errorf("%s: %v, by %q", a.name, raw, by)
			}
			flagged := anonymous.do(http.MethodPost, "/api/sessions/"+c.room+"/file-refs", object{"file_path": "y", "flagged_by": "@boss"}, a.headers)
			if by := str(flagged.created(), "ref", "flagged_by"); by == "@boss" || by == "" {
				t.Errorf("%s flags as %q", a.name, by)
			}
		}
	}
	anonymous.get(str(up, "url")).refused(http.StatusUnauthorized, "")
}

func TestFilesCommand(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := str(s.newSession("planning", "chat"), "id")
	dir := t.TempDir()
	run := func(want int, args ...string) string {
		t.Helper()
		out, errs, code := command(t, s.environ(), "", append([]string{"files"}, append(args, "--server", s.url)...)...)
		if code != want || want != 0 && errs == "" {
			t.Fatalf("files %v: %d %s %s", args, code, out, errs)
		}
		return out + errs
	}
	if out := run(0, "planning"); out != "" {
		t.Errorf("%q", out)
	}
	content := strings.Repeat("\x00\xff bytes", 100_000)
	file := filepath.Join(dir, "data.bin")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	ref := strings.TrimSpace(run(0, "add", "planning", "docs/plan.md", "--note", "the \x1b[2J draft", "--as", "@ann"))
	up := strings.TrimSpace(run(0, "upload", room, file, "--as", "@bob"))
	out := run(0, "planning")
	for _, want := range []string{ref, "docs/plan.md", "@ann", "the [2J draft", up, "data.bin", "781.2 KiB", "@bob"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q lacks %q", out, want)
		}
	}
	if out := run(0, "planning", "--json"); strings.Count(out, "\n") != 2 || !strings.Contains(strings.ReplaceAll(out, " ", ""), `"hash":"`+sum(content)+`"`) {
		t.Errorf("%s", out)
	}
	saved := filepath.Join(dir, "saved")
	run(0, "get", "planning", up[:8], "-o", saved)
	if b, err := os.ReadFile(saved); err != nil || !bytes.Equal(b, []byte(content)) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if out := run(0, "get", "planning", up, "-o", "-"); out != content {
		t.Errorf("%d bytes", len(out))
	}
	run(1, "get", "planning", ref)
	run(1, "get", "planning", "nothing-of-that")
	run(1, "upload", "planning", dir)
	run(1, "upload", "planning", filepath.Join(dir, "none"))
	run(1, "add", "nowhere", "x")
	run(1, "remove", "planning", "nothing-of-that")
	run(1, "remove", "planning", ref[:7])
	run(0, "remove", "planning", ref[:8])
	run(0, "remove", "planning", up)
	if out := run(0, "planning"); out != "" {
		t.Errorf("%q", out)
	}
	if names := s.kept(); len(names) != 0 {
		t.Errorf("%v", names)
	}
}
