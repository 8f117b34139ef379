package files

import (
	"strconv"
	"strings"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
	"anthill/services/internal/wire"
)

// fileRef is a row of the store.
type fileRef struct {
	ID   string `json:"id"`
	Room string `json:"room"`
	// Order is the seq of the event that tells of it.
	Order uint64 `json:"order"`
	By    string `json:"by,omitempty"`
	Path  string `json:"path"`
	Note  string `json:"note,omitempty"`
	At    int64  `json:"at"` // ns, as all times here
}

// attachment is a row of the store. A row leads to its content by its hash.
type attachment struct {
	ID   string `json:"id"`
	Room string `json:"room"`
	// Order is its number in the room, from 1.
	Order uint64 `json:"order"`
	Hash  string `json:"hash"` // SHA-256 in hexadecimal digits
	Size  int64  `json:"size"` // bytes
	Name  string `json:"name"`
	Type  string `json:"type"`
	By    string `json:"by,omitempty"`
	At    int64  `json:"at"`
}

// total is how much a room has.
type total struct {
	Room  string `json:"room"`
	Refs  int    `json:"refs"`
	Files int    `json:"files"`
	Bytes int64  `json:"bytes"`
	Last  uint64 `json:"last"` // number of the newest attachment
}

// Indexes of the tables.
const (
	byOrder = "order"
	byHash  = "hash"
)

var refs = store.NewTable(store.TableOptions[fileRef]{
	Name: "ant_file_ref",
	Key:  func(f *fileRef) key.Key { return rowKey(f.Room, f.ID) },
	Indexes: []store.Index[fileRef]{
		{Name: byOrder, Keys: func(f *fileRef) []key.Key { return []key.Key{roomKey(f.Room).Uint(f.Order)} }},
	},
})

var attachments = store.NewTable(store.TableOptions[attachment]{
	Name: "ant_attachment",
	Key:  func(a *attachment) key.Key { return rowKey(a.Room, a.ID) },
	Indexes: []store.Index[attachment]{
		{Name: byOrder, Keys: func(a *attachment) []key.Key { return []key.Key{roomKey(a.Room).Uint(a.Order)} }},
		{Name: byHash, Keys: func(a *attachment) []key.Key { return []key.Key{key.Key(nil).Str(a.Hash)} }},
	},
})

var totals = store.NewTable(store.TableOptions[total]{
	Name: "ant_files",
	Key:  func(t *total) key.Key { return roomKey(t.Room) },
})

func roomKey(room string) key.Key    { return key.Key(nil).Str(room) }
func rowKey(room, id string) key.Key { return roomKey(room).Str(id) }

// totalOf is how much a room has; it is never nil.
func totalOf(rd store.Reader, room string) (*total, error) {
	t, err := totals.Get(rd, roomKey(room))
	if t == nil {
		t = &total{Room: room}
	}
	return t, err
}

func (f *fileRef) view() *antv1.FileRef {
	return &antv1.FileRef{Id: f.ID, SessionId: f.Room, FlaggedBy: wire.OrNull(f.By), FilePath: f.Path, Note: wire.OrNull(f.Note), CreatedAt: wire.Time(f.At)}
}

func (a *attachment) view() *antv1.Attachment {
	return &antv1.Attachment{Id: a.ID, SessionId: a.Room, Url: "/api/sessions/" + a.Room + "/attachments/" + a.ID + "/raw", Hash: a.Hash,
		Size: float64(a.Size), Name: a.Name, ContentType: a.Type, UploadedBy: wire.OrNull(a.By), CreatedAt: wire.Time(a.At)}
}

// cursor is the place behind a row.
func cursor(order uint64) string { return "f" + strconv.FormatUint(order, 36) }

// pageOf are the options of a scan of the index byOrder: one row more than the
// page has, after the cursor.
func pageOf(room, after string, limit int) (store.ScanOptions, error) {
	o := store.ScanOptions{Prefix: roomKey(room), Limit: limit + 1}
	if after == "" {
		return o, nil
	}
	digits, ok := strings.CutPrefix(after, "f")
	order, err := strconv.ParseUint(digits, 36, 64)
	if !ok || err != nil || order == 0 {
		return o, fault.BadField("value_error", "cursor is none of this list", "cursor")
	}
	o.After = roomKey(room).Uint(order)
	return o, nil
}
