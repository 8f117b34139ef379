package scratchpads

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/kernel"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// record is a scratchpad in the store. Its cells are in the bulk store.
type record struct {
	ID        string `json:"id"`
	ProjectID string `json:"project_id"`
	Owner     string `json:"owner,omitempty"` // conversation of the agent whose it is; empty: nobody's
	Name      string `json:"name"`
	Created   int64  `json:"created"` // ms
	Used      int64  `json:"used"`    // ms
	Open      bool   `json:"open,omitempty"`
	// Lost says, as half a sentence, why its variables are gone, if it is not that
	// the server was restarted.
	Lost string `json:"lost,omitempty"`

	Series  string `json:"series"`            // of its cells; another one from each reset on
	First   int    `json:"first"`             // number of the oldest cell that is kept
	Sizes   []int  `json:"sizes,omitempty"`   // bytes of the cells that are kept, oldest first
	Running bool   `json:"running,omitempty"` // the newest one has not ended
}

// next is the number of the next cell.
func (rec *record) next() int { return rec.First + len(rec.Sizes) }

const (
	byName  = "name"
	byOwner = "owner"
)

var records = store.NewTable(store.TableOptions[record]{
	Name: "scratchpad",
	Key:  func(rec *record) key.Key { return key.Key(nil).Str(rec.ID) },
	Indexes: []store.Index[record]{
		{Name: byName, Unique: true, Keys: func(rec *record) []key.Key {
			return []key.Key{nameKey(rec.ProjectID, rec.Owner, rec.Name)}
		}},
		{Name: byOwner, Keys: func(rec *record) []key.Key {
			if rec.Owner == "" {
				return nil
			}
			return []key.Key{key.Key(nil).Str(rec.Owner)}
		}},
	},
})

func nameKey(projectID, owner, name string) key.Key {
	return key.Key(nil).Str(projectID).Str(owner).Str(name)
}

func ofProject(rd store.Reader, projectID string) ([]*record, error) {
	return collect(rd, byName, key.Key(nil).Str(projectID))
}

func ofOwner(rd store.Reader, owner string) ([]*record, error) {
	return collect(rd, byOwner, key.Key(nil).Str(owner))
}

func collect(rd store.Reader, index string, prefix key.Key) (list []*record, err error) {
	for rec, err := range records.ScanIndex(rd, index, store.ScanOptions{Prefix: prefix}) {
		if err != nil {
			return nil, err
		}
		list = append(list, rec)
	}
	return list, nil
}

// cellsTable is the first element of the keys of all cells in the bulk store;
// behind it are series, number and part.
const cellsTable = "scratchpad_cell"

const cellPart = 512 << 10 // bytes of a cell in one value

func cellKey(series string, number int) key.Key {
	return key.Of(cellsTable).Str(series).Uint(uint64(number))
}

// Statuses of a cell beside the kernel's.
const (
	statusRunning     = "running"
	statusInterrupted = "interrupted"
)

// writeCell puts a cell into the bulk store and returns its size in bytes.
func (r *Room) writeCell(ctx context.Context, series string, c *antonv1.Cell) (int, error) {
	body, err := proto.Marshal(c)
	if err != nil {
		return 0, fmt.Errorf("encode a cell: %w", err)
	}
	return len(body), r.opt.Bulk.Update(ctx, func(tx store.Tx) error {
		prefix := cellKey(series, int(c.Number))
		for rest, part := body, uint64(0); part == 0 || len(rest) > 0; part++ {
			n := min(len(rest), cellPart)
			tx.Put(prefix.Uint(part), rest[:n])
			rest = rest[n:]
		}
		return nil
	})
}

// readCells reads cells of a series with from <= number < to, oldest first. One
// that is gone is left out.
func (r *Room) readCells(ctx context.Context, series string, from, to int) (list []*antonv1.Cell, err error) {
	err = r.opt.Bulk.View(ctx, func(rd store.Reader) error {
		list = nil
		for n := from; n < to; n++ {
			var body []byte
			found := false
			for _, v := range rd.Scan(store.Prefix(cellKey(series, n))) {
				body, found = append(body, v...), true
			}
			if !found {
				continue
			}
			c := &antonv1.Cell{}
			if err := proto.Unmarshal(body, c); err != nil {
				return fmt.Errorf("cell %d of %s: %w", n, series, err)
			}
			list = append(list, c)
		}
		return nil
	})
	return list, err
}

// dropCells removes cells from the bulk store. What fails is removed by a sweep.
func (r *Room) dropCells(ctx context.Context, series string, from, to int) {
	for n := from; n < to; n++ {
		err := r.opt.Bulk.Update(ctx, func(tx store.Tx) error {
			for k := range tx.Scan(store.Prefix(cellKey(series, n))) {
				tx.Delete(append([]byte(nil), k...))
			}
			return nil
		})
		if err != nil {
			r.opt.Log.WarnContext(ctx, "cells of a scratchpad stay for now", "series", series, "error", err)
			return
		}
	}
}

// load reads a record, or fails with errNoPad.
func (r *Room) load(ctx context.Context, id, name string) (out record, err error) {
	err = r.opt.Main.View(ctx, func(rd store.Reader) error {
		rec, err := records.Get(rd, key.Key(nil).Str(id))
		if err == nil && rec == nil {
			err = errNoPad(name)
		}
		if err == nil {
			out = *rec
		}
		return err
	})
	return out, err
}

// change reads a record, changes it and writes it. It fails with errNoPad for one
// that is gone, or whose project is.
func (r *Room) change(ctx context.Context, id, name string, fn func(*record)) (out record, err error) {
	err = r.opt.Main.Update(ctx, func(tx store.Tx) error {
		rec, err := records.Get(tx, key.Key(nil).Str(id))
		if err != nil {
			return err
		}
		if rec == nil {
			return errNoPad(name)
		}
		if exists, err := r.opt.Projects.Exists(tx, rec.ProjectID); err != nil || !exists {
			return errors.Join(err, errNoPad(name))
		}
		fn(rec)
		out = *rec
		return records.Put(tx, rec)
	})
	return out, err
}

// sealAll gives an end to the cells that a crash left without one.
func (r *Room) sealAll(ctx context.Context) error {
	var running []*record
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		running = nil
		for rec, err := range records.Scan(rd, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			if rec.Running {
				running = append(running, rec)
			}
		}
		return nil
	})
	for _, rec := range running {
		err = errors.Join(err, r.seal(ctx, rec))
	}
	return err
}

func (r *Room) seal(ctx context.Context, rec *record) error {
	cells, err := r.readCells(ctx, rec.Series, rec.next()-1, rec.next())
	if err != nil {
		return err
	}
	for _, c := range cells {
		if c.Status != statusRunning {
			continue // its end was written, but not noted
		}
		c.Status, c.Error = statusInterrupted, proto.String("The server ended while the cell ran.")
		if _, err := r.writeCell(ctx, rec.Series, c); err != nil {
			return err
		}
	}
	return r.opt.Main.Update(ctx, func(tx store.Tx) error {
		now, err := records.Get(tx, key.Key(nil).Str(rec.ID))
		if err != nil || now == nil {
			return err
		}
		now.Running = false
		return records.Put(tx, now)
	})
}

// sweep removes cells that belong to no scratchpad any more.
func (r *Room) sweep(ctx context.Context) error {
	kept := map[string]record{} // by series
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		clear(kept)
		for rec, err := range records.Scan(rd, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			kept[rec.Series] = *rec
		}
		return nil
	})
	if err != nil {
		return err
	}
	var stray [][]byte
	err = r.opt.Bulk.View(ctx, func(rd store.Reader) error {
		stray = nil
		for k := range rd.Scan(store.Prefix(key.Of(cellsTable))) {
			p := key.Parse(k)
			p.Str()
			series, number := p.Str(), int(p.Uint())
			if p.Err() != nil {
				return fmt.Errorf("%w: key of a cell", store.ErrCorrupt)
			}
			if rec, ok := kept[series]; !ok || number < rec.First || number >= rec.next() {
				stray = append(stray, append([]byte(nil), k...))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for len(stray) > 0 {
		some := stray[:min(len(stray), 500)]
		stray = stray[len(some):]
		err := r.opt.Bulk.Update(ctx, func(tx store.Tx) error {
			for _, k := range some {
				tx.Delete(k)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func timeText(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}

// fill adds to a cell what it left.
func fill(c *antonv1.Cell, res kernel.Result) {
	c.Status, c.Stdout, c.Stderr, c.Logs = res.Status, res.Stdout, res.Stderr, res.Logs
	c.Installed, c.Notice, c.Duration = res.Installed, res.Notice, res.Took.Seconds()
	if res.Error != "" {
		c.Error = proto.String(res.Error)
	}
	for _, o := range res.Outputs {
		c.Outputs = append(c.Outputs, outputOf(o))
	}
}

func outputOf(o kernel.Output) *antonv1.CellOutput {
	return &antonv1.CellOutput{Kind: o.Kind, Data: o.Data}
}
