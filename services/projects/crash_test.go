package projects

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"anthill/services/internal/store"
)

// plant writes a record as a process left it that died.
func (h *house) plant(rec record) {
	h.t.Helper()
	err := h.db.Update(h.t.Context(), func(tx store.Tx) error { return records.Put(tx, &rec) })
	if err != nil {
		h.t.Fatal(err)
	}
}

// TestCrashPoints opens the room over every state that a crash can leave.
func TestCrashPoints(t *testing.T) {
	creating := record{ID: "proj_x", Name: "work", Slot: "work", Intent: &intent{Act: actCreate}}
	renaming := record{ID: "proj_x", Name: "work", Slot: "work", Intent: &intent{Act: actRename, To: "Done", ToSlot: "done"}}
	caseOnly := record{ID: "proj_x", Name: "work", Slot: "work", Intent: &intent{Act: actRename, To: "Work", ToSlot: "work"}}
	deleting := record{ID: "proj_x", Name: "work", Slot: "work", Intent: &intent{Act: actDelete}}
	moved := record{ID: "proj_x", Name: "work", Slot: "work", Intent: &intent{Act: actDelete, Moved: true}}
	for _, c := range []struct {
		name  string
		rec   record
		disk  []string // folders, each with a file in it
		list  []string // "=" marks the project itself
		erase bool     // conversations are asked
	}{
		{"create, before the folder", creating, nil, []string{"general", "work="}, false},
		{"create, after the folder", creating, []string{"work"}, []string{"general", "work="}, false},
		{"rename, before the folder", renaming, []string{"work"}, []string{"Done=", "general"}, false},
		{"rename, after the folder", renaming, []string{"Done"}, []string{"Done=", "general"}, false},
		{"rename, new name taken by hand", renaming, []string{"Done", "work"}, []string{"Done", "general", "work="}, false},
		{"rename of the case, before", caseOnly, []string{"work"}, []string{"general", "Work="}, false},
		{"rename of the case, after", caseOnly, []string{"Work"}, []string{"general", "Work="}, false},
		{"delete, before the move", deleting, []string{"work"}, []string{"general"}, true},
		{"delete, after the move", deleting, []string{".trash-proj_x"}, []string{"general"}, true},
		{"delete, after the move, name taken by hand", deleting, []string{".trash-proj_x", "work"}, []string{"general", "work"}, true},
		{"delete, no folder", deleting, nil, []string{"general"}, true},
		{"delete, moved and resolved", moved, []string{".trash-proj_x"}, []string{"general"}, true},
		{"delete, resolved, name taken by hand", moved, []string{"work"}, []string{"general", "work"}, true},
		{"delete, only the record is left", moved, nil, []string{"general"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t)
			h.close()
			h.plant(c.rec)
			for _, dir := range c.disk {
				h.put(dir+"/keep.txt", dir)
			}
			h.open(h.db)
			h.purged()
			var got []string
			for _, name := range h.list() {
				if h.id(name) == "proj_x" {
					name += "="
				}
				got = append(got, name)
			}
			if !slices.Equal(got, c.list) {
				t.Errorf("projects %q, want %q", got, c.list)
			}
			if erased := slices.Contains(h.convs.calls(), "proj_x"); erased != c.erase {
				t.Errorf("conversations erased: %v", erased)
			}
			h.wantAgreement()
		})
	}
}

// TestPowerCut ends the store after each update of each act.
func TestPowerCut(t *testing.T) {
	for name, act := range map[string]func(ctx context.Context, r *Room) error{
		"create": func(ctx context.Context, r *Room) error { _, err := r.create(ctx, "fresh"); return err },
		"rename": func(ctx context.Context, r *Room) error { _, err := r.rename(ctx, "work", "fresh"); return err },
		"delete": func(ctx context.Context, r *Room) error { return r.remove(ctx, "work") },
		"adopt":  func(ctx context.Context, r *Room) error { _, err := r.Resolve(ctx, "by hand"); return err },
		"active": func(ctx context.Context, r *Room) error { _, err := r.setActive(ctx, "work"); return err },
	} {
		t.Run(name, func(t *testing.T) {
			for left := range 4 {
				h := newHouse(t)
				id := h.create("work").Id
				h.put("work/keep.txt", "x")
				h.mkdir("by hand")
				h.close()
				db := &cut{DB: h.db}
				db.left.Store(1 << 40)
				room, err := Open(t.Context(), h.options(db))
				if err != nil {
					t.Fatal(err)
				}
				h.mkdir("by hand")
				db.left.Store(int64(left))
				failed := act(t.Context(), room)
				if failed != nil && !errors.Is(failed, errCut) {
					t.Errorf("after %d updates: %v", left, failed)
				}
				// What still runs must find a project where the store has it.
				if p, ok, err := room.ByID(t.Context(), id); err != nil || ok && !isDir(p.Path) {
					t.Errorf("after %d updates: %v %v %v", left, p, ok, err)
				}
				if err := room.Close(t.Context()); err != nil {
					t.Error(err)
				}
				h.open(h.db)
				h.purged()
				h.wantAgreement()
				p, ok, err := h.room.ByID(t.Context(), id)
				if err != nil || ok != isDir(p.Path) {
					t.Errorf("after %d updates: %v %v %v", left, p, ok, err)
				}
				if failed == nil && name == "delete" && ok {
					t.Error("a deleted project came back")
				}
				if _, err := os.Stat(filepath.Join(p.Path, "keep.txt")); ok && err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestCancelledCaller: who hangs up in the middle leaves nothing half done.
func TestCancelledCaller(t *testing.T) {
	h := newHouse(t)
	ctx, cancel := context.WithCancel(t.Context())
	h.close()
	room, err := Open(t.Context(), h.options(cancelling{h.db, cancel}))
	if err != nil {
		t.Fatal(err)
	}
	if p, err := room.create(ctx, "work"); err != nil || !isDir(p.Path) {
		t.Errorf("%v %v", p, err)
	}
	if err := room.Close(t.Context()); err != nil {
		t.Error(err)
	}
	h.wantAgreement()
}

// cancelling ends the caller's context with the first update.
type cancelling struct {
	store.DB
	cancel context.CancelFunc
}

func (d cancelling) Update(ctx context.Context, fn func(store.Tx) error) error {
	defer d.cancel()
	return d.DB.Update(ctx, fn)
}

// TestFullDisk: writing says so, reading goes on.
func TestFullDisk(t *testing.T) {
	h := newHouse(t)
	h.create("work")
	h.close()
	full := &fullDisk{DB: h.db}
	room, err := Open(t.Context(), h.options(full))
	if err != nil {
		t.Fatal(err)
	}
	h.serve(room)
	full.on.Store(true)
	name := "next"
	_, err = room.create(t.Context(), name)
	const text = "No space left on the disk: free some and try again."
	wantFault(t, asStatus(err), "DISK_FULL", text)
	_, err = h.rename("work", name)
	wantFault(t, err, "DISK_FULL", text)
	wantFault(t, h.delete("work"), "DISK_FULL", text)
	wantFault(t, h.setActive("work"), "DISK_FULL", text)
	h.mkdir("by hand")
	h.wantList("general", "work")
	full.on.Store(false)
	h.wantList("by hand", "general", "work")
	h.wantAgreement()
}

// TestEverythingAtOnce: acts, readers and users of folders in each other's way.
func TestEverythingAtOnce(t *testing.T) {
	h := newHouse(t)
	p := h.create("home")
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 8 {
				made, err := h.room.create(t.Context(), "made")
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := h.room.setActive(t.Context(), made.Name); err != nil {
					t.Error(err)
				}
				if (i+n)%2 == 0 {
					err = h.room.remove(t.Context(), made.Name)
				} else {
					_, err = h.room.rename(t.Context(), made.Name, "kept")
				}
				if err != nil {
					t.Error(err)
				}
				if _, err := h.room.List(t.Context()); err != nil {
					t.Error(err)
				}
				if _, err := h.room.Resolve(t.Context(), ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() { // home goes to and fro; its file must never be left behind
		for n := range 20 {
			from, to := "home", "away"
			if n%2 == 1 {
				from, to = to, from
			}
			if _, err := h.room.rename(t.Context(), from, to); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Go(func() {
		for n := range 100 {
			f, err := h.room.Folder(t.Context(), p.Id)
			if err != nil {
				t.Error(err)
				return
			}
			if err := errors.Join(f.WriteFile("n", []byte{byte(n)}), f.Close()); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	h.purged()
	h.wantAgreement()
	if c, err := h.read("home", "n"); err != nil || c.Content != string(rune(99)) {
		t.Error(c, err)
	}
	if got := len(h.list()); got != 2+16 {
		t.Errorf("%d projects", got)
	}
}
