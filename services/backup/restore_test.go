package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"
	"anthill/services/internal/store/key"
)

var created = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// home is a home with two stores that hold a word, and one project.
type home struct {
	dir, projects string
	main, bulk    *bolt.DB
}

func newHome(t testing.TB, word string) *home {
	t.Helper()
	h := &home{dir: t.TempDir()}
	h.projects = filepath.Join(h.dir, "projects")
	if err := os.MkdirAll(filepath.Join(h.dir, "store"), 0o700); err != nil {
		t.Fatal(err)
	}
	h.open(t)
	for _, db := range []*bolt.DB{h.main, h.bulk} {
		err := db.Update(t.Context(), func(tx store.Tx) error {
			tx.Put(key.Of("word"), []byte(word))
			tx.Append("topic", []byte(word))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(h.projects, "general", "word.txt"), word)
	return h
}

func (h *home) open(t testing.TB) {
	t.Helper()
	open := func(name string, l store.Limits) *bolt.DB {
		db, err := bolt.Open(bolt.Options{Path: filepath.Join(h.dir, "store", name), Limits: l, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		return db
	}
	h.main, h.bulk = open("main.db", store.MainLimits), open("bulk.db", store.BulkLimits)
}

func (h *home) close(t testing.TB) {
	t.Helper()
	if err := errors.Join(h.main.Close(), h.bulk.Close()); err != nil {
		t.Fatal(err)
	}
}

func (h *home) room() *Room {
	return Open(Options{Main: h.main, Bulk: h.bulk, Home: h.dir, ProjectsDir: h.projects, Version: "test",
		Now: func() time.Time { return created }, Log: slog.New(slog.DiscardHandler)})
}

// backup is the archive of a home.
func (h *home) backup(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, err := h.room().Write(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func (h *home) options() RestoreOptions {
	return RestoreOptions{Home: h.dir, ProjectsDir: h.projects, MaxBytes: DefaultMaxBytes, Schema: 1, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
}

// words are what the two stores and the project say; the stores must be closed.
func (h *home) words(t testing.TB) string {
	t.Helper()
	h.open(t)
	defer h.close(t)
	var words []string
	for _, db := range []*bolt.DB{h.main, h.bulk} {
		err := db.View(t.Context(), func(r store.Reader) error {
			words = append(words, string(r.Get(key.Of("word"))))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(filepath.Join(h.projects, "general", "word.txt"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Join(append(words, string(data)), " ")
}

func (h *home) epochs(t testing.TB) (epochs []uint32) {
	t.Helper()
	for _, db := range []*bolt.DB{h.main, h.bulk} {
		err := db.View(t.Context(), func(r store.Reader) error {
			_, head := r.Log("topic", 0, 1)
			epochs = append(epochs, head.Epoch)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return epochs
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestBackupAndRestore(t *testing.T) {
	old := newHome(t, "old")
	large := strings.Repeat("0123456789abcdef", (3<<20)/16)
	write(t, filepath.Join(old.projects, "general", "sub dir", "größe.bin"), large)
	write(t, filepath.Join(old.projects, "general", "run.sh"), "#!/bin/sh\n")
	if err := os.Chmod(filepath.Join(old.projects, "general", "run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(old.projects, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	// What does not belong into it.
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, "SECRET")
	for name, to := range map[string]string{"link": secret, "inside": "word.txt", "dir": filepath.Dir(secret)} {
		if err := os.Symlink(to, filepath.Join(old.projects, "general", name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(old.projects, "general", "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(old.projects, ".trash-1", "gone.txt"), "gone")
	write(t, filepath.Join(old.projects, "stray.txt"), "no project")
	write(t, filepath.Join(old.projects, "general", ".anthill-abc.part"), "half")
	write(t, filepath.Join(old.projects, "general", `back\slash`), "x")
	write(t, filepath.Join(old.dir, "config.yaml"), "api-key: SECRET")
	epochs := old.epochs(t)

	var archive bytes.Buffer
	sum, err := old.room().Write(t.Context(), &archive)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(sum.Skipped)
	want := []string{`general/back\slash`, "general/dir", "general/inside", "general/link", "general/pipe"}
	if sum.Files != 3 || !slices.Equal(sum.Skipped, want) || sum.SkippedCount != 5 || sum.CreatedAt != "2026-11-22T10:00:00Z" {
		t.Errorf("summary %v", sum)
	}
	if left, err := os.ReadDir(filepath.Join(old.dir, "backups")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}

	fresh := &home{dir: filepath.Join(t.TempDir(), "home")}
	fresh.projects = filepath.Join(t.TempDir(), "elsewhere", "projects")
	out, err := Restore(t.Context(), bytes.NewReader(archive.Bytes()), fresh.options())
	if err != nil || !out.Created.Equal(created) || out.Anthill != "test" || out.Files != 3 || out.Aside != nil {
		t.Fatalf("restored %+v, %v", out, err)
	}
	if got := fresh.words(t); got != "old old old" {
		t.Errorf("restored home says %q", got)
	}
	fresh.open(t)
	for i, e := range fresh.epochs(t) {
		if e == epochs[i] || e == 0 {
			t.Errorf("cursors of before still hold: epoch %d", e)
		}
	}
	fresh.close(t)
	if data, err := os.ReadFile(filepath.Join(fresh.projects, "general", "sub dir", "größe.bin")); err != nil || string(data) != large {
		t.Errorf("large file: %d bytes, %v", len(data), err)
	}
	for path, mode := range map[string]fs.FileMode{"general/run.sh": 0o755, "general/word.txt": 0o644, "empty": 0o755 | fs.ModeDir, "general": 0o755 | fs.ModeDir} {
		a, errA := os.Stat(filepath.Join(old.projects, path))
		b, errB := os.Stat(filepath.Join(fresh.projects, path))
		if errA != nil || errB != nil || b.Mode() != mode || !a.ModTime().Equal(b.ModTime()) {
			t.Errorf("%s: %v, %v, %v %v", path, a, b, errA, errB)
		}
	}
	for path, mode := range map[string]fs.FileMode{"": 0o700, "store": 0o700, "store/main.db": 0o600, "store/bulk.db": 0o600} {
		if info, err := os.Stat(filepath.Join(fresh.dir, path)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", path, info, err)
		}
	}
	only(t, fresh.dir, lockName, "store", "uploads")
	only(t, filepath.Dir(fresh.projects), "projects")
}

// only checks what a folder holds.
func only(t testing.TB, dir string, want ...string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s holds %q, want %q", dir, got, want)
	}
}

func TestRestoreLosesNothing(t *testing.T) {
	old, present := newHome(t, "old"), newHome(t, "present")
	archive := old.backup(t)

	// In use, whoever holds it.
	held, err := Hold(present.dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	o := present.options()
	o.Replace = true
	if _, err := Restore(t.Context(), bytes.NewReader(archive), o); !errors.Is(err, store.ErrInUse) {
		t.Errorf("a home in use: %v", err)
	}
	if yes, err := Held(present.dir); !yes || err != nil {
		t.Errorf("held: %v %v", yes, err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	present.close(t)

	if _, err := Restore(t.Context(), bytes.NewReader(archive), present.options()); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("a home with data: %v", err)
	}
	if got := present.words(t); got != "present present present" {
		t.Errorf("after refusals: %q", got)
	}
	out, err := Restore(t.Context(), bytes.NewReader(archive), o)
	if err != nil || len(out.Aside) != 1 {
		t.Fatalf("%+v %v", out, err)
	}
	if got := present.words(t); got != "old old old" {
		t.Errorf("after the restore: %q", got)
	}
	aside := &home{dir: out.Aside[0], projects: filepath.Join(out.Aside[0], "projects")}
	if got := aside.words(t); got != "present present present" {
		t.Errorf("put aside: %q", got)
	}
	only(t, present.dir, lockName, "backups", "projects", "store", "uploads")
	if yes, err := Held(present.dir); yes || err != nil {
		t.Errorf("still held: %v %v", yes, err)
	}

	// Folders alone are something to lose, too.
	bare := &home{dir: t.TempDir()}
	bare.projects = filepath.Join(bare.dir, "projects")
	write(t, filepath.Join(bare.projects, "mine", "a.txt"), "mine")
	if _, err := Restore(t.Context(), bytes.NewReader(archive), bare.options()); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("projects without a store: %v", err)
	}
}

// Whatever the machine does meanwhile, a home is the old or the new one.
func TestRestoreCutOffAnywhere(t *testing.T) {
	archive := newHome(t, "old").backup(t)
	rename := func(t *testing.T, from, to string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.Rename(from, to)); err != nil {
			t.Fatal(err)
		}
	}
	for steps := range 7 {
		t.Run(fmt.Sprint(steps, " renames"), func(t *testing.T) {
			h := newHome(t, "present")
			h.close(t)
			s, err := prepare(h.options())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.fill(t.Context(), bytes.NewReader(archive), h.options()); err != nil {
				t.Fatal(err)
			}
			want := "old old old"
			if steps > 0 { // else the machine fails just before it is written down
				if err := s.commit(h.dir); err != nil {
					t.Fatal(err)
				}
			} else {
				want = "present present present"
			}
			for i, m := range [][2]string{{filepath.Join(h.dir, "store"), filepath.Join(s.Aside, "store")},
				{filepath.Join(s.Stage, "store"), filepath.Join(h.dir, "store")},
				{filepath.Join(s.Stage, uploadsName), filepath.Join(h.dir, uploadsName)}, {h.projects, s.ProjectsAside}, {s.ProjectsStage, h.projects}} {
				if i+1 < steps {
					rename(t, m[0], m[1])
				}
			}
			for range 2 { // the second time there is nothing to do
				if err := Finish(h.dir); err != nil {
					t.Fatal(err)
				}
			}
			h.open(t)
			h.room() // sweeps
			h.close(t)
			if got := h.words(t); got != want {
				t.Errorf("the home says %q, want %q", got, want)
			}
			if steps > 0 {
				only(t, h.dir, "backups", "projects", "store", "uploads")
			} else {
				only(t, h.dir, "projects", "store")
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

func TestRestoreOfANewerLayout(t *testing.T) {
	old := newHome(t, "old")
	if err := store.Migrate(t.Context(), old.main, []store.Migration{{Version: 7, Run: func(context.Context, store.DB) error { return nil }}}, nil); err != nil {
		t.Fatal(err)
	}
	h := &home{dir: t.TempDir()}
	h.projects = filepath.Join(h.dir, "projects")
	if _, err := Restore(t.Context(), bytes.NewReader(old.backup(t)), h.options()); !errors.Is(err, store.ErrNewer) {
		t.Errorf("%v", err)
	}
	only(t, h.dir, lockName)
}

// One backup at a time; one that is given up leaves nothing and blocks nobody.
func TestBackupGivenUp(t *testing.T) {
	h := newHome(t, "old")
	write(t, filepath.Join(h.projects, "general", "large.bin"), strings.Repeat("x", 4<<20))
	room := h.room()
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan struct{})
	w := writerFunc(func(p []byte) (int, error) {
		select {
		case <-first:
		default:
			close(first)
		}
		<-ctx.Done()
		return len(p), nil
	})
	done := make(chan error, 1)
	go func() { _, err := room.Write(ctx, w); done <- err }()
	<-first
	if _, err := room.Write(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), "BACKUP_RUNNING") {
		t.Errorf("a second one meanwhile: %v", err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	only(t, filepath.Join(h.dir, "backups"))
	if _, err := room.Write(t.Context(), io.Discard); err != nil {
		t.Errorf("after that: %v", err)
	}
	if err := room.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
