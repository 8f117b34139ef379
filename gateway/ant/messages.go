package ant

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	"google.golang.org/protobuf/proto"

	"anthill/gateway/edge"
	"anthill/gateway/rest"
	antv1 "anthill/gen/ant/v1"
)

var messages = resource{
	services: []generated{service(antv1.NewMessagesServiceClient, antv1.RegisterMessagesServiceHandlerClient)},
	byHand: func(h *Handler) {
		h.routes.AddHand(http.MethodPost, "/api/sessions/{session_id}/messages", h.postMessage)
		h.routes.AddHand(http.MethodPatch, "/api/sessions/{session_id}/messages", h.updateMessage)
	},
}

// postMessage takes what generated code cannot: metadata as an object or as text,
// and what the query and the headers say beside the body.
func (h *Handler) postMessage(w http.ResponseWriter, r *http.Request, params map[string]string) {
	q := &antv1.PostMessageRequest{}
	if !h.readMessage(w, r, q) {
		return
	}
	q.SessionId = params["session_id"]
	if q.IdempotencyKey == "" && q.ClientId == "" {
		q.IdempotencyKey = r.Header.Get("Idempotency-Key")
	}
	if dry, ok := boolean(r.URL.Query().Get("dry_run")); ok {
		q.DryRun = dry
	} else {
		h.refuse(w, r, problem{status: http.StatusBadRequest, message: "dry_run: is true or false"})
		return
	}
	v, err := h.messages.PostMessage(edge.Outgoing(r), q)
	if err != nil {
		h.callFailed(w, r, err)
		return
	}
	code := http.StatusCreated
	if v.DryRun || v.Handled { // compat: ant.md 3.6, an answer is no message
		code = http.StatusOK
	}
	h.writeMessage(w, code, v)
}

// updateMessage answers with the metadata as an object; its numbers stay as they
// were written.
func (h *Handler) updateMessage(w http.ResponseWriter, r *http.Request, params map[string]string) {
	q := &antv1.UpdateMessageRequest{}
	if !h.readMessage(w, r, q) {
		return
	}
	q.SessionId = params["session_id"]
	if id := r.URL.Query().Get("msgId"); id != "" {
		q.MsgId = id
	}
	v, err := h.messages.UpdateMessage(edge.Outgoing(r), q)
	if err != nil {
		h.callFailed(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, object{"msgId": v.MsgId, "meta": json.RawMessage(v.Meta)})
}

// readMessage reads a body into a message whose meta is text, and refuses what it
// cannot read.
func (h *Handler) readMessage(w http.ResponseWriter, r *http.Request, m proto.Message) bool {
	body, bad := rest.ReadBody(r)
	if bad == nil {
		bad = decodeWithMeta(body, m)
	}
	if bad != nil {
		h.refuse(w, r, bodyProblem(bad))
	}
	return bad == nil
}

// decodeWithMeta decodes a body; metadata that is an object becomes its text.
func decodeWithMeta(body []byte, m proto.Message) *rest.BodyError {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil // what is required is missed by name
	}
	if !bytes.Contains(body, []byte(`"meta"`)) {
		return rest.DecodeBody(body, m)
	}
	if bad := rest.CheckText(body); bad != nil {
		return &rest.BodyError{Status: http.StatusBadRequest, Fields: []rest.FieldError{*bad}}
	}
	members, err := rest.SplitObject(body)
	if err != nil {
		return rest.DecodeBody(body, m) // it says what is wrong
	}
	if meta := bytes.TrimSpace(members["meta"]); len(meta) > 0 && meta[0] != '"' && string(meta) != "null" {
		text, err := json.Marshal(string(meta))
		if err != nil {
			return &rest.BodyError{Status: http.StatusBadRequest, Detail: "meta could not be read"}
		}
		members["meta"] = text
	}
	again, err := json.Marshal(members)
	if err != nil {
		return &rest.BodyError{Status: http.StatusBadRequest, Detail: "The request body could not be read"}
	}
	return rest.DecodeBody(again, m)
}

func (h *Handler) writeMessage(w http.ResponseWriter, code int, m proto.Message) {
	b, err := marshaler.Marshal(m)
	if err != nil {
		problem{status: http.StatusInternalServerError, message: "Internal Server Error"}.write(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if _, err := w.Write(b); err != nil {
		return // a client that hung up
	}
}

// boolean reads a flag of a query; one that is not there is false.
func boolean(s string) (value, ok bool) {
	switch strings.ToLower(s) {
	case "", "0", "false":
		return false, true
	case "1", "true":
		return true, true
	}
	return false, false
}
