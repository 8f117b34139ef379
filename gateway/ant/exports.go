package ant

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"anthill/gateway/edge"
	"anthill/gateway/rest"
	antv1 "anthill/gen/ant/v1"
)

var exports = resource{
	services: []generated{service(antv1.NewExportsServiceClient, antv1.RegisterExportsServiceHandlerClient)},
	byHand: func(h *Handler) {
		h.routes.AddHand(http.MethodGet, "/api/sessions/{session_id}/export", h.downloadExport)
		h.routes.AddHand(http.MethodPost, "/api/sessions/{session_id}/export", h.exportSession)
	},
	beside: map[string]func(map[string]string) object{
		"EXPORT_TARGET_UNKNOWN": func(map[string]string) object { return object{"ok": false} }, // compat: ant.md 1.6
	},
}

// exportSession takes targets as a list or as text, and no body at all.
func (h *Handler) exportSession(w http.ResponseWriter, r *http.Request, params map[string]string) {
	q, bad := readTargets(r)
	if bad != nil {
		h.refuse(w, r, bodyProblem(bad))
		return
	}
	q.SessionId = params["session_id"]
	v, err := h.exports.ExportSession(edge.Outgoing(r), q)
	if err != nil {
		h.callFailed(w, r, err)
		return
	}
	h.writeMessage(w, http.StatusOK, v)
}

func readTargets(r *http.Request) (*antv1.ExportSessionRequest, *rest.BodyError) {
	q := &antv1.ExportSessionRequest{}
	body, bad := rest.ReadBody(r)
	if bad != nil || len(bytes.TrimSpace(body)) == 0 {
		return q, bad
	}
	var given struct{ Targets, Target json.RawMessage }
	if err := json.Unmarshal(body, &given); err != nil {
		return nil, &rest.BodyError{Status: http.StatusBadRequest, Detail: "The body is not a JSON object with targets"}
	}
	for _, raw := range []json.RawMessage{given.Targets, given.Target} {
		if len(raw) == 0 || string(raw) == "null" {
			continue
		}
		var text string
		var list []string
		if json.Unmarshal(raw, &text) == nil {
			list = strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
		} else if json.Unmarshal(raw, &list) != nil {
			return nil, &rest.BodyError{Status: http.StatusBadRequest, Detail: "targets is a list of texts, or one text with commas"}
		}
		q.Targets = append(q.Targets, list...)
	}
	return q, nil
}

// takeWithin bounds the time in which a client must take one piece of a file.
const takeWithin = time.Minute

// downloadExport sends a room as a file; without a format it lists the targets.
func (h *Handler) downloadExport(w http.ResponseWriter, r *http.Request, params map[string]string) {
	format, ctx := r.URL.Query().Get("format"), edge.Outgoing(r)
	if format == "" {
		v, err := h.exports.ListExportTargets(ctx, &antv1.ListExportTargetsRequest{SessionId: params["session_id"]})
		if err != nil {
			h.callFailed(w, r, err)
			return
		}
		h.writeMessage(w, http.StatusOK, v)
		return
	}
	call, err := h.exports.DownloadExport(ctx, &antv1.DownloadExportRequest{SessionId: params["session_id"], Format: format})
	var m *antv1.DownloadExportResponse
	if err == nil {
		m, err = call.Recv() // so that what is refused gets an HTTP error
	}
	if err != nil {
		h.callFailed(w, r, err)
		return
	}
	hd := w.Header()
	hd.Set("Content-Type", m.GetFile().GetContentType())
	hd.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": m.GetFile().GetName()}))
	hd.Set("Content-Security-Policy", "sandbox")
	out := http.NewResponseController(w)
	if err := out.Flush(); err != nil {
		return // a HEAD, or nobody is left
	}
	defer out.SetWriteDeadline(time.Time{}) //nolint:errcheck // the connection may serve other requests
	for whole := false; ; {
		m, err = call.Recv()
		switch {
		case errors.Is(err, io.EOF) && whole:
			return
		case err != nil:
			panic(http.ErrAbortHandler) // the only way to say that the body is not whole
		}
		whole = whole || m.GetSummary() != nil
		if err := out.SetWriteDeadline(time.Now().Add(takeWithin)); err != nil {
			panic(http.ErrAbortHandler)
		}
		if _, err := w.Write(m.GetData()); err != nil {
			return
		}
	}
}
