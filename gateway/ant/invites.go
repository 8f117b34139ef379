package ant

import (
	"bytes"
	"net/http"

	"anthill/gateway/edge"
	"anthill/gateway/rest"
	antv1 "anthill/gen/ant/v1"
)

var invites = resource{
	services: []generated{service(antv1.NewInvitesServiceClient, antv1.RegisterInvitesServiceHandlerClient)},
	status:   map[string]int{antv1.InvitesService_CreateInvite_FullMethodName: http.StatusCreated},
	byHand: func(h *Handler) {
		h.routes.AddHand(http.MethodPost, "/api/sessions/{session_id}/invites/{invite_id}/exchange", h.exchangeInvite)
	},
}

// exchangeInvite is by hand because its callers have no key: what is wrong with
// the request they are told all the same.
func (h *Handler) exchangeInvite(w http.ResponseWriter, r *http.Request, params map[string]string) {
	q := &antv1.ExchangeInviteRequest{}
	body, bad := rest.ReadBody(r)
	if bad == nil && len(bytes.TrimSpace(body)) > 0 {
		bad = rest.DecodeBody(body, q)
	}
	if bad != nil {
		bodyProblem(bad).write(w)
		return
	}
	q.SessionId, q.InviteId = params["session_id"], params["invite_id"]
	token, err := antv1.NewInvitesServiceClient(h.channel).ExchangeInvite(edge.Outgoing(r), q)
	if err != nil {
		h.problemOf(err).write(w)
		return
	}
	b, err := marshaler.Marshal(token)
	if err != nil {
		h.problemOf(err).write(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if _, err := w.Write(b); err != nil {
		return // the client hung up; an unused token expires
	}
}
