package projects

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/grpc"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/documents"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
	"anthill/services/internal/workspace"
)

// UploadAttachments keeps all files of a call or none: each is on disk before
// any of them is shown, and a call that breaks off leaves nothing behind.
func (s attachmentsService) UploadAttachments(stream grpc.ClientStreamingServer[antonv1.UploadAttachmentsRequest, antonv1.UploadAttachmentsResponse]) (err error) {
	c := &reception{room: s.room}
	defer func() { err = errors.Join(err, c.close(stream.Context())) }()
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		switch part := m.Part.(type) {
		case *antonv1.UploadAttachmentsRequest_Header:
			err = c.next(stream.Context(), part.Header)
		case *antonv1.UploadAttachmentsRequest_Data:
			err = c.write(part.Data)
		default:
			err = errUpload("A part is neither a header nor data")
		}
		if err != nil {
			return err
		}
	}
	if len(c.received) == 0 {
		return errMissing("files")
	}
	if err := c.finish(); err != nil {
		return err
	}
	out, err := c.publish(stream.Context())
	if err != nil {
		return err
	}
	return stream.SendAndClose(&antonv1.UploadAttachmentsResponse{Attachments: out})
}

// reception is one upload under way.
type reception struct {
	room     *Room
	project  Project
	folder   *workspace.Folder // nil before the first header
	session  string
	pending  bool
	received []*attachment // the last one may still be coming in
	file     *workspace.Upload
	sum      hash.Hash
	head     []byte
	done     bool // published: there is nothing to take back
}

// next ends the file before and begins the one of h.
func (c *reception) next(ctx context.Context, h *antonv1.AttachmentHeader) error {
	if err := c.finish(); err != nil {
		return err
	}
	if c.folder == nil {
		if err := c.open(ctx, h); err != nil {
			return err
		}
	}
	if len(c.received) == attachmentsOfCall {
		return fault.New(fault.Exhausted, "TOO_MANY_FILES", "One call takes up to %d files.", attachmentsOfCall)
	}
	if why := refusedAttachmentName(h.GetName()); why != "" {
		return errUpload(why)
	}
	now := c.room.opt.Now().UnixMilli()
	a := &attachment{ID: newAttachmentID(), ProjectID: c.project.ID, Session: c.session, Pending: c.pending, Dir: c.session,
		Name: h.GetName(), File: fileName(h.GetName()), Status: statusReceiving, Created: now, Updated: now}
	if err := c.room.announce(ctx, a); err != nil {
		return err
	}
	c.received = append(c.received, a)
	c.sum, c.head = sha256.New(), nil
	var err error
	c.room.uploads.Lock()
	c.file, err = c.folder.CreateUpload(a.path(), attachmentMax)
	c.room.uploads.Unlock()
	return fileFault(err)
}

// open finds out where the files of the call go.
func (c *reception) open(ctx context.Context, h *antonv1.AttachmentHeader) (err error) {
	c.session = h.GetSessionId()
	if c.session == "" {
		c.session, c.pending = c.room.mintSession(), true
	}
	c.pending = c.pending || strings.HasPrefix(c.session, provisional)
	if err := checkSession(c.session); err != nil {
		return err
	}
	if h.GetProject() == "" {
		c.project, err = c.room.Active(ctx)
	} else {
		c.project, err = c.room.resolveNamed(ctx, h.GetProject())
	}
	if err == nil {
		c.folder, err = c.room.Folder(ctx, c.project.ID)
	}
	return err
}

// mintSession makes an id in the form that clients give conversations (contract 2).
func (r *Room) mintSession() string {
	id := r.opt.NewID("")
	return r.opt.Now().UTC().Format("20060102_150405_") + id[max(0, len(id)-6):]
}

// refusedAttachmentName says why a file may not have that name; empty if it may.
func refusedAttachmentName(name string) string {
	switch {
	case name == "":
		return "A file needs a name"
	case len(name) > 1024 || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return "Invalid file name"
	case strings.ContainsAny(name, `/\`):
		return "Folders are not accepted in a name"
	case name == "." || name == "..":
		return "Invalid file name"
	}
	return ""
}

// announce stores that a file will come in, so that what a crash leaves of it is
// known. It takes a place in the log, which is its place in lists.
func (r *Room) announce(ctx context.Context, a *attachment) error {
	return r.update(ctx, func(tx store.Tx) error {
		if ok, err := r.Exists(tx, a.ProjectID); err != nil {
			return err
		} else if !ok {
			return errNoProject()
		}
		n := 0
		for _, err := range attachments.ScanIndex(tx, bySession, store.ScanOptions{Prefix: key.Of(a.Session), Limit: attachmentsOf}) {
			if err != nil {
				return err
			}
			n++
		}
		if n >= attachmentsOf {
			return fault.New(fault.Exhausted, "TOO_MANY_FILES", "A conversation takes up to %d attachments: delete some first.", attachmentsOf)
		}
		announced := *a
		announced.Seq = logAttachment(tx, &antonv1.AttachmentEvent{Event: &antonv1.AttachmentEvent_Changed{
			Changed: &antonv1.AttachmentChanged{AttachmentId: a.ID}}})
		return attachments.Put(tx, &announced)
	})
}

func (c *reception) write(data []byte) error {
	switch {
	case c.file == nil:
		return errUpload("Data came before a header")
	case len(data) > uploadChunk:
		return errUpload(fmt.Sprintf("A part carries up to %d bytes", uploadChunk))
	}
	if _, err := c.file.Write(data); errors.Is(err, workspace.ErrTooLarge) {
		return errTooLarge(fmt.Sprintf("%s exceeds %d MiB", shown(c.last().Name), attachmentMax>>20))
	} else if err != nil {
		return fileFault(err)
	}
	c.sum.Write(data) // never fails
	c.head = append(c.head, data[:min(len(data), documents.HeadSize-len(c.head))]...)
	c.last().Size += int64(len(data))
	return nil
}

func (c *reception) last() *attachment { return c.received[len(c.received)-1] }

// finish puts the file under its name, and on disk.
func (c *reception) finish() error {
	if c.file == nil {
		return nil
	}
	file := c.file
	c.file = nil
	if err := file.Commit(); err != nil {
		return fileFault(err)
	}
	a := c.last()
	a.SHA256 = hex.EncodeToString(c.sum.Sum(nil))
	a.MIME = documents.Detect(a.Name, c.head).MIME
	return nil
}

// publishBatch keeps a transaction well under the store's limits.
const publishBatch = 10

// publish shows the files of the call and has their texts read.
func (c *reception) publish(ctx context.Context) (out []*antonv1.Attachment, err error) {
	// From the first batch on the rest must follow.
	ctx = context.WithoutCancel(ctx)
	for at := 0; at < len(c.received); at += publishBatch {
		batch := c.received[at:min(at+publishBatch, len(c.received))]
		var views []*antonv1.Attachment
		err := c.room.update(ctx, func(tx store.Tx) error {
			views = nil
			for _, a := range batch {
				stored, err := attachmentByID(tx, a.ID)
				if err != nil {
					return err
				}
				if stored == nil || stored.Status != statusReceiving {
					return errNoProject() // deleted meanwhile, with its project or conversation
				}
				shown := *a
				shown.Seq, shown.Status = stored.Seq, statusProcessing
				if err := putChanged(tx, &shown); err != nil {
					return err
				}
				v, err := c.room.viewAttachment(tx, &shown)
				if err != nil {
					return err
				}
				if v == nil {
					return errNoProject()
				}
				views = append(views, v)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		out = append(out, views...)
	}
	c.done = true
	c.room.jobs.signal()
	return out, nil
}

// close takes back what was not published.
func (c *reception) close(ctx context.Context) error {
	var err error
	if c.file != nil {
		err = c.file.Abort()
		c.file = nil
	}
	if c.folder != nil {
		err = errors.Join(err, c.folder.Close())
	}
	if c.done {
		return err
	}
	for _, a := range c.received {
		if failed := c.room.takeBack(context.WithoutCancel(ctx), a.ID); failed != nil {
			c.room.opt.Log.WarnContext(ctx, "a broken upload is cleared away at the next start", "attachment", a.ID, "error", failed)
		}
	}
	return err
}

func (r *Room) takeBack(ctx context.Context, id string) error {
	err := r.update(ctx, func(tx store.Tx) error {
		a, err := attachmentByID(tx, id)
		if err != nil || a == nil {
			return err
		}
		return tombstone(tx, a)
	})
	if err == nil {
		r.finishNow(ctx, id)
	}
	return err
}

// shown cuts a name that comes from outside for a message.
func shown(name string) string {
	if utf8.RuneCountInString(name) > shownName {
		return string([]rune(name)[:shownName]) + "…"
	}
	return name
}
