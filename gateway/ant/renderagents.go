package ant

import (
	"encoding/json"

	antv1 "anthill/gen/ant/v1"
)

// renderTerminal is an event of a terminal, or of the agent in it, as JSON; nil: it
// is none of these.
func renderTerminal(e *antv1.Event) []byte {
	named := func(typ string) inRoom {
		return inRoom{envelope{typ, e.SessionId, e.Seq, e.Epoch}, e.SessionId}
	}
	switch v := e.Event.(type) {
	case *antv1.Event_SessionHealth:
		return encode(struct {
			inRoom
			Alive       bool `json:"alive"`
			Unavailable bool `json:"unavailable,omitempty"`
		}{named("session_health"), v.SessionHealth.Alive, v.SessionHealth.Unavailable})
	case *antv1.Event_TerminalSendUpdated:
		send, err := marshaler.Marshal(v.TerminalSendUpdated.Send)
		if err != nil {
			return nil // only text that is not UTF-8, which is not stored
		}
		return encode(struct {
			inRoom
			Send json.RawMessage `json:"send"`
		}{named("terminal_send_updated"), send})
	case *antv1.Event_AgentStatusUpdated:
		return encode(struct {
			inRoom
			Status agentStatusJSON `json:"status"`
		}{named("agent_status_updated"), agentStatusRow(v.AgentStatusUpdated.Status)})
	case *antv1.Event_SessionIdleAttention:
		return encode(named("session_idle_attention"))
	case *antv1.Event_SessionStallDetected:
		s := v.SessionStallDetected
		return encode(struct {
			inRoom
			CPU    float64 `json:"cpuPct"`
			Silent float64 `json:"silentSinceMs"`
		}{named("session_stall_detected"), s.CpuPct, s.SilentSinceMs})
	}
	return renderPrompt(e, named)
}

// renderPrompt is an event about what waits for a person. compat: ant.md 2.2.
func renderPrompt(e *antv1.Event, named func(string) inRoom) []byte {
	switch v := e.Event.(type) {
	case *antv1.Event_SessionNeedsInput:
		n := v.SessionNeedsInput
		return encode(struct {
			inRoom
			Class    string `json:"eventClass"`
			Summary  string `json:"summary"`
			Source   string `json:"source,omitempty"`
			PromptID string `json:"promptId,omitempty"`
			Detector string `json:"detector,omitempty"`
			Since    string `json:"since,omitempty"`
		}{named("session_needs_input"), n.EventClass, n.Summary, n.Source, n.PromptId, n.Detector, n.Since})
	case *antv1.Event_SessionInputResolved:
		return encode(struct {
			inRoom
			Source   string `json:"source,omitempty"`
			PromptID string `json:"promptId,omitempty"`
		}{named("session_input_resolved"), v.SessionInputResolved.Source, v.SessionInputResolved.PromptId})
	case *antv1.Event_PromptDetected:
		p := v.PromptDetected
		return encode(struct {
			inRoom
			Prompt promptJSON `json:"prompt"`
		}{named("prompt_detected"), promptJSON{p.Id, e.SessionId, p.RawText, p.Ts, p.Summary}})
	case *antv1.Event_PromptBridgeResolved:
		return encode(struct {
			inRoom
			PromptID string `json:"promptId"`
		}{named("prompt_bridge_resolved"), v.PromptBridgeResolved.PromptId})
	case *antv1.Event_AttentionUpdated:
		item, err := marshaler.Marshal(v.AttentionUpdated.Item)
		if err != nil {
			return nil // only text that is not UTF-8, which is not stored
		}
		return encode(struct {
			inRoom
			Item json.RawMessage `json:"item"`
		}{named("attention_updated"), item})
	}
	return nil
}

type promptJSON struct {
	ID         string `json:"id"`
	TerminalID string `json:"terminal_id"`
	Text       string `json:"raw_text"`
	TS         string `json:"ts"`
	Summary    string `json:"summary"`
}
