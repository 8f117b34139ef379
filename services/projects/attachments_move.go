package projects

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
)

// MoveAttachmentToProject notes the file's new name first, so that a crash
// leaves it under one of its names.
func (s attachmentsService) MoveAttachmentToProject(ctx context.Context, q *antonv1.MoveAttachmentToProjectRequest) (*antonv1.MoveAttachmentToProjectResponse, error) {
	a, _, err := s.room.findAttachment(ctx, q.Id, q.Project, q.SessionId)
	if err != nil {
		return nil, err
	}
	s.room.jobs.interrupt(a.ID)
	var release func()
	for release == nil {
		var busy <-chan struct{}
		if _, release, busy = s.room.jobs.claim(ctx, a.ID); busy != nil {
			select {
			case <-busy:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
	defer release()
	ctx = context.WithoutCancel(ctx)
	if a, err = s.room.beginMove(ctx, a); err != nil {
		return nil, err
	}
	to, err := s.room.completeMove(ctx, a)
	if err != nil {
		return nil, fileFault(err)
	}
	return &antonv1.MoveAttachmentToProjectResponse{Ok: true, ProjectPath: a.Target, AbsolutePath: to}, nil
}

// beginMove finds a free name and notes it.
func (r *Room) beginMove(ctx context.Context, a *attachment) (moving *attachment, err error) {
	var target string
	err = r.inProject(ctx, a.ProjectID, func(_ Project, root *os.Root) (err error) {
		if _, err := root.Lstat(a.path()); err != nil {
			return err
		}
		target, err = freeFile(root, a.File)
		return err
	})
	if err != nil {
		return nil, fileFault(err)
	}
	err = r.update(ctx, func(tx store.Tx) error {
		if moving, err = attachmentByID(tx, a.ID); err != nil {
			return err
		}
		if moving == nil || !moving.visible() {
			return errNoAttachment()
		}
		moving.Target = target
		logAttachment(tx, &antonv1.AttachmentEvent{Event: &antonv1.AttachmentEvent_Deleted{
			Deleted: &antonv1.AttachmentDeleted{AttachmentId: a.ID}}})
		moving.Status = statusMoving
		return attachments.Put(tx, moving)
	})
	return moving, err
}

// filesOfOneName bounds the search for a free name.
const filesOfOneName = 10_000

// freeFile is name, or name with the first number that no file has.
func freeFile(root *os.Root, name string) (string, error) {
	stem, ext := strings.TrimSuffix(name, path.Ext(name)), path.Ext(name)
	for n := 1; n < filesOfOneName; n++ {
		try := name
		if n > 1 {
			try = fmt.Sprintf("%s (%d)%s", stem, n, ext)
		}
		if _, err := root.Lstat(try); errors.Is(err, fs.ErrNotExist) {
			return try, nil
		} else if err != nil {
			return "", err
		}
	}
	return "", fault.New(fault.Conflict, "NAME_TAKEN", "The project has too many files of this name.")
}

// completeMove gives the file its new name, unless it has it already, and
// forgets the attachment. One whose name was taken meanwhile stays an
// attachment. It returns the absolute path.
func (r *Room) completeMove(ctx context.Context, a *attachment) (to string, err error) {
	taken := false
	err = r.inProject(ctx, a.ProjectID, func(p Project, root *os.Root) error {
		to = path.Join(p.Path, a.Target)
		err := linkOnce(root, a.path(), a.Target)
		if taken = errors.Is(err, fs.ErrExist); taken {
			return nil
		}
		if err == nil {
			err = syncDir(root, ".")
		}
		return err
	})
	switch {
	case taken:
		err := r.update(ctx, func(tx store.Tx) error {
			back, err := attachmentByID(tx, a.ID)
			if err != nil || back == nil {
				return err
			}
			back.Status, back.Target = statusProcessing, "" // its text is read again
			return putChanged(tx, back)
		})
		r.jobs.signal()
		return "", errors.Join(err, fault.New(fault.Conflict, "NAME_TAKEN", "The project has a file of this name: try again."))
	case isGone(err): // with the file, or its project
	case err != nil:
		return "", err
	}
	if err := r.removeFiles(ctx, a); err != nil {
		return "", err
	}
	return to, r.dropAttachment(ctx, a)
}

// linkOnce gives a file another name. fs.ErrExist: something else has it.
func linkOnce(root *os.Root, from, to string) error {
	err := root.Link(from, to)
	if err == nil {
		return nil
	}
	old, gone := root.Lstat(from)
	present, free := root.Lstat(to)
	switch {
	case gone != nil && absent(gone) == nil:
		return fs.ErrNotExist // it may have its new name since before a crash
	case gone != nil:
		return gone
	case free == nil && os.SameFile(old, present):
		return nil
	case free == nil:
		return fmt.Errorf("%s: %w", to, fs.ErrExist)
	}
	return root.Rename(from, to) // a file system without links
}

// MoveSession takes the attachments of a conversation along to another project.
// What is not moved when it returns is moved behind it, also across a restart.
// Idempotent.
func (r *Room) MoveSession(ctx context.Context, session, projectID string) error {
	var ids []string
	elsewhere := func(a *attachment) bool { return a.visible() && a.home() != projectID }
	err := r.each(ctx, bySession, session, elsewhere, func(tx store.Tx, a *attachment) error {
		if a.Rehome = projectID; a.ProjectID == projectID {
			a.Rehome = ""
		}
		return putChanged(tx, a)
	})
	if err != nil {
		return err
	}
	err = r.opt.DB.View(ctx, func(rd store.Reader) error {
		ids = nil
		for a, err := range scanAttachments(rd, "", session) {
			if err != nil {
				return err
			}
			if a.Rehome != "" {
				ids = append(ids, a.ID)
			}
		}
		return nil
	})
	for _, id := range ids {
		r.finishNow(ctx, id)
	}
	return err
}

// rehome moves the files of an attachment to the project that it is to be in.
// One that cannot be moved stays where it is.
func (r *Room) rehome(ctx context.Context, a *attachment) error {
	err := r.moveFiles(ctx, a)
	stays := isGone(err) || errors.Is(err, syscall.EXDEV)
	if err != nil && !stays {
		return err
	}
	if stays {
		r.opt.Log.WarnContext(ctx, "attachment stays in its project", "attachment", a.ID, "error", err)
	}
	return r.update(ctx, func(tx store.Tx) error {
		now, err := attachmentByID(tx, a.ID)
		if err != nil || now == nil {
			return err
		}
		if !stays {
			now.ProjectID = a.Rehome
		}
		if now.Rehome == a.Rehome {
			now.Rehome = ""
		}
		return putChanged(tx, now)
	})
}

// moveFiles is done also if it was before. fs.ErrNotExist: one of the projects,
// or the files, are gone.
func (r *Room) moveFiles(ctx context.Context, a *attachment) error {
	r.folders.RLock()
	defer r.folders.RUnlock()
	from, ok, err := r.ByID(ctx, a.ProjectID)
	if err != nil {
		return err
	}
	to, ok2, err := r.ByID(ctx, a.Rehome)
	if err != nil {
		return err
	}
	if !ok || !ok2 || !isDir(to.Path) {
		return fs.ErrNotExist
	}
	old, present := path.Join(from.Name, a.folder()), path.Join(to.Name, a.folder())
	return r.within(func(root *os.Root) error {
		if _, err := root.Lstat(present); err == nil {
			return nil
		}
		r.uploads.Lock()
		err := root.MkdirAll(path.Dir(present), dirMode)
		if err == nil {
			err = root.Rename(old, present)
		}
		r.uploads.Unlock()
		if err != nil {
			return err
		}
		return errors.Join(syncDir(root, path.Dir(present)), r.removeEmpty(root, path.Dir(old)))
	})
}
