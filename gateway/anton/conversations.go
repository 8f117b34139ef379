package anton

import (
	"encoding/json"
	"net/http"
	"time"

	antonv1 "anthill/gen/anton/v1"
)

// Conversations are listed by every client all the time; encoding/json is
// several times faster than protojson, which reflects over descriptors.
type wireConversation struct {
	ID          string            `json:"id"`
	Object      string            `json:"object"`
	Title       string            `json:"title"`
	Turns       int32             `json:"turns"`
	Preview     string            `json:"preview"`
	CreatedAt   string            `json:"created_at"`
	UpdatedAt   string            `json:"updated_at"`
	Project     string            `json:"project"`
	ProjectPath string            `json:"project_path"`
	Muted       []wireConnection  `json:"disabled_connections"`
	Running     bool              `json:"running"`
	Metadata    map[string]string `json:"metadata"`
	Queued      int32             `json:"queued"`
	ForkedFrom  *wireForkOrigin   `json:"forked_from"`
	Ephemeral   bool              `json:"ephemeral"`
	MCP         *wireMCP          `json:"mcp"`
}

type wireMCP struct {
	Allow []string `json:"allow"`
	Deny  []string `json:"deny"`
}

type wireForkOrigin struct {
	ConversationID string `json:"conversation_id"`
	Turn           int32  `json:"turn"`
	TurnID         string `json:"turn_id"`
}

type wireConnection struct {
	Engine string `json:"engine"`
	Name   string `json:"name"`
}

type wireConversations struct {
	Project       string             `json:"project"`
	Conversations []wireConversation `json:"conversations"`
}

// wireSDKConversation is the same for an OpenAI SDK, which wants a number for
// the time (openai-responses.md 6).
type wireSDKConversation struct {
	wireConversation
	CreatedAt int64 `json:"created_at"`
}

// wireDeletedConversation answers both dialects.
type wireDeletedConversation struct {
	Status  string `json:"status"`
	ID      string `json:"id"`
	Object  string `json:"object"`
	Deleted bool   `json:"deleted"`
}

type wireItems struct {
	Object  string  `json:"object"`
	Data    []any   `json:"data"`
	FirstID *string `json:"first_id"`
	LastID  *string `json:"last_id"`
	HasMore bool    `json:"has_more"`
}

type wireGivenMessage struct {
	ID      string `json:"id"`
	Type    string `json:"type"`
	Status  string `json:"status"`
	Role    string `json:"role"`
	Content []any  `json:"content"`
}

type wireGivenText struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type wireGivenImage struct {
	Type     string `json:"type"`
	ImageURL string `json:"image_url"`
	Detail   string `json:"detail"`
}

type wireGivenFile struct {
	Type     string `json:"type"`
	Filename string `json:"filename"`
	FileData string `json:"file_data,omitempty"`
	FileURL  string `json:"file_url,omitempty"`
}

type wireOutput struct {
	ID     string `json:"id"`
	Type   string `json:"type"`
	Status string `json:"status"`
	CallID string `json:"call_id"`
	Output string `json:"output"`
}

func viewConversation(c *antonv1.Conversation) wireConversation {
	v := wireConversation{ID: c.Id, Object: "conversation", Title: c.Title, Turns: c.Turns, Preview: c.Preview,
		CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt, Project: c.Project, ProjectPath: c.ProjectPath,
		Muted: []wireConnection{}, Running: c.Running, Metadata: c.Metadata, Queued: c.Queued, Ephemeral: c.Ephemeral}
	if f := c.ForkedFrom; f != nil {
		v.ForkedFrom = &wireForkOrigin{ConversationID: f.ConversationId, Turn: f.Turn, TurnID: f.TurnId}
	}
	if c.Mcp != nil {
		v.MCP = &wireMCP{Allow: append([]string{}, c.Mcp.Allow...), Deny: append([]string{}, c.Mcp.Deny...)}
	}
	if v.Metadata == nil {
		v.Metadata = map[string]string{}
	}
	for _, m := range c.DisabledConnections {
		v.Muted = append(v.Muted, wireConnection{Engine: m.Engine, Name: m.Name})
	}
	return v
}

func viewConversations(l *antonv1.ListConversationsResponse) wireConversations {
	v := wireConversations{Project: l.Project, Conversations: make([]wireConversation, 0, len(l.Conversations))}
	for _, c := range l.Conversations {
		v.Conversations = append(v.Conversations, viewConversation(c))
	}
	return v
}

// conversation answers with one conversation in the caller's dialect.
func (c caller) conversation(v *antonv1.Conversation) any {
	w := viewConversation(v)
	if !c.sdk {
		return w
	}
	at, err := time.Parse(time.RFC3339Nano, v.CreatedAt)
	if err != nil { // it is ours
		return w
	}
	return wireSDKConversation{wireConversation: w, CreatedAt: at.Unix()}
}

func viewDeleted(d *antonv1.DeleteConversationResponse) wireDeletedConversation {
	return wireDeletedConversation{Status: d.Status, ID: d.Id, Object: "conversation.deleted", Deleted: true}
}

func viewItems(l *antonv1.ListItemsResponse) wireItems {
	v := wireItems{Object: "list", Data: []any{}, HasMore: l.HasMore}
	for _, it := range l.Data {
		v.Data = append(v.Data, viewListed(it))
	}
	if len(l.Data) > 0 {
		v.FirstID, v.LastID = &l.FirstId, &l.LastId
	}
	return v
}

// viewListed shows one item of a list: what was answered as the response shows
// it, and what was given as it came.
func viewListed(it *antonv1.Item) any {
	in := it.GetInput()
	switch {
	case in == nil:
		return viewItem(it.GetOutput())
	case in.FunctionCall != nil:
		c := in.FunctionCall
		return wireCall{ID: it.Id, Type: "function_call", Status: "completed", CallID: c.CallId, Name: c.Name, Arguments: c.Arguments}
	case in.FunctionCallOutput != nil:
		o := in.FunctionCallOutput
		return wireOutput{ID: it.Id, Type: "function_call_output", Status: "completed", CallID: o.CallId, Output: o.Output}
	}
	v := wireGivenMessage{ID: it.Id, Type: "message", Status: "completed", Role: in.Role, Content: []any{}}
	switch {
	case len(in.Content) == 0 && in.Role == "assistant":
		v.Content = append(v.Content, textPart(in.Text))
	case len(in.Content) == 0:
		v.Content = append(v.Content, wireGivenText{Type: "input_text", Text: in.Text})
	}
	for _, p := range in.Content {
		v.Content = append(v.Content, viewPart(p))
	}
	return v
}

func viewPart(p *antonv1.ContentPart) any {
	switch {
	case p.Image != nil:
		v := wireGivenImage{Type: "input_image", ImageURL: p.Image.Url, Detail: p.Image.Detail}
		if v.Detail == "" {
			v.Detail = "auto"
		}
		return v
	case p.File != nil:
		return wireGivenFile{Type: "input_file", Filename: p.File.Filename, FileData: p.File.Data, FileURL: p.File.Url}
	}
	return wireGivenText{Type: "input_text", Text: p.Text}
}

// createConversation serves POST /v1/conversations; the body may be missing.
func (h *Handler) createConversation(w http.ResponseWriter, r *http.Request, _ map[string]string) {
	d, ok := h.openRequest(w, r)
	if !ok {
		return
	}
	q := &antonv1.CreateConversationRequest{Project: d.str("project")}
	d.read("metadata", &q.Metadata, "dict_type", "Input should be a dictionary of strings")
	d.read("ephemeral", &q.Ephemeral, "bool_type", "Input should be a valid boolean")
	if d.has("items") {
		q.Items = d.items("items")
	}
	if len(d.bad) > 0 {
		h.refuse(w, r, invalid(d.bad...))
		return
	}
	c, err := h.convs.CreateConversation(outgoing(r), q)
	if err != nil {
		problemOf(r, err).write(w, r)
		return
	}
	writeJSON(w, http.StatusOK, callerOf(r).conversation(c))
}

// setConversationMetadata serves POST /v1/conversations/{id}: null clears it,
// which a missing member does not mean.
func (h *Handler) setConversationMetadata(w http.ResponseWriter, r *http.Request, params map[string]string) {
	d, ok := h.openRequest(w, r)
	if !ok {
		return
	}
	q := &antonv1.SetConversationMetadataRequest{Id: params["id"]}
	if _, given := d.members["metadata"]; !given {
		d.missing(nil, "metadata")
	}
	d.read("metadata", &q.Metadata, "dict_type", "Input should be a dictionary of strings")
	if len(d.bad) > 0 {
		h.refuse(w, r, invalid(d.bad...))
		return
	}
	c, err := h.convs.SetConversationMetadata(outgoing(r), q)
	if err != nil {
		problemOf(r, err).write(w, r)
		return
	}
	writeJSON(w, http.StatusOK, callerOf(r).conversation(c))
}

// createItems serves POST /v1/conversations/{id}/items.
func (h *Handler) createItems(w http.ResponseWriter, r *http.Request, params map[string]string) {
	d, ok := h.openRequest(w, r)
	if !ok {
		return
	}
	q := &antonv1.CreateItemsRequest{Id: params["id"]}
	if d.has("items") {
		q.Items = d.items("items")
	} else {
		d.missing(nil, "items")
	}
	if len(d.bad) > 0 {
		h.refuse(w, r, invalid(d.bad...))
		return
	}
	l, err := h.convs.CreateItems(outgoing(r), q)
	if err != nil {
		problemOf(r, err).write(w, r)
		return
	}
	writeJSON(w, http.StatusOK, viewItems(l))
}

// openRequest reads a body as an object, none as an empty one; it has answered
// if it is not.
func (h *Handler) openRequest(w http.ResponseWriter, r *http.Request) (*reader, bool) {
	body, bad := readBody(r)
	if bad != nil {
		h.refuse(w, r, *bad)
		return nil, false
	}
	if len(body) == 0 {
		return &reader{members: map[string]json.RawMessage{}}, true
	}
	d, wrong := openBody(body)
	if len(wrong) > 0 {
		h.refuse(w, r, invalid(wrong...))
		return nil, false
	}
	return d, true
}
