package ant

import (
	"encoding/json"
	"net/http"

	"anthill/gateway/edge"
	antv1 "anthill/gen/ant/v1"
)

var agentStatus = resource{
	services: []generated{service(antv1.NewStatusServiceClient, antv1.RegisterStatusServiceHandlerClient)},
	byHand: func(h *Handler) {
		h.routes.AddHand(http.MethodGet, "/api/sessions/{session_id}/status", h.getStatus)
	},
}

// unlessNull are members of a status that are absent rather than null.
// compat: ant.md 4.5.
var unlessNull = []string{"event_id", "event_chat_id", "event_class", "event", "summary", "since", "agent_status", "focus"}

// getStatus shows of an agent what its screen says, and no more.
func (h *Handler) getStatus(w http.ResponseWriter, r *http.Request, params map[string]string) {
	v, err := antv1.NewStatusServiceClient(h.channel).GetStatus(edge.Outgoing(r), &antv1.GetStatusRequest{SessionId: params["session_id"]})
	if err != nil {
		h.callFailed(w, r, err)
		return
	}
	members := map[string]json.RawMessage{}
	whole, err := marshaler.Marshal(v)
	if err == nil {
		err = json.Unmarshal(whole, &members)
	}
	if err != nil {
		problem{status: http.StatusInternalServerError, message: "Internal Server Error"}.write(w)
		return
	}
	for _, name := range unlessNull {
		if string(members[name]) == "null" {
			delete(members, name)
		}
	}
	if v.AgentStatus != nil {
		members["agent_status"] = encode(agentStatusRow(v.AgentStatus))
	}
	writeEncoded(w, members)
}

// agentStatusJSON leaves out what is not known. compat: ant.md 4.5.
type agentStatusJSON struct {
	State            string          `json:"state"`
	StateLabel       *string         `json:"stateLabel,omitempty"`
	Activity         *string         `json:"activity,omitempty"`
	Model            *string         `json:"model,omitempty"`
	ContextUsed      *float64        `json:"contextUsedPct,omitempty"`
	ContextRemaining *float64        `json:"contextRemainingPct,omitempty"`
	Workspace        *string         `json:"workspace,omitempty"`
	Branch           *string         `json:"branch,omitempty"`
	WaitingFor       *string         `json:"waitingFor,omitempty"`
	Focus            json.RawMessage `json:"focus,omitempty"`
	PermissionMode   *string         `json:"permissionMode,omitempty"`
	Cwd              *string         `json:"cwd,omitempty"`
	MenuKind         *string         `json:"menuKind,omitempty"`
	DetectedAt       float64         `json:"detectedAt"`
	Driver           string          `json:"driver"`
}

func agentStatusRow(s *antv1.AgentStatus) agentStatusJSON {
	out := agentStatusJSON{State: s.GetState(), StateLabel: s.StateLabel, Activity: s.Activity, Model: s.Model,
		ContextUsed: s.ContextUsedPct, ContextRemaining: s.ContextRemainingPct, Workspace: s.Workspace, Branch: s.Branch,
		WaitingFor: s.WaitingFor, PermissionMode: s.PermissionMode, Cwd: s.Cwd, MenuKind: s.MenuKind, DetectedAt: s.DetectedAt, Driver: s.Driver}
	if s.Focus != nil {
		if b, err := marshaler.Marshal(s.Focus); err == nil { // else text that is not UTF-8, which is not stored
			out.Focus = b
		}
	}
	return out
}
