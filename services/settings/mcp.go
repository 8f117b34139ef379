package settings

import (
	"context"

	antonv1 "anthill/gen/anton/v1"
)

// Servers knows the MCP servers of projects.
type Servers interface {
	// List tells of those that a request means.
	List(ctx context.Context, q *antonv1.ListMcpServersRequest) (*antonv1.ListMcpServersResponse, error)
}

// JoinServers says who knows the MCP servers.
func (r *Room) JoinServers(s Servers) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.servers = s
}

// ListMcpServers implements antonv1.McpServiceServer.
func (r *Room) ListMcpServers(ctx context.Context, q *antonv1.ListMcpServersRequest) (*antonv1.ListMcpServersResponse, error) {
	r.mu.Lock()
	s := r.servers
	r.mu.Unlock()
	if s == nil {
		return &antonv1.ListMcpServersResponse{}, nil
	}
	return s.List(ctx, q)
}
