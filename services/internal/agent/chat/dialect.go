package chat

import (
	"anthill/services/internal/agent"
	"anthill/services/internal/agent/wire"
)

// dialect is what differs between servers.
type dialect struct {
	oldMaxTokens  bool // max_tokens instead of max_completion_tokens
	noUsage       bool // stream_options is not known
	noEffort      bool
	noVerbosity   bool
	noParallel    bool
	noUser        bool
	noTemperature bool
	noTopP        bool
}

// concessions are what can be given up of a request: what shapes the way to the
// answer, never what the answer is to be.
func (d *dialect) concessions(req agent.Request) wire.Concessions {
	var c wire.Concessions
	c.May("stream_options", wire.Naming("stream_options"), func() { d.noUsage = true })
	if req.Effort != "" {
		c.May("", wire.Naming("reasoning_effort", "reasoning effort", "support thinking", "support reasoning"),
			func() { d.noEffort = true })
	}
	if req.Parallel != nil {
		c.May("", wire.Naming("parallel_tool_calls", "parallel tool"), func() { d.noParallel = true })
	}
	if req.Verbosity != "" {
		c.May("", wire.Naming("verbosity"), func() { d.noVerbosity = true })
	}
	if req.MaxTokens > 0 {
		c.May("max_tokens", wire.Refusing("max_tokens", "max_completion_tokens"), func() { d.oldMaxTokens = !d.oldMaxTokens })
	}
	if req.Temperature != nil {
		c.May("", wire.Refusing("temperature"), func() { d.noTemperature = true })
	}
	if req.TopP != nil {
		c.May("", wire.Refusing("top_p"), func() { d.noTopP = true })
	}
	if req.User != "" {
		c.May("user", wire.Refusing("'user'", `"user"`, "`user`", "parameter: user", "field: user", " user "),
			func() { d.noUser = true })
	}
	return c
}
