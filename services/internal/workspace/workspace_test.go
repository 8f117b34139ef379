package workspace

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func open(t *testing.T) *Folder {
	t.Helper()
	f, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWriteReadRemove(t *testing.T) {
	f := open(t)
	must(t, f.WriteFile("a/b/c.txt", []byte("one")))
	must(t, f.WriteFile("./a//b/c.txt", []byte("two")))

	got, err := f.ReadFile("a/b/c.txt", 3)
	if err != nil || string(got) != "two" {
		t.Fatalf("got %q, %v", got, err)
	}
	info, err := f.Stat("a/b/c.txt")
	must(t, err)
	if info.Mode().Perm()&0o644 != 0o644 || info.Size() != 3 {
		t.Errorf("mode %v, size %d", info.Mode(), info.Size())
	}
	if err := f.Remove("a"); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("removing a full folder: %v", err)
	}
	for _, name := range []string{"a/b/c.txt", "a/b", "a"} {
		must(t, f.Remove(name))
	}
	if _, err := f.Stat("a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after removal: %v", err)
	}
}

func TestErrors(t *testing.T) {
	f := open(t)
	must(t, f.WriteFile("dir/file", []byte("12345")))
	read := func(name string) error { _, err := f.ReadFile(name, 4); return err }
	write := func(name string) error { return f.WriteFile(name, nil) }
	list := func(name string) error {
		_, _, err := f.List(context.Background(), ListOptions{Under: name})
		return err
	}
	for _, c := range []struct {
		what string
		err  error
		want error
	}{
		{"read too large", read("dir/file"), ErrTooLarge},
		{"read a folder", read("dir"), ErrIsDir},
		{"read what is not there", read("nope"), fs.ErrNotExist},
		{"read below a file", read("dir/file/x"), fs.ErrNotExist},
		{"read upwards", read("../x"), ErrPath},
		{"write over a folder", write("dir"), ErrIsDir},
		{"write below a file", write("dir/file/x"), ErrPath},
		{"write deep below a file", write("dir/file/x/y"), ErrPath},
		{"write nowhere", write(""), ErrPath},
		{"remove what is not there", f.Remove("nope"), fs.ErrNotExist},
		{"list what is not there", list("nope"), fs.ErrNotExist},
		{"list a file", list("dir/file"), fs.ErrNotExist},
		{"list upwards", list(".."), ErrPath},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: got %v, want %v", c.what, c.err, c.want)
		}
	}
}

func TestNothingIsFollowedOut(t *testing.T) {
	f := open(t)
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret")
	must(t, os.WriteFile(secret, []byte("canary"), 0o600))
	in := func(name string) string { return filepath.Join(f.Dir(), name) }
	must(t, os.Symlink(secret, in("link")))
	must(t, os.Symlink(outside, in("dir")))
	must(t, os.Link(secret, in("hard")))
	must(t, os.Symlink("loop", in("loop")))
	must(t, os.WriteFile(in("real"), []byte("inside"), 0o644))
	must(t, os.Symlink("real", in("alias")))

	for name, want := range map[string]error{
		"link": ErrPath, "dir/secret": ErrPath, "loop": ErrPath, "hard": ErrSpecial,
	} {
		if data, err := f.ReadFile(name, 100); !errors.Is(err, want) || data != nil {
			t.Errorf("%s: got %q, %v", name, data, err)
		}
	}
	if data, err := f.ReadFile("alias", 100); err != nil || string(data) != "inside" {
		t.Errorf("a link inside: %q, %v", data, err)
	}
	if err := f.WriteFile("dir/new", []byte("x")); !errors.Is(err, ErrPath) {
		t.Errorf("writing through a link: %v", err)
	}

	// Writing to a link replaces the link.
	must(t, f.WriteFile("link", []byte("mine")))
	if data, err := os.ReadFile(secret); err != nil || string(data) != "canary" {
		t.Errorf("outside changed: %q, %v", data, err)
	}
	must(t, f.Remove("dir"))
	if _, err := os.Stat(secret); err != nil {
		t.Error(err)
	}
	entries, _, err := f.List(context.Background(), ListOptions{})
	must(t, err)
	for _, e := range entries {
		if e.Path == "alias" || e.Path == "loop" {
			t.Errorf("listed a symlink: %s", e.Path)
		}
	}
}

func TestSpecialFilesAreRefused(t *testing.T) {
	f := open(t)
	must(t, syscall.Mkfifo(filepath.Join(f.Dir(), "pipe"), 0o644))
	// A short relative name: socket paths are limited to about 100 bytes.
	t.Chdir(f.Dir())
	sock, err := net.Listen("unix", "sock")
	must(t, err)
	defer sock.Close()

	for _, name := range []string{"pipe", "sock"} {
		if _, err := f.ReadFile(name, 100); !errors.Is(err, ErrSpecial) {
			t.Errorf("%s: %v", name, err)
		}
	}
	entries, _, err := f.List(context.Background(), ListOptions{})
	must(t, err)
	if len(entries) != 0 {
		t.Errorf("listed %v", entries)
	}
}

// A directory that turns into a link and back must never be read through.
func TestSwapRace(t *testing.T) {
	f := open(t)
	outside := t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "file"), []byte("canary"), 0o644))
	must(t, f.WriteFile("real/file", []byte("inside")))
	in := func(name string) string { return filepath.Join(f.Dir(), name) }

	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			for _, err := range []error{
				os.Symlink(outside, in("d")), os.Remove(in("d")),
				os.Rename(in("real"), in("d")), os.Rename(in("d"), in("real")),
			} {
				if err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	for range 2000 {
		if data, err := f.ReadFile("d/file", 100); err == nil && string(data) != "inside" {
			t.Errorf("leaked %q", data)
			break
		}
	}
	close(done)
	wg.Wait()
}

func TestUpload(t *testing.T) {
	f := open(t)
	must(t, f.WriteFile("x", []byte("old")))
	up, err := f.CreateUpload("x", 5)
	must(t, err)
	if _, err := io.Copy(up, strings.NewReader("fresh")); err != nil {
		t.Fatal(err)
	}
	if data, err := f.ReadFile("x", 10); err != nil || string(data) != "old" {
		t.Errorf("before commit: %q, %v", data, err)
	}
	entries, _, err := f.List(context.Background(), ListOptions{})
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("an unfinished upload is listed: %v", entries)
	}
	must(t, up.Commit())
	must(t, up.Abort()) // does nothing any more
	if data, err := f.ReadFile("x", 10); err != nil || string(data) != "fresh" {
		t.Errorf("after commit: %q, %v", data, err)
	}

	up, err = f.CreateUpload("x", 5)
	must(t, err)
	if _, err := up.Write([]byte("123456")); !errors.Is(err, ErrTooLarge) {
		t.Errorf("over the limit: %v", err)
	}
	if err := up.Commit(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("commit after a failed write: %v", err)
	}
	up, err = f.CreateUpload("y", 5)
	must(t, err)
	must(t, up.Abort())
	names, err := os.ReadDir(f.Dir())
	must(t, err)
	if len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

func TestModeIsKept(t *testing.T) {
	f := open(t)
	must(t, f.WriteFile("run.sh", []byte("#!/bin/sh\n")))
	must(t, os.Chmod(filepath.Join(f.Dir(), "run.sh"), 0o755))
	must(t, f.WriteFile("run.sh", []byte("#!/bin/sh\ntrue\n")))
	info, err := f.Stat("run.sh")
	must(t, err)
	if info.Mode().Perm() != 0o755 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestRemoveStale(t *testing.T) {
	f := open(t)
	old, err := f.CreateUpload("a/old", 1)
	must(t, err)
	young, err := f.CreateUpload("a/young", 1)
	must(t, err)
	long := time.Now().Add(-48 * time.Hour)
	must(t, os.Chtimes(filepath.Join(f.Dir(), old.part), long, long))
	must(t, f.RemoveStale(24*time.Hour))
	if _, err := f.root.Stat(old.part); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
	must(t, young.Commit())
	must(t, old.file.Close())
}

func TestList(t *testing.T) {
	f := open(t)
	for _, name := range []string{"b.txt", "a/z", "a.txt", ".anton/anton.md", "a/sub/y"} {
		must(t, f.WriteFile(name, []byte(name)))
	}
	must(t, os.WriteFile(filepath.Join(f.Dir(), "bad\xffname"), nil, 0o644))
	paths := func(opts ListOptions) (string, bool) {
		t.Helper()
		entries, truncated, err := f.List(context.Background(), opts)
		must(t, err)
		var got []string
		for _, e := range entries {
			got = append(got, e.Path)
			if e.IsDir == (e.Size > 0) || !strings.HasSuffix(e.Path, e.Name) || e.Modified.IsZero() {
				t.Errorf("entry %+v", e)
			}
		}
		return strings.Join(got, " "), truncated
	}
	for _, c := range []struct {
		opts ListOptions
		want string
		cut  bool
	}{
		{ListOptions{}, ".anton .anton/anton.md a a.txt a/sub a/sub/y a/z b.txt", false},
		{ListOptions{Max: 8}, ".anton .anton/anton.md a a.txt a/sub a/sub/y a/z b.txt", false},
		{ListOptions{Max: 3}, ".anton .anton/anton.md a", true},
		{ListOptions{Under: "a"}, "a/sub a/sub/y a/z", false},
		{ListOptions{Skip: func(p string) bool { return p == ".anton" || p == "b.txt" }}, "a a.txt a/sub a/sub/y a/z", false},
	} {
		if got, cut := paths(c.opts); got != c.want || cut != c.cut {
			t.Errorf("%+v: got %q %v", c.opts, got, cut)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := f.List(ctx, ListOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestConcurrentWritesAreWhole(t *testing.T) {
	f := open(t)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 5 {
				if err := f.WriteFile("f", bytes.Repeat([]byte{byte('a' + i)}, 5000)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	data, err := f.ReadFile("f", 5000)
	if err != nil || len(data) != 5000 || bytes.Count(data, data[:1]) != 5000 {
		t.Errorf("torn: %d bytes, %v", len(data), err)
	}
}
