package files

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
)

// ListRoomAttachments implements antv1.FilesServiceServer.
func (r *Room) ListRoomAttachments(ctx context.Context, q *antv1.ListRoomAttachmentsRequest) (*antv1.ListRoomAttachmentsResponse, error) {
	limit, err := pageLimit(q.Limit)
	if err != nil {
		return nil, err
	}
	list, more, err := r.page(ctx, q.SessionId, q.Cursor, limit)
	if err != nil {
		return nil, err
	}
	out := &antv1.ListRoomAttachmentsResponse{HasMore: more}
	for _, a := range list {
		out.Attachments = append(out.Attachments, a.view())
	}
	if more {
		out.Newer = cursor(list[len(list)-1].Order)
	}
	return out, nil
}

// page is part of a room's list; more: there are others behind it.
func (r *Room) page(ctx context.Context, session, after string, limit int) (list []*attachment, more bool, err error) {
	err = r.opt.DB.View(ctx, func(rd store.Reader) error {
		list, more = nil, false
		room, err := r.readable(rd, session)
		if err != nil {
			return err
		}
		o, err := pageOf(room.ID, after, limit)
		if err != nil {
			return err
		}
		for a, err := range attachments.ScanIndex(rd, byOrder, o) {
			if err != nil {
				return err
			}
			if len(list) == limit {
				more = true
				break
			}
			list = append(list, a)
		}
		return nil
	})
	return list, more, err
}

// GetRoomAttachment implements antv1.FilesServiceServer.
func (r *Room) GetRoomAttachment(ctx context.Context, q *antv1.GetRoomAttachmentRequest) (*antv1.Attachment, error) {
	a, err := r.find(ctx, q.SessionId, q.AttachmentId)
	if err != nil {
		return nil, err
	}
	return a.view(), nil
}

var errNoAttachment = fault.Missing("ATTACHMENT_NOT_FOUND", "attachment not found")

func (r *Room) find(ctx context.Context, session, id string) (a *attachment, err error) {
	err = r.opt.DB.View(ctx, func(rd store.Reader) error {
		room, err := r.readable(rd, session)
		if err != nil {
			return err
		}
		a, err = attachmentOf(rd, room.ID, id)
		return err
	})
	return a, err
}

func attachmentOf(rd store.Reader, room, id string) (*attachment, error) {
	if len(id) > idMax {
		return nil, errNoAttachment
	}
	a, err := attachments.Get(rd, rowKey(room, id))
	if err == nil && a == nil {
		err = errNoAttachment
	}
	return a, err
}

// DeleteRoomAttachment implements antv1.FilesServiceServer.
func (r *Room) DeleteRoomAttachment(ctx context.Context, q *antv1.DeleteRoomAttachmentRequest) (*antv1.DeleteRoomAttachmentResponse, error) {
	var gone *attachment
	err := r.opt.DB.Update(ctx, func(tx store.Tx) error {
		room, err := r.writable(tx, q.SessionId)
		if err != nil {
			return err
		}
		if gone, err = attachmentOf(tx, room.ID, q.AttachmentId); err != nil {
			return err
		}
		t, err := totalOf(tx, room.ID)
		if err != nil {
			return err
		}
		if _, err := attachments.Delete(tx, rowKey(room.ID, gone.ID)); err != nil {
			return err
		}
		t.Files, t.Bytes = t.Files-1, t.Bytes-gone.Size
		return totals.Put(tx, t)
	})
	if err != nil {
		return nil, err
	}
	r.dropContent(context.WithoutCancel(ctx), gone.Hash)
	return &antv1.DeleteRoomAttachmentResponse{Ok: true}, nil
}

func (r *Room) deleteAttachments(ctx context.Context, room string) error {
	for n := deleteBatch; n == deleteBatch; {
		var hashes []string
		err := r.opt.DB.Update(ctx, func(tx store.Tx) error {
			hashes = nil
			for a, err := range attachments.Scan(tx, store.ScanOptions{Prefix: roomKey(room), Limit: deleteBatch}) {
				if err != nil {
					return err
				}
				if _, err := attachments.Delete(tx, rowKey(room, a.ID)); err != nil {
					return err
				}
				hashes = append(hashes, a.Hash)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, hash := range hashes {
			r.dropContent(ctx, hash)
		}
		n = len(hashes)
	}
	return nil
}

// chunkSize is how many bytes a message of a download has.
const chunkSize = 256 << 10

// DownloadRoomAttachment implements antv1.FilesServiceServer.
func (r *Room) DownloadRoomAttachment(q *antv1.DownloadRoomAttachmentRequest, stream grpc.ServerStreamingServer[antv1.DownloadRoomAttachmentResponse]) (err error) {
	a, err := r.find(stream.Context(), q.SessionId, q.AttachmentId)
	if err != nil {
		return err
	}
	if q.Offset < 0 || q.Offset > a.Size {
		return fault.BadField("value_error", "offset is outside of the file", "offset")
	}
	file, err := r.contents.open(a.Hash, a.Size)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := stream.Send(&antv1.DownloadRoomAttachmentResponse{Part: &antv1.DownloadRoomAttachmentResponse_Attachment{Attachment: a.view()}}); err != nil {
		return err
	}
	for at := q.Offset; at < a.Size; {
		buf := make([]byte, min(chunkSize, a.Size-at)) // made anew: the channel may keep it
		if _, err := file.ReadAt(buf, at); err != nil {
			return err
		}
		if err := stream.Send(&antv1.DownloadRoomAttachmentResponse{Part: &antv1.DownloadRoomAttachmentResponse_Data{Data: buf}}); err != nil {
			return err
		}
		at += int64(len(buf))
	}
	return nil
}

// Upload is an attachment as others in this process see it.
type Upload struct {
	ID, Name string
	At       time.Time
	// Copy writes its content.
	Copy func(ctx context.Context, w io.Writer) error
}

// EachUpload hands on the attachments of a room, in the order of their upload.
func (r *Room) EachUpload(ctx context.Context, room string, emit func(Upload) error) error {
	for after := ""; ; {
		list, more, err := r.page(ctx, room, after, pageMax)
		if err != nil {
			return err
		}
		for _, a := range list {
			if err := emit(Upload{ID: a.ID, Name: a.Name, At: time.Unix(0, a.At), Copy: func(_ context.Context, w io.Writer) error { return r.copyTo(w, a) }}); err != nil {
				return err
			}
			after = cursor(a.Order)
		}
		if !more {
			return nil
		}
	}
}

func (r *Room) copyTo(w io.Writer, a *attachment) (err error) {
	file, err := r.contents.open(a.Hash, a.Size)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	_, err = io.Copy(w, file)
	return err
}
