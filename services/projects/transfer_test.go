package projects

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	antonv1 "anthill/gen/anton/v1"
)

func header(project, name string) *antonv1.UploadFilesRequest {
	return &antonv1.UploadFilesRequest{Part: &antonv1.UploadFilesRequest_Header{
		Header: &antonv1.UploadHeader{Project: project, Name: name}}}
}

func data(b string) *antonv1.UploadFilesRequest {
	return &antonv1.UploadFilesRequest{Part: &antonv1.UploadFilesRequest_Data{Data: []byte(b)}}
}

func (h *house) upload(parts ...*antonv1.UploadFilesRequest) ([]*antonv1.UploadResult, error) {
	h.t.Helper()
	stream, err := h.files.UploadFiles(h.t.Context())
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
	return a.GetResults(), err
}

// download checks the stream's shape and returns its bytes.
func (h *house) download(project, path string) ([]byte, error) {
	h.t.Helper()
	stream, err := h.files.DownloadFile(h.t.Context(), &antonv1.DownloadFileRequest{Project: project, Path: path})
	if err != nil {
		return nil, err
	}
	first, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	head := first.GetHeader()
	if head == nil || head.Modified == nil || head.Name != filepath.Base(head.Path) {
		h.t.Fatalf("first message %v", first)
	}
	var all bytes.Buffer
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if n := len(m.GetData()); n == 0 || n > sendChunk {
			h.t.Fatalf("a chunk of %d bytes", n)
		}
		all.Write(m.GetData())
	}
	if all.Len() != int(head.Size) {
		h.t.Fatalf("%d bytes, the header says %v", all.Len(), head.Size)
	}
	return all.Bytes(), nil
}

func TestUploadAndDownload(t *testing.T) {
	h := newHouse(t)
	h.create("work")
	h.put("work/replaced.txt", "old")
	h.mkdir("work/folder")
	large := strings.Repeat("0123456789abcdef", 64<<10)[:1<<20]
	results, err := h.upload(
		header("work", "a.txt"), data("one "), data("two"),
		header("", ".env"), data("SECRET"),
		header("", "../up.txt"), data("x"),
		header("work", `c:\x.txt`), data("x"),
		header("", ""), data("x"),
		header("", "empty.txt"),
		header("", "folder"), data("x"),
		header("", "replaced.txt"), data("new"),
		header("", "a\x00b"),
		header("", strings.Repeat("n", 256)),
		header("", "bild ü.png"), data(large), data(large), data("end"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range results {
		if (r.Error == "") != r.Ok || r.Error != "" && r.Size != 0 {
			t.Errorf("%v", r)
		}
		got = append(got, fmt.Sprintf("%.12q %v %s", r.Name, r.Size, r.Error))
	}
	want := []string{`"a.txt" 7 `, `".env" 0 Names that begin with a dot are not accepted`,
		`"../up.txt" 0 Folders are not accepted in a name`, `"c:\\x.txt" 0 Folders are not accepted in a name`,
		`"" 0 Invalid file name`, `"empty.txt" 0 `, `"folder" 0 A folder has this name`, `"replaced.txt" 3 `,
		`"a\x00b" 0 Invalid file name`, `"nnnnnnnnnnnn" 0 Invalid file name`, `"bild ü.png" 2.097155e+06 `}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	h.wantFiles("work", ".anton/anton.md?", "a.txt", "bild ü.png", "empty.txt", "folder/", "replaced.txt")
	for name, content := range map[string]string{"a.txt": "one two", "empty.txt": "", "replaced.txt": "new", "bild ü.png": large + large + "end"} {
		if b, err := h.download("work", name); err != nil || string(b) != content {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
	for path, reason := range map[string][2]string{
		"nothing":         {"FILE_NOT_FOUND", "File not found"},
		".anton/anton.md": {"FILE_NOT_FOUND", "File not found"},
		"folder":          {"PATH_IS_DIRECTORY", "Path is a directory"},
		"../x":            {"INVALID_PATH", "Invalid path"},
	} {
		_, err := h.download("work", path)
		wantFault(t, err, reason[0], reason[1])
	}
	_, err = h.download("nobody", "x")
	wantFault(t, err, "PROJECT_NOT_FOUND", "Project not found")
}

func TestUploadRefusals(t *testing.T) {
	h := newHouse(t)
	h.create("work")
	_, err := h.upload()
	wantFault(t, err, "INVALID_FIELD", "Field required")
	_, err = h.upload(data("x"))
	wantFault(t, err, "INVALID_UPLOAD", "Data came before a header")
	_, err = h.upload(header("work", "a"), &antonv1.UploadFilesRequest{})
	wantFault(t, err, "INVALID_UPLOAD", "A part is neither a header nor data")
	_, err = h.upload(header("work", "a"), data(strings.Repeat("x", uploadChunk+1)))
	wantFault(t, err, "INVALID_UPLOAD", "A part carries up to 1048576 bytes")
	_, err = h.upload(header("nobody", "a"), data("x"))
	wantFault(t, err, "PROJECT_NOT_FOUND", "Project not found")
	_, err = h.upload(header("", "a"))
	wantFault(t, err, "PROJECT_NOT_FOUND", "Project not found")
	h.wantFiles("work", ".anton/anton.md?")

	// The whole files before the fault stay.
	_, err = h.upload(header("work", "kept"), data("x"), header("general", "b"), data("x"))
	wantFault(t, err, "INVALID_UPLOAD", "One call uploads into one project")
	h.wantFiles("work", ".anton/anton.md?", "kept")
}

func TestUploadLimits(t *testing.T) {
	h := newHouse(t)
	h.create("work")
	h.put("work/big", "old")
	parts := []*antonv1.UploadFilesRequest{header("work", "big")}
	chunk := data(strings.Repeat("x", uploadChunk))
	for range uploadMax / uploadChunk {
		parts = append(parts, chunk)
	}
	parts = append(parts, data("x"), chunk, header("", "next"), data("x"))
	results, err := h.upload(parts...)
	if err != nil || len(results) != 2 {
		t.Fatal(results, err)
	}
	if r := results[0]; r.Ok || r.Error != "File exceeds 100 MiB cap" || r.Size != 0 {
		t.Errorf("%v", r)
	}
	if !results[1].Ok {
		t.Errorf("%v", results[1])
	}
	if b, err := h.download("work", "big"); err != nil || string(b) != "old" {
		t.Errorf("%d bytes, %v", len(b), err)
	}

	parts = []*antonv1.UploadFilesRequest{header("work", "last")}
	for range uploadFiles {
		parts = append(parts, header("", ".refused"))
	}
	_, err = h.upload(parts...)
	wantFault(t, err, "TOO_MANY_FILES", "One call takes up to 1000 files. Those are stored: send the rest in another.")
	h.wantFiles("work", ".anton/anton.md?", "big", "last", "next")
	h.wantNoParts()
}

// TestBrokenUpload: a call that breaks off leaves nothing of its last file.
func TestBrokenUpload(t *testing.T) {
	h := newHouse(t)
	h.create("work")
	h.put("work/b.txt", "old")
	ctx, cancel := context.WithCancel(t.Context())
	stream := &brokenUpload{ctx: ctx, parts: []*antonv1.UploadFilesRequest{
		header("work", "a.txt"), data("whole"), header("", "b.txt"), data("half")}}
	err := filesService{room: h.room}.UploadFiles(stream)
	cancel()
	if status.Code(err) != codes.Canceled || stream.answered {
		t.Errorf("error %v, answered %v", err, stream.answered)
	}
	for name, content := range map[string]string{"a.txt": "whole", "b.txt": "old"} {
		if b, err := h.download("work", name); err != nil || string(b) != content {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	h.wantNoParts()
}

// wantNoParts checks that no unfinished file is left.
func (h *house) wantNoParts() {
	h.t.Helper()
	entries, err := os.ReadDir(filepath.Join(h.dir, "work"))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			h.t.Errorf("left behind: %s", e.Name())
		}
	}
}

// brokenUpload is a stream whose client is lost after the parts.
type brokenUpload struct {
	grpc.ServerStream
	ctx      context.Context
	parts    []*antonv1.UploadFilesRequest
	answered bool
}

func (s *brokenUpload) Context() context.Context { return s.ctx }

func (s *brokenUpload) Recv() (*antonv1.UploadFilesRequest, error) {
	if len(s.parts) == 0 {
		return nil, status.Error(codes.Canceled, "the client went away")
	}
	p := s.parts[0]
	s.parts = s.parts[1:]
	return p, nil
}

func (s *brokenUpload) SendAndClose(*antonv1.UploadFilesResponse) error {
	s.answered = true
	return nil
}
