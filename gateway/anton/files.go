package anton

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"path"
	"strconv"

	"anthill/gateway/rest"
	antonv1 "anthill/gen/anton/v1"
)

// uploadChunk is how much of a file travels in one message.
const uploadChunk = 256 << 10

// LargeBody says which requests bring files, which have limits of their own.
func LargeBody(r *http.Request) bool {
	if r.Method != http.MethodPost {
		return false
	}
	typ, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && typ == "multipart/form-data" && path.Base(r.URL.Path) == "upload"
}

// uploadFiles serves POST /v1/projects/{project}/files/upload: multipart, field
// "files", repeated. Files are streamed, never held whole.
func (h *Handler) uploadFiles(w http.ResponseWriter, r *http.Request, params map[string]string) {
	form, err := r.MultipartReader()
	if err != nil {
		h.refuse(w, r, invalid(rest.FieldError{Type: "missing", Loc: []any{"body", "files"}, Msg: "Field required"}))
		return
	}
	call, err := h.files.UploadFiles(outgoing(r))
	if err != nil {
		problemOf(r, err).write(w, r)
		return
	}
	sent, err := sendForm(form, call, params["project"])
	if err != nil && !errors.Is(err, io.EOF) { // EOF: the service has answered already
		bad := rest.Unreadable(err)
		h.refuse(w, r, bodyProblem(bad))
		return
	}
	if sent == 0 && err == nil {
		h.refuse(w, r, invalid(rest.FieldError{Type: "missing", Loc: []any{"body", "files"}, Msg: "Field required"}))
		return
	}
	out, err := call.CloseAndRecv()
	if err != nil {
		problemOf(r, err).write(w, r)
		return
	}
	type result struct {
		Name  string   `json:"name"`
		OK    bool     `json:"ok"`
		Size  *float64 `json:"size,omitempty"`
		Error string   `json:"error,omitempty"`
	}
	results := []result{}
	for _, f := range out.Results {
		v := result{Name: f.Name, OK: f.Ok, Error: f.Error}
		if f.Ok {
			v.Size = &f.Size
		}
		results = append(results, v)
	}
	writeJSON(w, http.StatusOK, map[string]any{"results": results})
}

// sendForm passes the files of a form on and counts them. Requests of a call
// are made anew for each message: the channel may keep them.
func sendForm(form *multipart.Reader, call interface {
	Send(*antonv1.UploadFilesRequest) error
}, project string) (files int, err error) {
	for {
		part, err := rest.NextPart(form)
		if part == nil || err != nil {
			return files, err
		}
		if part.FormName() != "files" || part.FileName() == "" {
			continue
		}
		files++
		err = call.Send(&antonv1.UploadFilesRequest{Part: &antonv1.UploadFilesRequest_Header{
			Header: &antonv1.UploadHeader{Project: project, Name: part.FileName()}}})
		if err != nil {
			return files, err
		}
		for more := true; more; {
			var data []byte
			if data, more, err = nextChunk(part); err != nil {
				return files, err
			}
			if len(data) == 0 {
				continue
			}
			if err := call.Send(&antonv1.UploadFilesRequest{Part: &antonv1.UploadFilesRequest_Data{Data: data}}); err != nil {
				return files, err
			}
		}
	}
}

// nextChunk reads the next piece of a part, full unless it is the last. The end
// of a part that was cut off is an error.
func nextChunk(data io.Reader) (chunk []byte, more bool, err error) {
	chunk = make([]byte, uploadChunk)
	for n := 0; ; {
		m, err := data.Read(chunk[n:])
		n += m
		switch {
		case err == io.EOF: //nolint:errorlint // wrapped, it means that the part was cut off
			return chunk[:n], false, nil
		case err != nil:
			return nil, false, err
		case n == len(chunk):
			return chunk, true, nil
		}
	}
}

// downloadFile serves GET /v1/projects/{project}/files-raw/{path}.
func (h *Handler) downloadFile(w http.ResponseWriter, r *http.Request, params map[string]string) {
	call, err := h.files.DownloadFile(outgoing(r), &antonv1.DownloadFileRequest{
		Project: params["project"], Path: params["path"]})
	var first *antonv1.DownloadFileResponse
	if err == nil {
		first, err = call.Recv()
	}
	if err != nil {
		problemOf(r, err).write(w, r)
		return
	}
	name, hd := first.GetHeader().GetName(), w.Header()
	typ := mime.TypeByExtension(path.Ext(name))
	if typ == "" {
		typ = "application/octet-stream"
	}
	hd.Set("Content-Type", typ)
	hd.Set("Content-Disposition", "attachment; filename*=UTF-8''"+url.PathEscape(name))
	// The file may be hostile: it must not run with the API's origin.
	hd.Set("Content-Security-Policy", "sandbox")
	hd.Set("Content-Length", strconv.FormatInt(int64(first.GetHeader().GetSize()), 10))
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
