package access

import (
	"strings"

	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// Times of the records are milliseconds since 1970; 0: never.

// invite lets guests into a room.
type invite struct {
	ID        string    `json:"id"`
	Room      string    `json:"room"`
	Kinds     []string  `json:"kinds"`
	Scopes    []string  `json:"scopes"`
	Password  *password `json:"password,omitempty"`
	Handle    string    `json:"handle,omitempty"` // "@name"; empty: guests choose
	Label     string    `json:"label,omitempty"`
	MaxUses   int32     `json:"max_uses"`
	Uses      int32     `json:"uses,omitempty"`
	Failures  int32     `json:"failures,omitempty"`
	TokenLife int32     `json:"token_life"` // seconds
	Created   int64     `json:"created"`
	Expires   int64     `json:"expires"`
	Last      int64     `json:"last,omitempty"` // when the last of its tokens expires
	Revoked   int64     `json:"revoked,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	Cut       bool      `json:"cut,omitempty"` // its tokens have ended with it
}

// token is a guest's. The plaintext is not kept.
type token struct {
	ID      string   `json:"id"`
	Hash    []byte   `json:"hash"` // SHA-256
	Invite  string   `json:"invite"`
	Room    string   `json:"room"`
	Kind    string   `json:"kind"`
	Handle  string   `json:"handle"`
	Scopes  []string `json:"scopes"`
	Meta    string   `json:"meta"` // a JSON object
	Created int64    `json:"created"`
	Expires int64    `json:"expires"`
	Revoked int64    `json:"revoked,omitempty"`
}

// session is a browser's.
type session struct {
	ID      string `json:"id"`
	Hash    []byte `json:"hash"` // see Room.sessionHash
	Agent   string `json:"agent,omitempty"`
	Created int64  `json:"created"`
	Used    int64  `json:"used"`
	Expires int64  `json:"expires"`
}

const (
	byHash    = "hash"
	byRoom    = "room"    // room, created
	byHandle  = "handle"  // room, handle
	byCreated = "created" // created
	byEnd     = "end"     // when the record is of no more use
)

var (
	invites = store.NewTable(store.TableOptions[invite]{
		Name: "access.invites",
		Key:  func(i *invite) key.Key { return key.Of(i.ID) },
		Indexes: []store.Index[invite]{
			{Name: byRoom, Keys: func(i *invite) []key.Key { return []key.Key{key.Of(i.Room).Int(i.Created)} }},
			// Tokens are good only while their invite is there to say so.
			{Name: byEnd, Keys: func(i *invite) []key.Key { return []key.Key{key.Key(nil).Int(max(i.Expires, i.Last))} }},
		},
	})
	tokens = store.NewTable(store.TableOptions[token]{
		Name: "access.tokens",
		Key:  func(t *token) key.Key { return key.Of(t.ID) },
		Indexes: []store.Index[token]{
			{Name: byHash, Unique: true, Keys: func(t *token) []key.Key { return []key.Key{key.Of(string(t.Hash))} }},
			{Name: byRoom, Keys: func(t *token) []key.Key { return []key.Key{key.Of(t.Room).Int(t.Created)} }},
			{Name: byHandle, Keys: func(t *token) []key.Key { return []key.Key{key.Of(t.Room).Str(fold(t.Handle))} }},
			{Name: byEnd, Keys: func(t *token) []key.Key { return []key.Key{key.Key(nil).Int(t.Expires)} }},
		},
	})
	sessions = store.NewTable(store.TableOptions[session]{
		Name: "access.sessions",
		Key:  func(s *session) key.Key { return key.Of(s.ID) },
		Indexes: []store.Index[session]{
			{Name: byHash, Unique: true, Keys: func(s *session) []key.Key { return []key.Key{key.Of(string(s.Hash))} }},
			{Name: byCreated, Keys: func(s *session) []key.Key { return []key.Key{key.Key(nil).Int(s.Created)} }},
			{Name: byEnd, Keys: func(s *session) []key.Key { return []key.Key{key.Key(nil).Int(s.Expires)} }},
		},
	})
)

// fold is what two handles must not share.
func fold(handle string) string { return strings.ToLower(handle) }

// Those that ended are shown for a while, and then swept by what makes new ones:
// a few each time, so that they never pile up.
const (
	showEnded = 30 * 24 * 3600 * 1000 // ms
	sweepStep = 5
)

// sweep removes the oldest records of a table that had ended at a time; of says
// what the key of a record is and when it ended.
func sweep[T any](tx store.Tx, table *store.Table[T], of func(*T) (key.Key, int64), at int64) error {
	var ended []key.Key
	for row, err := range table.ScanIndex(tx, byEnd, store.ScanOptions{Limit: sweepStep}) {
		if err != nil {
			return err
		}
		if k, end := of(row); end <= at {
			ended = append(ended, k)
		}
	}
	for _, k := range ended {
		if _, err := table.Delete(tx, k); err != nil {
			return err
		}
	}
	return nil
}
