package ant

import (
	"encoding/json"
	"maps"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"anthill/gateway/edge"
	"anthill/gateway/rest"
	antv1 "anthill/gen/ant/v1"
)

// terminals are all but the live connection, which is for gRPC and /ws.
var terminals = resource{
	services: []generated{service(antv1.NewTerminalsServiceClient, antv1.RegisterTerminalsServiceHandlerClient)},
	byHand: func(h *Handler) {
		h.routes.AddHand(http.MethodPost, "/api/sessions/{session_id}/terminal/input", h.sendTerminalInput)
		h.routes.AddHand(http.MethodPost, "/api/sessions/{session_id}/terminal/stop", h.interruptTerminal)
		h.routes.AddHand(http.MethodGet, "/api/sessions/{session_id}/terminal/history", h.listTerminalHistory)
		h.routes.AddHand(http.MethodGet, "/api/sessions/{session_id}/terminal/events", h.listTerminalEvents)
	},
	reasons: map[string]int{"TERMINAL_INACTIVE": http.StatusGone},
}

// runEventOrNull is a run event as REST shows it, or null for none.
func runEventOrNull(e *antv1.RunEvent) *runEventJSON {
	if e == nil {
		return nil
	}
	return new(runEventRow(e))
}

// sendTerminalInput answers with the evidence as run events are shown.
// compat: ant.md 1.9, failures say ok:false beside the error.
func (h *Handler) sendTerminalInput(w http.ResponseWriter, r *http.Request, params map[string]string) {
	q := &antv1.SendTerminalInputRequest{}
	if bad := h.readOr(r, q); bad != nil {
		h.notOK(w, r, *bad)
		return
	}
	q.SessionId = params["session_id"]
	v, err := antv1.NewTerminalsServiceClient(h.channel).SendTerminalInput(edge.Outgoing(r), q)
	if err != nil {
		h.notOK(w, r, h.problemOf(err))
		return
	}
	writeEncoded(w, struct {
		OK    bool          `json:"ok"`
		Event *runEventJSON `json:"event"`
	}{v.Ok, runEventOrNull(v.Event)})
}

func (h *Handler) interruptTerminal(w http.ResponseWriter, r *http.Request, params map[string]string) {
	q := &antv1.InterruptTerminalRequest{}
	if bad := h.readOr(r, q); bad != nil {
		h.notOK(w, r, *bad)
		return
	}
	q.SessionId = params["session_id"]
	v, err := antv1.NewTerminalsServiceClient(h.channel).InterruptTerminal(edge.Outgoing(r), q)
	if err != nil {
		h.notOK(w, r, h.problemOf(err))
		return
	}
	writeEncoded(w, struct {
		OK     bool          `json:"ok"`
		Action string        `json:"action"`
		Key    string        `json:"key"`
		Event  *runEventJSON `json:"event"`
	}{v.Ok, v.Action, v.Key, runEventOrNull(v.Event)})
}

// pieceJSON is a part of the output, as text or raw. compat: ant.md 1.6.
type pieceJSON struct {
	ID      float64 `json:"id"`
	Chunk   float64 `json:"chunk_index"`
	TSMs    float64 `json:"ts_ms"`
	Offset  float64 `json:"byte_offset"`
	Size    float64 `json:"size"`
	Text    *string `json:"text,omitempty"`
	Raw     *string `json:"raw,omitempty"`
	Snippet *string `json:"snippet,omitempty"`
}

// listTerminalHistory shows what belongs to a mode and nothing of the other.
func (h *Handler) listTerminalHistory(w http.ResponseWriter, r *http.Request, params map[string]string) {
	q := &antv1.ListTerminalHistoryRequest{}
	if !h.readQuery(w, r, q, "session_id") {
		return
	}
	q.SessionId = params["session_id"]
	v, err := antv1.NewTerminalsServiceClient(h.channel).ListTerminalHistory(edge.Outgoing(r), q)
	if err != nil {
		h.callFailed(w, r, err)
		return
	}
	list := make([]pieceJSON, 0, len(v.Rows))
	for _, p := range v.Rows {
		list = append(list, pieceJSON{p.Id, p.ChunkIndex, p.TsMs, p.ByteOffset, p.Size, p.Text, p.Raw, p.Snippet})
	}
	writeEncoded(w, struct {
		SessionID string      `json:"session_id"`
		Mode      string      `json:"mode"`
		SinceMs   *float64    `json:"since_ms,omitempty"`
		Query     *string     `json:"query,omitempty"`
		Limit     int32       `json:"limit"`
		Count     int32       `json:"count"`
		Rows      []pieceJSON `json:"rows"`
		Next      float64     `json:"next_offset"`
		Truncated bool        `json:"truncated"`
		HasMore   bool        `json:"has_more"`
	}{v.SessionId, v.Mode, v.SinceMs, v.Query, v.Limit, v.Count, list, v.NextOffset, v.Truncated, v.HasMore})
}

type terminalEventJSON struct {
	ID   float64         `json:"id"`
	TSMs float64         `json:"ts_ms"`
	Kind string          `json:"kind"`
	Data json.RawMessage `json:"data"`
}

// listTerminalEvents shows data as the object that it is.
func (h *Handler) listTerminalEvents(w http.ResponseWriter, r *http.Request, params map[string]string) {
	q := &antv1.ListTerminalEventsRequest{}
	if !h.readQuery(w, r, q, "session_id") {
		return
	}
	q.SessionId = params["session_id"]
	v, err := antv1.NewTerminalsServiceClient(h.channel).ListTerminalEvents(edge.Outgoing(r), q)
	if err != nil {
		h.callFailed(w, r, err)
		return
	}
	list := make([]terminalEventJSON, 0, len(v.Rows))
	for _, e := range v.Rows {
		list = append(list, terminalEventJSON{e.Id, e.TsMs, e.Kind, metaObject(e.Data)})
	}
	writeEncoded(w, struct {
		SessionID string              `json:"session_id"`
		SinceMs   float64             `json:"since_ms"`
		Kind      *string             `json:"kind"`
		Limit     int32               `json:"limit"`
		Count     int32               `json:"count"`
		Rows      []terminalEventJSON `json:"rows"`
	}{v.SessionId, v.SinceMs, v.Kind, v.Limit, v.Count, list})
}

// readOr reads a body into a message, or says what is wrong with it.
func (h *Handler) readOr(r *http.Request, m proto.Message) *problem {
	body, bad := rest.ReadBody(r)
	if bad == nil {
		bad = rest.DecodeBody(body, m)
	}
	if bad != nil {
		return new(bodyProblem(bad))
	}
	return nil
}

// readQuery reads the query into a message but for the fields of the path, and
// refuses what it cannot read.
func (h *Handler) readQuery(w http.ResponseWriter, r *http.Request, m proto.Message, path ...string) bool {
	var but [][]string
	for _, name := range path {
		but = append(but, []string{name})
	}
	err := runtime.PopulateQueryParameters(m, r.URL.Query(), utilities.NewDoubleArray(but))
	if err != nil {
		h.callFailed(w, r, status.Error(codes.InvalidArgument, err.Error()))
	}
	return err == nil
}

// notOK refuses as those routes do that answer ok.
func (h *Handler) notOK(w http.ResponseWriter, r *http.Request, p problem) {
	beside := object{"ok": false}
	maps.Copy(beside, p.beside)
	p.beside = beside
	h.refuse(w, r, p)
}
