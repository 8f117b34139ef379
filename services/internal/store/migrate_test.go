package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"anthill/services/internal/store"
)

// steps returns migrations that note in log that they ran.
func steps(log *[]string, versions ...int) []store.Migration {
	var ms []store.Migration
	for _, v := range versions {
		ms = append(ms, store.Migration{
			Version: v,
			Name:    fmt.Sprint("step", v),
			Run: func(ctx context.Context, db store.DB) error {
				*log = append(*log, fmt.Sprint("run ", v))
				return db.Update(ctx, func(tx store.Tx) error {
					tx.Put(fmt.Append(nil, "step", v), nil)
					return nil
				})
			},
		})
	}
	return ms
}

func TestMigrate(t *testing.T) {
	db, ctx := open(t), context.Background()
	var log []string
	backup := func(_ context.Context, from int) error {
		log = append(log, fmt.Sprint("backup at ", from))
		return nil
	}
	expect := func(want string) {
		t.Helper()
		if got := strings.Join(log, ", "); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		log = nil
	}

	if err := store.Migrate(ctx, db, steps(&log, 1, 3), backup); err != nil {
		t.Fatal(err)
	}
	expect("run 1, run 3") // nothing to back up

	if err := store.Migrate(ctx, db, steps(&log, 1, 3), backup); err != nil {
		t.Fatal(err)
	}
	expect("") // nothing to do

	if err := store.Migrate(ctx, db, steps(&log, 1, 3, 4, 7), backup); err != nil {
		t.Fatal(err)
	}
	expect("backup at 3, run 4, run 7")

	err := store.Migrate(ctx, db, steps(&log, 1, 3, 4), backup)
	if !errors.Is(err, store.ErrNewer) || !strings.Contains(err.Error(), "version 7") ||
		!strings.Contains(err.Error(), "knows 4") || !strings.Contains(err.Error(), "backup") {
		t.Errorf("older program: %v", err)
	}
	expect("")

	for _, versions := range [][]int{{1, 1}, {2, 1}, {0}, {-1}} {
		if err := store.Migrate(ctx, db, steps(&log, versions...), backup); err == nil || errors.Is(err, store.ErrNewer) {
			t.Errorf("versions %v: %v", versions, err)
		}
	}
	expect("")
}

func TestMigrateGoesOnAfterFailure(t *testing.T) {
	db, ctx := open(t), context.Background()
	var log []string
	refused := errors.New("refused")
	ms := steps(&log, 1, 2, 3)
	fail := true
	ms[1].Run = func(context.Context, store.DB) error {
		if fail {
			return refused
		}
		log = append(log, "run 2 at last")
		return nil
	}
	err := store.Migrate(ctx, db, ms, nil)
	if !errors.Is(err, refused) || !strings.Contains(err.Error(), "migration 2 (step2)") {
		t.Errorf("Migrate = %v", err)
	}
	fail = false
	if err := store.Migrate(ctx, db, ms, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(log, ", "), "run 1, run 2 at last, run 3"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMigrateNeedsItsBackup(t *testing.T) {
	db, ctx := open(t), context.Background()
	// Data from before there were migrations counts as version 0.
	update(t, db, func(tx store.Tx) { tx.Put([]byte("old"), nil) })
	var log []string
	full := errors.New("no room for a backup")
	err := store.Migrate(ctx, db, steps(&log, 1), func(_ context.Context, from int) error {
		if from != 0 {
			t.Errorf("backup from version %d", from)
		}
		return full
	})
	if !errors.Is(err, full) || len(log) != 0 {
		t.Errorf("Migrate = %v, ran %v", err, log)
	}
}
