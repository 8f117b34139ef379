package anton

import antonv1 "anthill/gen/anton/v1"

// Conversations are listed by every client all the time; encoding/json is
// several times faster than protojson, which reflects over descriptors.
type wireConversation struct {
	ID          string           `json:"id"`
	Title       string           `json:"title"`
	Turns       int32            `json:"turns"`
	Preview     string           `json:"preview"`
	CreatedAt   string           `json:"created_at"`
	UpdatedAt   string           `json:"updated_at"`
	Project     string           `json:"project"`
	ProjectPath string           `json:"project_path"`
	Muted       []wireConnection `json:"disabled_connections"`
	Running     bool             `json:"running"`
}

type wireConnection struct {
	Engine string `json:"engine"`
	Name   string `json:"name"`
}

type wireConversations struct {
	Project       string             `json:"project"`
	Conversations []wireConversation `json:"conversations"`
}

func viewConversation(c *antonv1.Conversation) wireConversation {
	v := wireConversation{ID: c.Id, Title: c.Title, Turns: c.Turns, Preview: c.Preview, CreatedAt: c.CreatedAt,
		UpdatedAt: c.UpdatedAt, Project: c.Project, ProjectPath: c.ProjectPath, Muted: []wireConnection{}, Running: c.Running}
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
