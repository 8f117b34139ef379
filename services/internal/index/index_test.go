package index_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"anthill/services/internal/index"
)

func open(t *testing.T, by index.Unit) (*index.Index, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a b%#?", "texts.db") // a folder may be called anything
	x := index.New(index.Options{Path: path, By: by, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x, path
}

func put(t *testing.T, x *index.Index, texts ...string) {
	t.Helper()
	var b index.Batch
	for i, s := range texts {
		b.Put = append(b.Put, index.Document{Ref: index.Ref{Scope: "room", Name: fmt.Sprint(i + 1)}, Order: uint64(i + 1), Text: s})
	}
	b.State = index.State{Begun: true, Seq: uint64(len(texts))}
	apply(t, x, b)
}

func apply(t *testing.T, x *index.Index, b index.Batch) {
	t.Helper()
	now, err := x.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.State.File = now.File
	if err := x.Apply(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, x *index.Index, q index.Query, p index.Page) []string {
	t.Helper()
	if p.Limit == 0 {
		p.Limit = 100
	}
	hits, err := x.Find(t.Context(), q, p)
	if err != nil {
		t.Fatal(err)
	}
	list := []string{}
	for _, h := range hits {
		list = append(list, h.Name)
	}
	return list
}

func TestFind(t *testing.T) {
	texts := []string{
		1: `The ferry to Naxos leaves at 07:30`,
		2: `say "hello" to the (AND) operators: NOT a-b c:d e* ^f {g} NEAR(x y)`,
		3: `今天天气很好，我们去公园`,
		4: `Ein Käse aus Köln, ΣΊΣΥΦΟΣ και Straße`,
		5: `party 🎉🎉 tonight 👍🏽 thumbs`,
		6: `שלום עולם and مرحبا بالعالم`,
		7: "nul \x00 inside, tab\tand\nnewline",
		8: `नमस्ते दुनिया`,
		9: `สวัสดีชาวโลก`,
	}
	for _, c := range []struct {
		by    index.Unit
		query string
		want  string
	}{
		{index.Parts, "erry", "1"}, {index.Words, "erry", ""}, {index.Words, "ferr", "1"}, {index.Words, "FERRY naxos", "1"},
		{index.Parts, "07:30", "1"}, {index.Words, "07:30", "1"}, {index.Words, "30", "1"},
		{index.Parts, `"hello"`, "2"}, {index.Parts, `"hello`, "2"}, {index.Parts, `a-b c:d`, "2"},
		{index.Parts, `NEAR(x y)`, "2"}, {index.Parts, `(AND)`, "2"}, {index.Parts, `NOT`, "2"},
		{index.Words, `AND`, "7 6 2"}, {index.Words, `NEAR(x y)`, "2"}, {index.Words, `"NEAR x y"`, "2"}, {index.Words, `"x near"`, ""},
		{index.Words, `"hello to"`, "2"}, {index.Words, `"to hello"`, ""}, {index.Parts, `"to the"`, "2"},
		{index.Parts, "今天天", "3"}, {index.Words, "天气", "3"}, {index.Words, "气天", ""}, {index.Words, "公园", "3"},
		{index.Words, "kase", "4"}, {index.Words, "KÄSE", "4"}, {index.Parts, "kÄSE", "4"}, {index.Parts, "σίσυφος", "4"}, {index.Words, "σισυφος", "4"},
		{index.Words, "🎉", "5"}, {index.Words, "👍", "5"}, {index.Parts, "🎉🎉 ", "5"}, {index.Parts, "party 🎉🎉", "5"},
		{index.Parts, "שלום", "6"}, {index.Words, "עולם", "6"}, {index.Words, "مرحبا", "6"},
		{index.Parts, "inside, tab", "7"}, {index.Words, "inside", "7"},
		{index.Words, "दुनिया", "8"}, {index.Words, "नमस", "8"}, {index.Words, "ชาวโลก", "9"}, {index.Words, "สวัสดี", "9"},
		{index.Parts, "nothing of this", ""}, {index.Words, "nothing of this", ""},
		{index.Words, `!!! --- """`, ""}, {index.Parts, `   `, ""},
	} {
		t.Run(fmt.Sprint(c.by, c.query), func(t *testing.T) {
			x, _ := open(t, c.by)
			put(t, x, texts[1:]...)
			q := index.Parse(c.by, c.query)
			found := names(t, x, q, index.Page{})
			if !q.Exact() { // the caller looks at what is not indexed
				found = slices.DeleteFunc(found, func(name string) bool {
					return !q.Match(texts[name[0]-'0'])
				})
			}
			if got := strings.Join(found, " "); got != c.want {
				t.Errorf("%q finds %q, want %q", c.query, got, c.want)
			}
			for _, name := range found {
				text := texts[name[0]-'0']
				if s := q.Snippet(text); !q.Match(text) || !strings.Contains(s, "<mark>") {
					t.Errorf("%q: the text does not match, or nothing is marked: %s", c.query, s)
				}
			}
		})
	}
}

func TestPages(t *testing.T) {
	x, _ := open(t, index.Parts)
	var b index.Batch
	for i := range 30 {
		b.Put = append(b.Put, index.Document{Ref: index.Ref{Scope: fmt.Sprint("room", i%3), Name: fmt.Sprint(i)}, Order: uint64(1000 - i), Text: "common words"})
	}
	apply(t, x, b)
	q := index.Parse(index.Parts, "common")
	if got := fmt.Sprint(names(t, x, q, index.Page{Scope: "room1", Limit: 3})); got != "[1 4 7]" {
		t.Errorf("highest order first in one scope: %s", got)
	}
	if got := fmt.Sprint(names(t, x, q, index.Page{Below: 1000 - 7, Limit: 3})); got != "[8 9 10]" {
		t.Errorf("a next page: %s", got)
	}
	if got := names(t, x, q, index.Page{Scope: "no such room"}); len(got) != 0 {
		t.Errorf("an unknown scope has %v", got)
	}
	short := index.Parse(index.Parts, "co")
	if short.Indexed() || short.Exact() {
		t.Error("two characters are not in an index of three")
	}
	if got := fmt.Sprint(names(t, x, short, index.Page{Scope: "room2", Limit: 2})); got != "[2 5]" {
		t.Errorf("all of a scope, for whoever looks at them: %s", got)
	}
}

func TestChanges(t *testing.T) {
	for _, by := range []index.Unit{index.Parts, index.Words} {
		x, path := open(t, by)
		q := func(s string) []string { return names(t, x, index.Parse(by, s), index.Page{}) }
		put(t, x, "first text", "second text", "third text")
		put(t, x, "first text", "second text", "third text") // a batch that is written again
		if got := fmt.Sprint(q("text")); got != "[3 2 1]" {
			t.Fatalf("written twice, found %s", got)
		}
		ref := index.Ref{Scope: "room", Name: "2"}
		apply(t, x, index.Batch{Put: []index.Document{{Ref: ref, Text: "other words", Stamp: 7}}, Gone: []index.Ref{{Scope: "room", Name: "1"}, {Scope: "none", Name: "1"}}})
		if got := fmt.Sprint(q("text"), q("words"), q("second")); got != "[3] [2] []" {
			t.Errorf("after a change and a deletion: %s", got)
		}
		if known, err := x.Known(t.Context(), "room"); err != nil || fmt.Sprint(known) != "map[2:7 3:0]" {
			t.Errorf("known: %v, %v", known, err)
		}
		apply(t, x, index.Batch{Scopes: []string{"room", "none"}, State: index.State{Begun: true, Epoch: 3, Seq: 9}})
		if got := q("text"); len(got) != 0 {
			t.Errorf("of a scope that is gone: %v", got)
		}
		// It is found again in a file of the same version, and made again otherwise.
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		again := index.New(index.Options{Path: path, By: by, Log: slog.New(slog.DiscardHandler)})
		if s, err := again.State(t.Context()); err != nil || s.Seq != 9 || s.Epoch != 3 {
			t.Errorf("state of the next start: %+v, %v", s, err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUselessFiles(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"empty":   func(path string) error { return os.Truncate(path, 0) },
		"cut off": func(path string) error { return os.Truncate(path, 5000) },
		"no database": func(path string) error {
			return os.WriteFile(path, []byte("not a database, but long enough for a header"), 0o600)
		},
		"zeros": func(path string) error {
			b, err := os.ReadFile(path)
			if err == nil {
				clear(b[100:])
				err = os.WriteFile(path, b, 0o600)
			}
			return err
		},
		"removed": os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			x, path := open(t, index.Parts)
			put(t, x, strings.Repeat("many words and more of them ", 100))
			if err := x.Close(); err != nil {
				t.Fatal(err)
			}
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			x = index.New(index.Options{Path: path, By: index.Parts, Log: slog.New(slog.DiscardHandler)})
			defer x.Close() //nolint:errcheck // it is a test's
			s, err := x.State(t.Context())
			if err != nil || s.Begun {
				t.Fatalf("state %+v, %v; want an empty index", s, err)
			}
			put(t, x, "words again")
			if got := names(t, x, index.Parse(index.Parts, "again"), index.Page{}); len(got) != 1 {
				t.Errorf("found %v", got)
			}
		})
	}
}

func TestReplacedFile(t *testing.T) {
	x, _ := open(t, index.Parts)
	put(t, x, "some text")
	old, err := x.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Reset(); err != nil {
		t.Fatal(err)
	}
	late := index.Batch{Put: []index.Document{{Ref: index.Ref{Scope: "room", Name: "9"}, Order: 9, Text: "more text"}}, State: old}
	if err := x.Apply(t.Context(), late); !errors.Is(err, index.ErrReplaced) {
		t.Errorf("a batch for a file that is gone: %v", err)
	}
	if now, err := x.State(t.Context()); err != nil || now.Begun || now.File == old.File {
		t.Errorf("%+v, %v; before it was %+v", now, err, old)
	}
}

func TestReadersBesideAWriter(t *testing.T) {
	x, _ := open(t, index.Parts)
	put(t, x, "the beginning")
	var all sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				if hits, err := x.Find(t.Context(), index.Parse(index.Parts, "beginning"), index.Page{Limit: 5}); err != nil || len(hits) == 0 {
					t.Errorf("%d hits, %v", len(hits), err)
					return
				}
			}
		})
	}
	for i := range 50 {
		apply(t, x, index.Batch{Put: []index.Document{{Ref: index.Ref{Scope: "s", Name: fmt.Sprint(i)}, Text: "a beginning"}}})
	}
	stop()
	all.Wait()
}

func TestSnippet(t *testing.T) {
	long := strings.Repeat("before ", 100) + "the needle <b>&amp; \"here\"</b> " + strings.Repeat("behind ", 100)
	for _, c := range []struct{ by, query, text, want string }{
		{"parts", "needle", "<i>needle</i>", "&lt;i&gt;<mark>needle</mark>&lt;/i&gt;"},
		{"parts", "<mark>", "a <mark> b", "a <mark>&lt;mark&gt;</mark> b"},
		{"parts", "aba", "ababa", "<mark>aba</mark>ba"},
		{"parts", "abc bcd", "xabcdx", "x<mark>abcd</mark>x"},
		{"words", "need", "A NEEDLE'S eye", "A <mark>NEEDLE</mark>&#39;S eye"},
		{"words", "nothing", "no such word", "no such word"},
	} {
		by := index.Parts
		if c.by == "words" {
			by = index.Words
		}
		if got := index.Parse(by, c.query).Snippet(c.text); got != c.want {
			t.Errorf("%q in %q: %s, want %s", c.query, c.text, got, c.want)
		}
	}
	s := index.Parse(index.Parts, "needle").Snippet(long)
	if !strings.HasPrefix(s, "...before") || !strings.HasSuffix(s, "behind...") || !strings.Contains(s, "the <mark>needle</mark> &lt;b&gt;&amp;amp; &#34;here&#34;&lt;/b&gt; behind") {
		t.Errorf("of a long text: %s", s)
	}
	if n := len(strings.Fields(s)); n > 34 {
		t.Errorf("%d words: %s", n, s)
	}
	if s := index.Parse(index.Parts, "qqq").Snippet(strings.Repeat("x", 5000) + "qqq"); len(s) > 600 || !strings.Contains(s, "<mark>qqq</mark>") {
		t.Errorf("of a text without blanks: %d bytes: %s", len(s), s)
	}
}

// FuzzQuery holds that no text can be wrong, that what is found says so, and
// that nothing of a text gets into HTML.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{`a"b`, `"`, `""`, `"a b" c`, `text:x`, `scope : "y"`, `-x`, `NEAR(a b, 3)`, "\x00", "x\x00y", `^x*`, "{a b}:c", "天气", "🎉👍🏽", "é", "ẞ ß", "\xff", `'; DROP TABLE texts; --`, "a AND", "OR", "(", "ﷺ", "\u202e\u0301"} {
		f.Add(s, s+" and more "+s)
	}
	dir := f.TempDir()
	all := map[index.Unit]*index.Index{}
	for _, by := range []index.Unit{index.Parts, index.Words} {
		all[by] = index.New(index.Options{Path: filepath.Join(dir, fmt.Sprint(by)), By: by, Log: slog.New(slog.DiscardHandler)})
		f.Cleanup(func() { all[by].Close() }) //nolint:errcheck // it is a test's
	}
	f.Fuzz(func(t *testing.T, query, text string) {
		text = strings.ToValidUTF8(text, "?")
		for by, x := range all {
			q := index.Parse(by, query)
			apply(t, x, index.Batch{Put: []index.Document{{Ref: index.Ref{Scope: "s", Name: "n"}, Order: 1, Text: text}}})
			for _, scope := range []string{"", "s"} {
				if _, err := x.Find(t.Context(), q, index.Page{Scope: scope, Limit: 3}); err != nil {
					t.Errorf("%q: %v", query, err)
				}
			}
			s := q.Snippet(text)
			s = strings.ReplaceAll(strings.ReplaceAll(s, "<mark>", ""), "</mark>", "")
			if strings.ContainsAny(s, `<>"'`) {
				t.Errorf("%q in %q: not escaped: %s", query, text, s)
			}
			if q.Match(text) != (q.Terms() > 0 && q.Having(text) == q.Terms()) || q.Count(text, 5) > 5 {
				t.Errorf("%q in %q: contradictions", query, text)
			}
		}
	})
}

// What a scope has of a term is found whether the term is rare in all, common
// here, or common elsewhere alone; page by page, too.
func TestScopeAmongOthers(t *testing.T) {
	x, _ := open(t, index.Parts)
	var b index.Batch
	want := map[string][]string{} // by term, highest first
	const n = 1000
	for i := n; i > 0; i-- {
		scope, text := "other", "common elsewhere"
		if i%10 == 0 {
			scope, text = "room", "common in all, common here"
		}
		if i%100 == 50 {
			text += ", rare"
		}
		b.Put = append(b.Put, index.Document{Ref: index.Ref{Scope: scope, Name: fmt.Sprint(i)}, Order: uint64(i), Text: text})
		for _, term := range []string{"common", "here", "elsewhere", "rare"} {
			if scope == "room" && strings.Contains(text, term) {
				want[term] = append(want[term], fmt.Sprint(i))
			}
		}
	}
	slices.Reverse(b.Put)
	b.State = index.State{Begun: true, Seq: n}
	apply(t, x, b)
	for _, term := range []string{"common", "here", "elsewhere", "rare"} {
		for _, limit := range []int{1, 7, 30, 400} {
			got := []string{}
			p := index.Page{Scope: "room", Limit: limit}
			for {
				hits, err := x.Find(t.Context(), index.Parse(index.Parts, term), p)
				if err != nil {
					t.Fatal(err)
				}
				if len(hits) == 0 {
					break
				}
				for _, h := range hits {
					got = append(got, h.Name)
				}
				p.Below = hits[len(hits)-1].Order
			}
			if !slices.Equal(got, append([]string{}, want[term]...)) {
				t.Errorf("%s, %d at once: %v, want %v", term, limit, got, want[term])
			}
		}
	}
}
