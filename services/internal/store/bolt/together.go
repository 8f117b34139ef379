package bolt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"anthill/services/internal/store"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Snapshot is a store as it was at one moment. Writers go on meanwhile, but pages
// that they free are kept until Close: copy it to a file, not to a client.
type Snapshot struct{ tx *bbolt.Tx }

// Together takes snapshots of two stores as of the same moment. While it does,
// within microseconds, nothing is committed to bulk: so all that main refers to
// is there, what was pruned from bulk is no longer referred to by main, and what
// bulk holds beyond that is what a crash would have left.
func Together(main, bulk *DB) (m, b *Snapshot, err error) {
	if bulk.Err() == nil { // else it takes no more commits, and may never end the last
		pause, err := begin(bulk, true)
		if err != nil {
			return nil, nil, err
		}
		defer pause.Rollback() //nolint:errcheck // it has written nothing
	}
	mainTx, err := begin(main, false)
	if err != nil {
		return nil, nil, err
	}
	bulkTx, err := begin(bulk, false)
	if err != nil {
		return nil, nil, errors.Join(err, mainTx.Rollback())
	}
	return &Snapshot{mainTx}, &Snapshot{bulkTx}, nil
}

func begin(d *DB, writable bool) (*bbolt.Tx, error) {
	tx, err := d.bolt.Begin(writable)
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return nil, store.ErrClosed
	}
	if err != nil {
		return nil, fmt.Errorf("snapshot of store %s: %w", d.path, err)
	}
	return tx, nil
}

// Size is the size of the copy in bytes.
func (s *Snapshot) Size() int64 { return s.tx.Size() }

// Copy writes the store, which opens like any other.
func (s *Snapshot) Copy(ctx context.Context, w io.Writer) error {
	if _, err := s.tx.WriteTo(&contextWriter{ctx, w}); err != nil {
		return fmt.Errorf("copy store: %w", cmp.Or(ctx.Err(), err)) // bbolt loses the error's type
	}
	return nil
}

// Close lets the store use its pages again.
func (s *Snapshot) Close() error { return s.tx.Rollback() }
