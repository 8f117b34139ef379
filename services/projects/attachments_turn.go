package projects

import (
	"context"
	"errors"
	"strings"
	"time"

	"anthill/services/internal/documents"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/workspace"
)

// AttachmentsFor waits this long for texts that are being read.
const attachmentsWait = 20 * time.Second

// Attached is an attachment as a turn needs it.
type Attached struct {
	ID, Name, MIME string
	Path           string // of the file, in the project
	Status         string // processing, ready or failed
	Reason         string // why it failed, in words for people
	Text           string // all that was read; empty for an image
	Truncated      bool   // the file says more
	Image          []byte // the file, if it is an image that is ready
}

// AttachmentsFor returns attachments for a turn of a conversation, in the order
// of ids. They must be in the project, or have been brought to the conversation
// before it moved. It waits a while for texts that are still being read; what is
// not ready by then, or when ctx ends, comes as it is. Those that belonged to no
// conversation belong to this one from now on.
//
// NotFound: ATTACHMENT_NOT_FOUND, naming the id.
func (r *Room) AttachmentsFor(ctx context.Context, projectID, sessionID string, ids []string) ([]Attached, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	if err := r.adoptAttachments(ctx, projectID, sessionID, ids); err != nil {
		return nil, err
	}
	list, err := r.awaitTexts(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := make([]Attached, len(list))
	for i, a := range list {
		if out[i], err = r.attached(context.WithoutCancel(ctx), a); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func errUnknownAttachment(id string) error {
	return fault.Missing("ATTACHMENT_NOT_FOUND", "Attachment not found: %s", shown(id))
}

// adoptAttachments checks that all are there for a turn, and gives those a
// conversation that have none.
func (r *Room) adoptAttachments(ctx context.Context, projectID, sessionID string, ids []string) error {
	if len(ids) > attachmentsOf {
		return fault.New(fault.Exhausted, "TOO_MANY_FILES", "A message takes up to %d attachments.", attachmentsOf)
	}
	var pending []string
	check := func(rd store.Reader, id string) (*attachment, error) {
		a, err := attachmentByID(rd, id)
		if err != nil {
			return nil, err
		}
		if a == nil || !a.visible() || a.ProjectID != projectID && a.Session != sessionID {
			return nil, errUnknownAttachment(id)
		}
		ok, err := r.Exists(rd, a.ProjectID)
		if err == nil && !ok {
			err = errUnknownAttachment(id)
		}
		return a, err
	}
	err := r.opt.DB.View(ctx, func(rd store.Reader) error {
		pending = nil
		for _, id := range ids {
			a, err := check(rd, id)
			if err != nil {
				return err
			}
			if a.Pending && sessionID != "" {
				pending = append(pending, id)
			}
		}
		return nil
	})
	for len(pending) > 0 && err == nil {
		batch := pending[:min(len(pending), publishBatch)]
		pending = pending[len(batch):]
		err = r.update(ctx, func(tx store.Tx) error {
			for _, id := range batch {
				a, err := check(tx, id)
				if err != nil {
					return err
				}
				a.Session, a.Pending = sessionID, false
				if err := putChanged(tx, a); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return err
}

// awaitTexts reads the attachments once no text is being read any more, or when
// the time or ctx ends.
func (r *Room) awaitTexts(ctx context.Context, ids []string) (list []*attachment, err error) {
	wake, stop := r.opt.DB.Watch(attachmentsTopic)
	defer stop()
	timer := time.NewTimer(attachmentsWait)
	defer timer.Stop()
	poll := time.NewTicker(time.Second) // wake-ups may be lost
	defer poll.Stop()
	for {
		processing := false
		err := r.opt.DB.View(context.WithoutCancel(ctx), func(rd store.Reader) error {
			list, processing = nil, false
			for _, id := range ids {
				a, err := attachmentByID(rd, id)
				if err != nil {
					return err
				}
				if a == nil || !a.visible() {
					return errUnknownAttachment(id)
				}
				processing = processing || a.Status == statusProcessing
				list = append(list, a)
			}
			return nil
		})
		if err != nil || !processing {
			return list, err
		}
		select {
		case <-wake:
		case <-poll.C:
		case <-timer.C:
			return list, nil
		case <-ctx.Done():
			return list, nil
		}
	}
}

// attached loads what a turn needs of an attachment. A file that vanished makes
// it a failed one.
func (r *Room) attached(ctx context.Context, a *attachment) (out Attached, err error) {
	out = Attached{ID: a.ID, Name: a.Name, MIME: a.MIME, Path: a.path(), Status: string(a.Status), Reason: a.Reason, Truncated: a.Truncated}
	if a.Status != statusReady || !a.isImage() && a.Text == 0 {
		return out, nil
	}
	name, most := a.textPath(), int64(documents.DefaultLimits.Text)
	if a.isImage() {
		name, most = a.path(), documents.ImageMax
	}
	data, err := r.readWhole(ctx, a.ProjectID, name, most)
	switch {
	case isGone(err), errors.Is(err, workspace.ErrTooLarge), errors.Is(err, workspace.ErrSpecial), errors.Is(err, workspace.ErrPath), errors.Is(err, workspace.ErrIsDir):
		out.Status, out.Reason = string(statusFailed), "The file is gone, or was changed."
	case err != nil:
		return out, err
	case a.isImage():
		out.Image = data
	default:
		out.Text = strings.ToValidUTF8(string(data), "\uFFFD")
	}
	return out, nil
}

func (r *Room) readWhole(ctx context.Context, projectID, name string, most int64) (data []byte, err error) {
	f, err := r.Folder(ctx, projectID)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return f.ReadFile(name, most)
}
