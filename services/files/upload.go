package files

import (
	"context"
	"errors"
	"io"
	"strings"
	"unicode"

	"google.golang.org/grpc"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/documents"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
)

const (
	fileMax     = 100 << 20 // bytes
	chunkMax    = 1 << 20   // of them in a message
	fileNameMax = 255
)

// UploadAttachment implements antv1.FilesServiceServer.
func (r *Room) UploadAttachment(stream grpc.ClientStreamingServer[antv1.UploadAttachmentRequest, antv1.Attachment]) (err error) {
	ctx := stream.Context()
	first, err := stream.Recv()
	switch {
	case errors.Is(err, io.EOF):
		return fault.New(fault.Invalid, "FILE_MISSING", "file required")
	case err != nil:
		return err
	}
	a, err := r.announced(ctx, first)
	if err != nil {
		return err
	}
	in, err := r.contents.create()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.abort()) }()
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		data, ok := m.Part.(*antv1.UploadAttachmentRequest_Data)
		if !ok || len(data.Data) > chunkMax {
			return fault.New(fault.Invalid, "INVALID_UPLOAD", "After the header come bytes, 1 MiB at most in each message; one call takes one file.")
		}
		if err := in.add(data.Data); err != nil {
			return err
		}
	}
	a.Hash, a.Size, a.Type = in.hash(), in.size, documents.Detect(a.Name, in.head).MIME
	view, err := r.publish(context.WithoutCancel(ctx), a, in)
	if err != nil {
		return err
	}
	return stream.SendAndClose(view)
}

// announced reads the first message of an upload. The room is looked at again
// when the file is whole.
func (r *Room) announced(ctx context.Context, q *antv1.UploadAttachmentRequest) (*attachment, error) {
	a := &attachment{ID: r.opt.NewID()}
	err := r.opt.DB.View(ctx, func(rd store.Reader) error {
		room, err := r.writable(rd, q.SessionId)
		if err != nil {
			return err
		}
		a.Room = room.ID
		_, err = grown(rd, a)
		return err
	})
	if err != nil {
		return nil, err
	}
	file := q.GetFile()
	if file == nil {
		return nil, fault.New(fault.Invalid, "FILE_MISSING", "file required")
	}
	if refusedName(file.Name) {
		return nil, fault.BadField("value_error", "The name of a file has 1 to 255 bytes, no folders and no control characters", "file", "name")
	}
	a.Name, a.By = file.Name, caller.From(ctx).As(file.Handle)
	return a, checkWho("handle", a.By)
}

// refusedName says whether a name could be taken for something else than a name.
func refusedName(name string) bool {
	return name == "" || len(name) > fileNameMax || name == "." || name == ".." || strings.ContainsAny(name, `/\`) ||
		strings.TrimSpace(name) != name || strings.ContainsFunc(name, func(c rune) bool { return unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) })
}

// grown is what the room has with an attachment more, or why it does not take it.
func grown(rd store.Reader, a *attachment) (*total, error) {
	t, err := totalOf(rd, a.Room)
	if err != nil {
		return nil, err
	}
	t.Files, t.Bytes, t.Last = t.Files+1, t.Bytes+a.Size, t.Last+1
	if t.Files > filesMax || t.Bytes > bytesMax {
		return nil, fault.New(fault.Precondition, "ATTACHMENTS_FULL", "A room has %d attachments of %d GiB at most: remove some first.", filesMax, bytesMax>>30)
	}
	return t, nil
}

// publish makes a whole file an attachment. Of one that the room does not take
// nothing stays.
func (r *Room) publish(ctx context.Context, a *attachment, in *incoming) (*antv1.Attachment, error) {
	var view *antv1.Attachment
	err := in.keep(func() error {
		return r.opt.DB.Update(ctx, func(tx store.Tx) error {
			if _, err := r.writable(tx, a.Room); err != nil {
				return err
			}
			t, err := grown(tx, a)
			if err != nil {
				return err
			}
			row := *a
			row.Order, row.At = t.Last, r.opt.Now().UnixNano()
			view = row.view()
			if err := attachments.Put(tx, &row); err != nil {
				return err
			}
			return totals.Put(tx, t)
		})
	})
	if err != nil {
		r.dropContent(ctx, a.Hash)
		return nil, err
	}
	return view, nil
}

// dropContent removes a content unless a row leads to it. What fails here is made
// good at the next start.
func (r *Room) dropContent(ctx context.Context, hash string) {
	err := r.contents.drop(hash, func(hash string) (bool, error) { return r.referred(ctx, hash) })
	if err != nil {
		r.opt.Log.WarnContext(ctx, "an upload that nobody has any more is removed at the next start", "hash", hash, "error", err)
	}
}

// referred says whether a row leads to a content.
func (r *Room) referred(ctx context.Context, hash string) (found bool, err error) {
	err = r.opt.DB.View(ctx, func(rd store.Reader) error {
		found = false
		for _, err := range attachments.ScanIndex(rd, byHash, store.ScanOptions{Prefix: roomKey(hash), Limit: 1}) {
			found = true
			return err
		}
		return nil
	})
	return found, err
}
