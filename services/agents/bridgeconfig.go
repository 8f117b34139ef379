package agents

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// Limits of the bridge's configuration.
const (
	targetsMost  = 5 // a prompt is told of in one transaction
	routesMost   = 200
	patternsMost = 16
	patternMax   = 512 // bytes
	urlMax       = 2048
	windowMost   = 200
	expiryMost   = 365 * 24 * time.Hour
)

// Kinds of targets.
const (
	toLinkedChat = "linked_chat"
	toChat       = "chat"
	toWebhook    = "webhook"
)

// bridgeConfig is how the prompt bridge is configured.
type bridgeConfig struct {
	Enabled  bool                `json:"enabled"`
	Targets  []target            `json:"default_targets"`
	Routes   map[string][]target `json:"routes,omitempty"`
	Interval int64               `json:"min_interval_ms"`
	Window   int                 `json:"window_lines"`
	Patterns []string            `json:"patterns"`
	Expire   int64               `json:"expire_after_ms"` // 0: never
	OnExpiry string              `json:"on_expiry"`
}

// target is where a prompt is told of.
type target struct {
	Kind    string `json:"kind"`
	Session string `json:"session_id,omitempty"`
	URL     string `json:"url,omitempty"`
}

func (t target) view() *antv1.PromptTarget {
	return &antv1.PromptTarget{Kind: t.Kind, SessionId: t.Session, Url: t.URL}
}

// bridgeDefault is the configuration of a fresh home.
func bridgeDefault() *bridgeConfig {
	return &bridgeConfig{Targets: []target{{Kind: toLinkedChat}}, Interval: 30_000, Window: 12, Expire: (24 * time.Hour).Milliseconds(),
		OnExpiry: expiryLeave, Patterns: []string{
			`(?i)[\[(](?:y/n|yes/no|y/n/\w)[\])]\s*[:?]?\s*$`,
			`(?i)\b(?:do you want|would you like|are you sure|shall i|should i|proceed|continue|overwrite|allow)\b[^?]*\?\s*$`,
			`(?i)\bpress (?:enter|return|any key) to (?:continue|confirm|proceed)`,
			`(?i)^\s*(?:enter|type|choose|select) (?:your|a|an|the) [\w ]{1,40}:\s*$`,
		}}
}

var bridgeKey = key.Of("ant_prompt_bridge")

// loadBridge is never nil.
func loadBridge(rd store.Reader) (*bridgeConfig, error) {
	c := bridgeDefault()
	if row := rd.Get(bridgeKey); row != nil {
		*c = bridgeConfig{}
		if err := json.Unmarshal(row, c); err != nil {
			return nil, fmt.Errorf("decode the prompt bridge's configuration: %w", err)
		}
	}
	return c, nil
}

func (c *bridgeConfig) expireAfter() time.Duration { return time.Duration(c.Expire) * time.Millisecond }

// targetsOf are those of a terminal.
func (c *bridgeConfig) targetsOf(s *Session) []target {
	for _, id := range []string{s.ID, s.LinkedChat} {
		if t, ok := c.Routes[id]; ok && id != "" {
			return t
		}
	}
	return c.Targets
}

// compiled are the patterns for programs that no driver knows; nil while the bridge is off.
func (c *bridgeConfig) compiled() *patterns {
	if !c.Enabled || len(c.Patterns) == 0 {
		return nil
	}
	p := &patterns{window: c.Window, interval: time.Duration(c.Interval) * time.Millisecond}
	for _, s := range c.Patterns {
		if re, err := regexp.Compile(s); err == nil { // checked when it was stored
			p.list = append(p.list, re)
		}
	}
	return p
}

func (c *bridgeConfig) view() *antv1.PromptBridgeConfigResponse {
	views := func(list []target) (out []*antv1.PromptTarget) {
		for _, t := range list {
			out = append(out, t.view())
		}
		return out
	}
	v := &antv1.PromptBridgeConfig{Enabled: c.Enabled, Audit: true, DefaultTargets: views(c.Targets), Routes: map[string]*antv1.PromptTargets{},
		Detect:        &antv1.PromptDetection{MinIntervalMs: float64(c.Interval), WindowLines: int32(c.Window), Patterns: c.Patterns},
		ExpireAfterMs: float64(c.Expire), OnExpiry: c.OnExpiry}
	for id, list := range c.Routes {
		v.Routes[id] = &antv1.PromptTargets{Targets: views(list)}
	}
	return &antv1.PromptBridgeConfigResponse{Config: v}
}

// GetPromptBridgeConfig implements antv1.PromptsServiceServer.
func (r *Room) GetPromptBridgeConfig(ctx context.Context, _ *antv1.GetPromptBridgeConfigRequest) (*antv1.PromptBridgeConfigResponse, error) {
	var out *antv1.PromptBridgeConfigResponse
	err := r.opt.DB.View(ctx, func(rd store.Reader) error {
		c, err := loadBridge(rd)
		if err == nil {
			out = c.view()
		}
		return err
	})
	return out, err
}

// UpdatePromptBridgeConfig implements antv1.PromptsServiceServer. What is not given stays.
func (r *Room) UpdatePromptBridgeConfig(ctx context.Context, q *antv1.UpdatePromptBridgeConfigRequest) (*antv1.PromptBridgeConfigResponse, error) {
	given, err := readPatch(q)
	if err != nil {
		return nil, err
	}
	var c *bridgeConfig
	err = r.opt.DB.Update(ctx, func(tx store.Tx) error {
		if c, err = loadBridge(tx); err != nil {
			return err
		}
		if err := r.patch(tx, c, given); err != nil {
			return err
		}
		row, err := json.Marshal(c)
		if err == nil {
			tx.Put(bridgeKey, row)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := r.loadPatterns(ctx); err != nil {
		return nil, err
	}
	return c.view(), nil
}

// loadPatterns takes the patterns of the configuration into use.
func (r *Room) loadPatterns(ctx context.Context) error {
	return r.opt.DB.View(ctx, func(rd store.Reader) error {
		c, err := loadBridge(rd)
		if err == nil {
			r.patterns.Store(c.compiled())
		}
		return err
	})
}

// bridgePatch is what a caller gives; nil: it stays.
type bridgePatch struct {
	Enabled *bool                       `json:"enabled"`
	Targets *[]json.RawMessage          `json:"default_targets"`
	Routes  *map[string]json.RawMessage `json:"routes"`
	Detect  *struct {
		Interval *float64  `json:"min_interval_ms"`
		Window   *float64  `json:"window_lines"`
		Patterns *[]string `json:"patterns"`
	} `json:"detect"`
	Expire   *float64 `json:"expire_after_ms"`
	OnExpiry *string  `json:"on_expiry"`
}

// readPatch takes {config: {…}} and the bare object.
func readPatch(q *antv1.UpdatePromptBridgeConfigRequest) (*bridgePatch, error) {
	if q.Config == nil {
		return nil, fault.BadField("missing", "config required", "config")
	}
	all := q.Config
	if inner, wrapped := all.Fields["config"]; wrapped {
		if all = inner.GetStructValue(); all == nil {
			return nil, fault.BadField("type_error", "config is an object", "config")
		}
	}
	b, err := all.MarshalJSON()
	if err != nil {
		return nil, fault.BadField("value_error", "config is no JSON object", "config")
	}
	p := &bridgePatch{}
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(p); err != nil {
		return nil, wrongType(err, "config")
	}
	return p, nil
}

// wrongType names the member that has a wrong type.
func wrongType(err error, path ...string) error {
	if t, ok := err.(*json.UnmarshalTypeError); ok && t.Field != "" {
		path = append(path, t.Field)
	}
	return fault.BadField("type_error", path[len(path)-1]+" has a wrong type", path...)
}

// patch changes a configuration.
func (r *Room) patch(rd store.Reader, c *bridgeConfig, p *bridgePatch) (err error) {
	if p.Enabled != nil {
		c.Enabled = *p.Enabled
	}
	if p.Targets != nil {
		if c.Targets, err = r.readTargets(rd, *p.Targets, "default_targets"); err != nil {
			return err
		}
	}
	if p.Routes != nil {
		if c.Routes, err = r.readRoutes(rd, *p.Routes); err != nil {
			return err
		}
	}
	if d := p.Detect; d != nil {
		if c.Interval, err = wholeNumber(d.Interval, c.Interval, 0, (24 * time.Hour).Milliseconds(), "detect", "min_interval_ms"); err != nil {
			return err
		}
		window, err := wholeNumber(d.Window, int64(c.Window), 1, windowMost, "detect", "window_lines")
		if err != nil {
			return err
		}
		c.Window = int(window)
		if d.Patterns != nil {
			if c.Patterns, err = readPatterns(*d.Patterns); err != nil {
				return err
			}
		}
	}
	if c.Expire, err = wholeNumber(p.Expire, c.Expire, 0, expiryMost.Milliseconds(), "expire_after_ms"); err != nil {
		return err
	}
	if p.OnExpiry != nil {
		if *p.OnExpiry != expiryLeave && *p.OnExpiry != expiryDeny {
			return fault.BadField("value_error", "on_expiry is leave or deny", "config", "on_expiry")
		}
		c.OnExpiry = *p.OnExpiry
	}
	return nil
}

func wholeNumber(given *float64, now, least, most int64, path ...string) (int64, error) {
	if given == nil {
		return now, nil
	}
	if !(*given >= float64(least) && *given <= float64(most)) || *given != float64(int64(*given)) {
		return 0, fault.BadField("value_error", fmt.Sprintf("%s is a whole number from %d to %d", path[len(path)-1], least, most),
			append([]string{"config"}, path...)...)
	}
	return int64(*given), nil
}

func readPatterns(list []string) ([]string, error) {
	if len(list) > patternsMost {
		return nil, fault.BadField("value_error", fmt.Sprintf("patterns are %d at most", patternsMost), "config", "detect", "patterns")
	}
	for _, s := range list {
		if s == "" || len(s) > patternMax {
			return nil, fault.BadField("value_error", fmt.Sprintf("a pattern has 1 to %d bytes", patternMax), "config", "detect", "patterns")
		}
		if _, err := regexp.Compile(s); err != nil {
			return nil, fault.BadField("value_error", "a pattern is no regular expression (RE2): "+err.Error(), "config", "detect", "patterns")
		}
	}
	return slices.Clone(list), nil
}

// readRoutes takes lists of targets, and objects that have one.
func (r *Room) readRoutes(rd store.Reader, given map[string]json.RawMessage) (map[string][]target, error) {
	if len(given) > routesMost {
		return nil, fault.BadField("value_error", fmt.Sprintf("routes are %d at most", routesMost), "config", "routes")
	}
	routes := map[string][]target{}
	for id, raw := range given {
		s, err := r.opt.Sessions.Find(rd, id)
		if err != nil {
			return nil, err
		}
		if s == nil {
			return nil, fault.BadField("value_error", "a route is of the id of a terminal or its chat, which exists", "config", "routes", cut(id, 60))
		}
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil {
			var o struct {
				Targets []json.RawMessage `json:"targets"`
			}
			if err := json.Unmarshal(raw, &o); err != nil {
				return nil, wrongType(err, "config", "routes")
			}
			list = o.Targets
		}
		if routes[s.ID], err = r.readTargets(rd, list, "routes"); err != nil {
			return nil, err
		}
	}
	return routes, nil
}

func (r *Room) readTargets(rd store.Reader, given []json.RawMessage, field string) ([]target, error) {
	bad := func(words string) error { return fault.BadField("value_error", words, "config", field) }
	if len(given) > targetsMost {
		return nil, bad(fmt.Sprintf("targets are %d at most", targetsMost))
	}
	list := []target{}
	for _, raw := range given {
		var t target
		if err := json.Unmarshal(raw, &t); err != nil {
			return nil, bad("a target is an object with kind, and session_id or url")
		}
		switch t.Kind {
		case toLinkedChat:
			t = target{Kind: t.Kind}
		case toChat:
			s, err := r.opt.Sessions.Find(rd, t.Session)
			if err != nil {
				return nil, err
			}
			if s == nil || s.Archived || s.Deleted || s.Type != "chat" {
				return nil, bad("a target of kind chat names an active chat by session_id")
			}
			t = target{Kind: t.Kind, Session: s.ID}
		case toWebhook:
			if !isHTTP(t.URL) {
				return nil, bad("a target of kind webhook has an http or https url of at most 2048 bytes")
			}
			t = target{Kind: t.Kind, URL: t.URL}
		default:
			return nil, bad("a target's kind is linked_chat, chat or webhook")
		}
		list = append(list, t)
	}
	return list, nil
}

func isHTTP(s string) bool {
	u, err := url.Parse(s)
	return err == nil && len(s) <= urlMax && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.Hostname() != ""
}
