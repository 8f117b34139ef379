package chat

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"anthill/services/internal/agent"
	"anthill/services/internal/agent/wire"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/shared"
)

// body is the request as it is sent.
func body(req agent.Request, d *dialect) ([]byte, error) {
	p := openai.ChatCompletionNewParams{Model: req.Model}
	var v wire.Verbatim
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
	options(&p, req, d)
	if err := tools(&p, req, &v); err != nil {
		return nil, err
	}
	if err := format(&p, req.Format, &v); err != nil {
		return nil, err
	}
	if req.System != "" {
		p.Messages = append(p.Messages, openai.SystemMessage(req.System))
	}
	for _, m := range req.Messages {
		more, err := messages(m, &v)
		if err != nil {
			return nil, err
		}
		p.Messages = append(p.Messages, more...)
	}
	p.SetExtraFields(map[string]any{"stream": true})
	raw, err := p.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return v.Fill(raw), nil
}

// options are what a server may refuse without the answer being another.
func options(p *openai.ChatCompletionNewParams, req agent.Request, d *dialect) {
	if req.Temperature != nil && !d.noTemperature {
		p.Temperature = openai.Float(*req.Temperature)
	}
	if req.TopP != nil && !d.noTopP {
		p.TopP = openai.Float(*req.TopP)
	}
	if !d.noEffort {
		p.ReasoningEffort = shared.ReasoningEffort(req.Effort)
	}
	if !d.noVerbosity {
		p.Verbosity = openai.ChatCompletionNewParamsVerbosity(req.Verbosity)
	}
	if req.User != "" && !d.noUser {
		p.User = openai.String(req.User)
	}
	if req.Parallel != nil && len(req.Tools) > 0 && !d.noParallel {
		p.ParallelToolCalls = openai.Bool(*req.Parallel)
	}
}

func tools(p *openai.ChatCompletionNewParams, req agent.Request, v *wire.Verbatim) error {
	for _, t := range req.Tools {
		if !json.Valid(t.Schema) {
			return fmt.Errorf("the schema of the tool %s is not JSON", t.Name)
		}
		def := shared.FunctionDefinitionParam{Name: t.Name, Description: param.NewOpt(t.Description)}
		if t.Strict != nil {
			def.Strict = openai.Bool(*t.Strict)
		}
		def.SetExtraFields(map[string]any{"parameters": v.Mark(t.Schema)})
		p.Tools = append(p.Tools, openai.ChatCompletionFunctionTool(def))
	}
	if len(p.Tools) == 0 {
		return nil
	}
	switch c := req.ToolChoice; c.Mode {
	case "none", "required":
		p.ToolChoice.OfAuto = openai.String(c.Mode)
	case "tool":
		p.ToolChoice = openai.ToolChoiceOptionFunctionToolChoice(openai.ChatCompletionNamedToolChoiceFunctionParam{Name: c.Name})
	}
	return nil
}

func format(p *openai.ChatCompletionNewParams, f *agent.Format, v *wire.Verbatim) error {
	switch {
	case f == nil:
	case f.Schema == nil:
		p.ResponseFormat.OfJSONObject = &shared.ResponseFormatJSONObjectParam{}
	case !json.Valid(f.Schema):
		return errors.New("the schema of the format is not JSON")
	default:
		s := shared.ResponseFormatJSONSchemaJSONSchemaParam{Name: cmp.Or(f.Name, "answer"), Schema: v.Mark(f.Schema)}
		if f.Description != "" {
			s.Description = openai.String(f.Description)
		}
		if f.Strict != nil {
			s.Strict = openai.Bool(*f.Strict)
		}
		p.ResponseFormat.OfJSONSchema = &shared.ResponseFormatJSONSchemaParam{JSONSchema: s}
	}
	return nil
}

func messages(m agent.Message, v *wire.Verbatim) ([]openai.ChatCompletionMessageParamUnion, error) {
	switch m.Role {
	case agent.RoleUser:
		said, err := question(m, v)
		return []openai.ChatCompletionMessageParamUnion{said}, err
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
		return []openai.ChatCompletionMessageParamUnion{said}, nil
	}
	var out []openai.ChatCompletionMessageParamUnion
	for _, r := range m.Results {
		content := r.Content
		if r.IsError {
			content = "Error: " + content // there is no field for it
		}
		out = append(out, openai.ToolMessage(content, r.ID))
	}
	return out, nil
}

// question is a user's message. One of nothing but text goes as a plain string,
// which every server takes.
func question(m agent.Message, v *wire.Verbatim) (openai.ChatCompletionMessageParamUnion, error) {
	var parts []openai.ChatCompletionContentPartUnionParam
	var texts []string
	for _, c := range m.Content() {
		switch {
		case c.Image != nil:
			parts = append(parts, openai.ImageContentPart(picture(c.Image, v)))
		case c.File != nil && c.File.Data == nil:
			return openai.ChatCompletionMessageParamUnion{}, agent.NewError(agent.Error{Code: agent.CodeUnsupported},
				errors.New("chat: a file by URL has no place in chat completions"))
		case c.File != nil:
			parts = append(parts, openai.FileContentPart(document(c.File, v)))
		case c.Text != "":
			texts = append(texts, c.Text)
			parts = append(parts, openai.TextContentPart(c.Text))
		}
	}
	if len(texts) == len(parts) {
		return openai.UserMessage(strings.Join(texts, "\n\n")), nil
	}
	return openai.UserMessage(parts), nil
}

func picture(img *agent.Image, v *wire.Verbatim) openai.ChatCompletionContentPartImageImageURLParam {
	p := openai.ChatCompletionContentPartImageImageURLParam{URL: img.URL, Detail: img.Detail}
	if img.Data != nil {
		p.URL = v.Base64("data:"+img.MIME+";base64,", img.Data)
	}
	if p.Detail == "original" {
		p.Detail = "high" // the most that is known here
	}
	return p
}

func document(f *agent.File, v *wire.Verbatim) openai.ChatCompletionContentPartFileFileParam {
	return openai.ChatCompletionContentPartFileFileParam{
		Filename: openai.String(cmp.Or(f.Name, "document")),
		FileData: openai.String(v.Base64("data:"+cmp.Or(f.MIME, "application/pdf")+";base64,", f.Data)),
	}
}
