package exports

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
)

// target is a place on this machine.
type target struct {
	id, setting string
	dir         func(*Options) string
	folder      string // in dir
	write       func(*document, io.Writer) error
	set         func(*antv1.ExportResults, *antv1.ExportResult)
}

// targets are all there are. compat: ant.md 1.6.
var targets = []target{
	{id: "obsidian", setting: "ANT_OBSIDIAN_VAULT", dir: func(o *Options) string { return o.ObsidianVault }, folder: "ANT",
		write: (*document).markdown, set: func(all *antv1.ExportResults, one *antv1.ExportResult) { all.Obsidian = one }},
	{id: "open-slide", setting: "ANT_OPEN_SLIDE_DIR", dir: func(o *Options) string { return o.OpenSlideDir }, folder: ".",
		write: (*document).slides, set: func(all *antv1.ExportResults, one *antv1.ExportResult) { all.OpenSlide = one }},
}

// ListExportTargets implements antv1.ExportsServiceServer.
func (r *Room) ListExportTargets(ctx context.Context, q *antv1.ListExportTargetsRequest) (*antv1.ListExportTargetsResponse, error) {
	if _, err := r.document(ctx, q.SessionId); err != nil {
		return nil, err
	}
	out := &antv1.ListExportTargetsResponse{}
	for _, t := range targets {
		out.Targets = append(out.Targets, &antv1.ExportTarget{Id: t.id, Configured: t.dir(&r.opt) != "", Setting: t.setting})
	}
	return out, nil
}

// ExportSession implements antv1.ExportsServiceServer.
func (r *Room) ExportSession(ctx context.Context, q *antv1.ExportSessionRequest) (*antv1.ExportSessionResponse, error) {
	wanted := q.Targets
	if len(wanted) == 0 {
		wanted = []string{targets[0].id}
	}
	for _, id := range wanted {
		if !slices.ContainsFunc(targets, func(t target) bool { return t.id == id }) {
			return nil, fault.New(fault.Invalid, "EXPORT_TARGET_UNKNOWN", "Unknown export target %q: use obsidian or open-slide", id)
		}
	}
	d, err := r.document(ctx, q.SessionId)
	if err != nil {
		return nil, err
	}
	out := &antv1.ExportSessionResponse{Ok: true, SessionId: d.session.Id, Targets: &antv1.ExportResults{}}
	for _, t := range targets {
		if !slices.Contains(wanted, t.id) {
			continue
		}
		result, err := d.to(t)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			r.opt.Log.Warn("export", "target", t.id, "session", d.session.Id, "error", err)
			note := "The file could not be written: see whether the directory of " + t.setting + " exists, is writable and has room."
			result = &antv1.ExportResult{Note: &note}
		}
		t.set(out.Targets, result)
	}
	return out, nil
}

// to writes the document to a target; a file that was there is replaced whole.
func (d *document) to(t target) (_ *antv1.ExportResult, err error) {
	dir := t.dir(d.Options)
	if dir == "" {
		note := "Not configured: set " + t.setting + " to a directory and start the server again."
		return &antv1.ExportResult{Skipped: true, Note: &note}, nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // it was for finding names
	if err := root.MkdirAll(t.folder, 0o755); err != nil {
		return nil, err
	}
	name := path.Join(t.folder, d.fileName()+".md")
	if err := replace(root, name, func(w io.Writer) error { return t.write(d, w) }); err != nil {
		return nil, err
	}
	whole := filepath.Join(dir, filepath.FromSlash(name))
	return &antv1.ExportResult{Ok: true, Path: &whole, VaultPath: &name}, nil
}

// replace writes a file that appears when it is whole and on disk.
func replace(root *os.Root, name string, write func(io.Writer) error) (err error) {
	part := path.Join(path.Dir(name), "."+path.Base(name)+".part-"+rand.Text())
	f, err := root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = root.Rename(part, name)
	}
	if err != nil {
		return errors.Join(err, root.Remove(part))
	}
	folder, err := root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

const (
	slideMessages = 5
	slideText     = 600 // bytes of a message
)

// slides writes a deck: what the room is, what it has, its last words. A line of
// three dashes is between two slides.
func (d *document) slides(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "# %s\n\nRoom %s, %s UTC\n", inline(d.session.Name), inline(d.session.Id), d.at.Format("2006-01-02 15:04"))
	if err := d.lists(out, "\n---\n\n## "); err != nil {
		return err
	}
	last, err := d.lastMessages(slideMessages)
	if err != nil {
		return err
	}
	for _, m := range last {
		who := m.GetSenderId()
		if who == "" {
			who = m.Role
		}
		fmt.Fprintf(out, "\n---\n\n## %s\n\n", inline(who))
		text := m.Content
		if len(text) > slideText {
			text = strings.ToValidUTF8(text[:slideText], "") + " …"
		}
		if err := block(out, text); err != nil {
			return err
		}
	}
	return out.Flush()
}
