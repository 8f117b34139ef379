package projects

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
)

func TestFreshHome(t *testing.T) {
	h := newHouse(t)
	h.wantList("general")
	if a := h.active(); a != "general" {
		t.Errorf("active %q", a)
	}
	_, err := h.rename("general", "other")
	wantFault(t, err, "PROJECT_PROTECTED", "Cannot rename the General project")
	wantFault(t, h.delete("general"), "PROJECT_PROTECTED", "Cannot delete the General project")
	id := h.id("general")
	h.reopen()
	if h.id("general") != id {
		t.Error("general is another project after a restart")
	}
	h.wantAgreement()
}

func TestCreateNeverFailsOnNaming(t *testing.T) {
	h := newHouse(t)
	names := []string{"", " ", "a", "A", "../x", "..", ".", "/etc/passwd", `c:\x`, "con", "CON", "nul.txt", "a\x00b",
		"日本語 プロジェクト", strings.Repeat("n", 300), strings.Repeat("n", 300), strings.Repeat("é", 300), "general",
		"General", ".hidden", "-x-", "a/b", "\u202eevil", "a\nb"}
	seen := map[string]bool{"general": true}
	for _, name := range names {
		p := h.create(name)
		if seen[fold(p.Name)] {
			t.Errorf("%q: %q is taken", name, p.Name)
		}
		seen[fold(p.Name)] = true
		if utf8.RuneCountInString(p.Name) > nameMax || !adoptable(p.Name) {
			t.Errorf("%q became %q", name, p.Name)
		}
	}
	if got := len(h.list()); got != len(names)+1 {
		t.Errorf("%d projects", got)
	}
	h.wantAgreement()
}

func TestCollisionsGetNumbers(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct{ ask, get string }{
		{"Report", "Report"}, {"report", "report-2"}, {"REPORT", "REPORT-3"}, {"report-2", "report-2-2"}} {
		if p := h.create(c.ask); p.Name != c.get || p.Renamed != (c.ask != c.get) {
			t.Errorf("%q became %v", c.ask, p)
		}
	}
	h.put("notes", "a file of that name")
	if p := h.create("notes"); p.Name != "notes-2" {
		t.Errorf("beside a file: %q", p.Name)
	}
	h.mkdir("Made")
	if p := h.create("made"); p.Name != "made-2" {
		t.Errorf("beside a folder made by hand: %q", p.Name)
	}
	h.wantList("general", "Made", "made-2", "notes-2", "Report", "report-2", "report-2-2", "REPORT-3")
}

func TestConcurrentCreates(t *testing.T) {
	h := newHouse(t)
	var wg sync.WaitGroup
	names := make([]string, 64)
	for i := range names {
		wg.Go(func() {
			name := []string{"same", "Same"}[i%2]
			p, err := h.projects.CreateProject(t.Context(), &antonv1.CreateProjectRequest{Name: &name})
			if err != nil {
				t.Error(err)
				return
			}
			names[i] = fold(p.Name)
		})
	}
	wg.Wait()
	slices.Sort(names)
	if got := len(slices.Compact(names)); got != 64 {
		t.Errorf("%d names", got)
	}
	if got := len(h.list()); got != 65 {
		t.Errorf("%d projects", got)
	}
	h.wantAgreement()
}

func TestRename(t *testing.T) {
	h := newHouse(t)
	p := h.create("old")
	h.put("old/keep.txt", "x")
	if err := h.setActive("old"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, ask, get string }{
		{"old", "New Name", "New-Name"}, {"New-Name", "New Name", "New-Name"}, {"New-Name", "new-name", "new-name"},
		{"new-name", "new-name", "new-name"}, {"new-name", "general", "general-2"}, {"general-2", "General", "General-2"},
		{"General-2", "", "untitled-project"}, {"untitled-project", "../x", "x"}} {
		got, err := h.rename(c.from, c.ask)
		if err != nil {
			t.Fatalf("%q to %q: %v", c.from, c.ask, err)
		}
		if got.Name != c.get || got.Id != p.Id || got.Renamed != (c.ask != c.get) || got.Requested != c.ask {
			t.Errorf("%q to %q: %v", c.from, c.ask, got)
		}
		if h.active() != c.get {
			t.Errorf("active %q after the rename to %q", h.active(), c.get)
		}
		if data, err := os.ReadFile(filepath.Join(got.Path, "keep.txt")); err != nil || string(data) != "x" {
			t.Errorf("%q: %q %v", c.get, data, err)
		}
		h.wantList("general", c.get)
	}
	h.create("old") // the name is free again
	for _, gone := range []string{"", "nobody", "X", "..", "../projects", ".trash-x", "x/", "general/../x"} {
		_, err := h.rename(gone, "y")
		wantFault(t, err, "PROJECT_NOT_FOUND", "Project not found")
	}
	h.wantAgreement()
}

func TestDelete(t *testing.T) {
	h := newHouse(t)
	p := h.create("doomed")
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.put("doomed/a/b/c.txt", "x")
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(p.Path, "a", "link")); err != nil {
		t.Fatal(err)
	}
	if err := h.setActive("doomed"); err != nil {
		t.Fatal(err)
	}
	h.convs.fails = 2
	if err := h.delete("doomed"); err != nil {
		t.Fatal(err)
	}
	if a := h.active(); a != "general" {
		t.Errorf("active %q", a)
	}
	h.wantList("general")
	wantFault(t, h.delete("doomed"), "PROJECT_NOT_FOUND", "Project not found")
	if again := h.create("doomed"); again.Name != "doomed" || again.Id == p.Id {
		t.Errorf("created again: %v", again)
	}
	h.purged()
	if calls := h.convs.calls(); !slices.Equal(calls, []string{p.Id, p.Id, p.Id}) {
		t.Errorf("conversations were asked %q", calls)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}
	h.wantAgreement()
}

func TestDeletedReadsAsGone(t *testing.T) {
	h := newHouse(t)
	h.close()
	o := h.options(h.db)
	o.Conversations = nil // so that nothing is cleared away yet
	room, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	h.serve(room)
	p := h.create("doomed")
	if err := h.delete("doomed"); err != nil {
		t.Fatal(err)
	}
	err = h.db.Update(t.Context(), func(tx store.Tx) error {
		if ok, err := room.Exists(tx, p.Id); ok || err != nil {
			t.Errorf("exists: %v %v", ok, err)
		}
		if _, ok, err := room.LookupID(tx, p.Id); ok || err != nil {
			t.Errorf("by id: %v %v", ok, err)
		}
		_, err := room.Lookup(tx, "doomed")
		return err
	})
	wantFault(t, asStatus(err), "PROJECT_NOT_FOUND", "Project not found: doomed")
	if _, err := room.Folder(t.Context(), p.Id); err == nil {
		t.Error("the folder of a deleted project opens")
	}
	if disk := h.onDisk(); !slices.Equal(disk, []string{trashPrefix + p.Id, "general"}) {
		t.Errorf("on disk %q", disk)
	}
	h.reopen() // with conversations: the job is taken up
	h.purged()
	if calls := h.convs.calls(); !slices.Equal(calls, []string{p.Id}) {
		t.Errorf("conversations were asked %q", calls)
	}
	h.wantAgreement()
}

func TestJoinLater(t *testing.T) {
	h := newHouse(t)
	h.close()
	o := h.options(h.db)
	o.Conversations = nil
	room, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	h.serve(room)
	p := h.create("doomed")
	if err := h.delete("doomed"); err != nil {
		t.Fatal(err)
	}
	room.Join(h.convs)
	room.Join(nil)
	h.purged()
	if calls := h.convs.calls(); !slices.Equal(calls, []string{p.Id}) {
		t.Errorf("conversations were asked %q", calls)
	}
	h.wantAgreement()
}

func TestAdoption(t *testing.T) {
	h := newHouse(t)
	for i := range 2*adoptBatch + 1 {
		h.mkdir("bulk-" + string(rune('a'+i%26)) + string(rune('a'+i/26)))
	}
	if got := len(h.list()); got != 2*adoptBatch+2 {
		t.Errorf("%d projects", got)
	}
	h = newHouse(t)
	h.mkdir("by hand")
	h.mkdir("By Hand") // differs in case only
	h.mkdir(".hidden")
	h.mkdir(`back\slash`)
	h.put("file", "x")
	if err := os.Symlink(t.TempDir(), filepath.Join(h.dir, "link")); err != nil {
		t.Fatal(err)
	}
	h.wantList("By Hand", "by hand", "general")
	if h.id("By Hand") == h.id("by hand") {
		t.Error("one project for two folders")
	}
	id := h.id("by hand")

	h.mkdir("unlisted") // resolved before it was ever listed
	p, err := h.room.Resolve(t.Context(), "unlisted")
	if err != nil || p.Name != "unlisted" {
		t.Fatal(p, err)
	}
	h.remove("unlisted")
	h.wantList("By Hand", "by hand", "general")
	h.mkdir("unlisted")
	h.wantList("By Hand", "by hand", "general", "unlisted")
	if h.id("unlisted") != p.ID {
		t.Error("a folder that came back is another project")
	}

	// The twin is renamed and deleted like any other, and frees its name.
	if got, err := h.rename("By Hand", "twin"); err != nil || got.Name != "twin" {
		t.Fatal(got, err)
	}
	if h.id("by hand") != id {
		t.Error("the other twin changed")
	}
	if err := h.delete("by hand"); err != nil {
		t.Fatal(err)
	}
	h.remove("general")
	h.wantList("general", "twin", "unlisted")
	if !isDir(filepath.Join(h.dir, "general")) {
		t.Error("general has no folder")
	}
}

func TestActive(t *testing.T) {
	h := newHouse(t)
	h.create("work")
	if err := h.setActive("work"); err != nil {
		t.Fatal(err)
	}
	h.reopen()
	if a := h.active(); a != "work" {
		t.Errorf("active %q after a restart", a)
	}
	for _, name := range []string{"", "nobody", "WORK", ".."} {
		wantFault(t, h.setActive(name), "PROJECT_NOT_FOUND", "Project not found")
	}
	_, err := h.projects.SetActiveProject(t.Context(), &antonv1.SetActiveProjectRequest{})
	wantFault(t, err, "INVALID_FIELD", "Field required")

	id := h.id("work")
	h.remove("work") // the pointer dangles and heals
	p, err := h.room.Resolve(t.Context(), "")
	if err != nil || p.Name != general {
		t.Errorf("active %v %v", p, err)
	}
	if a := h.active(); a != "general" {
		t.Errorf("active %q", a)
	}
	if err := h.setActive("work"); err != nil { // asking for it makes its folder again
		t.Fatal(err)
	}
	if h.active() != "work" || h.id("work") != id {
		t.Error("work did not come back")
	}
}

func TestResolve(t *testing.T) {
	h := newHouse(t)
	for _, name := range []string{"nobody", "../general", "general/", "GENERAL", ".", "\x00", strings.Repeat("x", 100_000)} {
		_, err := h.room.Resolve(t.Context(), name)
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != fault.NotFound || f.Reason != "PROJECT_NOT_FOUND" ||
			!strings.HasPrefix(f.Message, "Project not found: "+name[:1]) || len(f.Message) > 1000 {
			t.Errorf("%.20q: %v", name, err)
		}
	}
	err := h.db.View(t.Context(), func(rd store.Reader) error {
		p, err := h.room.Lookup(rd, "")
		if err != nil || p.Name != general || p.Path != filepath.Join(h.dir, general) {
			t.Errorf("%v %v", p, err)
		}
		q, ok, err := h.room.LookupID(rd, p.ID)
		if q != p || !ok || err != nil {
			t.Errorf("%v %v %v", q, ok, err)
		}
		_, ok, err = h.room.LookupID(rd, "")
		if ok {
			t.Error("no id is a project")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFolder(t *testing.T) {
	h := newHouse(t)
	p := h.create("work")
	h.remove("work")
	f, err := h.room.Folder(t.Context(), p.Id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.rename("work", "moved"); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteFile("a.txt", []byte("x")); err != nil { // it follows the rename
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(h.dir, "moved", "a.txt")); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	h.remove("moved")
	if err := os.Symlink(t.TempDir(), filepath.Join(h.dir, "moved")); err != nil {
		t.Fatal(err)
	}
	_, err = h.room.Folder(t.Context(), p.Id)
	wantFault(t, asStatus(err), "PROJECT_FOLDER_OCCUPIED", "The project's folder cannot be used: something else has its name.")
	h.wantList("general")
}

func TestProjectsFolderRemovedByHand(t *testing.T) {
	h := newHouse(t)
	h.create("work")
	if err := os.RemoveAll(h.dir); err != nil {
		t.Fatal(err)
	}
	h.wantList("general")
	if p := h.create("next"); p.Name != "next" {
		t.Error(p)
	}
}

func TestCloseTwiceAndAfter(t *testing.T) {
	h := newHouse(t)
	h.create("doomed")
	h.close()
	h.close()
	if err := h.room.remove(context.Background(), "doomed"); err != nil { // left to the next start
		t.Error(err)
	}
	h.reopen()
	h.purged()
	h.wantAgreement()
}

func TestRemoveTreeOfReadOnlyFolders(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "x", "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x/a/b", "x/a", "x"} {
		if err := os.Chmod(filepath.Join(dir, name), 0o500); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := unlock(t.Context(), root, "x"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x", "x/a", "x/a/b"} {
		if info, err := root.Stat(name); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
	if err := errors.Join(removeTree(t.Context(), root, "x"), removeTree(t.Context(), root, "x"), root.Close()); err != nil {
		t.Fatal(err)
	}
}
