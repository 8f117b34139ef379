package ant

import (
	"net/http"
	"strconv"

	"anthill/gateway/edge"
	antv1 "anthill/gen/ant/v1"
)

var reads = resource{
	services: []generated{service(antv1.NewReadsServiceClient, antv1.RegisterReadsServiceHandlerClient)},
	byHand: func(h *Handler) {
		h.routes.AddHand(http.MethodGet, "/api/sessions/{session_id}/reads", h.listReads)
	},
}

// listReads answers with an object by message id (compat: ant.md 1.3).
func (h *Handler) listReads(w http.ResponseWriter, r *http.Request, params map[string]string) {
	query := r.URL.Query()
	q := &antv1.ListReadsRequest{SessionId: params["session_id"], Cursor: query.Get("cursor")}
	if s := query.Get("limit"); s != "" {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil {
			h.refuse(w, r, problem{status: http.StatusBadRequest, message: "limit: could not be read as the type of this parameter"})
			return
		}
		q.Limit = new(int32(n))
	}
	v, err := antv1.NewReadsServiceClient(h.channel).ListReads(edge.Outgoing(r), q)
	if err != nil {
		h.callFailed(w, r, err)
		return
	}
	by := map[string][]readByJSON{}
	for _, m := range v.Messages {
		by[m.Id] = readsJSON(m.Reads)
	}
	writeJSON(w, http.StatusOK, object{"reads": by, "older": v.Older, "has_more": v.HasMore})
}
