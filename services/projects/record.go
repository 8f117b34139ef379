package projects

import (
	"strings"
	"unicode/utf8"

	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// general is the project that always exists.
const general = "general"

// Project is a project as other rooms see it. ID never changes; Name and Path
// do when it is renamed.
type Project struct {
	ID   string
	Name string
	Path string // absolute
}

// record is a project in the store.
type record struct {
	ID      string `json:"id"`
	Name    string `json:"name"` // of its folder
	Slot    string `json:"slot"` // what Name holds in the unique index, see slotFor
	Created int64  `json:"created"`
	// Intent is what is being done to the folder; nil at rest.
	Intent *intent `json:"intent,omitempty"`
}

type act string

const (
	actCreate act = "create" // the folder is to be made; not a project before that
	actRename act = "rename" // the folder is to be named To; still Name until then
	actDelete act = "delete" // gone for every reader; the rest is being cleared away
)

type intent struct {
	Act    act    `json:"act"`
	To     string `json:"to,omitempty"`
	ToSlot string `json:"to_slot,omitempty"`
	// Moved says that the folder of a deleted project is out of the way.
	Moved bool `json:"moved,omitempty"`
}

// live says whether the project exists for readers.
func (rec *record) live() bool { return rec.Intent == nil || rec.Intent.Act == actRename }

// unsettled says whether the folder may not be where the record says.
func (rec *record) unsettled() bool { return rec.Intent != nil && !rec.Intent.Moved }

const (
	bySlot    = "slot"
	byPending = "pending"
)

var records = store.NewTable(store.TableOptions[record]{
	Name: "projects",
	Key:  func(rec *record) key.Key { return key.Of(rec.ID) },
	Indexes: []store.Index[record]{
		{Name: bySlot, Unique: true, Keys: slotsOf},
		{Name: byPending, Keys: func(rec *record) []key.Key {
			if rec.Intent == nil {
				return nil
			}
			return []key.Key{key.Of(string(rec.Intent.Act))}
		}},
	},
})

// slotsOf: a project that is being renamed holds both names, a deleted one none.
func slotsOf(rec *record) []key.Key {
	switch {
	case rec.Intent == nil || rec.Intent.Act == actCreate:
		return []key.Key{key.Of(rec.Slot)}
	case rec.Intent.Act == actDelete:
		return nil
	case rec.Intent.ToSlot == rec.Slot:
		return []key.Key{key.Of(rec.Slot)}
	}
	return []key.Key{key.Of(rec.Slot), key.Of(rec.Intent.ToSlot)}
}

// pointer names the active project. Without one general is active.
type pointer struct {
	ID string `json:"id"`
}

var (
	pointers   = store.NewTable(store.TableOptions[pointer]{Name: "projects.active", Key: func(*pointer) key.Key { return pointerKey }})
	pointerKey = key.Of("active")
)

// fold is what two names must not share: some file systems ignore case.
func fold(name string) string { return strings.ToLower(name) }

// slotFor is the slot of a folder that exists. Folders made by hand may differ
// in case only; the later one is kept apart by a slash, which no name has.
func slotFor(rd store.Reader, id, name string) (string, error) {
	slot := fold(name)
	holder, err := records.Lookup(rd, bySlot, key.Of(slot))
	if err != nil || holder == nil || holder.ID == id {
		return slot, err
	}
	return twinSlot(name), nil
}

func twinSlot(name string) string { return fold(name) + "/" + name }

// byName finds a live project by its exact name.
// better: a name is looked up and never joined to a path before it is known.
func byName(rd store.Reader, name string) (*record, error) {
	for _, slot := range []string{fold(name), twinSlot(name)} {
		rec, err := records.Lookup(rd, bySlot, key.Of(slot))
		if err != nil {
			return nil, err
		}
		if rec != nil && rec.live() && rec.Name == name {
			return rec, nil
		}
	}
	return nil, nil
}

// byID finds a live project by its id.
func byID(rd store.Reader, id string) (*record, error) {
	rec, err := records.Get(rd, key.Of(id))
	if err != nil || rec == nil || !rec.live() {
		return nil, err
	}
	return rec, nil
}

// active finds the active project, general if the pointer leads nowhere.
func active(rd store.Reader) (*record, error) {
	p, err := pointers.Get(rd, pointerKey)
	if err != nil {
		return nil, err
	}
	if p != nil {
		if rec, err := byID(rd, p.ID); err != nil || rec != nil {
			return rec, err
		}
	}
	return byName(rd, general)
}

func errNoProject() error { return fault.Missing(reasonNoProject, "Project not found") }

// errNoProjectNamed is what other rooms say. The name is cut: it comes from
// outside and the text travels in a header.
func errNoProjectNamed(name string) error {
	if utf8.RuneCountInString(name) > shownName {
		name = string([]rune(name)[:shownName]) + "…"
	}
	return fault.Missing(reasonNoProject, "Project not found: %s", name)
}

const (
	reasonNoProject = "PROJECT_NOT_FOUND"
	shownName       = 200 // runes
)
