package ant

import (
	"net/http"

	"anthill/gateway/edge"
	"anthill/gateway/rest"
	antv1 "anthill/gen/ant/v1"
)

var links = resource{
	services: []generated{service(antv1.NewLinksServiceClient, antv1.RegisterLinksServiceHandlerClient)},
	byHand: func(h *Handler) {
		h.routes.AddHand(http.MethodPost, "/api/sessions/{session_id}/links", h.createLink)
	},
}

// createLink says by its status whether a room was made (compat: ant.md 1.4).
func (h *Handler) createLink(w http.ResponseWriter, r *http.Request, params map[string]string) {
	q := &antv1.CreateLinkRequest{}
	body, bad := rest.ReadBody(r)
	if bad == nil {
		bad = rest.DecodeBody(body, q)
	}
	if bad != nil {
		h.refuse(w, r, bodyProblem(bad))
		return
	}
	q.SessionId = params["session_id"]
	v, err := antv1.NewLinksServiceClient(h.channel).CreateLink(edge.Outgoing(r), q)
	if err != nil {
		h.callFailed(w, r, err)
		return
	}
	code := http.StatusOK
	if v.DiscussionName != nil {
		code = http.StatusCreated
	}
	h.writeMessage(w, code, v)
}
