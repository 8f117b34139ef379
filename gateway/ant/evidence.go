package ant

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"

	"anthill/gateway/edge"
	"anthill/gateway/rest"
	antv1 "anthill/gen/ant/v1"
)

var runEvents = resource{
	services: []generated{service(antv1.NewRunEventsServiceClient, antv1.RegisterRunEventsServiceHandlerClient)},
	byHand: func(h *Handler) {
		h.routes.AddHand(http.MethodGet, "/api/sessions/{session_id}/run-events", h.listRunEvents)
	},
}

var hooks = resource{
	services: []generated{service(antv1.NewHooksServiceClient, antv1.RegisterHooksServiceHandlerClient)},
	byHand: func(h *Handler) {
		h.routes.AddHand(http.MethodPost, "/api/hooks", h.postHook)
	},
}

// runEventJSON is a run event as clients see it; its payload is that of the
// event, to the byte.
type runEventJSON struct {
	ID        uint32          `json:"id"`
	SessionID string          `json:"session_id"`
	TS        string          `json:"ts"`
	TSMs      float64         `json:"ts_ms"`
	Source    string          `json:"source"`
	Trust     string          `json:"trust"`
	Kind      string          `json:"kind"`
	Text      string          `json:"text"`
	Payload   json.RawMessage `json:"payload"`
	RawRef    any             `json:"raw_ref"`
	CreatedAt string          `json:"created_at"`
}

// runEventText is a run event whose raw_ref is text, as events show it.
// compat: ant.md 2.2.
func runEventText(e *antv1.RunEvent) runEventJSON {
	out := runEventJSON{ID: e.GetId(), SessionID: e.GetSessionId(), TS: e.GetTs(), TSMs: e.GetTsMs(), Source: e.GetSource(), Trust: e.GetTrust(),
		Kind: e.GetKind(), Text: e.GetText(), Payload: metaObject(e.GetPayload()), CreatedAt: e.GetCreatedAt()}
	if e.GetRawRef() != "" {
		out.RawRef = e.GetRawRef()
	}
	return out
}

// runEventRow is a run event whose raw_ref is the value itself, as REST shows it.
func runEventRow(e *antv1.RunEvent) runEventJSON {
	out := runEventText(e)
	if e.GetRawRef() != "" {
		out.RawRef = json.RawMessage(e.GetRawRef())
	}
	return out
}

// listRunEvents shows payloads as they were given: no number is changed, as in a
// message of the generated code.
func (h *Handler) listRunEvents(w http.ResponseWriter, r *http.Request, params map[string]string) {
	query := r.URL.Query()
	q := &antv1.ListRunEventsRequest{SessionId: params["session_id"], Since: query.Get("since"), Source: query.Get("source"),
		Kind: query.Get("kind"), Q: query.Get("q")}
	bad := ""
	if s := query.Get("limit"); s != "" {
		n, err := strconv.ParseInt(s, 10, 32)
		if q.Limit = new(int32(n)); err != nil {
			bad = "limit"
		}
	}
	for name, to := range map[string]**uint32{"after": &q.After, "before": &q.Before} {
		if s := query.Get(name); s != "" {
			n, err := strconv.ParseUint(s, 10, 32)
			if *to = new(uint32(n)); err != nil {
				bad = name
			}
		}
	}
	if bad != "" {
		h.refuse(w, r, problem{status: http.StatusBadRequest, message: bad + ": could not be read as the type of this parameter"})
		return
	}
	v, err := antv1.NewRunEventsServiceClient(h.channel).ListRunEvents(edge.Outgoing(r), q)
	if err != nil {
		h.callFailed(w, r, err)
		return
	}
	list := make([]runEventJSON, 0, len(v.Events))
	for _, e := range v.Events {
		list = append(list, runEventRow(e))
	}
	writeEncoded(w, struct {
		SessionID  string         `json:"session_id"`
		TerminalID string         `json:"terminal_id"`
		SinceMs    float64        `json:"since_ms"`
		Limit      int32          `json:"limit"`
		Count      int32          `json:"count"`
		Events     []runEventJSON `json:"events"`
		HasMore    bool           `json:"has_more"`
		Older      uint32         `json:"older"`
		Newer      uint32         `json:"newer"`
	}{v.SessionId, v.TerminalId, v.SinceMs, v.Limit, v.Count, list, v.HasMore, v.Older, v.Newer})
}

// postHook takes the body as the report, whatever else it says.
func (h *Handler) postHook(w http.ResponseWriter, r *http.Request, _ map[string]string) {
	body, bad := rest.ReadBody(r)
	if bad == nil {
		bad = checkReport(body)
	}
	if bad != nil {
		h.refuse(w, r, bodyProblem(bad))
		return
	}
	q := &antv1.PostHookRequest{Payload: string(body), IdempotencyKey: r.Header.Get("Idempotency-Key")}
	v, err := antv1.NewHooksServiceClient(h.channel).PostHook(edge.Outgoing(r), q)
	if err != nil {
		h.callFailed(w, r, err)
		return
	}
	writeEncoded(w, struct {
		OK        bool         `json:"ok"`
		Event     runEventJSON `json:"event"`
		Duplicate bool         `json:"duplicate"`
	}{v.Ok, runEventRow(v.Event), v.Duplicate})
}

// checkReport refuses what is no object, and text that JSON decoders would quietly
// repair; the rest is for the service.
func checkReport(body []byte) *rest.BodyError {
	if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		return &rest.BodyError{Status: http.StatusBadRequest, Detail: "The request body should be a JSON object"}
	}
	if bad := rest.CheckText(body); bad != nil {
		return &rest.BodyError{Status: http.StatusBadRequest, Fields: []rest.FieldError{*bad}}
	}
	return nil
}

// writeEncoded writes JSON whose raw parts are left as they are.
func writeEncoded(w http.ResponseWriter, v any) {
	b := encode(v)
	if b == nil {
		problem{status: http.StatusInternalServerError, message: "Internal Server Error"}.write(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if _, err := w.Write(b); err != nil {
		return // a client that hung up
	}
}
