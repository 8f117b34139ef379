package chat

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"anthill/services/internal/agent"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/shared"
)

// dialect is what differs between servers.
type dialect struct {
	noUsage      bool // stream_options is not known
	oldMaxTokens bool // max_tokens instead of max_completion_tokens
	swapped      bool
}

// adapt reads from a refusal what to leave out and says whether to try again.
// Each change is made once, so the attempts end.
func (d *dialect) adapt(f *failure) bool {
	if f.status != http.StatusBadRequest && f.status != http.StatusUnprocessableEntity {
		return false
	}
	switch text := f.all(); {
	case !d.noUsage && strings.Contains(text, "stream_options"):
		d.noUsage = true
	case !d.swapped && (strings.Contains(text, "max_tokens") || strings.Contains(text, "max_completion_tokens")) &&
		(strings.Contains(text, "unsupported") || strings.Contains(text, "unrecognized") || strings.Contains(text, "not permitted")):
		d.oldMaxTokens, d.swapped = !d.oldMaxTokens, true
	default:
		return false
	}
	return true
}

// streamed is what the SDK's own streaming method would add to the parameters.
type streamed struct{ openai.ChatCompletionNewParams }

func (s streamed) MarshalJSON() ([]byte, error) {
	s.SetExtraFields(map[string]any{"stream": true})
	return s.ChatCompletionNewParams.MarshalJSON()
}

func params(req agent.Request, d dialect) (streamed, error) {
	p := openai.ChatCompletionNewParams{Model: req.Model}
	if !d.noUsage {
		p.StreamOptions.IncludeUsage = openai.Bool(true)
	}
	if req.MaxTokens > 0 {
		if d.oldMaxTokens {
			p.MaxTokens = openai.Int(int64(req.MaxTokens))
		} else {
			p.MaxCompletionTokens = openai.Int(int64(req.MaxTokens))
		}
	}
	if req.Temperature != nil {
		p.Temperature = openai.Float(*req.Temperature)
	}
	if req.TopP != nil {
		p.TopP = openai.Float(*req.TopP)
	}
	for _, t := range req.Tools {
		if !json.Valid(t.Schema) {
			return streamed{}, fmt.Errorf("the schema of the tool %s is not JSON", t.Name)
		}
		def := shared.FunctionDefinitionParam{Name: t.Name, Description: param.NewOpt(t.Description)}
		// As it is, not through a map: models read the properties in this order.
		def.SetExtraFields(map[string]any{"parameters": t.Schema})
		p.Tools = append(p.Tools, openai.ChatCompletionFunctionTool(def))
	}
	if req.System != "" {
		p.Messages = append(p.Messages, openai.SystemMessage(req.System))
	}
	for _, m := range req.Messages {
		p.Messages = append(p.Messages, messages(m)...)
	}
	return streamed{p}, nil
}

func messages(m agent.Message) []openai.ChatCompletionMessageParamUnion {
	switch m.Role {
	case agent.RoleUser:
		return []openai.ChatCompletionMessageParamUnion{openai.UserMessage(m.Text)}
	case agent.RoleAssistant:
		said := openai.AssistantMessage(m.Text)
		if m.Text == "" {
			said.OfAssistant.Content.OfString = param.Opt[string]{} // some servers refuse an empty text
		}
		for _, c := range m.Calls {
			input := c.Input
			if !json.Valid([]byte(input)) {
				input = "{}" // a call that was cut off; some servers parse it and fail
			}
			said.OfAssistant.ToolCalls = append(said.OfAssistant.ToolCalls, openai.ChatCompletionMessageToolCallUnionParam{
				OfFunction: &openai.ChatCompletionMessageFunctionToolCallParam{
					ID:       c.ID,
					Function: openai.ChatCompletionMessageFunctionToolCallFunctionParam{Name: c.Name, Arguments: input},
				},
			})
		}
		return []openai.ChatCompletionMessageParamUnion{said}
	}
	var out []openai.ChatCompletionMessageParamUnion
	for _, r := range m.Results {
		content := r.Content
		if r.IsError {
			content = "Error: " + content // there is no field for it
		}
		out = append(out, openai.ToolMessage(content, r.ID))
	}
	return out
}
