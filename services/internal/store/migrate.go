package store

import (
	"context"
	"fmt"
	"strconv"

	"anthill/services/internal/store/key"
)

// Migration is one step of the data's layout. Run must be idempotent, for it
// runs again after a crash, and may use several transactions.
type Migration struct {
	Version int // 1 or more, rising from step to step
	Name    string
	Run     func(ctx context.Context, db DB) error
}

// schemaKey holds the version of the last step that is done, in decimal.
var schemaKey = []byte(key.Of("store.schema"))

// Migrate runs the steps that the data has not seen, in order, and records each
// one when it is done. A new store runs all of them. On a store that has data,
// backup (if not nil) is called once before the first pending step, with the
// version that the data is at. Data of a newer version is left alone (ErrNewer).
func Migrate(ctx context.Context, db DB, ms []Migration, backup func(ctx context.Context, fromVersion int) error) error {
	newest := 0
	for _, m := range ms {
		if m.Version <= newest {
			return fmt.Errorf("store: migration %d (%s) must have a version above %d", m.Version, m.Name, newest)
		}
		newest = m.Version
	}
	version, empty, err := schemaVersion(ctx, db)
	if err != nil {
		return err
	}
	if version > newest {
		return fmt.Errorf("%w: it has schema version %d and this program knows %d: "+
			"start the newer program again, or restore the backup that was made before the upgrade", ErrNewer, version, newest)
	}
	if backup != nil && version < newest && !empty {
		if err := backup(ctx, version); err != nil {
			return fmt.Errorf("store: backup before migrating from version %d: %w", version, err)
		}
	}
	for _, m := range ms {
		if m.Version <= version {
			continue
		}
		if err := m.Run(ctx, db); err != nil {
			return fmt.Errorf("store: migration %d (%s): %w", m.Version, m.Name, err)
		}
		if err := db.Update(ctx, func(tx Tx) error {
			tx.Put(schemaKey, []byte(strconv.Itoa(m.Version)))
			return nil
		}); err != nil {
			return fmt.Errorf("store: record migration %d (%s): %w", m.Version, m.Name, err)
		}
	}
	return nil
}

// schemaVersion returns the version recorded in db, and whether db holds nothing at all.
func schemaVersion(ctx context.Context, db DB) (version int, empty bool, err error) {
	err = db.View(ctx, func(r Reader) error {
		empty = true
		for range r.Scan(Range{}) {
			empty = false
			break
		}
		recorded := r.Get(schemaKey)
		if recorded == nil {
			return nil
		}
		n, err := strconv.Atoi(string(recorded))
		if err != nil {
			return fmt.Errorf("%w: schema version %q", ErrCorrupt, recorded)
		}
		version = n
		return nil
	})
	return version, empty, err
}
