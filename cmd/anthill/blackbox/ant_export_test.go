package blackbox

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	antv1 "anthill/gen/ant/v1"
)

func antExportRoutes(e *everyRoute, conn grpc.ClientConnInterface) {
	c := antv1.NewExportsServiceClient(conn)
	room := str(e.s.newSession("exports", "chat"), "id")
	l, err := c.ListExportTargets(e.s.call(), &antv1.ListExportTargetsRequest{SessionId: room})
	same(e, e.call("GET /api/sessions/{session_id}/export", nil, room), l, err)
	x, err := c.ExportSession(e.s.call(), &antv1.ExportSessionRequest{SessionId: room, Targets: []string{"obsidian"}})
	same(e, e.call("POST /api/sessions/{session_id}/export", object{"target": "obsidian"}, room), x, err)
	if data, sum := downloaded(e.t, e.s, c, room, "json"); len(data) == 0 || int(sum.Bytes) != len(data) {
		e.t.Errorf("%d bytes, %v", len(data), sum)
	}
}

// downloaded is an export over gRPC, which must be whole.
func downloaded(t *testing.T, s *server, c antv1.ExportsServiceClient, room, format string) (data []byte, sum *antv1.ExportSummary) {
	t.Helper()
	stream, err := c.DownloadExport(s.call(), &antv1.DownloadExportRequest{SessionId: room, Format: format})
	if err != nil {
		t.Fatal(err)
	}
	for {
		m, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data = append(data, m.GetData()...)
		sum = m.GetSummary()
	}
	if sum == nil {
		t.Fatal("the export is not whole")
	}
	return data, sum
}

// exported is what the JSON of a room holds.
type exported struct {
	Format                                 string
	Version                                int
	Session                                object
	Participants                           []object
	Messages                               []object
	Tasks, Asks, Links, Reads, Attachments []object
	RunEvents                              []object `json:"run_events"`
	FileRefs                               []object `json:"file_refs"`
}

func readExport(t *testing.T, b []byte) (x exported) {
	t.Helper()
	if err := json.Unmarshal(b, &x); err != nil {
		t.Fatalf("%v in %.300s", err, b)
	}
	return x
}

// Done when: a room is exported whole, in each format and by each door.
func TestAntExportIsTheRoom(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := str(s.newSession("Planning / 2026", "chat"), "id")
	const n = 1203 // more than two pages
	c := antv1.NewMessagesServiceClient(s.dial())
	for i := range n {
		if _, err := c.PostMessage(s.call(), &antv1.PostMessageRequest{SessionId: room, SenderId: "@ann", Content: new(fmt.Sprintf("message %d", i)), Meta: fmt.Sprintf(`{"n":%d}`, i)}); err != nil {
			t.Fatal(err)
		}
	}
	a := s.get("/api/sessions/" + room + "/export?format=json")
	if a.status != http.StatusOK || a.header.Get("Content-Disposition") != `attachment; filename=Planning---2026-`+strings.Trim(room, "-.")+`.json` {
		t.Errorf("%d %v", a.status, a.header)
	}
	x := readExport(t, a.body)
	if x.Format != "anthill-room" || x.Version != 1 || str(x.Session, "id") != room || len(x.Messages) != n || len(x.Participants) == 0 {
		t.Fatalf("%s %d %v: %d messages, %v", x.Format, x.Version, x.Session, len(x.Messages), x.Participants)
	}
	for i, m := range x.Messages {
		if str(m, "content") != fmt.Sprintf("message %d", i) || !strings.Contains(str(m, "meta"), fmt.Sprintf(`"n":%d`, i)) {
			t.Fatalf("message %d is %v", i, m)
		}
	}
	over, sum := downloaded(t, s, antv1.NewExportsServiceClient(s.dial()), room, "json")
	if y := readExport(t, over); len(y.Messages) != n || sum.Messages != n {
		t.Errorf("over gRPC %d messages, %v", len(y.Messages), sum)
	}
	md := string(s.get("/api/sessions/" + room + "/export?format=markdown").body)
	if strings.Count(md, "\n### ") != n || !strings.Contains(md, "\n# Planning / 2026\n") || !strings.Contains(md, "message 1202\n") {
		t.Errorf("%.500s", md)
	}
	z := s.get("/api/sessions/" + room + "/export?format=zip")
	files := unzipped(t, z.body)
	if len(readExport(t, files["room.json"]).Messages) != n || strings.Count(string(files["room.md"]), "\n### ") != n {
		t.Errorf("%v: %d bytes", z.header, len(z.body))
	}
	s.get("/api/sessions/"+room+"/export?format=pdf").refused(http.StatusBadRequest, "")
	s.get("/api/sessions/unknown/export?format=json").refused(http.StatusNotFound, "Session not found")
	s.get("/api/sessions/unknown/export").refused(http.StatusNotFound, "Session not found")
}

// What is around the messages is in the file, too, and only of this room.
func TestAntExportHasWhatIsAround(t *testing.T) {
	t.Parallel()
	s := start(t)
	var ids []string
	for _, name := range []string{"one", "two"} {
		id := str(s.newSession(name, "chat"), "id")
		ids = append(ids, id)
		path := "/api/sessions/" + id
		msg := str(s.post(path+"/messages", object{"content": "about " + name, "sender_id": "@ann"}).created(), "id")
		s.post(path+"/tasks", object{"title": "task of " + name}).created()
		s.post(path+"/asks", object{"body": "ask of " + name}).success()
		s.post(path+"/messages/"+msg+"/read", object{"reader_id": "@reader-" + name}).ok()
		s.post(path+"/file-refs", object{"file_path": "/src/of " + name}).created()
		s.uploadTo("/api/upload?session_id="+id, "file/"+name+".txt", "bytes of "+name).success()
		s.post("/api/hooks", object{"hook_event_name": "UserPromptSubmit", "ant_session_id": id, "prompt": "prompt of " + name}).success()
	}
	s.post("/api/sessions/"+ids[0]+"/links", object{"targetRoomId": ids[1], "relationship": "follows_up"}).success()
	x := readExport(t, s.get("/api/sessions/"+ids[0]+"/export?format=json").body)
	for name, rows := range map[string][]object{"tasks": x.Tasks, "asks": x.Asks, "reads": x.Reads, "links": x.Links, "run events": x.RunEvents, "files": x.FileRefs, "uploads": x.Attachments} {
		if len(rows) != 1 || strings.Contains(fmt.Sprint(rows), "of two") {
			t.Errorf("%s: %v", name, rows)
		}
	}
	files := unzipped(t, s.get("/api/sessions/"+ids[0]+"/export?format=zip").body)
	for name, b := range files {
		if strings.HasPrefix(name, "uploads/") && (!strings.HasSuffix(name, "-one.txt") || string(b) != "bytes of one") || len(files) != 4 {
			t.Errorf("%s: %s", name, b)
		}
	}
	if events := string(files["run-events.jsonl"]); strings.Count(events, "\n") != 1 || !strings.Contains(events, "prompt of one") {
		t.Errorf("%s", events)
	}
	if md := string(files["room.md"]); !strings.Contains(md, "\n- proposed: task of one\n") || !strings.Contains(md, "follows\\_up") {
		t.Errorf("%s", md)
	}
}

func unzipped(t *testing.T, b []byte) map[string][]byte {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if out[f.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestAntExportTargets(t *testing.T) {
	t.Parallel()
	vault, slides := t.TempDir(), filepath.Join(t.TempDir(), "gone")
	s := start(t, withEnv("ANT_OBSIDIAN_VAULT="+vault, "ANT_OPEN_SLIDE_DIR="+slides))
	room := str(s.newSession("../../etc/passwd", "chat"), "id")
	path := "/api/sessions/" + room + "/export"
	s.post("/api/sessions/"+room+"/messages", object{"content": "# not a heading\n```\nout of the block\n```` \x1b[2J", "sender_id": "# me\n# too"}).created()
	list := s.get(path).ok()["targets"].([]any)
	if len(list) != 2 || list[0].(object)["configured"] != true {
		t.Errorf("%v", list)
	}
	note := s.post(path, object{"targets": "obsidian"}).ok()["targets"].(object)["obsidian"].(object)
	file := filepath.Join(vault, str(note, "vault_path"))
	if note["ok"] != true || str(note, "path") != file || filepath.Dir(file) != filepath.Join(vault, "ANT") {
		t.Fatalf("%v", note)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(b); strings.Contains(text, "\x1b") || !strings.Contains(text, "\n`````text\n# not a heading\n") || !strings.Contains(text, "\n### \\# me \\# too\n") {
		t.Errorf("%s", text)
	}
	// The same file again, whole, and nothing beside it.
	s.post("/api/sessions/"+room+"/messages", object{"content": "more"}).created()
	s.post(path, nil).ok()
	if again, err := os.ReadFile(file); err != nil || !strings.Contains(string(again), "more") {
		t.Errorf("%v %s", err, again)
	}
	if files, err := os.ReadDir(filepath.Dir(file)); err != nil || len(files) != 1 {
		t.Errorf("%v %v", files, err)
	}
	// One target fails, the other is written.
	both := s.post(path, object{"targets": []string{"obsidian", "open-slide"}}).ok()["targets"].(object)
	if both["obsidian"].(object)["ok"] != true || both["open_slide"].(object)["ok"] != false || !strings.Contains(str(both["open_slide"].(object), "note"), "ANT_OPEN_SLIDE_DIR") {
		t.Errorf("%v", both)
	}
	if err := os.Mkdir(slides, 0o700); err != nil {
		t.Fatal(err)
	}
	deck := s.post(path, object{"target": "open-slide"}).ok()["targets"].(object)["open_slide"].(object)
	if b, err := os.ReadFile(str(deck, "path")); err != nil || !strings.Contains(string(b), "\n---\n") {
		t.Errorf("%v %s", err, b)
	}
	a := s.post(path, object{"target": "word"})
	a.refused(http.StatusBadRequest, "")
	if !strings.Contains(string(a.body), `"ok":false`) {
		t.Errorf("%v", a)
	}
	for _, body := range []any{"[]", "{", object{"targets": 7}, object{"targets": []int{1}}} {
		s.do(http.MethodPost, path, body).refused(http.StatusBadRequest, "")
	}
	s.post("/api/sessions/unknown/export", nil).refused(http.StatusNotFound, "Session not found")
	plain := start(t)
	other := str(plain.newSession("r", "chat"), "id")
	skipped := plain.post("/api/sessions/"+other+"/export", nil).ok()["targets"].(object)["obsidian"].(object)
	if skipped["ok"] != false || skipped["skipped"] != true || !strings.Contains(str(skipped, "note"), "ANT_OBSIDIAN_VAULT") {
		t.Errorf("%v", skipped)
	}
}

func TestExportCommand(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := str(s.newSession("planning", "chat"), "id")
	s.post("/api/sessions/"+room+"/messages", object{"content": "hello"}).created()
	dir := t.TempDir()
	file := filepath.Join(dir, "room.zip")
	out, errs, code := command(t, s.environ(), "", "export", "planning", "--server", s.url, "--format", "zip", "-o", file)
	if code != 0 || !strings.Contains(out, "1 messages") {
		t.Fatalf("%s %s", out, errs)
	}
	b, err := os.ReadFile(file)
	if err != nil || len(readExport(t, unzipped(t, b)["room.json"]).Messages) != 1 {
		t.Error(err)
	}
	if out, errs, code = command(t, s.environ(), "", "export", room, "--server", s.url, "-o", "-"); code != 0 || !strings.Contains(out, "\nhello\n") {
		t.Errorf("%s %s", out, errs)
	}
	if _, errs, code = command(t, s.environ(), "", "export", room, "--server", s.url, "--target", "obsidian"); code == 0 || !strings.Contains(errs, "ANT_OBSIDIAN_VAULT") {
		t.Errorf("%d %s", code, errs)
	}
	if _, errs, code = command(t, s.environ(), "", "export", "nowhere", "--server", s.url); code == 0 || !strings.Contains(errs, "nowhere") {
		t.Errorf("%d %s", code, errs)
	}
	c := antv1.NewExportsServiceClient(s.dial())
	stream, err := c.DownloadExport(s.call(), &antv1.DownloadExportRequest{SessionId: room, Format: "pdf"})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.InvalidArgument {
		t.Error(err)
	}
}
