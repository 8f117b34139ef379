package sessions

import (
	"strings"
	"time"

	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// Session is a session as other rooms see it.
type Session struct {
	ID, Name, Type string
	Handle         string // with its @; may be empty
	DisplayName    string
	Alias          string
	Status         string
	TTL            string
	CLIFlag        string
	RootDir        string
	LinkedChat     string // of a terminal
	AutoChat       bool   // a chat that was made for a terminal
	LongMemory     bool
	AutoForward    bool // what a user says in a terminal's chat is typed into it
	Archived       bool
	Deleted        bool // softly
}

func (rec *record) session() *Session {
	return &Session{ID: rec.ID, Name: rec.Name, Type: rec.Type, Handle: rec.Handle, DisplayName: rec.DisplayName,
		Alias: rec.Alias, Status: rec.Status, TTL: rec.TTL, CLIFlag: rec.CLIFlag, RootDir: rec.RootDir, LinkedChat: rec.LinkedChat,
		AutoChat: rec.AutoFor != "", LongMemory: rec.LongMemory, AutoForward: true, Archived: rec.Archived, Deleted: rec.Deleted != 0}
}

// Find looks a session up by its id, archived and deleted ones too; or a live one
// by its handle, with or without the @, or its alias. Nil: there is none, or it
// is deleted for good: whoever checks it in the transaction that writes can never
// write into one.
func (r *Room) Find(rd store.Reader, ref string) (*Session, error) {
	rec, err := byRef(rd, ref)
	if err != nil || rec == nil {
		return nil, err
	}
	return rec.session(), nil
}

func byRef(rd store.Reader, ref string) (*record, error) {
	if ref == "" {
		return nil, nil
	}
	if rec, err := byID(rd, ref); err != nil || rec != nil {
		return rec, err
	}
	bare := strings.TrimPrefix(ref, "@")
	if rec, err := records.Lookup(rd, byHandle, key.Of("@"+bare)); err != nil || rec != nil {
		return rec, err
	}
	for rec, err := range records.ScanIndex(rd, byAlias, store.ScanOptions{Prefix: key.Of(bare), Limit: 1}) {
		return rec, err
	}
	return nil, nil
}

// LinkedTerminals are the live terminals whose chat this is.
func (r *Room) LinkedTerminals(rd store.Reader, chatID string) (out []*Session, err error) {
	for rec, err := range records.ScanIndex(rd, byLinked, store.ScanOptions{Prefix: key.Of(chatID)}) {
		if err != nil {
			return nil, err
		}
		out = append(out, rec.session())
	}
	return out, nil
}

// Writable says why a session takes no changes, or nil.
func (r *Room) Writable(rd store.Reader, id string) error {
	_, err := changeable(rd, id)
	return err
}

// Active is when something last happened in a session, or to it; zero: it is not there.
func (r *Room) Active(rd store.Reader, id string) (time.Time, error) {
	rec, err := byID(rd, id)
	if err != nil || rec == nil {
		return time.Time{}, err
	}
	at, err := updated(rd, rec)
	return time.Unix(0, at), err
}

// Touch notes that something happens in a session. It is one write, and no event.
func (r *Room) Touch(tx store.Tx, id string, at time.Time) error {
	return activities.Put(tx, &activity{ID: id, At: at.UnixNano()})
}
