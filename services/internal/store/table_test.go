package store_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"
	"anthill/services/internal/store/key"
	"anthill/services/internal/store/storetest"
)

func open(t *testing.T) store.DB {
	t.Helper()
	d, err := bolt.Open(bolt.Options{Path: filepath.Join(t.TempDir(), "store.db"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return storetest.RunTwice(d)
}

func update(t *testing.T, db store.DB, fn func(store.Tx)) {
	t.Helper()
	if err := db.Update(context.Background(), func(tx store.Tx) error { fn(tx); return nil }); err != nil {
		t.Fatalf("update: %v", err)
	}
}

func view(t *testing.T, db store.DB, fn func(store.Reader)) {
	t.Helper()
	if err := db.View(context.Background(), func(r store.Reader) error { fn(r); return nil }); err != nil {
		t.Fatalf("view: %v", err)
	}
}

type person struct {
	ID    string
	Email string
	Age   int64
	Tags  []string
}

func personIndexes() []store.Index[person] {
	return []store.Index[person]{
		{Name: "email", Unique: true, Keys: func(p *person) []key.Key {
			if p.Email == "" {
				return nil
			}
			return []key.Key{key.Key(nil).Str(p.Email)}
		}},
		{Name: "age", Keys: func(p *person) []key.Key { return []key.Key{key.Key(nil).Int(p.Age)} }},
		{Name: "tag", Keys: func(p *person) (keys []key.Key) {
			for _, tag := range p.Tags {
				keys = append(keys, key.Key(nil).Str(tag))
			}
			return keys
		}},
	}
}

func newPeople(indexes []store.Index[person]) *store.Table[person] {
	return store.NewTable(store.TableOptions[person]{
		Name:    "people",
		Key:     func(p *person) key.Key { return key.Key(nil).Str(p.ID) },
		Indexes: indexes,
	})
}

var people = newPeople(personIndexes())

func id(s string) key.Key { return key.Key(nil).Str(s) }

func mustPut(t *testing.T, tx store.Tx, list ...person) {
	t.Helper()
	for _, p := range list {
		if err := people.Put(tx, &p); err != nil {
			t.Errorf("put %+v: %v", p, err)
		}
	}
}

// ids collects a scan as "a b c".
func ids(t *testing.T, rows iter.Seq2[*person, error]) string {
	t.Helper()
	var out []string
	for p, err := range rows {
		if err != nil {
			t.Errorf("scan: %v", err)
			break
		}
		out = append(out, p.ID)
	}
	return strings.Join(out, " ")
}

func TestTable(t *testing.T) {
	db := open(t)
	ann := person{ID: "ann", Email: "ann@x", Age: 30, Tags: []string{"go", "ops"}}
	update(t, db, func(tx store.Tx) {
		mustPut(t, tx, ann, person{ID: "bob", Email: "bob@x", Age: 30, Tags: []string{"go"}}, person{ID: "cy", Age: -5})
	})
	view(t, db, func(r store.Reader) {
		got, err := people.Get(r, id("ann"))
		if err != nil || fmt.Sprint(*got) != fmt.Sprint(ann) {
			t.Errorf("Get = %+v, %v", got, err)
		}
		if got, err := people.Get(r, id("nobody")); got != nil || err != nil {
			t.Errorf("Get of nothing = %+v, %v", got, err)
		}
		if got, err := people.Lookup(r, "email", id("bob@x")); err != nil || got.ID != "bob" {
			t.Errorf("Lookup = %+v, %v", got, err)
		}
		if got, err := people.Lookup(r, "email", id("nobody@x")); got != nil || err != nil {
			t.Errorf("Lookup of nothing = %+v, %v", got, err)
		}
		if got, want := ids(t, people.ScanIndex(r, "age", store.ScanOptions{})), "cy ann bob"; got != want {
			t.Errorf("by age: %s, want %s", got, want)
		}
	})
	update(t, db, func(tx store.Tx) {
		// One transaction frees a unique key and gives it to another row.
		mustPut(t, tx,
			person{ID: "ann", Email: "ann@y", Age: 31, Tags: []string{"ops", "ops"}},
			person{ID: "bob", Email: "ann@x", Age: 30})
		if ok, err := people.Delete(tx, id("cy")); !ok || err != nil {
			t.Errorf("Delete = %v, %v", ok, err)
		}
		if ok, err := people.Delete(tx, id("cy")); ok || err != nil {
			t.Errorf("Delete of nothing = %v, %v", ok, err)
		}
	})
	view(t, db, func(r store.Reader) {
		if got, _ := people.Lookup(r, "email", id("ann@x")); got == nil || got.ID != "bob" {
			t.Errorf("ann@x is %+v", got)
		}
		if got, _ := people.Lookup(r, "email", id("bob@x")); got != nil {
			t.Errorf("bob@x is still %+v", got)
		}
		for prefix, want := range map[string]string{"go": "", "ops": "ann"} {
			if got := ids(t, people.ScanIndex(r, "tag", store.ScanOptions{Prefix: id(prefix)})); got != want {
				t.Errorf("tag %s: %q, want %q", prefix, got, want)
			}
		}
		if got, want := ids(t, people.ScanIndex(r, "age", store.ScanOptions{})), "bob ann"; got != want {
			t.Errorf("by age: %s, want %s", got, want)
		}
	})
}

func TestUnique(t *testing.T) {
	db := open(t)
	update(t, db, func(tx store.Tx) { mustPut(t, tx, person{ID: "ann", Email: "x"}) })
	update(t, db, func(tx store.Tx) {
		err := people.Put(tx, &person{ID: "bob", Email: "x", Tags: []string{"go"}})
		if !errors.Is(err, store.ErrUnique) || !strings.Contains(err.Error(), "people.email") {
			t.Errorf("Put = %v", err)
		}
		mustPut(t, tx, person{ID: "ann", Email: "x", Age: 1}) // its own key is no conflict
	})
	view(t, db, func(r store.Reader) { // the refused row was not even begun
		if got := ids(t, people.Scan(r, store.ScanOptions{})); got != "ann" {
			t.Errorf("rows: %s", got)
		}
		if got := ids(t, people.ScanIndex(r, "tag", store.ScanOptions{})); got != "" {
			t.Errorf("tag: %s", got)
		}
	})
}

func TestPutWritesOnlyChanges(t *testing.T) {
	db := open(t)
	p := person{ID: "ann", Email: "x", Age: 1}
	for i := range 90 {
		p.Tags = append(p.Tags, fmt.Sprint("tag", i))
	}
	update(t, db, func(tx store.Tx) { mustPut(t, tx, p) })
	update(t, db, func(tx store.Tx) {
		for range 10 { // would be far more than a transaction may write
			mustPut(t, tx, p)
		}
		p := p
		for i := range 20 { // the row and one entry that moves
			p.Age = int64(10 + i)
			mustPut(t, tx, p)
		}
	})
}

// TestPutFillsNewIndex does what a migration does when a table gets an index.
func TestPutFillsNewIndex(t *testing.T) {
	db := open(t)
	before := newPeople(personIndexes()[:1])
	update(t, db, func(tx store.Tx) {
		if err := before.Put(tx, &person{ID: "ann", Tags: []string{"go"}}); err != nil {
			t.Fatal(err)
		}
	})
	update(t, db, func(tx store.Tx) {
		for p, err := range people.Scan(tx, store.ScanOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			mustPut(t, tx, *p)
		}
	})
	view(t, db, func(r store.Reader) {
		if got := ids(t, people.ScanIndex(r, "tag", store.ScanOptions{})); got != "ann" {
			t.Errorf("the new index has %q", got)
		}
	})
}

func TestScanOptions(t *testing.T) {
	db := open(t)
	type row struct {
		Room string
		N    int64
	}
	rooms := store.NewTable(store.TableOptions[row]{
		Name: "rooms",
		Key:  func(r *row) key.Key { return key.Key(nil).Str(r.Room).Int(r.N) },
		Indexes: []store.Index[row]{
			{Name: "parity", Keys: func(r *row) []key.Key { return []key.Key{key.Key(nil).Int(r.N % 2).Str(r.Room)} }},
		},
	})
	update(t, db, func(tx store.Tx) {
		for _, room := range []string{"a", "a\x00", "b", "c"} {
			for n := range int64(4) {
				if err := rooms.Put(tx, &row{room, n}); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
	at := func(room string, n int64) key.Key { return key.Key(nil).Str(room).Int(n) }
	odd := func(room string) key.Key { return key.Key(nil).Int(1).Str(room) }
	for _, tc := range []struct {
		index string
		o     store.ScanOptions
		want  string
	}{
		{"", store.ScanOptions{Prefix: id("a")}, "a0 a1 a2 a3"},
		{"", store.ScanOptions{Prefix: id("a"), Reverse: true}, "a3 a2 a1 a0"},
		{"", store.ScanOptions{Prefix: id("a"), Limit: 2}, "a0 a1"},
		{"", store.ScanOptions{Prefix: id("b"), After: at("b", 1)}, "b2 b3"},
		{"", store.ScanOptions{Prefix: id("b"), After: at("b", 2), Reverse: true}, "b1 b0"},
		{"", store.ScanOptions{Prefix: id("b"), After: at("b", 9)}, ""},
		{"", store.ScanOptions{Prefix: id("b"), After: at("b", -1), Reverse: true}, ""},
		{"", store.ScanOptions{Prefix: id("b"), After: at("a", 1)}, "b0 b1 b2 b3"},
		{"", store.ScanOptions{Prefix: id("b"), After: at("c", 1), Reverse: true}, "b3 b2 b1 b0"},
		{"", store.ScanOptions{After: id("b"), Limit: 2}, "c0 c1"},
		{"", store.ScanOptions{After: id("a\x00"), Reverse: true, Limit: 2}, "a3 a2"},
		{"", store.ScanOptions{Prefix: id("none")}, ""},
		{"parity", store.ScanOptions{Prefix: odd("b")}, "b1 b3"},
		{"parity", store.ScanOptions{Prefix: odd("b"), Reverse: true}, "b3 b1"},
		{"parity", store.ScanOptions{Prefix: key.Key(nil).Int(1), After: odd("b")}, "c1 c3"},
		{"parity", store.ScanOptions{Prefix: key.Key(nil).Int(1), After: odd("b").Join(at("b", 1))}, "b3 c1 c3"},
		{"parity", store.ScanOptions{Prefix: key.Key(nil).Int(1), After: odd("b").Join(at("b", 3)), Reverse: true, Limit: 1}, "b1"},
	} {
		view(t, db, func(r store.Reader) {
			scan := rooms.Scan(r, tc.o)
			if tc.index != "" {
				scan = rooms.ScanIndex(r, tc.index, tc.o)
			}
			var got []string
			for v, err := range scan {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, fmt.Sprint(strings.TrimRight(v.Room, "\x00"), v.N))
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("%q %+v: %v, want %s", tc.index, tc.o, got, tc.want)
			}
		})
	}
}

func TestDeleteDuringScan(t *testing.T) {
	db := open(t)
	update(t, db, func(tx store.Tx) {
		mustPut(t, tx, person{ID: "ann", Tags: []string{"a", "b"}}, person{ID: "bob", Tags: []string{"a", "c"}})
	})
	update(t, db, func(tx store.Tx) {
		n := 0
		for p, err := range people.ScanIndex(tx, "tag", store.ScanOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			if _, err := people.Delete(tx, id(p.ID)); err != nil {
				t.Fatal(err)
			}
		}
		if n != 2 {
			t.Errorf("%d rows, want each once", n)
		}
	})
	view(t, db, func(r store.Reader) {
		for k := range r.Scan(store.Range{}) {
			t.Errorf("left over: %x", k)
		}
	})
}

// TestIndexesAgree changes random rows and compares every index with the rows.
func TestIndexesAgree(t *testing.T) {
	db := open(t)
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 40 {
		seed := rnd.Uint64()
		update(t, db, func(tx store.Tx) {
			rnd := rand.New(rand.NewPCG(seed, 0)) // the same on every run
			for range 6 {
				p := person{ID: fmt.Sprint(rnd.IntN(20)), Age: rnd.Int64N(9) - 4}
				if rnd.IntN(2) == 0 {
					p.Email = fmt.Sprint("e", rnd.IntN(15))
				}
				for range rnd.IntN(4) {
					p.Tags = append(p.Tags, fmt.Sprint("t", rnd.IntN(5)))
				}
				if rnd.IntN(3) == 0 {
					if _, err := people.Delete(tx, id(p.ID)); err != nil {
						t.Fatal(err)
					}
				} else if err := people.Put(tx, &p); err != nil && !errors.Is(err, store.ErrUnique) {
					t.Fatal(err)
				}
			}
		})
	}
	view(t, db, func(r store.Reader) {
		want := map[string][]string{}
		for p, err := range people.Scan(r, store.ScanOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			for _, ix := range personIndexes() {
				var keys []string
				for _, k := range ix.Keys(p) {
					keys = append(keys, string(k)+"\x00"+p.ID)
				}
				slices.Sort(keys)
				want[ix.Name] = append(want[ix.Name], slices.Compact(keys)...)
			}
		}
		for name, list := range want {
			slices.Sort(list)
			var got []string
			for p, err := range people.ScanIndex(r, name, store.ScanOptions{}) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, p.ID)
			}
			var wantIDs []string
			for _, k := range list {
				wantIDs = append(wantIDs, k[strings.LastIndexByte(k, 0)+1:])
			}
			if strings.Join(got, " ") != strings.Join(wantIDs, " ") {
				t.Errorf("index %s:\n got %v\nwant %v", name, got, wantIDs)
			}
		}
	})
}

func TestDamagedTable(t *testing.T) {
	db := open(t)
	update(t, db, func(tx store.Tx) {
		mustPut(t, tx, person{ID: "ann", Tags: []string{"go"}}, person{ID: "bob"})
		tx.Delete(key.Of("people").Uint(0).Str("ann")) // behind the table's back
		tx.Put(key.Of("people").Uint(0).Str("bob"), []byte{0xff})
	})
	view(t, db, func(r store.Reader) {
		var err error
		for _, e := range people.ScanIndex(r, "tag", store.ScanOptions{}) {
			err = e
		}
		if !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("an index entry without a row: %v", err)
		}
		var syntax *cbor.SyntaxError
		if _, err := people.Get(r, id("bob")); !errors.As(err, &syntax) {
			t.Errorf("a row that is not CBOR: %v", err)
		}
	})
}

func TestProgrammingErrorsPanic(t *testing.T) {
	db := open(t)
	view(t, db, func(r store.Reader) {
		for name, f := range map[string]func(){
			"unknown index":        func() { people.ScanIndex(r, "none", store.ScanOptions{}) },
			"unknown unique index": func() { people.Lookup(r, "none", nil) },
			"index not unique":     func() { people.Lookup(r, "age", nil) },
			"table without a key":  func() { store.NewTable(store.TableOptions[person]{Name: "x"}) },
			"one name twice": func() {
				newPeople(append(personIndexes(), personIndexes()[0]))
			},
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: no panic", name)
					}
				}()
				f()
			}()
		}
	})
}
