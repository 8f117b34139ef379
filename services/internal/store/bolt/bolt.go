// Package bolt is the store on one bbolt file: the only engine today.
//
// There is one writer at a time. It commits what is waiting as one transaction
// and answers after the sync, so many callers share one sync.
// Rooms enter through store.DB; only the program's start and its backups name
// this package. It never holds a lock while it runs a caller's function, and it
// never acknowledges what is not on disk.
//
// A function given to View or Update must not call the DB again: bbolt can wait
// for ever for a transaction that waits for it.
package bolt

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"anthill/services/internal/store"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Options configure Open. Only Path is needed.
type Options struct {
	Path        string        // the file; its folder must exist
	Limits      store.Limits  // zero: store.MainLimits
	Gather      time.Duration // longest wait for callers that are about to write too; zero: 300 us, negative: none
	OpenTimeout time.Duration // longest wait for a file that another process holds; zero: 1 s
	Logger      *slog.Logger  // nil: slog.Default()
}

// Stats are counts since Open.
type Stats struct {
	Updates uint64 // calls of Update that were committed
	Commits uint64 // transactions that carried them
	Bytes   int64  // size of the file's used part
}

// DB is a store.DB on one file.
type DB struct {
	path   string
	limits store.Limits
	log    *slog.Logger
	bolt   *bbolt.DB
	file   *os.File // bolt's; it carries the lock
	writer *writer
	wakes  wakes

	epoch   atomic.Uint32
	updates atomic.Uint64
	commits atomic.Uint64
	failure atomic.Pointer[error] // why writing stopped for good
	stuck   bool                  // a commit died holding bbolt's locks; set before writer.done

	closing  sync.Once
	closeErr error
}

var _ store.DB = (*DB)(nil)

// mapSize is how much address space a file is given at once: 16 GiB, or nothing
// to speak of where addresses have 32 bits. Until the file is larger, its growth
// never waits for readers.
const mapSize = math.MaxInt >> 29

// longView is when a View is reported: the file grows while one is open, for
// bbolt then reuses no pages.
const longView = 5 * time.Second

// Open opens the file at o.Path or creates it. It returns store.ErrInUse if
// another process keeps the file beyond the timeout, store.ErrCorrupt (the file
// is left as it is) and store.ErrNewer.
func Open(o Options) (*DB, error) {
	if o.Limits == (store.Limits{}) {
		o.Limits = store.MainLimits
	}
	if o.Gather == 0 {
		o.Gather = 300 * time.Microsecond
	}
	if o.OpenTimeout == 0 {
		o.OpenTimeout = time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	d := &DB{path: o.Path, limits: o.Limits, log: o.Logger.With("store", o.Path)}
	if err := d.open(o.OpenTimeout); err != nil {
		return nil, fmt.Errorf("open store %s: %w", o.Path, err)
	}
	d.writer = newWriter(d, o.Gather)
	return d, nil
}

func (d *DB) open(timeout time.Duration) error {
	isNew := false
	options := &bbolt.Options{
		Timeout:         timeout,
		FreelistType:    bbolt.FreelistMapType,
		InitialMmapSize: mapSize,
		NoStatistics:    true,
		OpenFile: func(path string, flag int, mode os.FileMode) (_ *os.File, err error) {
			d.file, isNew, err = openFile(path, flag, mode, timeout, d.log)
			return d.file, err
		},
	}
	err := guarded(func() (err error) {
		if d.bolt, err = bbolt.Open(d.path, 0o600, options); err != nil {
			return err
		}
		return d.prepare()
	})
	if err == nil && isNew {
		// The file's name must survive a power cut as well as its content.
		err = syncFolder(d.path)
	}
	if err == nil {
		return nil
	}
	switch {
	case d.bolt != nil && !errors.Is(err, store.ErrCorrupt):
		d.bolt.Close()
	case d.file != nil:
		d.file.Close() // gives up the lock of the file; bbolt's own may be held since a panic
	}
	if errors.Is(err, store.ErrCorrupt) {
		return fmt.Errorf("%w; nothing was changed: keep the file and restore a backup in its place", err)
	}
	return err
}

// formatVersion is the layout of spaces and logs inside the file.
const formatVersion = 1

var (
	formatKey = []byte("format")
	epochKey  = []byte("epoch")
)

// prepare makes the spaces in a new file, or checks those of an old one.
func (d *DB) prepare() error {
	var format, epoch uint64
	var empty bool
	err := d.bolt.View(func(tx *bbolt.Tx) error {
		first, _ := tx.Cursor().First()
		empty = first == nil
		if b := tx.Bucket(spaceNames[meta]); b != nil {
			format, epoch = number(b.Get(formatKey)), number(b.Get(epochKey))
		}
		return nil
	})
	if err != nil {
		return err
	}
	switch {
	case empty:
		e := newEpoch(0)
		d.epoch.Store(e)
		return d.bolt.Update(func(tx *bbolt.Tx) error {
			for _, name := range spaceNames {
				if _, err := tx.CreateBucket(name); err != nil {
					return err
				}
			}
			b := tx.Bucket(spaceNames[meta])
			return errors.Join(b.Put(formatKey, numberKey(formatVersion)), b.Put(epochKey, numberKey(uint64(e))))
		})
	case format > formatVersion:
		return fmt.Errorf("%w: its file format is %d and this program knows %d", store.ErrNewer, format, formatVersion)
	case format == 0 || epoch == 0:
		return fmt.Errorf("%w: it is a bbolt file of another program", store.ErrCorrupt)
	}
	d.epoch.Store(uint32(epoch))
	return nil
}

// View implements store.DB.
func (d *DB) View(ctx context.Context, fn func(store.Reader) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	tx, err := d.bolt.Begin(false)
	if err != nil {
		if errors.Is(err, berrors.ErrDatabaseNotOpen) {
			return store.ErrClosed
		}
		return fmt.Errorf("store: read: %w", err)
	}
	s := &snapshot{tx: tx, epoch: d.epoch.Load()}
	start := time.Now()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		s.over = true
		tx.Rollback()
		if held := time.Since(start); held > longView {
			d.log.Warn("a view was open for too long", "held", held)
		}
		if r := recover(); r != nil {
			if !isFault(r) {
				panic(r)
			}
			err = fmt.Errorf("%w: %v", store.ErrCorrupt, r)
		}
	}()
	if err := fn(s); err != nil {
		return err
	}
	return s.err
}

// Watch implements store.DB.
func (d *DB) Watch(topic string) (wake <-chan struct{}, cancel func()) {
	return d.wakes.watch(topic)
}

// Err implements store.DB: ErrReadOnly with its cause, ErrClosed or nil. A full
// disk is not an error here, for the next write may succeed.
func (d *DB) Err() error {
	if err := d.failure.Load(); err != nil {
		return *err
	}
	if d.writer.isClosed() {
		return store.ErrClosed
	}
	return nil
}

// Close implements store.DB. It waits for open Views too.
func (d *DB) Close() error {
	d.closing.Do(func() {
		d.writer.close()
		if d.stuck { // bbolt would wait for its own locks: only give up the file
			d.closeErr = d.file.Close()
			return
		}
		if err := d.bolt.Close(); err != nil {
			d.closeErr = fmt.Errorf("close store %s: %w", d.path, err)
		}
	})
	return d.closeErr
}

// Backup writes a copy of the store as it is now; the copy opens like any other
// store. Writers go on meanwhile, but pages that they free are kept until the
// copy is done, so w should be a file and not a client's connection.
func (d *DB) Backup(ctx context.Context, w io.Writer) error {
	tx, err := d.bolt.Begin(false)
	if err != nil {
		return fmt.Errorf("back up store: %w", err)
	}
	defer tx.Rollback()
	if _, err := tx.WriteTo(&contextWriter{ctx, w}); err != nil {
		return fmt.Errorf("back up store: %w", cmp.Or(ctx.Err(), err)) // bbolt loses the error's type
	}
	return nil
}

// contextWriter stops a copy when ctx ends.
type contextWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c *contextWriter) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(p)
}

// RenewEpochs gives every log a new epoch. Call it after a backup was restored:
// cursors that clients still hold may point to entries that the backup lacks
// and that would be written again with other content.
func (d *DB) RenewEpochs(ctx context.Context) error {
	var epoch uint32
	err := d.Update(ctx, func(tx store.Tx) error {
		epoch = newEpoch(d.epoch.Load())
		tx.(*txn).set(meta, epochKey, numberKey(uint64(epoch)))
		return nil
	})
	if err == nil {
		d.epoch.Store(epoch)
	}
	return err
}

// Stats returns what the store has done.
func (d *DB) Stats() Stats {
	s := Stats{Updates: d.updates.Load(), Commits: d.commits.Load()}
	if tx, err := d.bolt.Begin(false); err == nil {
		s.Bytes = tx.Size()
		tx.Rollback()
	}
	return s
}

// newEpoch returns a random positive int32 other than old, as JSON clients know
// no unsigned ones.
func newEpoch(old uint32) uint32 {
	for {
		var b [4]byte
		rand.Read(b[:])
		if e := binary.BigEndian.Uint32(b[:]) >> 1; e != 0 && e != old {
			return e
		}
	}
}

// guarded runs f and returns a panic or memory fault in it, which bbolt answers
// damaged pages with, as ErrCorrupt.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", store.ErrCorrupt, r)
		}
	}()
	return f()
}

// isFault says whether a panic is a fault in mapped memory (the file became
// shorter, or the disk cannot read it), and not a nil pointer of the caller's.
func isFault(r any) bool {
	_, ok := r.(interface{ Addr() uintptr })
	return ok
}
