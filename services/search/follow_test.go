package search

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"anthill/services/internal/index"
	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"
)

// shelf is a room with texts: its events are "scope name" of what was put or
// taken away, or "scope" of what all went.
type shelf struct {
	db    *bolt.DB
	keep  uint64 // events that the log keeps; 0: all
	mu    sync.Mutex
	texts map[index.Ref]string
	walks int
	fail  error
}

func newShelf(t *testing.T, path string) *shelf {
	t.Helper()
	db, err := bolt.Open(bolt.Options{Path: path, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return &shelf{db: db, texts: map[index.Ref]string{}}
}

func (s *shelf) event(t *testing.T, change func(), words ...string) {
	t.Helper()
	s.mu.Lock()
	change()
	s.mu.Unlock()
	err := s.db.Update(t.Context(), func(tx store.Tx) error {
		tx.Append(s.Topic(), []byte(strings.Join(words, " ")))
		if s.keep > 0 {
			tx.Trim(s.Topic(), s.keep)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *shelf) put(t *testing.T, scope, name, text string) {
	t.Helper()
	s.event(t, func() { s.texts[index.Ref{Scope: scope, Name: name}] = text }, scope, name)
}

func (s *shelf) take(t *testing.T, scope, name string) {
	t.Helper()
	s.event(t, func() { delete(s.texts, index.Ref{Scope: scope, Name: name}) }, scope, name)
}

func (s *shelf) Topic() string { return "shelf" }

func (s *shelf) Changed(entries []store.Entry) (out []index.Change, err error) {
	for _, e := range entries {
		scope, name, one := strings.Cut(string(e.Event), " ")
		out = append(out, index.Change{Ref: index.Ref{Scope: scope, Name: name}, Whole: !one, Adopt: one})
	}
	return out, nil
}

func (s *shelf) Names(_ context.Context, scope string) (map[string]uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := map[string]uint64{}
	for ref, text := range s.texts {
		if ref.Scope == scope {
			names[ref.Name] = uint64(len(text))
		}
	}
	return names, nil
}

func (s *shelf) Load(_ context.Context, refs []index.Ref) (out []index.Document, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ref := range refs {
		if text, ok := s.texts[ref]; ok {
			out = append(out, index.Document{Ref: ref, Stamp: uint64(len(text)), Text: text})
		}
	}
	return out, s.fail
}

// Walk takes one at a time.
func (s *shelf) Walk(ctx context.Context, after string) ([]index.Document, string, error) {
	s.mu.Lock()
	s.walks++
	var refs []index.Ref
	for ref := range s.texts {
		refs = append(refs, ref)
	}
	s.mu.Unlock()
	slices.SortFunc(refs, func(a, b index.Ref) int { return strings.Compare(a.Scope+" "+a.Name, b.Scope+" "+b.Name) })
	for _, ref := range refs {
		if at := ref.Scope + " " + ref.Name; at > after {
			docs, err := s.Load(ctx, []index.Ref{ref})
			return docs, at, err
		}
	}
	return nil, "", nil
}

// follow starts a follower; stop is to be called before the next one.
func follow(t *testing.T, s *shelf, dir string) (f *follower, stop func()) {
	t.Helper()
	x := index.New(index.Options{Path: filepath.Join(dir, "texts.db"), By: index.Words, Log: slog.New(slog.DiscardHandler)})
	f = newFollower(x, s.db, s, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { f.run(ctx) })
	stop = sync.OnceFunc(func() {
		cancel()
		done.Wait()
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return f, stop
}

// has checks what is found once the index has caught up.
func (f *follower) has(t *testing.T, query string, want ...string) {
	t.Helper()
	current, err := f.await(t.Context())
	if err != nil || !current {
		t.Fatalf("current %v, %v", current, err)
	}
	hits, complete, err := f.find(t.Context(), index.Parse(index.Words, query), index.Page{Limit: 1000})
	if err != nil || !complete {
		t.Fatalf("complete %v, %v", complete, err)
	}
	var got []string
	for _, h := range hits {
		got = append(got, h.Scope+h.Name)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: found %v, want %v", query, got, want)
	}
}

func TestFollow(t *testing.T) {
	dir := t.TempDir()
	s := newShelf(t, filepath.Join(dir, "main.db"))
	f, stop := follow(t, s, dir)
	f.has(t, "word") // nothing was ever logged
	s.put(t, "a", "1", "word one")
	s.put(t, "a", "2", "word two")
	f.has(t, "word", "a1", "a2")
	s.put(t, "a", "1", "changed")
	s.put(t, "b", "1", "word of b")
	f.has(t, "word", "a2", "b1")
	s.take(t, "a", "2")
	s.event(t, func() { clear(s.texts) }, "b")
	f.has(t, "word")
	stop()
	walked := s.walks
	s.put(t, "c", "1", "word while away")
	f, stop = follow(t, s, dir)
	f.has(t, "word", "c1")
	if s.walks != walked {
		t.Errorf("a start behind the log walked over everything")
	}
	s.mu.Lock()
	for i := range 50 {
		s.texts[index.Ref{Scope: "d", Name: strconv.Itoa(i)}] = "word of a scope that nobody has seen"
	}
	s.mu.Unlock()
	s.put(t, "d", "0", "word that leads to all of them")
	f.has(t, "nobody", names("d", 1, 50)...)
	stop()
}

func names(scope string, from, to int) (list []string) {
	for i := from; i < to; i++ {
		list = append(list, scope+strconv.Itoa(i))
	}
	return list
}

// The log may have dropped what an index has not seen, or be another one.
func TestFollowLostPlace(t *testing.T) {
	dir := t.TempDir()
	s := newShelf(t, filepath.Join(dir, "main.db"))
	s.keep = 5
	f, stop := follow(t, s, dir)
	s.put(t, "a", "0", "word")
	f.has(t, "word", "a0")
	stop()
	s.take(t, "a", "0")
	for i := range 20 {
		s.put(t, "b", strconv.Itoa(i), "word")
	}
	f, stop = follow(t, s, dir)
	f.has(t, "word", names("b", 0, 20)...)
	stop()
	if err := s.db.RenewEpochs(t.Context()); err != nil { // as a restore does
		t.Fatal(err)
	}
	s.mu.Lock()
	clear(s.texts)
	s.mu.Unlock()
	s.put(t, "c", "0", "word")
	f, stop = follow(t, s, dir)
	f.has(t, "word", "c0")
	stop()
	fresh := newShelf(t, filepath.Join(dir, "other.db")) // an index that is ahead of its store
	f, _ = follow(t, fresh, dir)
	f.has(t, "word")
}

// What changes while everything is walked over, under a log that drops all but
// the newest events, is there in the end.
func TestFollowWhileWalking(t *testing.T) {
	dir := t.TempDir()
	s := newShelf(t, filepath.Join(dir, "main.db"))
	s.keep = 100
	for i := range 200 {
		s.put(t, "a", strconv.Itoa(1000+i), "word")
	}
	f, _ := follow(t, s, dir)
	f.mu.Lock()
	f.waiting++ // it does not rest
	f.mu.Unlock()
	var want []string
	for i := range 200 {
		name := strconv.Itoa(1000 + i)
		if i%2 == 0 {
			s.take(t, "a", name)
		} else {
			want = append(want, "a"+name)
		}
	}
	for i := range 50 {
		s.put(t, "z", strconv.Itoa(i), "word")
	}
	f.has(t, "word", append(want, names("z", 0, 50)...)...)
}

func TestFollowFailure(t *testing.T) {
	dir := t.TempDir()
	s := newShelf(t, filepath.Join(dir, "main.db"))
	s.fail = errors.New("cannot be read now")
	s.put(t, "a", "1", "word")
	f, _ := follow(t, s, dir)
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error, 1)
	go func() {
		_, err := f.await(ctx)
		waited <- err
	}()
	cancel()
	if err := <-waited; !errors.Is(err, context.Canceled) {
		t.Errorf("a search that gives up: %v", err)
	}
	s.mu.Lock()
	s.fail = nil
	s.mu.Unlock()
	f.has(t, "word", "a1")
	// A file that is found damaged by a search is made again.
	f.lost()
	if err := f.index.Reset(); err != nil {
		t.Fatal(err)
	}
	f.has(t, "word", "a1")
}

// Texts far larger than a batch are written in several.
func TestFollowLargeTexts(t *testing.T) {
	dir := t.TempDir()
	s := newShelf(t, filepath.Join(dir, "main.db"))
	f, _ := follow(t, s, dir)
	f.has(t, "word")
	s.mu.Lock()
	for i := range 80 {
		s.texts[index.Ref{Scope: "a", Name: strconv.Itoa(i)}] = fmt.Sprintf("word %d ", i) + strings.Repeat("- ", 80_000)
	}
	s.mu.Unlock()
	s.event(t, func() {}, "a")
	f.has(t, "word 7*", "a7")
	f.has(t, "word", names("a", 0, 80)...)
}
