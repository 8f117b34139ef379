package anthropic

import (
	"regexp"
	"strconv"

	"anthill/services/internal/agent"
	"anthill/services/internal/agent/wire"
)

// dialect is what differs between models, and servers.
type dialect struct {
	adaptive      bool // thinking is asked for by effort, not by a budget
	noThinking    bool
	noTrace       bool
	noFormat      bool // the format is an instruction, not a parameter
	noCache       bool
	noTemperature bool
	noTopP        bool
	noParallel    bool
	noUser        bool
	maxTokens     int // the most that the model takes; 0: not known
}

// tooMany finds the limit in a refusal such as "max_tokens: 8192 > 4096, which
// is the maximum allowed number of output tokens".
var tooMany = regexp.MustCompile(`max_tokens: \d+ > (\d+)`)

// concessions are what can be given up of a request: what shapes the way to the
// answer, never what the answer is to be.
func (d *dialect) concessions(req agent.Request) wire.Concessions {
	var c wire.Concessions
	// Thinking that another key, or a model's successor, cannot read any more.
	c.May("", func(f *wire.Failure) bool {
		asked := req.Effort != "" && !d.noThinking
		return f.Says("signature", "cannot be modified") || !asked && f.Says("thinking")
	}, func() { d.noTrace = true })
	if req.Effort != "" {
		c.May("adaptive", wire.Naming("thinking.type.adaptive", "output_config.effort"), func() { d.adaptive = true })
		c.May("thinking", wire.Refusing("thinking", "adaptive", "effort"), func() { d.noThinking = true })
		c.May("", wire.Naming("thinking"), func() { d.noThinking = true })
	}
	if req.Format != nil {
		// A server's "no" may be to the schema: the model gets to see it all the same.
		c.May("", wire.Naming("output_config", "output_format", "structured output"), func() { d.noFormat = true })
	}
	if req.TopP != nil {
		c.May("top_p", wire.Naming("top_p"), func() { d.noTopP = true })
	}
	if req.Temperature != nil {
		c.May("temperature", wire.Refusing("temperature"), func() { d.noTemperature = true })
	}
	if req.Parallel != nil {
		c.May("", wire.Naming("disable_parallel_tool_use"), func() { d.noParallel = true })
	}
	if req.User != "" {
		c.May("user", wire.Naming("metadata", "user_id"), func() { d.noUser = true })
	}
	c.May("cache_control", wire.Naming("cache_control"), func() { d.noCache = true })
	c.May("", func(f *wire.Failure) bool {
		if m := tooMany.FindStringSubmatch(f.Text); m != nil {
			n, err := strconv.Atoi(m[1])
			d.maxTokens = n
			return err == nil && n > 0
		}
		return false
	}, func() {})
	return c
}
