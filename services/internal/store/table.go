package store

import (
	"bytes"
	"fmt"
	"iter"

	"github.com/fxamacker/cbor/v2"

	"anthill/services/internal/store/key"
)

// Codec turns a row into bytes and back. Decode must not keep data.
type Codec[T any] interface {
	Encode(v *T) ([]byte, error)
	Decode(data []byte, v *T) error
}

// TableOptions describe a table. They are fixed for the life of the program.
type TableOptions[T any] struct {
	Name    string
	Key     func(*T) key.Key // the primary key, without the table's name; never changes for a row
	Indexes []Index[T]
	Codec   Codec[T] // nil: CBOR, by the names of JSON tags
}

// Index finds rows by something other than their primary key.
type Index[T any] struct {
	Name   string
	Unique bool
	Keys   func(*T) []key.Key // where the row is found; none: it is not in this index
}

// Table keeps rows of one type together with their indexes: every write through
// it updates them in the same transaction, so that no caller can forget one.
// It holds no state and may be shared.
type Table[T any] struct {
	name    string
	rows    key.Key // prefix of the rows
	key     func(*T) key.Key
	indexes []tableIndex[T]
	codec   Codec[T]
}

type tableIndex[T any] struct {
	Index[T]
	entries key.Key // prefix of the entries
}

// Second element of a table's keys.
const (
	rowsPart    = 0
	indexesPart = 1
)

// NewTable returns the table that o describes. It panics if o is incomplete.
func NewTable[T any](o TableOptions[T]) *Table[T] {
	if o.Name == "" || o.Key == nil {
		panic("store: a table needs a name and a key")
	}
	t := &Table[T]{name: o.Name, rows: key.Of(o.Name).Uint(rowsPart), key: o.Key, codec: o.Codec}
	if t.codec == nil {
		t.codec = cborCodec[T]{}
	}
	seen := map[string]bool{}
	for _, ix := range o.Indexes {
		if ix.Name == "" || ix.Keys == nil || seen[ix.Name] {
			panic(fmt.Sprintf("store: table %s: index %q needs a name of its own and keys", o.Name, ix.Name))
		}
		seen[ix.Name] = true
		t.indexes = append(t.indexes, tableIndex[T]{ix, key.Of(o.Name).Uint(indexesPart).Str(ix.Name)})
	}
	return t
}

// ScanOptions select and order the rows of a scan.
type ScanOptions struct {
	Prefix  key.Key // only keys that begin with these elements
	After   key.Key // start behind the keys that begin with these elements (Prefix and more), in the direction of the scan
	Reverse bool
	Limit   int // 0: no limit
}

// Get returns the row with primary key k, or nil.
func (t *Table[T]) Get(r Reader, k key.Key) (*T, error) {
	return t.load(r, t.rows.Join(k))
}

// Put inserts v or replaces the row with its key. If a unique index already
// leads to another row it returns ErrUnique and has written nothing. What did
// not change is not written.
func (t *Table[T]) Put(tx Tx, v *T) error {
	pk := t.key(v)
	rowKey := t.rows.Join(pk)
	data, err := t.codec.Encode(v)
	if err != nil {
		return fmt.Errorf("store: table %s: encode: %w", t.name, err)
	}
	old, err := t.load(tx, rowKey)
	if err != nil {
		return err
	}
	now := make([][]key.Key, len(t.indexes)) // entries of v, by index
	for i := range t.indexes {
		ix := &t.indexes[i]
		now[i] = ix.entriesOf(v, pk)
		if !ix.Unique {
			continue
		}
		for _, e := range now[i] {
			if owner := tx.Get(e); owner != nil && !bytes.Equal(owner, pk) {
				return fmt.Errorf("%w: %s.%s", ErrUnique, t.name, ix.Name)
			}
		}
	}
	if old != nil {
		for i := range t.indexes {
			for _, e := range t.indexes[i].entriesOf(old, pk) {
				if !contains(now[i], e) {
					tx.Delete(e)
				}
			}
		}
	}
	putChanged(tx, rowKey, data)
	for _, entries := range now {
		for _, e := range entries {
			// Compared with what is stored, not with the old row: putting a row
			// again is how a migration fills an index that is new.
			putChanged(tx, e, pk)
		}
	}
	return nil
}

// Delete removes the row with primary key k and says whether there was one.
func (t *Table[T]) Delete(tx Tx, k key.Key) (bool, error) {
	rowKey := t.rows.Join(k)
	old, err := t.load(tx, rowKey)
	if err != nil || old == nil {
		return false, err
	}
	for i := range t.indexes {
		for _, e := range t.indexes[i].entriesOf(old, k) {
			tx.Delete(e)
		}
	}
	tx.Delete(rowKey)
	return true, nil
}

// Scan yields rows in the order of their primary keys. An error ends it.
func (t *Table[T]) Scan(r Reader, o ScanOptions) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		n := 0
		for _, data := range r.Scan(scanRange(t.rows, o)) {
			v, err := t.decode(data)
			if !yield(v, err) || err != nil {
				return
			}
			if n++; n == o.Limit {
				return
			}
		}
	}
}

// ScanIndex yields rows in the order of an index; rows with equal index keys
// come in the order of their primary keys, and After may name one of them by
// its index key joined with its primary key. A row is yielded once for each of
// its entries. An error ends the scan.
func (t *Table[T]) ScanIndex(r Reader, index string, o ScanOptions) iter.Seq2[*T, error] {
	ix := t.index(index)
	return func(yield func(*T, error) bool) {
		n := 0
		for e, pk := range r.Scan(scanRange(ix.entries, o)) {
			v, err := t.follow(r, ix, e, pk)
			if v == nil && err == nil {
				continue
			}
			if !yield(v, err) || err != nil {
				return
			}
			if n++; n == o.Limit {
				return
			}
		}
	}
}

// Lookup returns the row that a unique index has under k, or nil.
func (t *Table[T]) Lookup(r Reader, uniqueIndex string, k key.Key) (*T, error) {
	ix := t.index(uniqueIndex)
	if !ix.Unique {
		panic(fmt.Sprintf("store: table %s: index %s is not unique", t.name, uniqueIndex))
	}
	e := ix.entries.Join(k)
	pk := r.Get(e)
	if pk == nil {
		return nil, nil
	}
	return t.follow(r, ix, e, pk)
}

// follow loads the row that entry e of an index leads to. It is nil if the
// caller deleted it during its scan; an entry that leads nowhere is damage.
func (t *Table[T]) follow(r Reader, ix *tableIndex[T], e, pk []byte) (*T, error) {
	v, err := t.load(r, t.rows.Join(pk))
	if v == nil && err == nil && r.Get(e) != nil {
		return nil, fmt.Errorf("%w: index %s.%s leads to a row that does not exist", ErrCorrupt, t.name, ix.Name)
	}
	return v, err
}

func (t *Table[T]) load(r Reader, rowKey []byte) (*T, error) {
	data := r.Get(rowKey)
	if data == nil {
		return nil, nil
	}
	return t.decode(data)
}

func (t *Table[T]) decode(data []byte) (*T, error) {
	v := new(T)
	if err := t.codec.Decode(data, v); err != nil {
		return nil, fmt.Errorf("store: table %s: decode: %w", t.name, err)
	}
	return v, nil
}

func (t *Table[T]) index(name string) *tableIndex[T] {
	for i := range t.indexes {
		if t.indexes[i].Name == name {
			return &t.indexes[i]
		}
	}
	panic(fmt.Sprintf("store: table %s has no index %q", t.name, name))
}

// entriesOf returns the keys of v's entries. Those of a unique index are the
// index key alone; others end with the primary key, so that equal ones differ.
func (ix *tableIndex[T]) entriesOf(v *T, pk key.Key) []key.Key {
	keys := ix.Keys(v)
	entries := make([]key.Key, len(keys))
	for i, k := range keys {
		entries[i] = ix.entries.Join(k)
		if !ix.Unique {
			entries[i] = entries[i].Join(pk)
		}
	}
	return entries
}

// scanRange is the range of bytes that o selects among the keys behind base.
func scanRange(base key.Key, o ScanOptions) Range {
	r := Prefix(base.Join(o.Prefix))
	r.Reverse = o.Reverse
	if o.After == nil {
		return r
	}
	behind := Prefix(base.Join(o.After))
	if o.Reverse {
		if bytes.Compare(behind.Start, r.End) < 0 {
			r.End = behind.Start
		}
	} else if bytes.Compare(behind.End, r.Start) > 0 {
		r.Start = behind.End
	}
	return r
}

func putChanged(tx Tx, k, value []byte) {
	if old := tx.Get(k); old == nil || !bytes.Equal(old, value) {
		tx.Put(k, value)
	}
}

func contains(keys []key.Key, k key.Key) bool {
	for _, have := range keys {
		if bytes.Equal(have, k) {
			return true
		}
	}
	return false
}

// cborCodec reads a row several times faster than JSON, and grows fields as JSON does.
type cborCodec[T any] struct{}

func (cborCodec[T]) Encode(v *T) ([]byte, error)    { return cbor.Marshal(v) }
func (cborCodec[T]) Decode(data []byte, v *T) error { return cbor.Unmarshal(data, v) }
