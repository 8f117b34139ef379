package anthropic

import (
	"anthill/services/internal/agent"

	sdk "github.com/anthropics/anthropic-sdk-go"
)

// budgets are the tokens that each effort may spend on thinking.
var budgets = map[string]int{"low": 1024, "medium": 4096, "high": 16384, "xhigh": 32768}

// leastBudget is the smallest that the API takes.
const leastBudget = 1024

// think sets max_tokens and how the model thinks, and says whether it does: then
// the API takes no temperature and no top_p.
func think(p *sdk.MessageNewParams, req agent.Request, d *dialect) bool {
	budget := budgets[req.Effort]
	if d.noThinking || forced(req) || !d.adaptive && unthought(req, d) {
		budget = 0
	}
	most := req.MaxTokens
	if most <= 0 {
		most = defaultMaxTokens + budget
	}
	if d.maxTokens > 0 {
		most = min(most, d.maxTokens)
	}
	p.MaxTokens = int64(most)
	// Thinking counts as output. The client's limit holds, so some of it is left
	// for the answer.
	budget = min(budget, most-min(most/4, defaultMaxTokens))
	switch {
	case budget < leastBudget:
		return false
	case d.adaptive:
		p.Thinking.OfAdaptive = &sdk.ThinkingConfigAdaptiveParam{Display: sdk.ThinkingConfigAdaptiveDisplaySummarized}
		p.OutputConfig.Effort = sdk.OutputConfigEffort(req.Effort)
	default:
		p.Thinking.OfEnabled = &sdk.ThinkingConfigEnabledParam{BudgetTokens: int64(budget)}
	}
	return true
}

// forced says that a tool must be called: the API does not allow thinking then.
func forced(req agent.Request) bool {
	return len(req.Tools) > 0 && (req.ToolChoice.Mode == "required" || req.ToolChoice.Mode == "tool")
}

// unthought says that the turn under way began without thinking of this model's:
// the API does not allow it to begin in the middle, between a call and its result.
func unthought(req agent.Request, d *dialect) bool {
	began := false // with an assistant's message that has calls
	ours := false
	for _, m := range req.Messages {
		switch {
		case m.Role == agent.RoleUser:
			began, ours = false, false
		case m.Role == agent.RoleAssistant && !began:
			began = len(m.Calls) > 0
			ours = !d.noTrace && readTrace(m.Trace, req.Model).thinks()
		}
	}
	return began && !ours
}
