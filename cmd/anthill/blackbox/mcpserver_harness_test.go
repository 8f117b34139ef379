package blackbox

import (
	"context"
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// legacy is the version that most clients speak: they cancel by a notification,
// and a session is a header.
const legacy = "2025-11-25"

// agent is a client of the tools.
type agent struct {
	t *testing.T
	*mcp.ClientSession
}

// shown sends a key or token with each request.
type shown struct {
	token string
	base  http.RoundTripper
}

func (s shown) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if s.token != "" {
		r.Header.Set("Authorization", "Bearer "+s.token)
	}
	return s.base.RoundTrip(r)
}

// agentAt connects over HTTP, as whoever has the token.
func (s *server) agentAt(query, token, version string, o *mcp.ClientOptions) (*agent, error) {
	transport := &http.Transport{}
	s.t.Cleanup(transport.CloseIdleConnections)
	return s.connect(&mcp.StreamableClientTransport{Endpoint: s.url + "/mcp" + query, MaxRetries: -1,
		HTTPClient: &http.Client{Transport: shown{token, transport}}}, version, o)
}

func (s *server) connect(transport mcp.Transport, version string, o *mcp.ClientOptions) (*agent, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "blackbox", Version: "1"}, o).Connect(ctx, transport, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		return nil, err
	}
	s.t.Cleanup(func() { _ = session.Close() }) // some have lost their server by then
	return &agent{s.t, session}, nil
}

// agents are clients by every door and of both kinds of versions.
func (s *server) agents() map[string]func(as string, o *mcp.ClientOptions) *agent {
	must := func(a *agent, err error) *agent {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
		return a
	}
	over := func(version string) func(string, *mcp.ClientOptions) *agent {
		return func(as string, o *mcp.ClientOptions) *agent {
			return must(s.agentAt("?as="+as, s.opts.key, version, o))
		}
	}
	return map[string]func(string, *mcp.ClientOptions) *agent{
		"HTTP": over(""), "HTTP of " + legacy: over(legacy),
		"stdio": func(as string, o *mcp.ClientOptions) *agent {
			return must(s.connect(s.stdio("--as", as), "", o))
		},
	}
}

// stdio is the command, as an agent program starts it.
func (s *server) stdio(args ...string) *mcp.CommandTransport {
	c := exec.Command(binary, append([]string{"mcp", "--server", s.addr}, args...)...)
	c.Env = s.environ()
	return &mcp.CommandTransport{Command: c}
}

// use calls a tool, which must do what it is told.
func (a *agent) use(name string, arguments object) object {
	a.t.Helper()
	r := a.call(name, arguments)
	if r.IsError {
		a.t.Fatalf("%s %v: %s", name, arguments, mcpText(r))
	}
	data, err := json.Marshal(r.StructuredContent)
	if err != nil {
		a.t.Fatal(err)
	}
	if len(data) > 80<<10 || len(mcpText(r)) > 64<<10 {
		a.t.Errorf("%s answers %d bytes, and %d as text", name, len(data), len(mcpText(r)))
	}
	return decode[object](a.t, data)
}

func (a *agent) call(name string, arguments object) *mcp.CallToolResult {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	defer cancel()
	r, err := a.CallTool(ctx, &mcp.CallToolParams{Name: name, Arguments: arguments})
	if err != nil {
		a.t.Fatalf("%s %v: %v", name, arguments, err)
	}
	return r
}

// fails checks that a tool refuses, with words that have want in them.
func (a *agent) fails(name string, arguments object, want string) {
	a.t.Helper()
	if r := a.call(name, arguments); !r.IsError || !strings.Contains(mcpText(r), want) || strings.Contains(mcpText(r), "rpc error") {
		a.t.Errorf("%s %v: error %v: %s, want %q", name, arguments, r.IsError, mcpText(r), want)
	}
}

// mcpText is the text of a result.
func mcpText(r *mcp.CallToolResult) (text string) {
	for _, c := range r.Content {
		if c, ok := c.(*mcp.TextContent); ok {
			text += c.Text
		}
	}
	return text
}

// offered are the names of the tools.
func (a *agent) offered() (names []string) {
	a.t.Helper()
	list, err := a.ListTools(a.t.Context(), nil)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
		if in, err := json.Marshal(tool.InputSchema); err != nil || !strings.Contains(string(in), `"additionalProperties":false`) || tool.OutputSchema == nil {
			a.t.Errorf("%s: %s, %v", tool.Name, in, err)
		}
	}
	return names
}

// mcpRows are the members of a list in an answer.
func mcpRows(o object, name string) (list []object) {
	for _, row := range o[name].([]any) {
		list = append(list, row.(object))
	}
	return list
}
