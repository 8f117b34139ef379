package anton

import (
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"anthill/gateway/rest"
	antonv1 "anthill/gen/anton/v1"
)

const (
	spoolMax  = 512 << 20 // bytes of a form that is kept until all of it is there
	fieldMax  = 1 << 10   // bytes of a field that is no file
	spoolName = "anthill-upload-*"
)

var missingFiles = invalid(rest.FieldError{Type: "missing", Loc: []any{"body", "files"}, Msg: "Field required"})

// bareList shows messages as a JSON array without an object around it.
func bareList[M proto.Message](list []M, n rest.Names) (any, error) {
	out := make([]json.RawMessage, len(list))
	for i, m := range list {
		b, err := rest.Encode(m, n)
		if err != nil {
			return nil, err
		}
		out[i] = b
	}
	return out, nil
}

type attachmentUpload = grpc.ClientStreamingClient[antonv1.UploadAttachmentsRequest, antonv1.UploadAttachmentsResponse]

// uploadAttachments serves POST /v1/attachments/{project}/{session_id}/upload:
// multipart, field "files", repeated. Files are streamed, never held whole.
func (h *Handler) uploadAttachments(w http.ResponseWriter, r *http.Request, params map[string]string) {
	form, err := r.MultipartReader()
	if err != nil {
		h.refuse(w, r, missingFiles)
		return
	}
	h.receive(w, r, func(call attachmentUpload) (files int, err error) {
		for {
			part, err := rest.NextPart(form)
			if part == nil || err != nil {
				return files, err
			}
			if !isFile(part) {
				continue
			}
			files++
			if err := sendAttachment(call, params["project"], params["session_id"], part.FileName(), part); err != nil {
				return files, err
			}
		}
	})
}

func isFile(part *multipart.Part) bool {
	return part.FileName() != "" && (part.FormName() == "files" || part.FormName() == "file")
}

// uploadAttachmentsForm serves POST /v1/attachments/upload, where the form, or
// the query, says the project and the session. Its fields may stand behind the
// files, so these wait on disk for the end of the form.
func (h *Handler) uploadAttachmentsForm(w http.ResponseWriter, r *http.Request, _ map[string]string) {
	form, err := r.MultipartReader()
	if err != nil {
		h.refuse(w, r, missingFiles)
		return
	}
	s := &spool{fields: map[string]string{"project": r.URL.Query().Get("project"), "session_id": r.URL.Query().Get("session_id")}}
	defer func() {
		if err := s.close(); err != nil {
			h.log.Warn("closing the copy of a form", "error", err)
		}
	}()
	if err := s.read(form); err != nil {
		h.refuse(w, r, spoolProblem(err))
		return
	}
	h.receive(w, r, func(call attachmentUpload) (files int, err error) {
		for _, f := range s.files {
			data := io.NewSectionReader(s.disk, f.from, f.size)
			if err := sendAttachment(call, s.fields["project"], s.fields["session_id"], f.name, data); err != nil {
				return len(s.files), err
			}
		}
		return len(s.files), nil
	})
}

// receive makes the call, into which send puts the files, and answers.
func (h *Handler) receive(w http.ResponseWriter, r *http.Request, send func(attachmentUpload) (files int, err error)) {
	call, err := h.attachments.UploadAttachments(outgoing(r))
	if err != nil {
		problemOf(r, err).write(w, r)
		return
	}
	files, err := send(call)
	switch {
	case errors.Is(err, io.EOF): // the service has answered already
	case err != nil:
		bad := rest.Unreadable(err)
		h.refuse(w, r, bodyProblem(bad))
		return
	case files == 0:
		h.refuse(w, r, missingFiles)
		return
	}
	out, err := call.CloseAndRecv()
	if err != nil {
		problemOf(r, err).write(w, r)
		return
	}
	list, err := bareList(out.Attachments, rest.Snake)
	if err != nil {
		problem{status: http.StatusInternalServerError, detail: "Internal Server Error"}.write(w, r)
		return
	}
	writeJSON(w, http.StatusOK, list)
}

// sendAttachment passes one file on. io.EOF from it means that the service has
// answered. Messages are made anew: the channel may keep them.
func sendAttachment(call attachmentUpload, project, session, name string, data io.Reader) error {
	err := call.Send(&antonv1.UploadAttachmentsRequest{Part: &antonv1.UploadAttachmentsRequest_Header{
		Header: &antonv1.AttachmentHeader{Project: project, SessionId: session, Name: name}}})
	for more := true; err == nil && more; {
		var buf []byte
		if buf, more, err = nextChunk(data); err == nil && len(buf) > 0 {
			err = call.Send(&antonv1.UploadAttachmentsRequest{Part: &antonv1.UploadAttachmentsRequest_Data{Data: buf}})
		}
	}
	return err
}

// spool is a form on disk: the contents of its files in one file, which has no
// name any more.
type spool struct {
	fields map[string]string
	files  []spooled
	disk   *os.File
	size   int64
}

type spooled struct {
	name       string
	from, size int64
}

var errSpoolFull = errors.New("anton: form too large")

func (s *spool) read(form *multipart.Reader) error {
	for {
		part, err := rest.NextPart(form)
		if part == nil || err != nil {
			return err
		}
		if isFile(part) {
			err = s.add(part)
		} else if _, known := s.fields[part.FormName()]; known {
			var value []byte
			value, err = io.ReadAll(io.LimitReader(part, fieldMax))
			s.fields[part.FormName()] = strings.TrimSpace(string(value))
		}
		if err != nil {
			return err
		}
	}
}

func (s *spool) add(part *multipart.Part) error {
	if s.disk == nil {
		disk, err := os.CreateTemp("", spoolName)
		if err != nil {
			return err
		}
		s.disk = disk
		if err := os.Remove(disk.Name()); err != nil { // it has no name, so that nothing is left of it
			return err
		}
	}
	n, err := io.Copy(s.disk, io.LimitReader(part, spoolMax-s.size+1))
	s.files = append(s.files, spooled{part.FileName(), s.size, n})
	if s.size += n; err == nil && s.size > spoolMax {
		err = errSpoolFull
	}
	return err
}

func (s *spool) close() error {
	if s.disk == nil {
		return nil
	}
	return s.disk.Close()
}

func spoolProblem(err error) problem {
	switch {
	case errors.Is(err, errSpoolFull):
		return problem{status: http.StatusRequestEntityTooLarge, detail: "The files of one form exceed " + strconv.Itoa(spoolMax>>20) + " MiB"}
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return problem{status: http.StatusInsufficientStorage, detail: "No space left on the disk: free some and try again."}
	}
	bad := rest.Unreadable(err)
	return bodyProblem(bad)
}

// shownInline are the types that a browser shows without running anything.
// Texts are shown as text, whatever they say they are.
var (
	imagesInline = []string{"image/png", "image/jpeg", "image/gif", "image/webp"}
	textsInline  = []string{"text/plain", "text/markdown", "text/csv", "text/tab-separated-values", "application/json", "application/jsonl", "application/yaml"}
)

// downloadAttachment serves GET /v1/attachments/{project}/{session_id}/{id}/raw.
// better: what could run in a page of the API's origin is not shown but saved.
func (h *Handler) downloadAttachment(w http.ResponseWriter, r *http.Request, params map[string]string) {
	call, err := h.attachments.DownloadAttachment(outgoing(r), &antonv1.DownloadAttachmentRequest{
		Id: params["id"], Project: params["project"], SessionId: params["session_id"]})
	var first *antonv1.DownloadAttachmentResponse
	if err == nil {
		first, err = call.Recv()
	}
	if err != nil {
		problemOf(r, err).write(w, r)
		return
	}
	a, hd := first.GetHeader(), w.Header()
	typ, disposition := a.GetMime(), "attachment"
	switch {
	case slices.Contains(imagesInline, typ):
		disposition = "inline"
	case slices.Contains(textsInline, typ):
		typ, disposition = "text/plain; charset=utf-8", "inline"
	}
	hd.Set("Content-Type", typ)
	hd.Set("Content-Disposition", disposition+"; filename*=UTF-8''"+url.PathEscape(a.GetName()))
	hd.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	hd.Set("X-Content-Type-Options", "nosniff")
	hd.Set("Content-Length", strconv.FormatInt(int64(a.GetSize()), 10))
	w.WriteHeader(http.StatusOK)
	for {
		m, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler) // the only way to say that the body is not whole
		}
		if _, err := w.Write(m.GetData()); err != nil {
			return
		}
	}
}
