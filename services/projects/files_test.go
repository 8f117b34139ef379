package projects

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	antonv1 "anthill/gen/anton/v1"
)

func (h *house) read(project, path string) (*antonv1.FileContent, error) {
	return h.files.ReadFile(h.t.Context(), &antonv1.ReadFileRequest{Project: project, Path: path})
}

func (h *house) write(project, path, content string) (*antonv1.WriteFileResponse, error) {
	return h.files.WriteFile(h.t.Context(), &antonv1.WriteFileRequest{Project: project, Path: path, Content: &content})
}

func (h *house) deleteFile(project, path string) error {
	_, err := h.files.DeleteFile(h.t.Context(), &antonv1.DeleteFileRequest{Project: project, Path: path})
	return err
}

func (h *house) listFiles(project string) (paths []string) {
	h.t.Helper()
	l, err := h.files.ListFiles(h.t.Context(), &antonv1.ListFilesRequest{Project: project})
	if err != nil {
		h.t.Fatal(err)
	}
	if l.Truncated {
		h.t.Error("truncated")
	}
	for _, f := range l.Files {
		if (f.Modified == nil) != f.Synthetic || filepath.Base(f.Path) != f.Name {
			h.t.Errorf("listed as %v", f)
		}
		mark := ""
		switch {
		case f.Synthetic:
			mark = "?"
		case f.IsDir:
			mark = "/"
		}
		paths = append(paths, f.Path+mark)
	}
	return paths
}

func (h *house) wantFiles(project string, paths ...string) {
	h.t.Helper()
	if got := h.listFiles(project); !slices.Equal(got, paths) {
		h.t.Errorf("files %q, want %q", got, paths)
	}
}

func TestInstructions(t *testing.T) {
	h := newHouse(t)
	h.create("work")
	get := func() *antonv1.ProjectFile {
		t.Helper()
		a, err := h.files.GetInstructions(t.Context(), &antonv1.GetInstructionsRequest{Project: "work"})
		if err != nil {
			t.Fatal(err)
		}
		return a.File
	}
	if f := get(); !f.Synthetic || f.Modified != nil || f.Size != 0 || f.Path != ".anton/anton.md" || f.Name != "anton.md" || f.IsDir {
		t.Errorf("absent: %v", f)
	}
	if c, err := h.read("work", ".anton/anton.md"); err != nil || c.Content != "" || c.Modified != nil || c.Size != 0 || c.Path != ".anton/anton.md" {
		t.Errorf("absent: %v %v", c, err)
	}
	h.wantFiles("work", ".anton/anton.md?")
	wantFault(t, h.deleteFile("work", ".anton/anton.md"), "FILE_NOT_FOUND", "File not found")
	if _, err := os.Stat(filepath.Join(h.dir, "work", ".anton")); err == nil {
		t.Error("reading made .anton")
	}
	if _, err := h.write("work", "./.anton//anton.md", "be brief"); err != nil {
		t.Fatal(err)
	}
	if f := get(); f.Synthetic || f.Modified == nil || f.Size != 8 {
		t.Errorf("present: %v", f)
	}
	h.put("work/.a", "x")
	h.wantFiles("work", ".anton/anton.md", ".a", ".anton/")
}

func TestReadWriteDelete(t *testing.T) {
	h := newHouse(t)
	h.create("work")
	w, err := h.write("work", "a/b/ü.txt", "hellö")
	if err != nil || w.Path != "a/b/ü.txt" || w.Size != 6 || w.Modified < 1e9 {
		t.Fatal(w, err)
	}
	c, err := h.read("work", "a/b/ü.txt")
	if err != nil || c.Content != "hellö" || c.Size != 6 || c.GetModified() != w.Modified {
		t.Fatal(c, err)
	}
	h.wantFiles("work", ".anton/anton.md?", "a/", "a/b/", "a/b/ü.txt")

	limit := strings.Repeat("x", textMax)
	if _, err := h.write("work", "big", limit); err != nil {
		t.Fatal(err)
	}
	if c, err := h.read("work", "big"); err != nil || c.Content != limit {
		t.Fatal(err)
	}
	_, err = h.write("work", "big", limit+"x")
	wantFault(t, err, "FILE_TOO_LARGE", "Content exceeds 2 MiB cap")
	h.put("work/huge", limit+"x")
	_, err = h.read("work", "huge")
	wantFault(t, err, "FILE_TOO_LARGE", "File exceeds 2 MiB cap")
	h.put("work/latin1", "h\xe9llo")
	_, err = h.read("work", "latin1")
	wantFault(t, err, "FILE_NOT_TEXT", "File is not UTF-8 text")
	h.put("work/empty", "")
	if c, err := h.read("work", "empty"); err != nil || c.Content != "" || c.Modified == nil {
		t.Error(c, err)
	}

	_, err = h.read("work", "nothing")
	wantFault(t, err, "FILE_NOT_FOUND", "File not found")
	_, err = h.read("work", "big/below")
	wantFault(t, err, "FILE_NOT_FOUND", "File not found")
	_, err = h.write("work", "big/below", "x")
	wantFault(t, err, "INVALID_PATH", "Invalid path")
	wantFault(t, h.deleteFile("work", "nothing"), "FILE_NOT_FOUND", "File not found")
	const dir = "Path is a directory"
	_, err = h.read("work", "a/b")
	wantFault(t, err, "PATH_IS_DIRECTORY", dir)
	_, err = h.write("work", "a/b", "x")
	wantFault(t, err, "PATH_IS_DIRECTORY", dir)
	wantFault(t, h.deleteFile("work", "a/b"), "PATH_IS_DIRECTORY", dir)
	if err := h.deleteFile("work", "a/b/ü.txt"); err != nil {
		t.Error(err)
	}
	wantFault(t, h.deleteFile("work", "a/b"), "PATH_IS_DIRECTORY", dir) // an empty one, too
	_, err = h.files.WriteFile(t.Context(), &antonv1.WriteFileRequest{Project: "work", Path: "x"})
	wantFault(t, err, "INVALID_FIELD", "Field required")

	for _, project := range []string{"", "nobody", "../projects", "WORK"} {
		_, err := h.read(project, "big")
		wantFault(t, err, "PROJECT_NOT_FOUND", "Project not found")
	}
}

func TestTraversal(t *testing.T) {
	h := newHouse(t)
	h.create("work")
	h.create("other")
	h.put("other/secret", "SECRET")
	h.put("secret", "SECRET")
	out := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(out, []byte("SECRET"), 0o644); err != nil {
		t.Fatal(err)
	}
	work := filepath.Join(h.dir, "work")
	for link, to := range map[string]string{"link": out, "up": "../other", "root": "/", "rel": "../secret", "dir": filepath.Dir(out), "loop": "loop"} {
		if err := os.Symlink(to, filepath.Join(work, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(out, filepath.Join(work, "hard")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", ".", "/", "..", "../secret", "../other/secret", "a/../../secret", "..\\secret", "/etc/passwd",
		"//etc/passwd", out, "C:\\x", "c:/x", "\x00", "a\x00b", "..\x00/secret", "link", "up/secret", "root/etc/passwd", "rel",
		"dir/secret", "loop", "loop/x", "hard", ".anton/../../secret", strings.Repeat("a/", 600), strings.Repeat("n", 300)} {
		t.Run(fmt.Sprintf("%.40q", path), func(t *testing.T) {
			want := func(err error) {
				t.Helper()
				if c := status.Code(err); c != codes.InvalidArgument && c != codes.NotFound {
					t.Errorf("error %v", err)
				}
			}
			_, err := h.read("work", path)
			want(err)
			_, err = h.download("work", path)
			want(err)
			switch path {
			case "link", "rel", "loop", "hard": // replaced by a plain file, without following it
				return
			}
			_, err = h.write("work", path, "x")
			want(err)
			want(h.deleteFile("work", path))
		})
	}
	for _, path := range []string{"link", "rel", "loop", "hard"} {
		if _, err := h.write("work", path, "mine"); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if c, err := h.read("work", path); err != nil || c.Content != "mine" {
			t.Errorf("%s: %v %v", path, c, err)
		}
	}
	for _, file := range []string{out, filepath.Join(h.dir, "secret"), filepath.Join(h.dir, "other", "secret")} {
		if data, err := os.ReadFile(file); err != nil || string(data) != "SECRET" {
			t.Errorf("%s: %q %v", file, data, err)
		}
	}
}

// TestTruncatedListing: what programs fill does not crowd out what people made.
func TestTruncatedListing(t *testing.T) {
	h := newHouse(t)
	h.create("work")
	h.put("work/zzz.txt", "x")
	h.put("work/src/.venv/x", "x")
	h.wantFiles("work", ".anton/anton.md?", "src/", "src/.venv/", "src/.venv/x", "zzz.txt")
	for i := range 4 {
		h.put(fmt.Sprintf("work/node_modules/%d", i), "x")
	}
	few := filesService{room: h.room, max: 5}
	l, err := few.ListFiles(t.Context(), &antonv1.ListFilesRequest{Project: "work"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range l.Files {
		got = append(got, f.Path)
	}
	if want := []string{".anton/anton.md", "src", "zzz.txt"}; !slices.Equal(got, want) || !l.Truncated {
		t.Errorf("files %q, truncated %v", got, l.Truncated)
	}
}
