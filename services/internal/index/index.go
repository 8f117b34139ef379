// Package index is full text search over documents whose truth is elsewhere.
//
// One Index is one SQLite file with an FTS5 table and, for each document, where
// it comes from. It holds no text: a hit says which document it is, and whoever
// shows it reads the document again and cuts the snippet out of that. So what was
// deleted cannot be shown, however far behind the index is.
//
// The room that owns an Index fills it in batches; a batch and how far the filling
// has come are one transaction. A file that is lost, damaged or of another
// version is replaced by an empty one, and the state then says that nothing was
// filled in; what was meant for the former file is refused. Text of a user never reaches MATCH but as quoted strings (Query).
package index

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Options describe an Index.
type Options struct {
	Path string // the file; its folder is made with mode 0700
	By   Unit
	Log  *slog.Logger
}

// Unit is what is found: any part of a text, or its words.
type Unit int

const (
	// Parts finds what has three characters or more anywhere in a text.
	Parts Unit = iota
	// Words finds words by their beginning.
	Words
)

// tokenizers are what FTS5 is told. Words come folded and one by one, so all that
// is left is to keep them.
var tokenizers = map[Unit]string{
	Parts: `tokenize = 'trigram'`,
	Words: `tokenize = "unicode61 remove_diacritics 0 categories 'L* N* M* Co So'", prefix = '2'`,
}

// schemaVersion changes with the tables and with how text becomes tokens.
const schemaVersion = 1

// schema has the scope of a document as a column of the text table: it is one
// token there, so that a search in one room does not look at the others. (The
// first column takes less room than others.) While an
// index is filled for the first time its segments are left as they come; Tidy
// merges them, once.
const schema = `
CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), value TEXT NOT NULL);
CREATE TABLE scopes (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
CREATE TABLE docs (id INTEGER PRIMARY KEY, scope INTEGER NOT NULL, name TEXT NOT NULL, stamp INTEGER NOT NULL);
CREATE UNIQUE INDEX docs_by_name ON docs (scope, name);
CREATE VIRTUAL TABLE texts USING fts5(text, scope, content = '', contentless_delete = 1, %s);
INSERT INTO texts (texts, rank) VALUES ('automerge', 0), ('crisismerge', 100);
PRAGMA user_version = %d;`

// State is how far an Index has been filled.
type State struct {
	File  uint64 `json:"file"`  // which file this is about, as State told; not 0
	Begun bool   `json:"begun"` // false: nothing has been filled in
	Epoch uint32 `json:"epoch"` // of the log that it follows
	Seq   uint64 `json:"seq"`   // last entry that is in it
	// Walking says that the documents from before Seq are not all there yet: they
	// are there up to Walked.
	Walking bool   `json:"walking,omitempty"`
	Walked  string `json:"walked,omitempty"`
	Tidy    bool   `json:"tidy,omitempty"` // Tidy has done its work
}

// Index is safe for concurrent use; one goroutine at a time may write.
type Index struct {
	opt Options

	mu     sync.RWMutex // held for reading while a connection is used, for writing while the file is replaced
	writer *sql.DB      // nil: not open
	reader *sql.DB
	closed bool
}

// ErrClosed is returned by a closed Index.
var ErrClosed = errors.New("index: closed")

// New returns an Index that opens its file when it is first used.
func New(o Options) *Index { return &Index{opt: o} }

// Close closes the file. What a batch wrote is there again after the next start.
func (x *Index) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	return x.release()
}

// release lets go of the connections. The caller holds mu.
func (x *Index) release() error {
	var err error
	for _, db := range []*sql.DB{x.reader, x.writer} { // the last one tidies the file up
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}
	x.reader, x.writer = nil, nil
	return err
}

// idle is how long a connection, which holds a few megabytes, outlives its use.
const idle = 30 * time.Second

// readers bounds the searches that run at once; others wait.
const readers = 2

// open makes sure of the file and its tables.
func (x *Index) open(ctx context.Context) error {
	x.mu.RLock()
	ready, closed := x.writer != nil, x.closed
	x.mu.RUnlock()
	switch {
	case closed:
		return ErrClosed
	case ready:
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.closed:
		return ErrClosed
	case x.writer != nil:
		return nil
	}
	err := x.openFile(ctx)
	if errors.Is(err, ErrUseless) {
		x.opt.Log.Warn("search index cannot be used and is made again", "file", x.opt.Path, "error", err)
		if err = errors.Join(x.release(), x.remove()); err == nil {
			err = x.openFile(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("open search index: %w", errors.Join(err, x.release()))
	}
	return nil
}

// ErrUseless is returned when a file was found damaged, or of another version. It
// has been replaced by then: the Index is empty.
var ErrUseless = errors.New("index: the file cannot be used")

func (x *Index) openFile(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(x.opt.Path), 0o700); err != nil {
		return err
	}
	// SQLite would make it for everyone to read; its other files take the mode of this one.
	f, err := os.OpenFile(x.opt.Path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(0o600), f.Close()); err != nil {
		return err
	}
	if x.writer, err = x.connect(1, "_txlock=immediate"); err != nil {
		return err
	}
	var version int
	if err := x.writer.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return judge(err, true)
	}
	switch version {
	case schemaVersion:
		if _, err := readState(ctx, x.writer); err != nil {
			return judge(err, true)
		}
	case 0:
		if err := x.create(ctx); err != nil {
			return judge(err, true)
		}
	default:
		return fmt.Errorf("%w: its version is %d and this program makes %d", ErrUseless, version, schemaVersion)
	}
	x.reader, err = x.connect(readers, "_pragma=query_only(1)")
	return err
}

func (x *Index) create(ctx context.Context) error {
	tx, err := x.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to undo
	if _, err := tx.ExecContext(ctx, fmt.Sprintf(schema, tokenizers[x.opt.By], schemaVersion)); err != nil {
		return err
	}
	if err := writeState(ctx, tx, State{File: rand.Uint64() | 1}); err != nil {
		return err
	}
	return tx.Commit()
}

// connect prepares connections with a small cache each. A commit survives the
// end of the process; the loss of power may take the newest ones, whole.
func (x *Index) connect(most int, options string) (*sql.DB, error) {
	u := url.URL{Scheme: "file", Path: x.opt.Path, RawQuery: options + "&_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)" +
		"&_pragma=synchronous(normal)&_pragma=cache_size(-1000)&_pragma=mmap_size(0)&_pragma=journal_size_limit(4000000)"}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(most)
	db.SetMaxIdleConns(most)
	db.SetConnMaxIdleTime(idle)
	return db, nil
}

// remove removes the file and what SQLite keeps beside it.
func (x *Index) remove() error {
	var all error
	for _, suffix := range []string{"-wal", "-shm", ""} {
		if err := os.Remove(x.opt.Path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			all = errors.Join(all, err)
		}
	}
	return all
}

// judge marks errors that come from a damaged file. While it is opened this is
// also a table that is missing or has other columns.
func judge(err error, opening bool) error {
	var e *sqlite.Error
	if errors.As(err, &e) {
		code := e.Code()
		if code&0xff == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB || code == sqlite3.SQLITE_IOERR_SHORT_READ ||
			opening && code == sqlite3.SQLITE_ERROR {
			return fmt.Errorf("%w: %w", ErrUseless, err)
		}
	}
	if errors.Is(err, errState) {
		return fmt.Errorf("%w: %w", ErrUseless, err)
	}
	return err
}

// damaged replaces a file that a read or a write found damaged; err is returned.
// Whoever fills the index sees the zero State and begins again.
func (x *Index) damaged(err error) error {
	if err = judge(err, false); !errors.Is(err, ErrUseless) {
		return err
	}
	x.opt.Log.Warn("search index is damaged and is made again", "file", x.opt.Path, "error", err)
	return errors.Join(err, x.Reset())
}

// Reset empties the index.
func (x *Index) Reset() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return errors.Join(x.release(), x.remove())
}

// State says how far the index has been filled.
func (x *Index) State(ctx context.Context) (s State, err error) {
	err = x.with(ctx, func(_, writer *sql.DB) (err error) {
		s, err = readState(ctx, writer)
		return err
	})
	return s, err
}

// with runs fn while the file stays what it is.
func (x *Index) with(ctx context.Context, fn func(reader, writer *sql.DB) error) error {
	if err := x.open(ctx); err != nil {
		return err
	}
	x.mu.RLock()
	reader, writer := x.reader, x.writer
	var err error = ErrClosed
	if writer != nil {
		err = fn(reader, writer)
	}
	x.mu.RUnlock()
	if err != nil {
		return x.damaged(err)
	}
	return nil
}

var errState = errors.New("index: state cannot be read")

// querier is a connection or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func readState(ctx context.Context, db querier) (s State, err error) {
	var text string
	if err := db.QueryRowContext(ctx, "SELECT value FROM state").Scan(&text); err != nil {
		if errors.Is(err, sql.ErrNoRows) {
			err = errState
		}
		return s, err
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return s, fmt.Errorf("%w: %w", errState, err)
	}
	return s, nil
}

func writeState(ctx context.Context, tx *sql.Tx, s State) error {
	b, err := json.Marshal(s)
	if err == nil {
		_, err = tx.ExecContext(ctx, "INSERT OR REPLACE INTO state (one, value) VALUES (1, ?)", string(b))
	}
	return err
}
