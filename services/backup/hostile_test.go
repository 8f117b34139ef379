package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

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
