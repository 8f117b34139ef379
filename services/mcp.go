package services

import (
	"context"
	"errors"
	"path/filepath"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/conversations"
	"anthill/services/internal/dial"
	"anthill/services/internal/mcp"
	"anthill/services/projects"
	"anthill/services/settings"
)

// everyProject names all of them.
const everyProject = "all"

// newServers makes the engine for tools of MCP servers.
func newServers(c Config, set *settings.Room, p dial.Policy) *mcp.Engine {
	return mcp.New(mcp.Options{Getenv: c.Getenv, Policy: p, Secrets: func() []string { return ownSecrets(c, set) }, Version: c.Version, Log: c.Log})
}

// ownSecrets are the keys that this program knows.
func ownSecrets(c Config, set *settings.Room) []string {
	list := set.Secrets()
	if c.APIKey != "" {
		list = append(list, c.APIKey)
	}
	return list
}

// serversFor tells the settings of the MCP servers of projects.
type serversFor struct {
	engine        *mcp.Engine
	projects      *projects.Room
	conversations *conversations.Room
}

// List implements settings.Servers.
func (s serversFor) List(ctx context.Context, q *antonv1.ListMcpServersRequest) (*antonv1.ListMcpServersResponse, error) {
	list, rule, err := s.meant(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &antonv1.ListMcpServersResponse{}
	for _, p := range list {
		if err := s.add(ctx, out, p, rule); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// meant are the projects that a request is about, and the rule that counts.
func (s serversFor) meant(ctx context.Context, q *antonv1.ListMcpServersRequest) (list []projects.Project, rule mcp.Rule, err error) {
	home := ""
	if q.Conversation != "" {
		if home, rule, err = s.conversations.MCP(ctx, q.Conversation); err != nil {
			return nil, rule, err
		}
	}
	switch {
	case q.Project == everyProject:
		list, err = s.projects.List(ctx)
		return list, rule, err
	case q.Project == "" && home != "":
		p, ok, err := s.projects.ByID(ctx, home)
		if err == nil && ok {
			list = append(list, p)
		}
		return list, rule, err
	}
	p, err := s.projects.Resolve(ctx, q.Project)
	return []projects.Project{p}, rule, err
}

// add tells of one project's servers.
func (s serversFor) add(ctx context.Context, out *antonv1.ListMcpServersResponse, p projects.Project, rule mcp.Rule) (err error) {
	folder, err := s.projects.Folder(ctx, p.ID)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	l := s.engine.List(mcp.Project{ID: p.ID, Folder: folder}, rule)
	if l.Problem != "" {
		out.Problems = append(out.Problems, &antonv1.McpProblem{Project: p.Name, Path: filepath.Join(p.Path, filepath.FromSlash(mcp.File)), Problem: l.Problem})
	}
	for _, st := range l.Servers {
		v := &antonv1.McpServer{Name: st.Name, Project: p.Name, Transport: st.Transport, Command: st.Command, Url: st.URL, State: st.State, Problem: st.Problem}
		for _, t := range st.Tools {
			v.Tools = append(v.Tools, &antonv1.McpTool{Name: t.Name, Tool: t.Own, Title: t.Title, Description: t.Description, Allowed: t.Allowed})
		}
		out.Servers = append(out.Servers, v)
	}
	return nil
}
