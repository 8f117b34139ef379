package ant

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"time"

	"google.golang.org/grpc"

	"anthill/gateway/edge"
	"anthill/gateway/rest"
	antv1 "anthill/gen/ant/v1"
)

var files = resource{
	services: []generated{service(antv1.NewFilesServiceClient, antv1.RegisterFilesServiceHandlerClient)},
	byHand: func(h *Handler) {
		h.routes.AddHand(http.MethodPost, "/api/upload", h.uploadFile)
		h.routes.AddHand(http.MethodGet, "/api/sessions/{session_id}/attachments/{attachment_id}/raw", h.downloadFile)
	},
	status: map[string]int{antv1.FilesService_CreateFileRef_FullMethodName: http.StatusCreated},
}

const (
	formMax    = 101 << 20 // bytes of a form with a file, which the service bounds
	pieceSize  = 256 << 10 // bytes of a message
	giveWithin = time.Minute
)

var (
	errAnswered = errors.New("ant: the service has answered")
	errSeveral  = errors.New("ant: several files")
)

// upload is a file on its way to the service.
type upload struct {
	call grpc.ClientStreamingClient[antv1.UploadAttachmentRequest, antv1.Attachment]
	room string
	out  *http.ResponseController
}

// uploadFile serves POST /api/upload?session_id=&handle=: multipart with one file.
// Whether the caller may is decided before the form is judged.
func (h *Handler) uploadFile(w http.ResponseWriter, r *http.Request, _ map[string]string) {
	q := r.URL.Query()
	call, err := h.files.UploadAttachment(edge.Outgoing(r))
	if err != nil {
		h.callFailed(w, r, err)
		return
	}
	u := &upload{call: call, room: q.Get("session_id"), out: http.NewResponseController(w)}
	r.Body = http.MaxBytesReader(w, r.Body, formMax)
	if form, bad := r.MultipartReader(); bad != nil {
		err = u.send(&antv1.UploadAttachmentRequest{}) // without a file: the service says what is missing
	} else {
		err = u.read(form, q.Get("handle"))
	}
	switch {
	case err == nil, errors.Is(err, errAnswered):
	case errors.Is(err, errSeveral):
		h.refuse(w, r, problem{status: http.StatusBadRequest, message: "One request takes one file"})
		return
	default:
		h.refuse(w, r, bodyProblem(rest.Unreadable(err)))
		return
	}
	v, err := call.CloseAndRecv()
	if err != nil {
		h.callFailed(w, r, err)
		return
	}
	h.writeMessage(w, http.StatusCreated, v)
}

func (u *upload) send(m *antv1.UploadAttachmentRequest) error {
	m.SessionId = u.room
	if err := u.call.Send(m); err != nil {
		return errAnswered
	}
	return nil
}

// read passes on the only file of a form, which must be whole.
func (u *upload) read(form *multipart.Reader, handle string) error {
	sent := false
	for {
		if err := u.out.SetReadDeadline(time.Now().Add(giveWithin)); err != nil {
			return err
		}
		part, err := rest.NextPart(form)
		switch {
		case err != nil:
			return err
		case part == nil:
			if !sent {
				err = u.send(&antv1.UploadAttachmentRequest{})
			}
			return errors.Join(err, u.out.SetReadDeadline(time.Time{}))
		case part.FileName() == "" || part.FormName() != "file" && part.FormName() != "files":
			continue
		case sent:
			return errSeveral
		}
		sent = true
		err = u.send(&antv1.UploadAttachmentRequest{Part: &antv1.UploadAttachmentRequest_File{
			File: &antv1.UploadedFile{Name: part.FileName(), Handle: handle}}})
		if err != nil {
			return err
		}
		pieces := bufio.NewWriterSize(u, pieceSize)
		if _, err := pieces.ReadFrom(part); err != nil {
			return err
		}
		if err := pieces.Flush(); err != nil {
			return err
		}
	}
}

// Write sends a piece of the file; the next one has its own time to arrive.
func (u *upload) Write(data []byte) (int, error) {
	err := u.send(&antv1.UploadAttachmentRequest{Part: &antv1.UploadAttachmentRequest_Data{Data: bytes.Clone(data)}}) // the channel may keep it
	if err == nil {
		err = u.out.SetReadDeadline(time.Now().Add(giveWithin))
	}
	if err != nil {
		return 0, err
	}
	return len(data), nil
}

// Types that a browser shows without running anything. Texts are shown as text,
// whatever they say they are; all others are saved.
var (
	imagesShown = []string{"image/png", "image/jpeg", "image/gif", "image/webp"}
	textsShown  = []string{"text/plain", "text/markdown", "text/csv", "text/tab-separated-values", "application/json", "application/jsonl", "application/yaml"}
)

// downloadFile serves the bytes of an attachment, or ranges of them.
func (h *Handler) downloadFile(w http.ResponseWriter, r *http.Request, params map[string]string) {
	d := &download{out: http.NewResponseController(w), open: func(ctx context.Context, from int64) (downloadCall, error) {
		return h.files.DownloadRoomAttachment(ctx, &antv1.DownloadRoomAttachmentRequest{
			SessionId: params["session_id"], AttachmentId: params["attachment_id"], Offset: from})
	}, ctx: edge.Outgoing(r)}
	defer d.close()
	a, err := d.begin() // so that what is refused gets an HTTP error
	if err != nil {
		h.callFailed(w, r, err)
		return
	}
	d.size = int64(a.Size)
	typ, disposition := "application/octet-stream", "attachment"
	switch {
	case slices.Contains(imagesShown, a.ContentType):
		typ, disposition = a.ContentType, "inline"
	case slices.Contains(textsShown, a.ContentType):
		typ, disposition = "text/plain; charset=utf-8", "inline"
	}
	hd := w.Header()
	hd.Set("Content-Type", typ)
	hd.Set("Content-Disposition", disposition+"; filename*=UTF-8''"+url.PathEscape(a.Name))
	hd.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	hd.Set("X-Content-Type-Options", "nosniff")
	hd.Set("ETag", `"`+a.Hash+`"`)
	defer d.out.SetWriteDeadline(time.Time{}) //nolint:errcheck // the connection may serve other requests
	http.ServeContent(w, r, "", time.Time{}, d)
	if d.failed != nil {
		panic(http.ErrAbortHandler) // the only way to say that the body is not whole
	}
}

type downloadCall = grpc.ServerStreamingClient[antv1.DownloadRoomAttachmentResponse]

// download reads a file of the service from wherever it is asked to. Not safe for
// concurrent use.
type download struct {
	out    *http.ResponseController
	ctx    context.Context
	open   func(ctx context.Context, from int64) (downloadCall, error)
	call   downloadCall // nil: none runs
	cancel context.CancelFunc
	size   int64
	next   int64  // the next byte to read
	at     int64  // the next byte of the call
	data   []byte // received, from at on
	failed error
}

// begin opens the file where it is to be read.
func (d *download) begin() (*antv1.Attachment, error) {
	ctx, cancel := context.WithCancel(d.ctx)
	d.cancel = cancel
	call, err := d.open(ctx, d.at)
	if err != nil {
		return nil, err
	}
	first, err := call.Recv()
	if err != nil {
		return nil, err
	}
	d.call = call
	return first.GetAttachment(), nil
}

func (d *download) close() {
	if d.cancel != nil {
		d.cancel()
	}
	d.call, d.data, d.cancel = nil, nil, nil
}

// Seek implements io.Seeker. Nothing is opened before the next Read.
func (d *download) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += d.next
	case io.SeekEnd:
		offset += d.size
	}
	if offset < 0 || offset > d.size {
		return d.next, errors.New("ant: outside of the file")
	}
	d.next = offset
	return offset, nil
}

// Read implements io.Reader. The client has a time to take each piece.
func (d *download) Read(p []byte) (n int, err error) {
	if d.next == d.size {
		return 0, io.EOF
	}
	defer func() { d.failed = errors.Join(d.failed, err) }()
	if d.call == nil || d.at != d.next {
		d.close()
		d.at = d.next
		if _, err := d.begin(); err != nil {
			return 0, err
		}
	}
	if len(d.data) == 0 {
		m, err := d.call.Recv()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, err
		}
		d.data = m.GetData()
	}
	n = copy(p, d.data)
	d.data, d.at = d.data[n:], d.at+int64(n)
	d.next = d.at
	return n, d.out.SetWriteDeadline(time.Now().Add(takeWithin))
}
