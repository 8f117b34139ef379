package anton

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"

	"google.golang.org/grpc"

	"anthill/gateway/rest"
	antonv1 "anthill/gen/anton/v1"
)

type skillUpload = grpc.ClientStreamingClient[antonv1.UploadSkillRequest, antonv1.InstallSkillResponse]

// uploadSkill serves POST /v1/skills/upload: multipart, field "files" (or "file"),
// repeated; file names are paths in the skill's folder. The fields "project",
// "scope" and "label" count where they stand before the first file, or in the
// query. Files are streamed; the service bounds them.
func (h *Handler) uploadSkill(w http.ResponseWriter, r *http.Request, _ map[string]string) {
	form, err := r.MultipartReader()
	if err != nil {
		h.refuse(w, r, missingFiles)
		return
	}
	call, err := h.skills.UploadSkill(outgoing(r))
	if err != nil {
		problemOf(r, err).write(w, r)
		return
	}
	n, err := sendSkill(call, form, r)
	switch {
	case errors.Is(err, io.EOF): // the service has answered already
	case err != nil:
		bad := rest.Unreadable(err)
		h.refuse(w, r, bodyProblem(bad))
		return
	case n == 0:
		h.refuse(w, r, missingFiles)
		return
	}
	out, err := call.CloseAndRecv()
	if err != nil {
		problemOf(r, err).write(w, r)
		return
	}
	h.show(w, out)
}

// sendSkill passes a form on, and says how many files it had. io.EOF means that
// the service has answered.
func sendSkill(call skillUpload, form *multipart.Reader, r *http.Request) (files int, err error) {
	query := r.URL.Query()
	fields := map[string]string{"project": query.Get("project"), "scope": query.Get("scope"), "label": query.Get("label")}
	for {
		part, err := rest.NextPart(form)
		if part == nil || err != nil {
			return files, err
		}
		if !isFile(part) {
			if _, known := fields[part.FormName()]; known {
				value, err := io.ReadAll(io.LimitReader(part, fieldMax))
				if err != nil {
					return files, err
				}
				fields[part.FormName()] = strings.ToValidUTF8(strings.TrimSpace(string(value)), "\uFFFD")
			}
			continue
		}
		files++
		err = call.Send(&antonv1.UploadSkillRequest{Part: &antonv1.UploadSkillRequest_Header{Header: &antonv1.SkillFileHeader{
			Project: fields["project"], Scope: fields["scope"], Label: fields["label"], Path: pathOfPart(part)}}})
		for more := true; err == nil && more; {
			var buf []byte
			if buf, more, err = nextChunk(part); err == nil && len(buf) > 0 {
				err = call.Send(&antonv1.UploadSkillRequest{Part: &antonv1.UploadSkillRequest_Data{Data: buf}})
			}
		}
		if err != nil {
			return files, err
		}
	}
}

// pathOfPart is the file name of a part with its folders, which the multipart
// package takes off. The service judges it.
func pathOfPart(part *multipart.Part) string {
	_, params, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
	if err != nil {
		return part.FileName()
	}
	return strings.ToValidUTF8(params["filename"], "\uFFFD")
}
