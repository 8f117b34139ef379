package storetest

import (
	"context"
	"errors"
	"sync/atomic"

	"anthill/services/internal/store"
)

// RunTwice returns db with an Update that runs every function twice and throws
// away what the first run wrote. Code whose functions are pure does not notice.
func RunTwice(db store.DB) store.DB { return runTwice{db} }

type runTwice struct{ store.DB }

var errFirstRun = errors.New("storetest: first run")

func (d runTwice) Update(ctx context.Context, fn func(store.Tx) error) error {
	_ = d.DB.Update(ctx, func(tx store.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return errFirstRun
	})
	return d.DB.Update(ctx, fn)
}

// FailFirstCommit returns db with a first Update that runs its function, throws
// away what it wrote and returns err, as on a full disk. Later ones work.
func FailFirstCommit(db store.DB, err error) store.DB {
	return &failFirstCommit{DB: db, err: err}
}

type failFirstCommit struct {
	store.DB
	err    error
	failed atomic.Bool
}

func (d *failFirstCommit) Update(ctx context.Context, fn func(store.Tx) error) error {
	if d.failed.Swap(true) {
		return d.DB.Update(ctx, fn)
	}
	return d.DB.Update(ctx, func(tx store.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return d.err
	})
}

// DropWakeups returns db with a Watch that never wakes anyone, for wake-ups may
// be lost: readers must look again by themselves some time.
func DropWakeups(db store.DB) store.DB { return dropWakeups{db} }

type dropWakeups struct{ store.DB }

func (d dropWakeups) Watch(string) (<-chan struct{}, func()) {
	return make(chan struct{}), func() {}
}
