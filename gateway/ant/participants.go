package ant

import (
	"bytes"
	"encoding/json"
	"net/http"

	"google.golang.org/protobuf/proto"

	"anthill/gateway/edge"
	"anthill/gateway/rest"
	antv1 "anthill/gen/ant/v1"
)

var participants = resource{
	services: []generated{service(antv1.NewParticipantsServiceClient, antv1.RegisterParticipantsServiceHandlerClient)},
	byHand: func(h *Handler) {
		h.routes.AddHand(http.MethodPatch, "/api/sessions/{room_id}/participants", h.updateParticipant)
		h.routes.AddHand(http.MethodDelete, "/api/sessions/{room_id}/participants", h.removeParticipant)
	},
	status: map[string]int{antv1.ParticipantsService_AddParticipant_FullMethodName: http.StatusCreated},
}

// updateParticipant takes times as numbers, too.
func (h *Handler) updateParticipant(w http.ResponseWriter, r *http.Request, params map[string]string) {
	q := &antv1.UpdateParticipantRequest{}
	if !h.readParticipant(w, r, q) {
		return
	}
	q.RoomId = params["room_id"]
	v, err := h.participants.UpdateParticipant(edge.Outgoing(r), q)
	if err != nil {
		h.callFailed(w, r, err)
		return
	}
	h.writeMessage(w, http.StatusOK, v)
}

// removeParticipant takes its fields from the query or the body.
func (h *Handler) removeParticipant(w http.ResponseWriter, r *http.Request, params map[string]string) {
	q := &antv1.RemoveParticipantRequest{}
	if !h.readParticipant(w, r, q) {
		return
	}
	q.RoomId = params["room_id"]
	query := r.URL.Query()
	if s := query.Get("session_id"); s != "" {
		q.SessionId = s
	}
	if s := query.Get("handle"); s != "" {
		q.Handle = s
	}
	v, err := h.participants.RemoveParticipant(edge.Outgoing(r), q)
	if err != nil {
		h.callFailed(w, r, err)
		return
	}
	h.writeMessage(w, http.StatusOK, v)
}

// readParticipant reads a body, or none, and refuses what it cannot read.
func (h *Handler) readParticipant(w http.ResponseWriter, r *http.Request, m proto.Message) bool {
	body, bad := rest.ReadBody(r)
	if bad == nil && len(bytes.TrimSpace(body)) > 0 {
		bad = rest.DecodeBody(timesAsText(body), m)
	}
	if bad != nil {
		h.refuse(w, r, bodyProblem(bad))
	}
	return bad == nil
}

// timesAsText writes numbers of seconds as the text that they are in the proto.
// What cannot be read is left to whoever says so.
func timesAsText(body []byte) []byte {
	members, err := rest.SplitObject(body)
	if err != nil || rest.CheckText(body) != nil {
		return body
	}
	for _, name := range []string{"ttl", "duration"} {
		var n json.Number
		if v := members[name]; len(v) > 0 && v[0] != '"' && json.Unmarshal(v, &n) == nil && n != "" {
			members[name] = json.RawMessage(`"` + n.String() + `"`)
		}
	}
	again, err := json.Marshal(members)
	if err != nil {
		return body
	}
	return again
}
