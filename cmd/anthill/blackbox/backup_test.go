package blackbox

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	antonv1 "anthill/gen/anton/v1"
)

// restored starts a server on a fresh home with what a backup holds.
func restored(t *testing.T, file string, with ...option) *server {
	t.Helper()
	return start(t, append(with, prepared(func(user, home string) {
		out, errs, code := command(t, []string{"HOME=" + user, "ANTHILL_HOME=" + home}, "", "restore", file)
		if code != 0 || !strings.Contains(out, home) {
			t.Fatalf("restore: code %d, %q, %q", code, out, errs)
		}
	}))...)
}

// readable reads all of every conversation by every way to read it.
func readable(t *testing.T, s *server) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, id := range conversations(t, s, "?project=all&limit=1000") {
		all[id] = true
		ms := messages(t, s, id)
		if len(ms) == 0 {
			t.Errorf("%s has no messages", id)
		}
		tn := checkTurn(t, s.tail(id, 0).rest())
		if last := ms[len(ms)-1]; last.Role != "assistant" || last.Content != tn.text || last.Status != "completed" && last.Status != "incomplete" {
			t.Errorf("%s: the message says %s %q, its events %q", id, last.Status, last.Content, tn.text)
		}
	}
	return all
}

// A backup of a server that is busy has what was acknowledged before it began,
// and opens as a sound home.
func TestBackupUnderLoad(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a long question, kept as a body of its own. ", 2000)
	s := start(t, withModel(answering(t)))
	var mu sync.Mutex
	acked, deleted := map[string]bool{}, map[string]bool{}
	var stop atomic.Bool
	var writers sync.WaitGroup
	begun := make(chan struct{}, 64)
	for w := range 4 {
		writers.Go(func() {
			for n := 0; !stop.Load(); n++ {
				id, question := fmt.Sprintf("c%d-%d", w, n), fmt.Sprintf("question %d of %d", n, w)
				if n%5 == 0 {
					question += long
				}
				a, err := s.try(http.MethodPost, "/v1/responses", object{"input": question, "conversation": id, "stream": false})
				if err != nil || a.status != http.StatusOK {
					t.Errorf("%v %v", a, err)
					return
				}
				mu.Lock()
				acked[id] = true
				mu.Unlock()
				if n%3 == 2 { // what is deleted meanwhile must not be half there
					old := fmt.Sprintf("c%d-%d", w, n-1)
					mu.Lock()
					deleted[old] = true
					mu.Unlock()
					if a, err := s.try(http.MethodDelete, "/v1/conversations/"+old, nil); err != nil || a.status != http.StatusOK {
						t.Errorf("%v %v", a, err)
					}
				}
				select {
				case begun <- struct{}{}:
				default:
				}
			}
		})
	}
	dir := t.TempDir()
	type made struct {
		file   string
		before map[string]bool
	}
	var backups []made
	for i := range 4 {
		for range 12 {
			<-begun
		}
		m := made{file: filepath.Join(dir, fmt.Sprint(i, ".tgz")), before: map[string]bool{}}
		mu.Lock()
		for id := range acked {
			m.before[id] = true
		}
		mu.Unlock()
		if i == 0 { // by REST
			a := s.get("/v1/backup")
			if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/gzip" || !strings.HasPrefix(a.header.Get("Content-Disposition"), "attachment") {
				t.Fatalf("%d %v", a.status, a.header)
			}
			writeFile(t, m.file, string(a.body))
		} else if out, errs, code := command(t, s.environ(), "", "backup", m.file); code != 0 || !strings.Contains(out, m.file) {
			t.Fatalf("backup: code %d, %q, %q", code, out, errs)
		}
		backups = append(backups, m)
	}
	stop.Store(true)
	writers.Wait()
	for _, m := range backups {
		if len(m.before) == 0 {
			t.Fatal("nothing was written before the backup")
		}
		r := restored(t, m.file)
		have := readable(t, r)
		for id := range m.before {
			if !have[id] && !deleted[id] {
				t.Errorf("%s lacks %s, which was acknowledged before it began", filepath.Base(m.file), id)
			}
		}
		r.ask(object{"input": "hello", "conversation": "after"}).turn()
		r.stop()
	}
}

// What goes in comes out: conversations, projects and their files, through the
// server and without one; but no keys.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	const key = "sk-BACKUPCANARY-0123456789"
	p := answering(t)
	p.key = key
	s := start(t, withModel(p))
	s.put("/v1/settings", object{"openaiApiKey": key}).ok()
	s.post("/v1/projects", object{"name": "travel"}).ok()
	s.put("/v1/projects/travel/files/sub/notes.md", object{"content": ferry}).ok()
	if err := os.Symlink("/etc/passwd", filepath.Join(s.projects(), "travel", "link")); err != nil {
		t.Fatal(err)
	}
	s.ask(object{"input": "hello", "conversation": "c", "project": "travel"}).turn()
	cursor := s.watch(0, 0).snapshot(false, "c")
	dir := t.TempDir()
	live, offline := filepath.Join(dir, "live.tgz"), filepath.Join(dir, "offline.tgz")
	out, errs, code := command(t, s.environ(), "", "backup", live)
	if code != 0 || !strings.Contains(out, "API keys is not in it") || !strings.Contains(out, "travel/link") {
		t.Fatalf("backup: code %d, %q, %q", code, out, errs)
	}
	if a := s.do(http.MethodHead, "/v1/backup", nil); a.status != http.StatusOK || len(a.body) > 0 {
		t.Errorf("%v", a)
	}
	s.post("/v1/backup", nil).refused(http.StatusMethodNotAllowed, "")
	stream, err := antonv1.NewBackupServiceClient(s.dial()).CreateBackup(s.call(), &antonv1.CreateBackupRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if all, err := receive(stream); err != nil || all[len(all)-1].GetSummary().GetFiles() != 1 || all[len(all)-1].GetSummary().GetSkippedCount() != 1 {
		t.Errorf("by gRPC: %v, last %v", err, all[max(0, len(all)-1):])
	}
	// A home in use is neither copied behind the server's back nor replaced.
	if out, errs, code := command(t, s.environ(), "", "restore", "--replace", live); code == 0 || !strings.Contains(errs, s.url) {
		t.Errorf("restore of a home in use: code %d, %q, %q", code, out, errs)
	}
	s.stop()
	if out, errs, code := command(t, s.environ(), "", "backup", offline); code != 0 {
		t.Fatalf("backup without a server: code %d, %q, %q", code, out, errs)
	}
	if out, errs, code := command(t, s.environ(), "", "backup", "-"); code != 0 || !strings.HasPrefix(out, "\x1f\x8b") || !strings.Contains(errs, "not in it") {
		t.Errorf("backup to stdout: code %d, %d bytes, %q", code, len(out), errs)
	}
	if out, errs, code := command(t, s.environ(), "", "backup", filepath.Join(dir, "missing", "x.tgz")); code == 0 {
		t.Errorf("backup into no folder: %q, %q", out, errs)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("beside the backups: %v, %v", left, err)
	}
	for _, file := range []string{live, offline} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", file, info, err)
		}
		r := restored(t, file, withModel(p))
		if have := readable(t, r); !have["c"] || len(have) != 1 {
			t.Errorf("conversations: %v", have)
		}
		if f := r.get("/v1/projects/travel/files/sub/notes.md").ok(); f["content"] != ferry {
			t.Errorf("file: %v", f)
		}
		if _, err := os.Lstat(filepath.Join(r.projects(), "travel", "link")); !os.IsNotExist(err) {
			t.Errorf("the link came along: %v", err)
		}
		if c := r.get("/v1/conversations/c").ok(); c["project"] != "travel" {
			t.Errorf("%v", c)
		}
		// A cursor of before is not trusted.
		if ev := r.watch(cursor.Seq, cursor.Epoch).next(); !ev.Truncated || ev.GetSnapshot() == nil {
			t.Errorf("an old cursor is answered by %v", ev)
		}
		r.stop()
		canary(t, r.home, key)
	}
	canary(t, dir, key)
}

func TestBackupNeedsTheKey(t *testing.T) {
	t.Parallel()
	s := start(t, withKey(apiKey))
	dir := t.TempDir()
	file := filepath.Join(dir, "a.tgz")
	if out, errs, code := command(t, append(s.environ(), "ANT_API_KEY="), "", "backup", file); code == 0 || !strings.Contains(errs, "ANT_API_KEY") {
		t.Errorf("backup without the key: code %d, %q, %q", code, out, errs)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	s.do(http.MethodGet, "/v1/backup", nil, headers("Authorization", "")).refused(http.StatusUnauthorized, "")
	if out, errs, code := command(t, s.environ(), "", "backup", file); code != 0 {
		t.Errorf("backup with the key: code %d, %q, %q", code, out, errs)
	}
	s.stop()
	canary(t, dir, apiKey)
}

// canary fails the test for a secret in the files of a folder, as it is or
// compressed.
func canary(t *testing.T, dir, secret string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.HasPrefix(data, []byte("\x1f\x8b")) {
			data = append(data, unzip(t, data)...)
		}
		if bytes.Contains(data, []byte(secret)) {
			t.Errorf("the secret is in %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// Data is never lost by a restore, and what is no backup changes nothing.
func TestRestoreLosesNothing(t *testing.T) {
	t.Parallel()
	s := start(t, withModel(answering(t)))
	s.ask(object{"input": "first", "conversation": "first"}).turn()
	dir := t.TempDir()
	file := filepath.Join(dir, "first.tgz")
	if out, errs, code := command(t, s.environ(), "", "backup", file); code != 0 {
		t.Fatalf("backup: code %d, %q, %q", code, out, errs)
	}
	s.ask(object{"input": "second", "conversation": "second"}).turn()
	s.put("/v1/projects/general/files/later.txt", object{"content": "later"}).ok()
	s.stop()
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "bad.tgz")
	for what, data := range map[string]string{"text": "hello", "empty": "", "cut": string(good[:len(good)/2])} {
		writeFile(t, bad, data)
		if out, errs, code := command(t, s.environ(), "", "restore", "--replace", bad); code == 0 || out != "" || !strings.Contains(errs, "not a sound backup") {
			t.Errorf("%s: code %d, %q, %q", what, code, out, errs)
		}
	}
	if out, errs, code := command(t, s.environ(), "", "restore", file); code == 0 || out != "" || !strings.Contains(errs, "--replace") {
		t.Errorf("without --replace: code %d, %q, %q", code, out, errs)
	}
	s.restart()
	if have := readable(t, s); !have["first"] || !have["second"] {
		t.Errorf("after refusals: %v", have)
	}
	s.stop()
	out, errs, code := command(t, s.environ(), string(good), "restore", "--replace", "-")
	if code != 0 {
		t.Fatalf("restore: code %d, %q, %q", code, out, errs)
	}
	s.restart()
	if have := readable(t, s); !have["first"] || have["second"] {
		t.Errorf("after the restore: %v", have)
	}
	s.stop()
	aside, err := filepath.Glob(filepath.Join(s.home, "backups", "replaced-*"))
	if err != nil || len(aside) != 1 || !strings.Contains(out, aside[0]) {
		t.Fatalf("put aside: %v, %v, %q", aside, err, out)
	}
	if data, err := os.ReadFile(filepath.Join(aside[0], "projects", "general", "later.txt")); err != nil || string(data) != "later" {
		t.Errorf("%q, %v", data, err)
	}
	old := *s
	old.home = aside[0]
	old.restart()
	if have := readable(t, &old); !have["second"] {
		t.Errorf("what was put aside: %v", have)
	}
}

// However a restore is killed, the home is the old or the new one.
func TestRestoreKilled(t *testing.T) {
	t.Parallel()
	rounds := 8
	if soak {
		rounds = 200
	}
	p := answering(t)
	s := start(t, withModel(p))
	s.ask(object{"input": "new", "conversation": "new"}).turn()
	for i := range 150 { // so that it takes a while
		writeFile(t, filepath.Join(s.projects(), "general", fmt.Sprint("new-", i, ".txt")), "new")
	}
	file := filepath.Join(t.TempDir(), "new.tgz")
	if out, errs, code := command(t, s.environ(), "", "backup", file); code != 0 {
		t.Fatalf("backup: code %d, %q, %q", code, out, errs)
	}
	elsewhere := t.TempDir()
	began := time.Now()
	if out, errs, code := command(t, []string{"HOME=" + elsewhere}, "", "restore", file); code != 0 {
		t.Fatalf("restore: code %d, %q, %q", code, out, errs)
	}
	took := time.Since(began)
	o := start(t, withModel(p))
	o.ask(object{"input": "old", "conversation": "old"}).turn()
	writeFile(t, filepath.Join(o.projects(), "general", "old.txt"), "old")
	o.stop()
	outcomes := map[string]int{}
	for range rounds {
		r := spawn(t, o.environ(), "", "restore", "--replace", file)
		select {
		case <-r.exited:
		case <-time.After(rand.N(took)):
			if err := r.cmd.Process.Kill(); err != nil {
				t.Log(err) // it has just ended
			}
			<-r.exited
		}
		o.restart()
		_, oldFile := os.Stat(filepath.Join(o.projects(), "general", "old.txt"))
		files, err := filepath.Glob(filepath.Join(o.projects(), "general", "new-*.txt"))
		if err != nil {
			t.Fatal(err)
		}
		have := readable(t, o)
		switch {
		case have["old"] && !have["new"] && oldFile == nil && len(files) == 0:
			outcomes["old"]++
		case have["new"] && !have["old"] && oldFile != nil && len(files) == 150:
			outcomes["new"]++
		default:
			t.Fatalf("neither old nor new: %v, old file: %v, new files: %d", have, oldFile, len(files))
		}
		o.stop()
		if have["new"] { // put the old one back for the next round
			aside, err := filepath.Glob(filepath.Join(o.home, "backups", "replaced-*"))
			if err != nil || len(aside) == 0 {
				t.Fatalf("the old data is gone: %v", err)
			}
			for _, part := range []string{"store", "projects"} {
				if err := os.RemoveAll(filepath.Join(o.home, part)); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(filepath.Join(aside[len(aside)-1], part), filepath.Join(o.home, part)); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.RemoveAll(filepath.Join(o.home, "backups")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if out, errs, code := command(t, o.environ(), "", "restore", "--replace", file); code != 0 { // after all that
		t.Fatalf("restore: code %d, %q, %q", code, out, errs)
	}
	o.restart()
	if have := readable(t, o); !have["new"] || have["old"] {
		t.Errorf("after the last restore: %v", have)
	}
	left, err := filepath.Glob(filepath.Join(o.home, ".*restore-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	t.Logf("outcomes of %d rounds: %v", rounds, outcomes)
}

func unzip(t *testing.T, data []byte) []byte {
	t.Helper()
	gz, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(gz)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// Uploads of rooms are in a backup; those that it replaces are kept aside.
func TestBackupHasUploads(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := str(s.newSession("r", "chat"), "id")
	path := str(s.uploadTo("/api/upload?session_id="+room, "file/a.txt", "kept bytes").created(), "url")
	file := filepath.Join(t.TempDir(), "backup.tgz")
	if out, errs, code := command(t, s.environ(), "", "backup", file, "--server", s.url); code != 0 {
		t.Fatalf("%s %s", out, errs)
	}
	if got := restored(t, file).get(path); got.status != http.StatusOK || string(got.body) != "kept bytes" {
		t.Errorf("%v", got)
	}
	later := str(s.uploadTo("/api/upload?session_id="+room, "file/b.txt", "later bytes").created(), "url")
	s.stop()
	if out, errs, code := command(t, s.environ(), "", "restore", "--replace", file); code != 0 {
		t.Fatalf("%s %s", out, errs)
	}
	s.restart()
	if got := s.get(path); got.status != http.StatusOK || string(got.body) != "kept bytes" {
		t.Errorf("%v", got)
	}
	s.get(later).refused(http.StatusNotFound, "")
	aside, err := filepath.Glob(filepath.Join(s.home, "backups", "replaced-*", "uploads", "*"))
	if err != nil || len(aside) != 2 {
		t.Errorf("aside: %v %v", aside, err)
	}
}
