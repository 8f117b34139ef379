package responses

import (
	"anthill/services/internal/agent"
	"anthill/services/internal/agent/wire"
)

// dialect is what differs between servers, and models.
type dialect struct {
	noTrace       bool
	noInclude     bool
	noSummary     bool
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
	// What another key, or a server that has moved, cannot read any more.
	c.May("", wire.Naming("could not be verified", "could not be decrypted", "invalid_encrypted_content", "required following item"),
		func() { d.noTrace = true })
	// Models that do not reason refuse it.
	c.May("include", func(f *wire.Failure) bool {
		return f.Param == "include" || wire.Naming("encrypted_content", "encrypted content")(f) || wire.Refusing("include")(f)
	}, func() { d.noInclude = true })
	if req.Effort != "" {
		c.May("summary", wire.Naming("reasoning.summary", "reasoning summar"), func() { d.noSummary = true })
		c.May("", wire.Naming("reasoning.effort", "reasoning_effort", "reasoning effort", "'reasoning'", `"reasoning"`,
			"support thinking", "support reasoning", "parameter: reasoning", "field: reasoning"), func() { d.noEffort = true })
	}
	if req.Parallel != nil {
		c.May("", wire.Naming("parallel_tool_calls", "parallel tool"), func() { d.noParallel = true })
	}
	if req.Verbosity != "" {
		c.May("", wire.Naming("verbosity"), func() { d.noVerbosity = true })
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
