package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
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

// forged is an archive of entries that may be anything.
type forged struct {
	entries []*tar.Header
	data    [][]byte
}

func (f *forged) add(h *tar.Header, data []byte) *forged {
	if h.Size == 0 {
		h.Size = int64(len(data))
	}
	f.entries, f.data = append(f.entries, h), append(f.data, data)
	return f
}

func (f *forged) file(name string, data []byte) *forged {
	return f.add(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, data)
}

func (f *forged) bytes(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	gz := gzip.NewWriter(&out)
	w := tar.NewWriter(gz)
	for i, h := range f.entries {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.data[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), gz.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// forge begins an archive that is sound up to its contents, which sealed adds.
func forge(t testing.TB, stores map[string][]byte) *forged {
	t.Helper()
	m, err := json.Marshal(manifest{Format: formatName, Version: formatVersion, Anthill: "test", Created: created, Schema: 1})
	if err != nil {
		t.Fatal(err)
	}
	f := (&forged{}).file(manifestName, m)
	return f.file(mainName, stores[mainName]).file(bulkName, stores[bulkName])
}

func (f *forged) sealed(t testing.TB) *forged {
	t.Helper()
	c := contents{}
	for i, h := range f.entries[1:] {
		if h.Typeflag == tar.TypeReg {
			sum := sha256.New()
			sum.Write(f.data[i+1])
			c.Files = append(c.Files, entry{h.Name, int64(len(f.data[i+1])), sumText(sum)})
		}
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return f.file(contentsName, b)
}

// storesOf takes the two stores out of an archive.
func storesOf(t testing.TB, archive []byte) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	gz, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(gz); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if out[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRestoreRefusesHostileArchives(t *testing.T) {
	good := newHome(t, "old").backup(t)
	stores := storesOf(t, good)
	manifestWith := func(text string) []byte {
		return (&forged{}).file(manifestName, []byte(text)).file(mainName, stores[mainName]).file(bulkName, stores[bulkName]).sealed(t).bytes(t)
	}
	with := func(h *tar.Header, data string) []byte {
		return forge(t, stores).add(h, []byte(data)).sealed(t).bytes(t)
	}
	named := func(name string) []byte { return forge(t, stores).file(name, []byte("x")).sealed(t).bytes(t) }
	flipped := func(at int) []byte {
		b := slices.Clone(good)
		b[at] ^= 0x40
		return b
	}
	changed := forge(t, stores).file("projects/general/a.txt", []byte("as it was")).sealed(t)
	changed.data[3] = []byte("as it is!")
	swapped := map[string][]byte{mainName: stores[mainName], bulkName: []byte(strings.Repeat("no store ", 1000))}
	bad := map[string][]byte{
		"nothing": {}, "text": []byte("hello"), "gzip of text": gzipped(t, []byte("hello, this is no tar")), "empty tar": (&forged{}).bytes(t),
		"no manifest":     (&forged{}).file(mainName, stores[mainName]).sealed(t).bytes(t),
		"another program": manifestWith(`{"format":"other","version":1}`), "no version": manifestWith(`{"format":"anthill-backup"}`),
		"manifest of text": manifestWith("hello"), "a list for a manifest": manifestWith("[]"),
		"no contents":       forge(t, stores).bytes(t),
		"missing bulk":      (&forged{}).file(manifestName, stores[manifestName]).file(mainName, stores[mainName]).sealed(t).bytes(t),
		"bulk is no store":  forge(t, swapped).sealed(t).bytes(t),
		"a file is changed": changed.bytes(t), "more after the end": forge(t, stores).sealed(t).file("projects/general/late.txt", []byte("x")).bytes(t),
		"twice":       forge(t, stores).file("projects/a/b", []byte("1")).file("projects/a/b", []byte("2")).sealed(t).bytes(t),
		"file as dir": forge(t, stores).file("projects/a", []byte("1")).file("projects/a/b", []byte("2")).sealed(t).bytes(t),
		"symlink":     with(&tar.Header{Typeflag: tar.TypeSymlink, Name: "projects/general/l", Linkname: "/etc/passwd"}, ""),
		"symlink up, then through it": forge(t, stores).add(&tar.Header{Typeflag: tar.TypeSymlink, Name: "projects/general/d", Linkname: "/tmp"}, nil).
			file("projects/general/d/x", []byte("x")).sealed(t).bytes(t),
		"hard link": with(&tar.Header{Typeflag: tar.TypeLink, Name: "projects/general/l", Linkname: "store/main.db"}, ""),
		"device":    with(&tar.Header{Typeflag: tar.TypeChar, Name: "projects/general/null", Devmajor: 1, Devminor: 3}, ""),
		"pipe":      with(&tar.Header{Typeflag: tar.TypeFifo, Name: "projects/general/pipe"}, ""),
		"a folder as the store": (&forged{}).file(manifestName, stores[manifestName]).add(&tar.Header{Typeflag: tar.TypeDir, Name: mainName + "/"}, nil).
			file(bulkName, stores[bulkName]).sealed(t).bytes(t),
		"cut at half": good[:len(good)/2], "cut at the end": good[:len(good)-4], "without gzip's end": good[:len(good)-9],
		"a bit in the head": flipped(0), "a bit in the middle": flipped(len(good) / 2), "a bit in the checksum": flipped(len(good) - 6),
	}
	for _, name := range []string{"../x", "/etc/x", "projects/../../x", "projects/general/../../../x", "projects/./x", "projects//x", `projects\x`,
		"projects/general/..", "store/other.db", "store/../store/main.db", "config.yaml", "restore.json", "projects", "C:/x", "projects/a\x01b",
		"projects/\xff\xfe", "projects/" + strings.Repeat("a/", 600) + "x", "projects/" + strings.Repeat("a", 300), ".lock", ""} {
		if name == "" {
			continue
		}
		bad["name "+name] = named(name)
	}
	h := newHome(t, "present")
	h.close(t)
	around := snapshotOf(t, filepath.Dir(h.dir))
	o := h.options()
	o.Replace = true
	for what, archive := range bad {
		if _, err := Restore(t.Context(), bytes.NewReader(archive), o); !errors.Is(err, ErrArchive) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := os.Remove(filepath.Join(h.dir, lockName)); err != nil {
		t.Fatal(err)
	}
	if now := snapshotOf(t, filepath.Dir(h.dir)); now != around {
		t.Errorf("a refused archive left something:\n%s\nbefore:\n%s", now, around)
	}
	newer := manifestWith(`{"format":"anthill-backup","version":3,"anthill":"9.9"}`)
	if _, err := Restore(t.Context(), bytes.NewReader(newer), o); err == nil || errors.Is(err, ErrArchive) || !strings.Contains(err.Error(), "9.9") {
		t.Errorf("a backup of a newer format: %v", err)
	}
	if got := h.words(t); got != "present present present" {
		t.Errorf("after refusals: %q", got)
	}
	if _, err := Restore(t.Context(), bytes.NewReader(forge(t, stores).file("projects/general/word.txt", []byte("forged")).sealed(t).bytes(t)), o); err != nil {
		t.Errorf("the same made well: %v", err)
	}
	if got := h.words(t); got != "old old forged" {
		t.Errorf("after the restore: %q", got)
	}
}

// snapshotOf lists everything below a folder.
func snapshotOf(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && !d.IsDir() {
			fmt.Fprintf(&b, "%s %d\n", path, info.Size())
		} else if err == nil {
			fmt.Fprintf(&b, "%s/\n", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A small file that unpacks to a lot is refused before it fills the disk.
func TestRestoreBoundsBombs(t *testing.T) {
	stores := storesOf(t, newHome(t, "old").backup(t))
	h := &home{dir: t.TempDir()}
	h.projects = filepath.Join(h.dir, "projects")
	o := h.options()
	o.MaxBytes = 1 << 20
	bomb := forge(t, stores).file("projects/general/zeros", make([]byte, 2<<20)).sealed(t).bytes(t)
	if len(bomb) > 64<<10 {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	if _, err := Restore(t.Context(), bytes.NewReader(bomb), o); !errors.Is(err, ErrArchive) || !strings.Contains(err.Error(), "--max-bytes") {
		t.Errorf("one large file: %v", err)
	}
	many := forge(t, stores)
	for i := range 20 {
		many.file(fmt.Sprintf("projects/general/%d", i), make([]byte, 100<<10))
	}
	if _, err := Restore(t.Context(), bytes.NewReader(many.sealed(t).bytes(t)), o); !errors.Is(err, ErrArchive) {
		t.Errorf("many files: %v", err)
	}
	// One that says it holds more than there is on the disk.
	o.MaxBytes = 1 << 62
	lie := forge(t, stores)
	var out bytes.Buffer
	gz := gzip.NewWriter(&out)
	w := tar.NewWriter(gz)
	for i, e := range lie.entries {
		if err := errors.Join(w.WriteHeader(e), second(w.Write(lie.data[i]))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "projects/general/huge", Size: 1 << 60, Format: tar.FormatPAX}); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), &out, o); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("larger than the disk: %v", err)
	}
	only(t, h.dir, lockName)
	if _, err := Restore(t.Context(), bytes.NewReader(bomb), o); err != nil {
		t.Errorf("allowed more: %v", err)
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
