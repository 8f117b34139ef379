package sessions

import (
	"cmp"
	"errors"
	"strings"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
	"anthill/services/internal/wire"
)

// Types of sessions.
const (
	Terminal = "terminal"
	Chat     = "chat"
	Agent    = "agent"
)

// record is a session in the store. An empty text is null on the wire.
type record struct {
	ID          string `json:"id"`
	Name        string `json:"name,omitempty"`
	Type        string `json:"type,omitempty"`
	Workspace   string `json:"workspace,omitempty"`
	RootDir     string `json:"root_dir,omitempty"`
	Status      string `json:"status,omitempty"`
	TTL         string `json:"ttl,omitempty"`
	Meta        string `json:"meta,omitempty"` // a JSON object
	Handle      string `json:"handle,omitempty"`
	DisplayName string `json:"display_name,omitempty"`
	Alias       string `json:"alias,omitempty"`
	CLIFlag     string `json:"cli_flag,omitempty"`
	LongMemory  bool   `json:"long_memory,omitempty"`
	LinkedChat  string `json:"linked_chat,omitempty"` // of a terminal

	// AutoFor is the terminal that a chat was made for; AutoNamed, that the chat
	// still has the name it got from it.
	AutoFor   string `json:"auto_for,omitempty"`
	AutoNamed bool   `json:"auto_named,omitempty"`

	Created  int64 `json:"created"` // nanoseconds since 1970, as all times here
	Updated  int64 `json:"updated"` // by a change of the record; see activity
	Archived bool  `json:"archived,omitempty"`
	Deleted  int64 `json:"deleted,omitempty"` // 0: not deleted
	Gone     int64 `json:"gone,omitempty"`    // when it was archived or deleted, whichever came last
	// Took is the session that this one was archived or deleted with.
	Took string `json:"took,omitempty"`

	// Purged says that it is deleted for good: gone for every reader, what is left
	// is being cleared away.
	Purged bool `json:"purged,omitempty"`
}

// live says whether the session is neither archived nor deleted: it has its name
// and its handle to itself.
func (rec *record) live() bool { return !rec.Archived && rec.Deleted == 0 && !rec.Purged }

// Indexes of the table.
const (
	byName    = "name"    // unique among live ones
	byHandle  = "handle"  // unique among live ones
	byAlias   = "alias"   // of live ones
	byLive    = "live"    // all live ones
	byGone    = "gone"    // the recoverable ones, by time
	byDeleted = "deleted" // the softly deleted ones, by time
	byLinked  = "linked"  // terminals, by their chat
	byPurged  = "purged"  // those to be cleared away
)

const (
	tableName = "sessions"
	orderID   = "order" // key of the only row of its table
)

var records = store.NewTable(store.TableOptions[record]{
	Name: tableName,
	Key:  func(rec *record) key.Key { return key.Of(rec.ID) },
	Indexes: []store.Index[record]{
		{Name: byName, Unique: true, Keys: ofLive(func(rec *record) string { return fold(rec.Name) })},
		{Name: byHandle, Unique: true, Keys: ofLive(func(rec *record) string { return rec.Handle })},
		{Name: byAlias, Keys: ofLive(func(rec *record) string { return rec.Alias })},
		{Name: byLive, Keys: ofLive(func(*record) string { return "live" })},
		{Name: byLinked, Keys: ofLive(func(rec *record) string { return rec.LinkedChat })},
		{Name: byGone, Keys: func(rec *record) []key.Key {
			if rec.live() || rec.Purged {
				return nil
			}
			return []key.Key{key.Key(nil).Int(rec.Gone)}
		}},
		{Name: byDeleted, Keys: func(rec *record) []key.Key {
			if rec.Deleted == 0 || rec.Purged {
				return nil
			}
			return []key.Key{key.Key(nil).Int(rec.Deleted)}
		}},
		{Name: byPurged, Keys: func(rec *record) []key.Key {
			if !rec.Purged {
				return nil
			}
			return []key.Key{key.Of(rec.ID)}
		}},
	},
})

// ofLive makes the keys of an index that has live sessions only, and of those
// only the ones with a value.
func ofLive(value func(*record) string) func(*record) []key.Key {
	return func(rec *record) []key.Key {
		v := value(rec)
		if v == "" || !rec.live() {
			return nil
		}
		return []key.Key{key.Of(v)}
	}
}

// fold is a name as it is compared.
func fold(name string) string { return strings.ToLower(name) }

// activity is when something last happened in a session. It is a row of its own:
// it changes with every message, and a record may be large.
type activity struct {
	ID string `json:"id"`
	At int64  `json:"at"`
}

var activities = store.NewTable(store.TableOptions[activity]{
	Name: tableName + ".activity",
	Key:  func(a *activity) key.Key { return key.Of(a.ID) },
})

// order is the order that sessions were put in, the first first. Ids of sessions
// that are gone may be among them.
type order struct {
	IDs []string `json:"ids"`
}

var orders = store.NewTable(store.TableOptions[order]{
	Name: tableName + ".order",
	Key:  func(*order) key.Key { return key.Of(orderID) },
})

// places are the positions in the order, by id.
func places(rd store.Reader) (map[string]int32, error) {
	o, err := orders.Get(rd, key.Of(orderID))
	if err != nil || o == nil {
		return nil, err
	}
	at := make(map[string]int32, len(o.IDs))
	for i, id := range o.IDs {
		at[id] = int32(i)
	}
	return at, nil
}

// updated is when something last happened in a session or to it.
func updated(rd store.Reader, rec *record) (int64, error) {
	a, err := activities.Get(rd, key.Of(rec.ID))
	if err != nil || a == nil {
		return rec.Updated, err
	}
	return max(rec.Updated, a.At), nil
}

// byID finds a session that exists, live or not; nil: there is none.
func byID(rd store.Reader, id string) (*record, error) {
	if id == "" {
		return nil, nil
	}
	rec, err := records.Get(rd, key.Of(id))
	if err != nil || rec == nil || rec.Purged {
		return nil, err
	}
	return rec, nil
}

// find is byID, or by the handle of a live session, with its @. A session that
// does not exist is an error.
func find(rd store.Reader, ref string) (*record, error) {
	var rec *record
	var err error
	if strings.HasPrefix(ref, "@") {
		rec, err = records.Lookup(rd, byHandle, key.Of(ref))
	} else {
		rec, err = byID(rd, ref)
	}
	if err == nil && rec == nil {
		err = wire.ErrNoSession
	}
	return rec, err
}

// changeable is find for those who change what they find.
func changeable(rd store.Reader, ref string) (*record, error) {
	rec, err := find(rd, ref)
	if err == nil && rec.Deleted != 0 {
		err = errDeleted
	}
	return rec, err
}

var (
	errDeleted = fault.New(fault.Precondition, "SESSION_DELETED", "The session is deleted: restore it to change it.")
)

// put stores a session, or says which of its names somebody else has.
func put(tx store.Tx, rec *record) error {
	err := records.Put(tx, rec)
	if !errors.Is(err, store.ErrUnique) {
		return err
	}
	holder, lookup := records.Lookup(tx, byName, key.Of(fold(rec.Name)))
	if lookup != nil {
		return lookup
	}
	if holder != nil && holder.ID != rec.ID {
		return fault.New(fault.Conflict, "NAME_TAKEN", "%q already exists", rec.Name).Because(err)
	}
	return fault.New(fault.Conflict, "HANDLE_TAKEN", "%s is already taken", rec.Handle).Because(err)
}

// row shows a session as clients know it. at is its place in the order; nil: none.
func row(rec *record, changed int64, at *int32) *antv1.Session {
	return &antv1.Session{
		Id: rec.ID, Name: rec.Name, Type: rec.Type, Status: rec.Status, Ttl: rec.TTL,
		WorkspaceId: wire.OrNull(rec.Workspace), RootDir: wire.OrNull(rec.RootDir),
		Archived: wire.Flag(rec.Archived), DeletedAt: wire.TimeOrNull(rec.Deleted), SortIndex: at,
		LongMemory: wire.Flag(rec.LongMemory), Meta: cmp.Or(rec.Meta, "{}"),
		CreatedAt: *wire.TimeOrNull(rec.Created), UpdatedAt: *wire.TimeOrNull(changed),
		Handle: wire.OrNull(rec.Handle), DisplayName: wire.OrNull(rec.DisplayName), CliFlag: wire.OrNull(rec.CLIFlag),
		Alias: wire.OrNull(rec.Alias), LinkedChatId: wire.OrNull(rec.LinkedChat), AutoForwardChat: 1,
	}
}

// show is row with what else the store knows.
func show(rd store.Reader, rec *record) (*antv1.Session, error) {
	changed, err := updated(rd, rec)
	if err != nil {
		return nil, err
	}
	at, err := places(rd)
	if err != nil {
		return nil, err
	}
	return row(rec, changed, placeOf(at, rec)), nil
}

// placeOf is nil for a session that was not put in order, or is not live.
func placeOf(at map[string]int32, rec *record) *int32 {
	if i, ok := at[rec.ID]; ok && rec.live() {
		return &i
	}
	return nil
}
