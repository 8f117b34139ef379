package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Ref says which document it is: a name that is its own within a scope, such as
// a message in a room.
type Ref struct{ Scope, Name string }

// Document is what is to be found.
type Document struct {
	Ref
	// Order is a number of its own, above 0; hits come with the highest first.
	// 0: higher than all so far, and replacing a document makes it the highest.
	Order uint64
	Stamp uint64 // of this text, for Known; any meaning
	Text  string
}

// textMax is how much of a text can be found.
const textMax = 1 << 20

// Batch is one step of filling an Index.
type Batch struct {
	Gone   []Ref
	Scopes []string // gone with all that is in them
	Put    []Document
	State  State
}

// ErrReplaced is returned for a batch whose State is about a former file.
var ErrReplaced = errors.New("index: the file was replaced")

// Apply writes a batch. Writing one again changes nothing.
func (x *Index) Apply(ctx context.Context, b Batch) error {
	return x.with(ctx, func(_, writer *sql.DB) error {
		tx, err := writer.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to undo
		if now, err := readState(ctx, tx); err != nil {
			return err
		} else if now.File != b.State.File {
			return ErrReplaced
		}
		w := &batchWriter{ctx: ctx, tx: tx, by: x.opt.By, scopes: map[string]int64{}}
		if err := errors.Join(w.drop(b), w.put(b.Put)); err != nil {
			return err
		}
		if err := writeState(ctx, tx, b.State); err != nil {
			return err
		}
		return tx.Commit()
	})
}

type batchWriter struct {
	ctx    context.Context
	tx     *sql.Tx
	by     Unit
	scopes map[string]int64 // numbers of scopes
}

// drop deletes what is gone, and what is put again under a new number.
func (w *batchWriter) drop(b Batch) error {
	for _, id := range b.Scopes {
		n, err := w.scope(id, false)
		if err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		if err := w.dropWhere("scope = ?", n); err != nil {
			return err
		}
		if _, err := w.tx.ExecContext(w.ctx, "DELETE FROM scopes WHERE n = ?", n); err != nil {
			return err
		}
		delete(w.scopes, id)
	}
	gone := slices.Clone(b.Gone)
	for _, d := range b.Put {
		if d.Order == 0 {
			gone = append(gone, d.Ref)
		}
	}
	for _, ref := range gone {
		n, err := w.scope(ref.Scope, false)
		if err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		if err := w.dropWhere("scope = ? AND name = ?", n, ref.Name); err != nil {
			return err
		}
	}
	return nil
}

// dropWhere deletes documents. where is a constant.
func (w *batchWriter) dropWhere(where string, args ...any) error {
	for _, table := range []string{"DELETE FROM texts WHERE rowid IN (SELECT id FROM docs WHERE ", "DELETE FROM docs WHERE id IN (SELECT id FROM docs WHERE "} {
		if _, err := w.tx.ExecContext(w.ctx, table+where+")", args...); err != nil {
			return err
		}
	}
	return nil
}

// docsAtOnce are rows of one statement.
const docsAtOnce = 100

// put writes all texts at once, without any other statement between them that
// changes more than a row: that would make FTS5 write out what it has gathered.
func (w *batchWriter) put(list []Document) error {
	if len(list) == 0 {
		return nil
	}
	list = lastOfEach(list)
	for _, d := range list {
		if _, err := w.scope(d.Scope, true); err != nil {
			return err
		}
	}
	var next int64
	if err := w.tx.QueryRowContext(w.ctx, "SELECT coalesce(max(id), 0) + 1 FROM docs").Scan(&next); err != nil {
		return err
	}
	insert, err := w.tx.PrepareContext(w.ctx, "INSERT OR REPLACE INTO texts (rowid, text, scope) VALUES (?, ?, ?)")
	if err != nil {
		return err
	}
	defer insert.Close() //nolint:errcheck // the transaction ends it
	rows := make([]any, 0, 4*len(list))
	for _, d := range list {
		n := w.scopes[d.Scope]
		id := int64(d.Order)
		if d.Order == 0 {
			id = next
			next++
		}
		if _, err := insert.ExecContext(w.ctx, id, w.by.prepare(d.Text), scopeToken(n)); err != nil {
			return err
		}
		rows = append(rows, id, n, d.Name, int64(d.Stamp))
	}
	return w.putRows(rows)
}

// putRows writes rows of docs, four values each.
func (w *batchWriter) putRows(values []any) error {
	statement := func(rows int) string {
		return "INSERT OR REPLACE INTO docs (id, scope, name, stamp) VALUES (?, ?, ?, ?)" + strings.Repeat(", (?, ?, ?, ?)", rows-1)
	}
	if len(values) >= 4*docsAtOnce {
		many, err := w.tx.PrepareContext(w.ctx, statement(docsAtOnce))
		if err != nil {
			return err
		}
		defer many.Close() //nolint:errcheck // the transaction ends it
		for len(values) >= 4*docsAtOnce {
			if _, err := many.ExecContext(w.ctx, values[:4*docsAtOnce]...); err != nil {
				return err
			}
			values = values[4*docsAtOnce:]
		}
	}
	if len(values) == 0 {
		return nil
	}
	_, err := w.tx.ExecContext(w.ctx, statement(len(values)/4), values...)
	return err
}

// lastOfEach keeps the last of the documents with the same name, in rising order:
// FTS5 begins a new segment whenever a number is lower than the one before.
func lastOfEach(list []Document) []Document {
	last := make(map[Ref]int, len(list))
	for i, d := range list {
		last[d.Ref] = i
	}
	var out []Document
	for i, d := range list {
		if last[d.Ref] == i {
			out = append(out, d)
		}
	}
	slices.SortStableFunc(out, func(a, b Document) int {
		switch {
		case a.Order == b.Order:
			return 0
		case b.Order == 0, a.Order != 0 && a.Order < b.Order:
			return -1
		}
		return 1
	})
	return out
}

// scope is the number of a scope; 0 if it has none and is not made.
func (w *batchWriter) scope(id string, make bool) (n int64, err error) {
	if n = w.scopes[id]; n != 0 {
		return n, nil
	}
	err = w.tx.QueryRowContext(w.ctx, "SELECT n FROM scopes WHERE id = ?", id).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		if !make {
			return 0, nil
		}
		err = w.tx.QueryRowContext(w.ctx, "INSERT INTO scopes (id) VALUES (?) RETURNING n", id).Scan(&n)
	}
	if err != nil {
		return 0, fmt.Errorf("scope: %w", err)
	}
	w.scopes[id] = n
	return n, nil
}

// scopeToken writes a number as three characters of Unicode's private use area,
// which either tokenizer takes for one token.
func scopeToken(n int64) string {
	const first, size = 0xE000, 6400
	return string([]rune{rune(first + n/size/size%size), rune(first + n/size%size), rune(first + n%size)})
}

// tidyPages is how much one step of Tidy merges.
const tidyPages = 2000

// Tidy merges some of what many batches left in pieces, and says whether there is
// more to merge. An index that is tidy answers faster; each later batch merges as
// much as it has to.
func (x *Index) Tidy(ctx context.Context) (more bool, err error) {
	err = x.with(ctx, func(_, writer *sql.DB) error {
		tx, err := writer.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to undo
		var before, after int
		if err := tx.QueryRowContext(ctx, "SELECT total_changes()").Scan(&before); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO texts (texts, rank) VALUES ('merge', ?)", -tidyPages); err != nil {
			return err
		}
		if err := tx.QueryRowContext(ctx, "SELECT total_changes()").Scan(&after); err != nil {
			return err
		}
		if more = after-before >= 2; !more { // as FTS5's manual has it
			if _, err := tx.ExecContext(ctx, "INSERT INTO texts (texts, rank) VALUES ('automerge', 4), ('crisismerge', 16)"); err != nil {
				return err
			}
		}
		return tx.Commit()
	})
	return more, err
}

// Known returns the documents of a scope with their stamps.
func (x *Index) Known(ctx context.Context, scope string) (map[string]uint64, error) {
	known := map[string]uint64{}
	err := x.with(ctx, func(_, writer *sql.DB) error {
		rows, err := writer.QueryContext(ctx, "SELECT name, stamp FROM docs WHERE scope = (SELECT n FROM scopes WHERE id = ?)", scope)
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // Err says it
		for rows.Next() {
			var name string
			var stamp int64
			if err := rows.Scan(&name, &stamp); err != nil {
				return err
			}
			known[name] = uint64(stamp)
		}
		return rows.Err()
	})
	return known, err
}
