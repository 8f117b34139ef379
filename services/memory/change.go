package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"anthill/services/internal/fault"
	"anthill/services/internal/workspace"
	"anthill/services/memory/notes"
)

const (
	siblings    = 20  // files that one kind of entries spreads over
	changeTries = 5   // against others who write the same file at the same time
	backupsMax  = 200 // copies of files that were written over
	backupsDir  = "backups/memory"
)

// errors of changes. The first two mean that another file has to take the entry.
var (
	errUnreadable = errors.New("memory: the file cannot be read as memory")
	errFull       = errors.New("memory: the file has no more room")
	errGone       = fault.Missing("MEMORY_NOT_FOUND", "Memory entry not found")
)

// note is an entry to be written. text is normal.
type note struct {
	text, kind, topic string
	meta              notes.Meta
}

// home is where a kind of entries is kept: the file without its ending, its
// title, and the heading.
func (n note) home(at place) (base, title, heading string) {
	switch {
	case headings[n.kind] != "":
		return "rules", "Rules", headings[n.kind]
	case n.kind == profile && at.project == nil:
		return "profile", "Profile", ""
	case n.kind != lesson:
		return "topics/" + slug(n.kind), n.kind, ""
	case n.topic != "":
		return "topics/" + slug(n.topic), n.topic, ""
	}
	return "lessons", "Lessons", ""
}

func slug(s string) string { return workspace.FolderName(strings.ToLower(s)) }

// add writes an entry into the first file of its kind that takes it. One that
// says the same is returned instead, and known is true.
func (r *Room) add(ctx context.Context, at place, n note) (e entry, known bool, err error) {
	base, title, heading := n.home(at)
	if k := kindOf(notes.Entry{Section: strings.ToLower(heading)}, base+".md"); k == n.kind {
		n.meta.Type = ""
	} else {
		n.meta.Type = n.kind
	}
	full := false
	for i := range siblings {
		rel := base + ".md"
		if i > 0 {
			rel = fmt.Sprintf("%s-%d.md", base, i+1)
		}
		known = false
		err := r.change(ctx, at, rel, func(f *notes.File) (string, error) {
			for j, had := range f.Entries {
				if n.meta.Name == "" && kindOf(had, rel) == n.kind && sameWords(had.Text, n.text) {
					known, e = true, entry{Entry: had, at: at, rel: rel, id: idsOf(at, rel, f)[j], kind: n.kind}
					return "", errSame
				}
			}
			return f.Add(title, heading, n.text, n.meta)
		})
		switch {
		case errors.Is(err, errSame):
			return e, true, nil
		case errors.Is(err, errUnreadable), errors.Is(err, errFull), errors.Is(err, notes.ErrSpoilt):
			full = full || errors.Is(err, errFull)
			continue
		case err != nil:
			return entry{}, false, err
		}
		return entry{Entry: notes.Entry{Text: n.text, Meta: n.meta}, at: at, rel: rel, id: n.meta.ID, kind: n.kind, modified: r.opt.Now()}, false, nil
	}
	if !full {
		return entry{}, false, fault.New(fault.Precondition, "MEMORY_UNREADABLE", "The files for this cannot be read as memory: see what GET /v1/memory says of them.")
	}
	return entry{}, false, fault.New(fault.Exhausted, "FILE_TOO_LARGE", "There is no more room in memory for this: forget something first.")
}

var errSame = errors.New("memory: it is known")

func sameWords(a, b string) bool {
	return strings.EqualFold(strings.Join(strings.Fields(a), " "), strings.Join(strings.Fields(b), " "))
}

// replace puts another text, and what else meta says, into the place of an entry.
func (r *Room) replace(ctx context.Context, e entry, text string, m notes.Meta) error {
	return r.change(ctx, e.at, e.rel, func(f *notes.File) (string, error) {
		i := slices.Index(idsOf(e.at, e.rel, f), e.id)
		if i < 0 {
			return "", errGone
		}
		return f.Replace(i, text, m)
	})
}

// forget takes an entry out of its file, for good.
func (r *Room) forget(ctx context.Context, e entry) error {
	return r.change(ctx, e.at, e.rel, func(f *notes.File) (string, error) {
		i := slices.Index(idsOf(e.at, e.rel, f), e.id)
		if i < 0 {
			return "", errGone
		}
		return f.Remove(i)
	})
}

// change writes a file anew. edit gets it as it is, empty if it is not there, and
// may be asked again when somebody else has written meanwhile.
func (r *Room) change(ctx context.Context, at place, rel string, edit func(*notes.File) (string, error)) error {
	name := path.Join(at.memoryDir(), rel)
	r.writing.Lock()
	defer r.writing.Unlock()
	return r.within(ctx, at, func(f *workspace.Folder) error {
		for range changeTries {
			before, err := readOrNone(f, name)
			if errors.Is(err, workspace.ErrTooLarge) || errors.Is(err, workspace.ErrSpecial) || errors.Is(err, workspace.ErrIsDir) || errors.Is(err, workspace.ErrPath) {
				return errUnreadable
			}
			if err != nil {
				return diskFault(err)
			}
			file, err := notes.Parse(before)
			if err != nil {
				return errUnreadable
			}
			after, err := edit(file)
			if err != nil {
				return err
			}
			if len(after) > pageMax {
				return errFull
			}
			if now, err := readOrNone(f, name); err != nil || !bytes.Equal(now, before) {
				continue
			}
			return diskFault(f.WriteFile(name, []byte(after)))
		}
		return fault.New(fault.Unavailable, "MEMORY_BUSY", "The file is being changed by somebody else: try again.").RetryAfter(time.Second)
	})
}

// readOrNone is a file, or nothing if there is none.
func readOrNone(f *workspace.Folder, name string) ([]byte, error) {
	data, err := f.ReadFile(name, pageMax)
	if absent(err) {
		return nil, nil
	}
	return data, err
}

// keep copies a file that is about to be written over or deleted. Of the copies
// the newest stay.
func (r *Room) keep(ctx context.Context, f *workspace.Folder, at place, rel string) error {
	data, err := f.ReadFile(path.Join(at.memoryDir(), rel), 1<<20)
	if absent(err) || errors.Is(err, workspace.ErrTooLarge) || errors.Is(err, workspace.ErrSpecial) {
		return nil // nothing to lose, or nothing of ours
	}
	if err != nil {
		return diskFault(err)
	}
	return r.within(ctx, place{}, func(home *workspace.Folder) error {
		stamp := r.opt.Now().UTC().Format("20060102T150405.000000000Z")
		name := stamp + "-" + at.scope() + "-" + slug(at.projectName()) + "-" + slug(rel)
		if err := home.WriteFile(path.Join(backupsDir, name), data); err != nil {
			return diskFault(err)
		}
		list, _, err := home.List(ctx, workspace.ListOptions{Under: backupsDir})
		for i := 0; err == nil && i < len(list)-backupsMax; i++ { // by name, the oldest first
			err = home.Remove(list[i].Path)
		}
		return diskFault(err)
	})
}
