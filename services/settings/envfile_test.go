package settings

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func writeFile(t *testing.T, path, contents string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(contents), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func setting(name, value string) func(map[string]string) ([]assignment, error) {
	return func(map[string]string) ([]assignment, error) { return []assignment{{name, value}}, nil }
}

func nothing() error { return nil }

func TestEditMakesPrivateFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".anton", ".env")
	f := &envFile{path: path, now: time.Now}
	if err := f.edit(setting("A", "1"), nothing); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		info, err := os.Stat(p)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v, want %v", p, info.Mode().Perm(), err, want)
		}
	}
	// What others left open is closed with the next write.
	if err := errors.Join(os.Chmod(path, 0o644), os.Chmod(filepath.Dir(path), 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := f.edit(setting("A", "2"), nothing); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm() != want {
			t.Errorf("second write: %s: %v %v, want %v", p, info.Mode().Perm(), err, want)
		}
	}
}

func TestEditLeavesForeignFolderOpen(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := (&envFile{path: filepath.Join(dir, "my.env"), now: time.Now}).edit(setting("A", "1"), nothing); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("folder mode %v %v", info.Mode(), err)
	}
}

func TestEditThroughLink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "dotfiles", "anton.env"), filepath.Join(dir, ".env")
	writeFile(t, target, "# mine\nA=1\n")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if err := (&envFile{path: link, now: time.Now}).edit(setting("B", "2"), nothing); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, target); got != "# mine\nA=1\nB=2\n" {
		t.Errorf("target: %q", got)
	}
	if got, err := os.Readlink(link); err != nil || got != target {
		t.Errorf("link: %q %v", got, err)
	}
}

func TestValuesSeeEveryChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".env")
	now := time.Now()
	f := &envFile{path: path, now: func() time.Time { return now }}
	if v, err := f.values(); err != nil || len(v) != 0 {
		t.Fatalf("no file: %v %v", v, err)
	}
	// Same size, same inode, same coarse time stamp: a young file is not trusted.
	stamp := now
	for i := range 5 {
		writeFile(t, path, fmt.Sprintf("A=%d\n", i))
		if err := os.Chtimes(path, stamp, stamp); err != nil {
			t.Fatal(err)
		}
		if v, err := f.values(); err != nil || v["A"] != fmt.Sprint(i) {
			t.Fatalf("write %d: %v %v", i, v, err)
		}
	}
	// An old one is parsed once.
	now = now.Add(time.Hour)
	first, err := f.values()
	if err != nil {
		t.Fatal(err)
	}
	first["marker"] = "the same map"
	if again, err := f.values(); err != nil || again["marker"] == "" {
		t.Errorf("parsed again without a change: %v %v", again, err)
	}
	writeFile(t, path, "A=9\n")
	if v, err := f.values(); err != nil || v["A"] != "9" || v["marker"] != "" {
		t.Errorf("after a change: %v %v", v, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if v, err := f.values(); err != nil || len(v) != 0 {
		t.Errorf("after removal: %v %v", v, err)
	}
}

func TestUnreadableFileIsAnError(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big")
	writeFile(t, big, strings.Repeat("# x\n", maxEnvFile/4+1))
	for name, path := range map[string]string{"folder": dir, "too large": big} {
		f := &envFile{path: path, now: time.Now}
		if _, err := f.values(); err == nil {
			t.Errorf("%s: read without an error", name)
		}
		if err := f.edit(setting("A", "1"), nothing); err == nil {
			t.Errorf("%s: edited without an error", name)
		}
	}
}

func TestEditUndoneWhenCommitFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".env")
	writeFile(t, path, "A=1\n")
	f := &envFile{path: path, now: time.Now}
	fail := errors.New("no")
	if err := f.edit(setting("A", "2"), func() error { return fail }); !errors.Is(err, fail) {
		t.Fatalf("got %v", err)
	}
	if err := f.edit(func(map[string]string) ([]assignment, error) { return nil, fail }, nothing); !errors.Is(err, fail) {
		t.Fatalf("got %v", err)
	}
	if got := readFile(t, path); got != "A=1\n" {
		t.Errorf("file: %q", got)
	}
	noLeftovers(t, path)
}

// A hand edit between the reading and the writing is not lost.
func TestEditStartsOverWhenSomebodyElseWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".env")
	writeFile(t, path, "A=1\n")
	f := &envFile{path: path, now: time.Now}
	commits := 0
	err := f.edit(setting("B", "2"), func() error {
		commits++
		writeFile(t, path, "# by hand\nA=1\nC=3\n")
		return nil
	})
	if err != nil || commits != 1 {
		t.Fatalf("%v after %d commits", err, commits)
	}
	if got := readFile(t, path); got != "# by hand\nA=1\nC=3\nB=2\n" {
		t.Errorf("file: %q", got)
	}
	noLeftovers(t, path)
}

func TestConcurrentEditsAllArrive(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".env")
	f := &envFile{path: path, now: time.Now}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if err := f.edit(setting(fmt.Sprintf("K%d", i), "v"), nothing); err != nil {
				t.Error(err)
			}
			if _, err := f.values(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if v, err := f.values(); err != nil || len(v) != 20 {
		t.Errorf("%d names: %v %v", len(v), v, err)
	}
}

func TestSweepRemovesOldLeftovers(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".env")
	writeFile(t, path, "A=1\n")
	writeFile(t, path+tempMark+"1", "A=secret\n")
	f := &envFile{path: path, now: time.Now}
	if err := f.sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path + tempMark + "1"); err != nil {
		t.Errorf("a young one may be in use: %v", err)
	}
	f.now = func() time.Time { return time.Now().Add(time.Hour) }
	if err := f.sweep(); err != nil {
		t.Fatal(err)
	}
	noLeftovers(t, path)
	if err := (&envFile{path: filepath.Join(path+"-none", ".env"), now: time.Now}).sweep(); err != nil {
		t.Errorf("no folder: %v", err)
	}
}

func noLeftovers(t *testing.T, path string) {
	t.Helper()
	left, err := filepath.Glob(path + tempMark + "*")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
