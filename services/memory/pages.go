package memory

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
	"unicode/utf8"

	"anthill/services/internal/workspace"
	"anthill/services/memory/notes"
)

// Bounds of what is read.
const (
	pageMax   = 128 << 10 // bytes of a file
	pagesMax  = 64        // files of a place
	walkedMax = 2000      // entries of the folder
	deepest   = 4         // folders below each other
)

// page is one file of memory.
type page struct {
	at       place
	rel      string // in the folder of memory
	text     string // valid UTF-8
	size     int64
	modified time.Time
	file     *notes.File // nil: it cannot be read
	problem  string      // why
}

// pages reads the files of a place, those with problems, too. more says that
// there are others.
func (r *Room) pages(ctx context.Context, at place) (list []page, more bool, err error) {
	dir := at.memoryDir()
	err = r.within(ctx, at, func(f *workspace.Folder) error {
		entries, truncated, err := f.List(ctx, workspace.ListOptions{Under: dir, Max: walkedMax, Skip: func(name string) bool {
			return strings.HasPrefix(path.Base(name), ".") || strings.Count(name[len(dir):], "/") > deepest
		}})
		if absent(err) {
			return nil
		}
		if errors.Is(err, workspace.ErrPath) { // a link out of the project
			list = []page{{at: at, problem: "its folder leads elsewhere"}}
			return nil
		}
		if err != nil {
			return err
		}
		more = truncated
		for _, e := range entries {
			switch {
			case e.IsDir || !isPage(e.Name):
			case len(list) == pagesMax:
				more = true
			default:
				list = append(list, readPage(f, at, e))
			}
		}
		return nil
	})
	for _, p := range list {
		r.tell(r.absolute(at, path.Join(dir, p.rel)), p.problem)
	}
	return list, more, err
}

func isPage(name string) bool { return strings.EqualFold(path.Ext(name), ".md") }

func readPage(f *workspace.Folder, at place, e workspace.Entry) page {
	p := page{at: at, rel: strings.TrimPrefix(e.Path, at.memoryDir()+"/"), size: e.Size, modified: e.Modified}
	data, err := f.ReadFile(e.Path, pageMax)
	switch {
	case errors.Is(err, workspace.ErrTooLarge):
		p.problem = fmt.Sprintf("it has more than %d KiB", pageMax>>10)
		return p
	case err != nil:
		p.problem = "it is not a plain file that can be read"
		return p
	}
	if utf8.Valid(data) {
		p.text = string(data)
	}
	if p.file, err = notes.Parse(data); err != nil {
		p.problem = err.Error()
	}
	return p
}

// entry is one thing that is remembered.
type entry struct {
	notes.Entry
	at       place
	rel      string
	id       string
	kind     string
	modified time.Time // of its file
}

// entries are those of a page.
func (p page) entries() []entry {
	if p.file == nil {
		return nil
	}
	ids := idsOf(p.at, p.rel, p.file)
	out := make([]entry, len(ids))
	for i, e := range p.file.Entries {
		out[i] = entry{Entry: e, at: p.at, rel: p.rel, id: ids[i], kind: kindOf(e, p.rel), modified: p.modified}
	}
	return out
}

// idsOf are the ids of a file's entries. What people wrote by hand has none: it
// gets one by what it says.
func idsOf(at place, rel string, f *notes.File) []string {
	ids := make([]string, len(f.Entries))
	had := map[string]bool{}
	for i, e := range f.Entries {
		id := e.Meta.ID
		for n := 0; id == "" || had[id]; n++ {
			sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%d", at.projectID(), rel, e.Text, n))
			id = "mem_" + hex.EncodeToString(sum[:8])
		}
		ids[i], had[id] = id, true
	}
	return ids
}

// Kinds of entries that have a place of their own (agent-core.md 6).
const (
	always  = "always"
	never   = "never"
	when    = "when"
	lesson  = "lesson"
	profile = "profile"
)

// headings of rules.md, by kind.
var headings = map[string]string{always: "Always", never: "Never", when: "When"}

func kindOf(e notes.Entry, rel string) string {
	switch {
	case e.Meta.Type != "":
		return e.Meta.Type
	case headings[e.Section] != "":
		return e.Section
	case rel == "profile.md":
		return profile
	}
	return lesson
}

// updated is when it was last changed, as far as that is known.
func (e entry) updated() time.Time {
	for _, s := range []string{e.Meta.Changed, e.Meta.At} {
		if t, err := time.Parse(time.RFC3339, s); err == nil {
			return t
		}
	}
	return e.modified
}

// name is its own, or how it begins.
func (e entry) name() string {
	if e.Meta.Name != "" {
		return e.Meta.Name
	}
	line, _, _ := strings.Cut(e.Text, "\n")
	return clip(line, 80)
}

// clip cuts a text to so many characters.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	n := 0
	for i := range s {
		if n == most {
			return strings.TrimSpace(s[:i]) + "…"
		}
		n++
	}
	return s
}
