package memory

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/workspace"
	"anthill/services/memory/notes"
)

// Bounds of entries that callers write.
const (
	contentMax     = 16 << 10 // bytes
	nameMax        = 200      // characters
	descriptionMax = 1000     // characters
	typeMax        = 40       // characters
)

// Bounds of what a list shows.
const (
	previewMax  = 700    // characters
	shownMax    = 16_000 // characters of a file
	entriesMax  = 1000
	sectionsMax = 1 << 20 // bytes of contents, and as many of entries
)

type memoryService struct {
	antonv1.UnimplementedMemoryServiceServer
	room *Room
}

// ListMemory implements antonv1.MemoryServiceServer.
func (s memoryService) ListMemory(ctx context.Context, q *antonv1.ListMemoryRequest) (*antonv1.ListMemoryResponse, error) {
	places, err := s.room.all(ctx, q.Project, q.ProjectPath)
	if err != nil {
		return nil, err
	}
	slices.Reverse(places) // compat: the client shows the global ones first
	out := &antonv1.ListMemoryResponse{}
	var entries []entry
	size := 0
	for _, at := range places {
		pages, more, err := s.room.pages(ctx, at)
		if err != nil {
			return nil, diskFault(err)
		}
		out.Truncated = out.Truncated || more
		section := &antonv1.MemorySection{Scope: at.scope(), Root: s.room.absolute(at, at.memoryDir()), ProjectName: at.projectName(), ProjectPath: at.projectPath()}
		for _, p := range pages {
			if p.problem != "" {
				out.Problems = append(out.Problems, &antonv1.MemoryProblem{Scope: at.scope(), Project: at.projectName(), RelativePath: p.rel,
					Path: s.room.absolute(at, path.Join(at.memoryDir(), p.rel)), Problem: p.problem})
			}
			if p.rel == "" {
				continue
			}
			f := s.room.viewPage(p)
			if size += len(f.Content); size > sectionsMax {
				f.Content, out.Truncated = "", true
			}
			section.Files = append(section.Files, f)
			entries = append(entries, p.entries()...)
		}
		out.Sections = append(out.Sections, section)
	}
	slices.SortStableFunc(entries, newestFirst)
	size = 0
	for _, e := range entries {
		if size += len(e.Text); size > sectionsMax || len(out.Entries) == entriesMax {
			out.Truncated = true
			break
		}
		out.Entries = append(out.Entries, viewEntry(e))
	}
	return out, nil
}

func newestFirst(a, b entry) int { return b.updated().Compare(a.updated()) }

func (r *Room) viewPage(p page) *antonv1.MemoryFile {
	return &antonv1.MemoryFile{Name: path.Base(p.rel), Path: r.absolute(p.at, path.Join(p.at.memoryDir(), p.rel)), RelativePath: p.rel, Scope: p.at.scope(),
		Bytes: float64(p.size), Preview: clip(p.text, previewMax), Content: clip(p.text, shownMax), ProjectName: p.at.projectName(),
		ProjectPath: p.at.projectPath(), ModifiedAt: iso(p.modified), Problem: p.problem}
}

func viewEntry(e entry) *antonv1.MemoryEntry {
	by := e.Meta.By
	if by == "" {
		by = byHand
	}
	return &antonv1.MemoryEntry{Id: e.id, Name: e.name(), Description: e.Meta.Description, Type: e.kind, Content: e.Text, Scope: e.at.scope(),
		Project: e.at.projectName(), RelativePath: e.rel, CreatedAt: e.Meta.At, UpdatedAt: iso(e.updated()),
		Source: &antonv1.MemorySource{By: by, ConversationId: e.Meta.Conversation, TurnId: e.Meta.Turn}}
}

func iso(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// PutMemoryEntry implements antonv1.MemoryServiceServer.
func (s memoryService) PutMemoryEntry(ctx context.Context, q *antonv1.PutMemoryEntryRequest) (*antonv1.PutMemoryEntryResponse, error) {
	text, err := s.room.checked(q)
	if err != nil {
		return nil, err
	}
	w := wanted{q.Scope, q.Project, q.ProjectPath}
	without := project
	if q.Type == profile { // who the user is does not hang on a project
		without = global
	}
	at, err := s.room.one(ctx, w, without)
	if err != nil {
		return nil, err
	}
	e, err := s.room.put(ctx, at, q, text)
	if err != nil {
		return nil, err
	}
	return &antonv1.PutMemoryEntryResponse{Status: "ok", Entry: viewEntry(e)}, nil
}

// checked refuses what no entry can be, and returns the text.
func (r *Room) checked(q *antonv1.PutMemoryEntryRequest) (string, error) {
	q.Name, q.Description, q.Type = strings.TrimSpace(q.Name), strings.TrimSpace(q.Description), strings.ToLower(strings.TrimSpace(q.Type))
	for _, f := range []struct {
		name, value string
		most        int
	}{{"name", q.Name, nameMax}, {"description", q.Description, descriptionMax}, {"type", q.Type, typeMax}} {
		switch {
		case utf8.RuneCountInString(f.value) > f.most:
			return "", fault.BadField("string_too_long", fmt.Sprintf("String should have at most %d characters", f.most), f.name)
		case strings.ContainsFunc(f.value, unicode.IsControl):
			return "", fault.BadField("value_error", "Control characters are not allowed", f.name)
		}
	}
	if len(q.Content) > contentMax {
		return "", fault.BadField("string_too_long", fmt.Sprintf("An entry has up to %d KiB", contentMax>>10), "content")
	}
	text, err := notes.Normalize(q.Content)
	if err != nil {
		return "", fault.BadField("value_error", "The content cannot be kept: "+err.Error(), "content")
	}
	if r.secret(text + "\n" + q.Name + "\n" + q.Description) {
		return "", fault.New(fault.Invalid, "SECRET_REFUSED", "This looks like a key or a password: memory is shown to models, so none is kept there.")
	}
	return text, nil
}

// put adds an entry, or changes the one that is meant.
func (r *Room) put(ctx context.Context, at place, q *antonv1.PutMemoryEntryRequest, text string) (entry, error) {
	now := iso(r.opt.Now())
	n := note{text: text, kind: q.Type, meta: notes.Meta{ID: r.opt.NewID("mem_"), Name: q.Name, Description: q.Description, By: byUser, At: now}}
	had, err := r.meant(ctx, at, q)
	if err != nil {
		return entry{}, err
	}
	if had == nil {
		if n.kind == "" {
			n.kind = lesson
		}
		e, _, err := r.add(ctx, at, n)
		return e, err
	}
	n.meta = had.Meta
	n.meta.Changed = now
	if n.meta.ID == "" {
		n.meta.ID = r.opt.NewID("mem_")
	}
	if q.Name != "" {
		n.meta.Name = q.Name
	}
	if q.Description != "" {
		n.meta.Description = q.Description
	}
	if n.kind == "" || n.kind == had.kind {
		err := r.replace(ctx, *had, text, n.meta)
		changed := *had
		changed.Text, changed.Meta, changed.id = text, n.meta, n.meta.ID
		return changed, putFault(err)
	}
	e, _, err := r.add(ctx, had.at, n) // in the file of the other kind
	if err != nil {
		return e, err
	}
	return e, putFault(r.forget(ctx, *had))
}

// meant is the entry that a request changes; nil: it adds one.
func (r *Room) meant(ctx context.Context, at place, q *antonv1.PutMemoryEntryRequest) (*entry, error) {
	if q.Id == "" && q.Name == "" {
		return nil, nil
	}
	places := []place{at}
	if q.Id != "" {
		var err error
		if places, err = r.all(ctx, q.Project, q.ProjectPath); err != nil {
			return nil, err
		}
	}
	list, err := r.entries(ctx, places)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		if q.Id != "" && e.id == q.Id || q.Id == "" && e.Meta.Name == q.Name {
			return &e, nil
		}
	}
	if q.Id != "" {
		return nil, errGone
	}
	return nil, nil
}

// entries of some places, newest first in each.
func (r *Room) entries(ctx context.Context, places []place) (list []entry, err error) {
	for _, at := range places {
		pages, _, err := r.pages(ctx, at)
		if err != nil {
			return nil, diskFault(err)
		}
		var here []entry
		for _, p := range pages {
			here = append(here, p.entries()...)
		}
		slices.SortStableFunc(here, newestFirst)
		list = append(list, here...)
	}
	return list, nil
}

func putFault(err error) error {
	switch {
	case errors.Is(err, errFull):
		return fault.New(fault.Exhausted, "FILE_TOO_LARGE", "There is no more room in the file of this entry: forget something first.").Because(err)
	case errors.Is(err, errUnreadable), errors.Is(err, notes.ErrSpoilt):
		return fault.New(fault.Precondition, "MEMORY_UNREADABLE", "The file of this entry can only be changed by hand.").Because(err)
	}
	return err
}

// WriteMemoryFile implements antonv1.MemoryServiceServer.
func (s memoryService) WriteMemoryFile(ctx context.Context, q *antonv1.WriteMemoryFileRequest) (*antonv1.WriteMemoryFileResponse, error) {
	at, rel, err := s.room.fileNamed(ctx, wanted{q.Scope, q.Project, q.ProjectPath}, q.RelativePath)
	if err != nil {
		return nil, err
	}
	content := q.GetContent()
	if len(content) > pageMax {
		return nil, fault.New(fault.Exhausted, "FILE_TOO_LARGE", "A file of memory has up to %d KiB", pageMax>>10)
	}
	if _, err := notes.Parse([]byte(content)); err != nil {
		return nil, fault.BadField("value_error", "The content cannot be read as memory: "+err.Error(), "content")
	}
	if s.room.secret(content) {
		return nil, fault.New(fault.Invalid, "SECRET_REFUSED", "This looks like a key or a password: memory is shown to models, so none is kept there.")
	}
	var f *antonv1.MemoryFile
	s.room.writing.Lock()
	defer s.room.writing.Unlock()
	err = s.room.within(ctx, at, func(folder *workspace.Folder) error {
		if err := s.room.keep(ctx, folder, at, rel); err != nil {
			return err
		}
		name := path.Join(at.memoryDir(), rel)
		if err := folder.WriteFile(name, []byte(content)); err != nil {
			return err
		}
		f = s.room.viewPage(readPage(folder, at, workspace.Entry{Path: name, Size: int64(len(content)), Modified: s.room.opt.Now()}))
		return nil
	})
	if err != nil {
		return nil, diskFault(err)
	}
	return &antonv1.WriteMemoryFileResponse{Status: "ok", File: f}, nil
}

// fileNamed is the file that a request names.
func (r *Room) fileNamed(ctx context.Context, w wanted, name string) (at place, rel string, err error) {
	rel, err = workspace.Clean(name)
	if err != nil || strings.HasPrefix(path.Base(rel), ".") || strings.Count(rel, "/") >= deepest {
		return at, "", fault.New(fault.Invalid, "INVALID_PATH", "Invalid memory path").Because(err)
	}
	if !isPage(rel) {
		return at, "", fault.New(fault.Invalid, "FILE_NOT_TEXT", "Memory files are Markdown: the name ends in .md")
	}
	if at, err = r.one(ctx, w, global); err == nil && at.project != nil && strings.EqualFold(rel, "profile.md") {
		err = fault.New(fault.Invalid, "INVALID_SCOPE", "profile.md is global: who the user is does not hang on a project")
	}
	return at, rel, err
}

// DeleteMemory implements antonv1.MemoryServiceServer.
func (s memoryService) DeleteMemory(ctx context.Context, q *antonv1.DeleteMemoryRequest) (*antonv1.DeleteMemoryResponse, error) {
	switch n := count(q.Id, q.Name, q.RelativePath); {
	case n == 0:
		return nil, fault.BadField("missing", "Name an entry by id or name, or a file by relative_path", "id")
	case n > 1:
		return nil, fault.BadField("value_error", "Give only one of id, name and relative_path", "id")
	}
	if q.RelativePath != "" {
		return s.deleteFile(ctx, q)
	}
	places, err := s.room.all(ctx, q.Project, q.ProjectPath)
	if err != nil {
		return nil, err
	}
	if q.Scope != "" {
		at, err := s.room.one(ctx, wanted{q.Scope, q.Project, q.ProjectPath}, project)
		if err != nil {
			return nil, err
		}
		places = []place{at}
	}
	list, err := s.room.entries(ctx, places)
	if err != nil {
		return nil, err
	}
	found := slices.DeleteFunc(list, func(e entry) bool { return q.Id != "" && e.id != q.Id || q.Id == "" && e.name() != q.Name })
	switch {
	case len(found) == 0:
		return nil, errGone
	case q.Id == "" && len(found) > 1:
		return nil, fault.New(fault.Conflict, "MEMORY_AMBIGUOUS", "%d entries have this name: name one by its id", len(found))
	}
	if err := s.room.forget(ctx, found[0]); err != nil {
		return nil, putFault(err)
	}
	at := found[0].at
	return &antonv1.DeleteMemoryResponse{Status: "ok", Deleted: found[0].id, Root: s.room.absolute(at, at.memoryDir())}, nil
}

func count(values ...string) (n int) {
	for _, v := range values {
		if v != "" {
			n++
		}
	}
	return n
}

func (s memoryService) deleteFile(ctx context.Context, q *antonv1.DeleteMemoryRequest) (*antonv1.DeleteMemoryResponse, error) {
	at, rel, err := s.room.fileNamed(ctx, wanted{q.Scope, q.Project, q.ProjectPath}, q.RelativePath)
	if err != nil {
		return nil, err
	}
	s.room.writing.Lock()
	defer s.room.writing.Unlock()
	err = s.room.within(ctx, at, func(f *workspace.Folder) error {
		name := path.Join(at.memoryDir(), rel)
		if info, err := f.Stat(name); err == nil && info.IsDir() {
			return workspace.ErrIsDir
		}
		if err := s.room.keep(ctx, f, at, rel); err != nil {
			return err
		}
		return f.Remove(name)
	})
	if absent(err) {
		return nil, fault.Missing("MEMORY_NOT_FOUND", "Memory file not found").Because(err)
	}
	if err != nil {
		return nil, diskFault(err)
	}
	return &antonv1.DeleteMemoryResponse{Status: "ok", Deleted: rel, Root: s.room.absolute(at, at.memoryDir())}, nil
}
