package blackbox

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	antonv1 "anthill/gen/anton/v1"
)

// attached is an attachment as REST shows it.
type attached struct {
	ID          string
	Name        string
	MIME        string `json:"mime"`
	Size        int
	Path        string
	CreatedAt   string `json:"created_at"`
	UpdatedAt   string `json:"updated_at"`
	Status      string
	Reason      string
	Project     string
	SessionID   string `json:"session_id"`
	Filename    string
	Bytes       int
	TextPreview string `json:"text_preview"`
	TextLength  int    `json:"text_length"`
	TextPath    string `json:"text_path"`
}

// fields is a multipart body of fields and files in this order: a name with a
// file name behind a slash is a file.
func fields(t *testing.T, pairs ...string) (body []byte, header http.Header) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		h := textproto.MIMEHeader{}
		name, file, isFile := strings.Cut(pairs[i], "/")
		h.Set("Content-Disposition", fmt.Sprintf(`form-data; name=%q`, name))
		if isFile {
			h.Set("Content-Disposition", fmt.Sprintf(`form-data; name=%q; filename=%q`, name, file))
		}
		part, err := w.CreatePart(h)
		if err == nil {
			_, err = io.WriteString(part, pairs[i+1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), headers("Content-Type", w.FormDataContentType())
}

func (s *server) uploadTo(path string, pairs ...string) answer {
	s.t.Helper()
	body, h := fields(s.t, pairs...)
	return s.do(http.MethodPost, path, body, h)
}

func (s *server) attach(path string, pairs ...string) []attached {
	s.t.Helper()
	a := s.uploadTo(path, pairs...)
	if a.status != http.StatusOK {
		s.t.Fatalf("%v", a)
	}
	return decode[[]attached](s.t, a.body)
}

func (s *server) attachments(path string) []attached {
	s.t.Helper()
	a := s.get(path)
	if a.status != http.StatusOK {
		s.t.Fatalf("%v", a)
	}
	return decode[[]attached](s.t, a.body)
}

// settled asks until no text is being read any more.
func (s *server) settled(path string) (list []attached) {
	s.t.Helper()
	for end := time.Now().Add(patience); ; {
		list = s.attachments(path)
		if !slices.ContainsFunc(list, func(a attached) bool { return a.Status == "processing" }) {
			return list
		}
		if time.Now().After(end) {
			s.t.Fatalf("not read in time: %+v", list)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// below lists the files and folders below a folder.
func below(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && path != dir {
			paths = append(paths, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

const session = "20260501_120000_abc123"

// Every format is read, by its content, in the desktop client's dialect: the
// client uploads to the id that its conversation will have.
func TestAttachmentsAreRead(t *testing.T) {
	t.Parallel()
	s := start(t)
	const at = "/v1/attachments/general/" + session
	if got := s.attachments(at); len(got) != 0 || string(s.get(at).body) != "[]" {
		t.Errorf("before: %v", got)
	}
	picture := aPicture(t)
	list := s.attach(at+"/upload",
		"files/notes.md", "# Ferry\n\nleaves at 07:30", "files/table.csv", "a,b\n1,2", "files/data.json", `{"ferry":1}`, "files/wide.txt", "\xff\xfeF\x00\xe4\x00",
		"files/page.html", "<h1>Ferry</h1><script>alert(1)</script>", "files/paper.pdf", pdfSaying("Ferry in a PDF"), "files/letter.docx", wordSaying(t, "Ferry in Word"),
		"files/sheet.xlsx", sheetSaying(t, "Ferry in Excel"), "files/deck.pptx", slideSaying(t, "Ferry on a slide"), "files/photo.png", picture,
		"files/liar.txt", pdfSaying("A PDF all the same"), "files/blob.bin", "\x00\x01\x02\x03", "files/bad.pdf", "%PDF-1.4 "+strings.Repeat("x", 500))
	if len(list) != 13 {
		t.Fatalf("%+v", list)
	}
	for _, a := range list {
		if a.Status != "processing" && a.Status != "ready" && a.Status != "failed" || a.Size == 0 || a.Size != a.Bytes || a.Name != a.Filename || a.SessionID != session ||
			a.Project != "general" || !regexp.MustCompile(`^att_[0-9a-f]{16}$`).MatchString(a.ID) ||
			!regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$`).MatchString(a.CreatedAt) {
			t.Errorf("%+v", a)
		}
		if a.Path != filepath.Join(s.projects(), "general/.anton/uploads", session, a.ID, a.Name) {
			t.Errorf("path %s", a.Path)
		}
	}
	want := map[string][2]string{ // by name: type and text, or why not
		"notes.md": {"text/markdown", "# Ferry leaves at 07:30"}, "table.csv": {"text/csv", "a,b 1,2"}, "data.json": {"application/json", `{"ferry":1}`},
		"wide.txt": {"text/plain", "Fä"}, "page.html": {"text/html", "# Ferry"}, "paper.pdf": {"application/pdf", "Ferry in a PDF"},
		"letter.docx": {"application/vnd.openxmlformats-officedocument.wordprocessingml.document", "Ferry in Word"},
		"sheet.xlsx":  {"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "## Sheet: Sheet1 ,Ferry in Excel"},
		"deck.pptx":   {"application/vnd.openxmlformats-officedocument.presentationml.presentation", "## Slide 1 Ferry on a slide"},
		"photo.png":   {"image/png", ""}, "liar.txt": {"application/pdf", "A PDF all the same"},
		"blob.bin": {"application/octet-stream", "No text can be read from a file of this kind (application/octet-stream)."},
		"bad.pdf":  {"application/pdf", "The file is damaged, or not what its name says: it could not be read to its end."},
	}
	read := s.settled(at)
	if len(read) != len(want) || read[0].Name != "bad.pdf" || read[12].Name != "notes.md" {
		t.Fatalf("newest first: %+v", read)
	}
	for _, a := range read {
		w := want[a.Name]
		failed := a.Name == "blob.bin" || a.Name == "bad.pdf"
		if a.MIME != w[0] || failed && (a.Status != "failed" || a.Reason != w[1]) || !failed && (a.Status != "ready" || a.Reason != "" || a.TextPreview != w[1]) {
			t.Errorf("%+v", a)
		}
		if hasText := a.TextPreview != ""; hasText != (a.TextPath != "") || hasText != (a.TextLength > 0) {
			t.Errorf("%+v", a)
		}
	}
	one, two := read[12], read[0]
	if got := s.attachments(at + "?ids=" + one.ID + "&ids=" + two.ID + "&ids=att_0000000000000000"); len(got) != 2 || got[0].ID != two.ID {
		t.Errorf("by ids: %+v", got)
	}
	a := s.get("/v1/attachments/" + one.ID)
	if got := decode[attached](t, a.body); got != one {
		t.Errorf("%+v, want %+v", got, one)
	}
	rpc, err := antonv1.NewAttachmentsServiceClient(s.dial()).ListAttachments(s.call(), &antonv1.ListAttachmentsRequest{Project: "general", SessionId: session})
	if err != nil || len(rpc.Attachments) != len(read) {
		t.Fatalf("gRPC: %v %v", rpc, err)
	}
	for i, g := range rpc.Attachments {
		r := read[i]
		if g.Id != r.ID || g.Name != r.Name || g.Mime != r.MIME || int(g.Size) != r.Size || g.Path != r.Path || g.Status != r.Status || g.Reason != r.Reason ||
			g.CreatedAt != r.CreatedAt || g.TextPreview != r.TextPreview || g.TextPath != r.TextPath || int(g.TextLength) != r.TextLength {
			t.Errorf("gRPC %v\nREST %+v", g, r)
		}
	}
}

// The published page's dialect: fields in the form, before or behind the files.
func TestAttachmentsOfThePage(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.post("/v1/projects", object{"name": "work"}).ok()
	for i, pairs := range [][]string{
		{"project", "work", "session_id", "s1", "files/a.txt", "A", "files/b.txt", "B"},
		{"files/a.txt", "A", "project", "work", "files/b.txt", "B", "session_id", "s1", "other", "x"},
		{"file/a.txt", "A", "session_id", "s1", "file/b.txt", "B", "project", "work"},
	} {
		list := s.attach("/v1/attachments/upload", pairs...)
		if len(list) != 2 || list[0].Name != "a.txt" || list[1].Name != "b.txt" || list[0].Project != "work" || list[1].SessionID != "s1" {
			t.Fatalf("%d: %+v", i, list)
		}
		if b, err := os.ReadFile(list[1].Path); err != nil || string(b) != "B" {
			t.Errorf("%q %v", b, err)
		}
	}
	pending := s.attach("/v1/attachments/upload", "file/p.txt", "P")
	if pending[0].Project != "general" || pending[0].SessionID == "" {
		t.Errorf("no fields: %+v", pending)
	}
	for query, want := range map[string]int{"": 7, "?project=work": 6, "?project=all": 7, "?session_id=s1": 6, "?project=general": 1, "?project=general&session_id=s1": 0,
		"?limit=2": 2, "?session_id=" + pending[0].SessionID: 1} {
		if got := s.settled("/v1/attachments" + query); len(got) != want {
			t.Errorf("%s: %d, want %d", query, len(got), want)
		}
	}
	for path, status := range map[string]int{"?project=unknown": 404, "?session_id=a%2Fb": 400, "?limit=0x": 422, "?limit=5000": 422} {
		if a := s.get("/v1/attachments" + path); a.status != status {
			t.Errorf("%v, want %d", a, status)
		}
	}
	if o := s.delete("/v1/attachments/" + pending[0].ID).ok(); o["ok"] != true {
		t.Errorf("%v", o)
	}
	s.delete("/v1/attachments/"+pending[0].ID).refused(404, "Attachment not found")
	if got := below(t, filepath.Join(s.projects(), "general/.anton/uploads")); got != nil {
		t.Errorf("left behind: %q", got)
	}
}

// Nothing that could run in a page is shown by a browser from the API's origin.
func TestAttachmentsRaw(t *testing.T) {
	t.Parallel()
	s := start(t)
	picture := aPicture(t)
	list := s.attach("/v1/attachments/general/s/upload", "files/photo.png", picture, "files/ü b.txt", "text", "files/page.html", "<script>1</script>",
		"files/pic.svg", "<svg onload=alert(1)>", "files/x.json", "{}", "files/doc.pdf", pdfSaying("x"), "files/fake.png", "<html><script>1</script>", "files/empty", "")
	want := map[string][2]string{
		"photo.png": {"image/png", "inline"}, "ü b.txt": {"text/plain; charset=utf-8", "inline"}, "page.html": {"text/html", "attachment"},
		"pic.svg": {"image/svg+xml", "attachment"}, "x.json": {"text/plain; charset=utf-8", "inline"}, "doc.pdf": {"application/pdf", "attachment"},
		"fake.png": {"text/html", "attachment"}, "empty": {"text/plain; charset=utf-8", "inline"},
	}
	for _, a := range list {
		path := "/v1/attachments/general/s/" + a.ID + "/raw"
		raw := s.get(path)
		w, h := want[a.Name], raw.header
		if raw.status != 200 || h.Get("Content-Type") != w[0] || !strings.HasPrefix(h.Get("Content-Disposition"), w[1]+"; filename*=UTF-8''") ||
			h.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(h.Get("Content-Security-Policy"), "sandbox") || len(raw.body) != a.Size {
			t.Errorf("%s: %v %v", a.Name, raw.status, h)
		}
		if a.Name == "photo.png" && string(raw.body) != picture {
			t.Error("the bytes differ")
		}
		for _, wrong := range []string{"/v1/attachments/other/s/", "/v1/attachments/general/other/"} {
			s.get(wrong+a.ID+"/raw").refused(404, "Attachment not found")
			s.delete(wrong+a.ID).refused(404, "Attachment not found")
		}
	}
	s.do(http.MethodPost, "/v1/attachments/other/s/"+list[0].ID+"/move-to-project", nil).refused(404, "Attachment not found")
	s.put("/v1/projects/general/files/photo.png", object{"content": "mine"}).ok()
	o := s.do(http.MethodPost, "/v1/attachments/general/s/"+list[0].ID+"/move-to-project", nil).ok()
	if o["ok"] != true || o["project_path"] != "photo (2).png" || o["absolute_path"] != filepath.Join(s.projects(), "general/photo (2).png") {
		t.Errorf("%v", o)
	}
	if b, err := os.ReadFile(str(o, "absolute_path")); err != nil || string(b) != picture {
		t.Errorf("moved: %v", err)
	}
	s.get("/v1/attachments/general/s/"+list[0].ID+"/raw").refused(404, "Attachment not found")
	if o := s.delete("/v1/attachments/general/s/" + list[1].ID).ok(); o["ok"] != true {
		t.Errorf("%v", o)
	}
	if got := s.attachments("/v1/attachments/general/s"); len(got) != 6 {
		t.Errorf("%+v", got)
	}
	// With the project everything goes, at once for readers.
	s.post("/v1/projects", object{"name": "gone"}).ok()
	doomed := s.attach("/v1/attachments/gone/s2/upload", "files/a.txt", "x")[0]
	renamed := str(s.patch("/v1/projects/gone", object{"name": "renamed"}).ok(), "name")
	if a := s.get("/v1/attachments/" + renamed + "/s2/" + doomed.ID + "/raw"); string(a.body) != "x" {
		t.Errorf("after a rename: %v", a)
	}
	s.delete("/v1/projects/renamed").ok()
	s.get("/v1/attachments/"+doomed.ID).refused(404, "Attachment not found")
	s.get("/v1/attachments/renamed/s2").refused(404, "Project not found")
	if got := s.attachments("/v1/attachments"); len(got) != 6 {
		t.Errorf("%+v", got)
	}
}

func TestAttachmentsRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	const at = "/v1/attachments/general/" + session
	s.attach(at+"/upload", "files/a.txt", "x")
	s.settled(at)
	before := below(t, s.projects())
	for _, upload := range []string{at + "/upload", "/v1/attachments/upload"} {
		for what, a := range map[string]answer{
			"no form": s.post(upload, object{"files": "x"}), "no file": s.uploadTo(upload, "project", "general"), "no files field": s.uploadTo(upload, "data/a.txt", "x"),
			"a field called files": s.uploadTo(upload, "files", "x"),
		} {
			if o := a.object(); a.status != 422 || fmt.Sprint(o["detail"]) == "" || !strings.Contains(fmt.Sprint(o["detail"]), "files") {
				t.Errorf("%s: %v", what, a)
			}
		}
		s.do(http.MethodPost, upload, "--x\r\nContent-Disposition: form-data; name=\"files\"; filename=\"a\"\r\n\r\nhalf", headers("Content-Type", "multipart/form-data; boundary=x")).
			refused(400, "The request body could not be read")
		s.uploadTo(upload, "files/a.txt", "x", `files/..\..\x.txt`, "x").refused(400, "Folders are not accepted in a name")
	}
	s.uploadTo("/v1/attachments/upload", "project", "../general", "files/a", "x").refused(404, "Project not found")
	s.uploadTo("/v1/attachments/upload", "session_id", "..", "files/a", "x").refused(400, "A session id has 1 to 128 letters, digits, '.', '_', '~' or '-'")
	s.uploadTo("/v1/attachments/unknown/s/upload", "files/a", "x").refused(404, "Project not found")
	for _, bad := range []string{"..", "%2e%2e", "a%2Fb", "..%2f..%2fx", "a:b", "a%00b", "a%5Cb", "%252e%252e%252f", strings.Repeat("s", 129)} {
		for _, a := range []answer{s.uploadTo("/v1/attachments/general/"+bad+"/upload", "files/a", "x"), s.get("/v1/attachments/general/" + bad),
			s.uploadTo("/v1/attachments/"+bad+"/s/upload", "files/a", "x"), s.get("/v1/attachments/" + bad + "/s"), s.get("/v1/attachments/" + bad),
			s.get(at + "/" + bad + "/raw"), s.delete(at + "/" + bad), s.do(http.MethodPost, at+"/"+bad+"/move-to-project", nil), s.delete("/v1/attachments/" + bad)} {
			if a.status < 400 && a.status != http.StatusTemporaryRedirect || a.status > 499 || strings.Contains(string(a.body), "root:") {
				t.Errorf("%s: %v", bad, a)
			}
		}
	}
	s.get(at+"/att_xyz/raw").refused(400, "Invalid attachment id")
	s.delete("/v1/attachments/att_xyz").refused(400, "Invalid attachment id")
	s.get(at+"/att_0123456789abcdef/raw").refused(404, "Attachment not found")
	if after := below(t, s.projects()); !slices.Equal(after, before) {
		t.Errorf("something was written: %q, before %q", after, before)
	}
	// A name that tries to lead elsewhere is cut to its last part.
	if got := s.attach(at+"/upload", "files/../../../etc/passwd", "x"); got[0].Name != "passwd" || filepath.Dir(got[0].Path) != filepath.Join(s.projects(), "general/.anton/uploads", session, got[0].ID) {
		t.Errorf("%+v", got)
	}
}

// endless is a file of this size inside a form, made up as it is read.
func endless(size int64) (body io.Reader, header http.Header) {
	head := "--x\r\nContent-Disposition: form-data; name=\"files\"; filename=\"large.bin\"\r\n\r\n"
	return struct{ io.Reader }{io.MultiReader(strings.NewReader(head), io.LimitReader(zeros{}, size), strings.NewReader("\r\n--x--\r\n"))},
		headers("Content-Type", "multipart/form-data; boundary=x")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A file that is too large is refused, whatever it says of its length, and
// nothing of it stays.
func TestAttachmentsTooLarge(t *testing.T) {
	t.Parallel()
	s := start(t)
	body, h := endless(100<<20 + 1)
	s.do(http.MethodPost, "/v1/attachments/general/s/upload", body, h).refused(http.StatusRequestEntityTooLarge, "large.bin exceeds 100 MiB")
	body, h = endless(100<<20 + 1)
	s.do(http.MethodPost, "/v1/attachments/upload", body, h).refused(http.StatusRequestEntityTooLarge, "large.bin exceeds 100 MiB")
	var pairs []string
	for i := range 51 {
		pairs = append(pairs, fmt.Sprintf("files/%d.txt", i), "x")
	}
	s.uploadTo("/v1/attachments/general/s/upload", pairs...).refused(http.StatusRequestEntityTooLarge, "One call takes up to 50 files.")
	if got := s.attachments("/v1/attachments"); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	if got := below(t, filepath.Join(s.projects(), "general/.anton/uploads")); got != nil {
		t.Errorf("%q", got)
	}
	s.attach("/v1/attachments/general/s/upload", pairs[:2]...)
}

// swelling is an archive that says that it unpacks to very much.
func swelling(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, part := range []string{"xl/workbook.xml", "xl/sharedStrings.xml"} {
		if _, err := z.CreateRaw(&zip.FileHeader{Name: part, Method: zip.Deflate, UncompressedSize64: 1 << 30}); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Files that would take all memory or time say so, and the server goes on.
func TestAttachmentsHostile(t *testing.T) {
	t.Parallel()
	s := start(t)
	const at = "/v1/attachments/general/s"
	lie := "%PDF-1.4\n" + strings.Repeat("%\n", 60)
	lie += fmt.Sprintf("xref\n1000000000 1\n0000000000 65535 f \ntrailer\n<< /Size 9 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(lie))
	s.attach(at+"/upload",
		"files/lie.pdf", lie,
		"files/deep.pdf", pdfSaying("x")[:9]+strings.Repeat("[", 3_000_000)+"\nstartxref\n9\n%%EOF\n",
		"files/bomb.xlsx", swelling(t),
		"files/deep.docx", wordSaying(t, strings.Repeat("<b>", 100_000)),
		"files/entities.docx", zipped(t, "word/document.xml", `<!DOCTYPE d [<!ENTITY a SYSTEM "file:///etc/passwd">]><d><t>&a;</t></d>`),
		"files/deep.html", strings.Repeat("<div>", 200_000)+"inside",
		"files/good.txt", "still here")
	for _, a := range s.settled(at) {
		switch {
		case a.Name == "good.txt" && a.TextPreview != "still here", a.Name == "deep.html" && a.TextPreview != "inside":
			t.Errorf("%+v", a)
		case a.Name != "good.txt" && a.Name != "deep.html" && (a.Status != "failed" || len(a.Reason) < 20 || a.TextPreview != ""):
			t.Errorf("%+v", a)
		}
	}
	if o := s.get("/health").ok(); o["status"] != "ok" {
		t.Errorf("%v", o)
	}
}

// A client that hangs up in the middle of a file leaves nothing of it, nor of
// those before.
func TestAttachmentsHangUp(t *testing.T) {
	t.Parallel()
	spool := t.TempDir()
	s := start(t, withEnv("TMPDIR="+spool))
	uploads := filepath.Join(s.projects(), "general/.anton/uploads")
	whole, h := fields(t, "files/a.txt", "first", "files/b.bin", strings.Repeat("x", 3<<20), "session_id", "s")
	for _, path := range []string{"/v1/attachments/general/s/upload", "/v1/attachments/upload"} {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		_, err = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", path, s.addr, h.Get("Content-Type"), len(whole), whole[:2<<20])
		if err != nil {
			t.Fatal(err)
		}
		streamed := strings.Contains(path, "general")
		for end := time.Now().Add(patience); streamed && below(t, uploads) == nil; <-time.After(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the files do not arrive")
			}
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(patience); below(t, uploads) != nil; <-time.After(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("left behind: %q", below(t, uploads))
			}
		}
	}
	if got := s.attachments("/v1/attachments"); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	s.stop()
	if left := below(t, spool); left != nil {
		t.Errorf("%q", left)
	}
}

// kill -9 while files come in leaves nothing of them; while one is read, it is
// read after the restart.
func TestAttachmentsSurviveKill(t *testing.T) {
	t.Parallel()
	s := start(t)
	const at = "/v1/attachments/general/s"
	kept := s.attach(at+"/upload", "files/kept.txt", "kept")[0]
	for round := range 3 {
		uploads := filepath.Join(s.projects(), "general/.anton/uploads")
		before := len(below(t, uploads))
		ctx, cancel := context.WithCancel(t.Context())
		up, err := antonv1.NewAttachmentsServiceClient(s.dial()).UploadAttachments(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for i := range round + 1 { // the last one is still coming in
			for _, m := range []*antonv1.UploadAttachmentsRequest{
				{Part: &antonv1.UploadAttachmentsRequest_Header{Header: &antonv1.AttachmentHeader{Project: "general", SessionId: "s", Name: fmt.Sprintf("half%d.txt", i)}}},
				{Part: &antonv1.UploadAttachmentsRequest_Data{Data: bytes.Repeat([]byte("x"), 1<<20)}},
			} {
				if err := up.Send(m); err != nil {
					t.Fatal(err)
				}
			}
		}
		for end := time.Now().Add(patience); len(below(t, uploads)) < before+2*(round+1); <-time.After(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the files do not arrive: %q", below(t, uploads))
			}
		}
		s.kill()
		cancel()
		s.restart()
		// What the crash left is cleared away behind the start.
		for end := time.Now().Add(patience); ; <-time.After(20 * time.Millisecond) {
			left := below(t, uploads)
			if !slices.ContainsFunc(left, func(p string) bool { return strings.Contains(p, "half") || strings.HasSuffix(p, ".part") }) && len(left) == 4 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("left behind: %q", left)
			}
		}
		list := s.settled(at)
		if len(list) != 1 || list[0].ID != kept.ID || list[0].TextPreview != "kept" {
			t.Fatalf("round %d: %+v", round, list)
		}
	}
	// An upload that was acknowledged survives, and is read in the end.
	slow := s.attach(at+"/upload", "files/slow.docx", wordSaying(t, strings.Repeat("word ", 400_000)+"end"))[0]
	s.kill()
	s.restart()
	for _, a := range s.settled(at) {
		if a.ID == slow.ID && (a.Status != "ready" || a.TextLength < 1_999_000 || !strings.HasPrefix(a.TextPreview, "word word")) {
			t.Errorf("%+v", a)
		}
	}
}
