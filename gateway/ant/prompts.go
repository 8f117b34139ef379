package ant

import (
	"net/http"

	"google.golang.org/protobuf/types/known/structpb"

	"anthill/gateway/edge"
	antv1 "anthill/gen/ant/v1"
)

// prompts are the routes of the prompt bridge. compat: ant.md 4.6, a target has the
// members of its kind only, and a route is a list.
var prompts = resource{
	services: []generated{service(antv1.NewPromptsServiceClient, antv1.RegisterPromptsServiceHandlerClient)},
	byHand: func(h *Handler) {
		h.routes.AddHand(http.MethodGet, "/api/prompt-bridge/config", h.getPromptBridge)
		h.routes.AddHand(http.MethodPut, "/api/prompt-bridge/config", h.updatePromptBridge)
		h.routes.AddHand(http.MethodGet, "/api/sessions/{session_id}/prompt-bridge/pending", h.getPendingPrompt)
		h.routes.AddHand(http.MethodPost, "/api/sessions/{session_id}/prompt-bridge/respond", h.respondPrompt)
	},
}

type promptTargetJSON struct {
	Kind      string `json:"kind"`
	SessionID string `json:"session_id,omitempty"`
	URL       string `json:"url,omitempty"`
}

func promptTargets(list []*antv1.PromptTarget) []promptTargetJSON {
	out := make([]promptTargetJSON, 0, len(list))
	for _, t := range list {
		out = append(out, promptTargetJSON{t.Kind, t.SessionId, t.Url})
	}
	return out
}

type promptDetectionJSON struct {
	MinInterval float64  `json:"min_interval_ms"`
	Window      int32    `json:"window_lines"`
	Patterns    []string `json:"patterns"`
}

type promptBridgeJSON struct {
	Enabled     bool                          `json:"enabled"`
	Audit       bool                          `json:"audit"`
	Targets     []promptTargetJSON            `json:"default_targets"`
	Routes      map[string][]promptTargetJSON `json:"routes"`
	Detect      promptDetectionJSON           `json:"detect"`
	ExpireAfter float64                       `json:"expire_after_ms"`
	OnExpiry    string                        `json:"on_expiry"`
}

func writePromptBridge(w http.ResponseWriter, c *antv1.PromptBridgeConfig) {
	routes := make(map[string][]promptTargetJSON, len(c.GetRoutes()))
	for id, t := range c.GetRoutes() {
		routes[id] = promptTargets(t.GetTargets())
	}
	d := c.GetDetect()
	writeEncoded(w, struct {
		Config promptBridgeJSON `json:"config"`
	}{promptBridgeJSON{c.GetEnabled(), c.GetAudit(), promptTargets(c.GetDefaultTargets()), routes,
		promptDetectionJSON{d.GetMinIntervalMs(), d.GetWindowLines(), append([]string{}, d.GetPatterns()...)},
		c.GetExpireAfterMs(), c.GetOnExpiry()}})
}

func (h *Handler) getPromptBridge(w http.ResponseWriter, r *http.Request, _ map[string]string) {
	v, err := antv1.NewPromptsServiceClient(h.channel).GetPromptBridgeConfig(edge.Outgoing(r), &antv1.GetPromptBridgeConfigRequest{})
	if err != nil {
		h.callFailed(w, r, err)
		return
	}
	writePromptBridge(w, v.Config)
}

// updatePromptBridge takes {config: {…}} and the bare object.
func (h *Handler) updatePromptBridge(w http.ResponseWriter, r *http.Request, _ map[string]string) {
	config := &structpb.Struct{}
	if bad := h.readOr(r, config); bad != nil {
		h.refuse(w, r, *bad)
		return
	}
	if inner, wrapped := config.Fields["config"]; wrapped {
		if config = inner.GetStructValue(); config == nil {
			h.refuse(w, r, problem{status: http.StatusBadRequest, message: "config: Input should be an object"})
			return
		}
	}
	v, err := antv1.NewPromptsServiceClient(h.channel).UpdatePromptBridgeConfig(edge.Outgoing(r), &antv1.UpdatePromptBridgeConfigRequest{Config: config})
	if err != nil {
		h.callFailed(w, r, err)
		return
	}
	writePromptBridge(w, v.Config)
}

type bridgePromptJSON struct {
	ID         string             `json:"id"`
	Type       string             `json:"type"`
	TerminalID string             `json:"terminal_id"`
	SessionID  string             `json:"session_id"`
	Text       string             `json:"raw_text"`
	Detector   string             `json:"detector"`
	TS         string             `json:"ts"`
	Targets    []promptTargetJSON `json:"targets"`
	Delivered  []string           `json:"delivered_to"`
	Status     string             `json:"status"`
}

// bridgePromptOrNull is a prompt, or null for none.
func bridgePromptOrNull(p *antv1.BridgePrompt) *bridgePromptJSON {
	if p == nil {
		return nil
	}
	return &bridgePromptJSON{p.Id, p.Type, p.TerminalId, p.SessionId, p.RawText, p.Detector, p.Ts, promptTargets(p.Targets),
		append([]string{}, p.DeliveredTo...), p.Status}
}

func (h *Handler) getPendingPrompt(w http.ResponseWriter, r *http.Request, params map[string]string) {
	v, err := antv1.NewPromptsServiceClient(h.channel).GetPendingPrompt(edge.Outgoing(r), &antv1.GetPendingPromptRequest{SessionId: params["session_id"]})
	if err != nil {
		h.callFailed(w, r, err)
		return
	}
	writeEncoded(w, struct {
		Pending *bridgePromptJSON `json:"pending"`
	}{bridgePromptOrNull(v.Pending)})
}

// respondPrompt says ok:false beside an error.
func (h *Handler) respondPrompt(w http.ResponseWriter, r *http.Request, params map[string]string) {
	q := &antv1.RespondPromptRequest{}
	if bad := h.readOr(r, q); bad != nil {
		h.notOK(w, r, *bad)
		return
	}
	q.SessionId = params["session_id"]
	v, err := antv1.NewPromptsServiceClient(h.channel).RespondPrompt(edge.Outgoing(r), q)
	if err != nil {
		h.notOK(w, r, h.problemOf(err))
		return
	}
	writeEncoded(w, struct {
		OK     bool              `json:"ok"`
		Prompt *bridgePromptJSON `json:"prompt"`
	}{v.Ok, bridgePromptOrNull(v.Prompt)})
}
