package responses

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"

	"anthill/services/internal/agent"
	"anthill/services/internal/agent/wire"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
)

// body is the request as it is sent.
func body(req agent.Request, d *dialect) ([]byte, error) {
	p := responses.ResponseNewParams{Model: req.Model, Store: openai.Bool(false)}
	var v wire.Verbatim
	if !d.noInclude {
		p.Include = []responses.ResponseIncludable{responses.ResponseIncludableReasoningEncryptedContent}
	}
	if req.System != "" {
		p.Instructions = openai.String(req.System)
	}
	if req.MaxTokens > 0 {
		p.MaxOutputTokens = openai.Int(int64(req.MaxTokens))
	}
	options(&p, req, d)
	if err := tools(&p, req, &v); err != nil {
		return nil, err
	}
	if err := format(&p, req.Format, &v); err != nil {
		return nil, err
	}
	p.Input.OfInputItemList = responses.ResponseInputParam{}
	for _, m := range req.Messages {
		p.Input.OfInputItemList = append(p.Input.OfInputItemList, items(m, req.Model, d, &v)...)
	}
	p.SetExtraFields(map[string]any{"stream": true})
	raw, err := p.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return v.Fill(raw), nil
}

// options are what a server may refuse without the answer being another.
func options(p *responses.ResponseNewParams, req agent.Request, d *dialect) {
	if req.Temperature != nil && !d.noTemperature {
		p.Temperature = openai.Float(*req.Temperature)
	}
	if req.TopP != nil && !d.noTopP {
		p.TopP = openai.Float(*req.TopP)
	}
	if req.Effort != "" && !d.noEffort {
		p.Reasoning.Effort = shared.ReasoningEffort(req.Effort)
		if req.Effort != "none" && !d.noSummary {
			p.Reasoning.Summary = shared.ReasoningSummaryAuto
		}
	}
	if !d.noVerbosity {
		p.Text.Verbosity = responses.ResponseTextConfigVerbosity(req.Verbosity)
	}
	if req.User != "" && !d.noUser {
		p.User = openai.String(req.User)
	}
	if req.Parallel != nil && len(req.Tools) > 0 && !d.noParallel {
		p.ParallelToolCalls = openai.Bool(*req.Parallel)
	}
}

func tools(p *responses.ResponseNewParams, req agent.Request, v *wire.Verbatim) error {
	for _, t := range req.Tools {
		if !json.Valid(t.Schema) {
			return fmt.Errorf("the schema of the tool %s is not JSON", t.Name)
		}
		// The API's own default is strict, which refuses most schemas.
		def := responses.FunctionToolParam{Name: t.Name, Strict: openai.Bool(t.Strict != nil && *t.Strict)}
		if t.Description != "" {
			def.Description = openai.String(t.Description)
		}
		def.SetExtraFields(map[string]any{"parameters": v.Mark(t.Schema)})
		p.Tools = append(p.Tools, responses.ToolUnionParam{OfFunction: &def})
	}
	if len(p.Tools) == 0 {
		return nil
	}
	switch c := req.ToolChoice; c.Mode {
	case "none", "required":
		p.ToolChoice.OfToolChoiceMode = param.NewOpt(responses.ToolChoiceOptions(c.Mode))
	case "tool":
		p.ToolChoice.OfFunctionTool = &responses.ToolChoiceFunctionParam{Name: c.Name}
	}
	return nil
}

func format(p *responses.ResponseNewParams, f *agent.Format, v *wire.Verbatim) error {
	switch {
	case f == nil:
	case f.Schema == nil:
		p.Text.Format.OfJSONObject = &shared.ResponseFormatJSONObjectParam{}
	case !json.Valid(f.Schema):
		return errors.New("the schema of the format is not JSON")
	default:
		s := &responses.ResponseFormatTextJSONSchemaConfigParam{Name: cmp.Or(f.Name, "answer")}
		if f.Description != "" {
			s.Description = openai.String(f.Description)
		}
		if f.Strict != nil {
			s.Strict = openai.Bool(*f.Strict)
		}
		s.SetExtraFields(map[string]any{"schema": v.Mark(f.Schema)})
		p.Text.Format.OfJSONSchema = s
	}
	return nil
}

// items are a message as the API has it: what is said, each call and each result
// stand for themselves.
func items(m agent.Message, model string, d *dialect, v *wire.Verbatim) []responses.ResponseInputItemUnionParam {
	var out []responses.ResponseInputItemUnionParam
	switch m.Role {
	case agent.RoleUser:
		out = append(out, question(m, v))
	case agent.RoleAssistant:
		var t trace
		if !d.noTrace {
			t = readTrace(m.Trace, model)
		}
		return retell(m, t, v)
	case agent.RoleTool:
		for _, r := range m.Results {
			content := r.Content
			if r.IsError {
				content = "Error: " + content // there is no field for it
			}
			item := responses.ResponseInputItemParamOfFunctionCallOutput(content)
			item.OfFunctionCallOutput.CallID = openai.String(wire.CallID(r.ID))
			out = append(out, item)
		}
	}
	return out
}

func question(m agent.Message, v *wire.Verbatim) responses.ResponseInputItemUnionParam {
	parts := responses.ResponseInputMessageContentListParam{}
	for _, c := range m.Content() {
		switch {
		case c.Image != nil:
			img := responses.ResponseInputImageParam{Detail: responses.ResponseInputImageDetail(cmp.Or(c.Image.Detail, "auto"))}
			url := c.Image.URL
			if c.Image.Data != nil {
				url = v.Base64("data:"+c.Image.MIME+";base64,", c.Image.Data)
			}
			img.ImageURL = openai.String(url)
			parts = append(parts, responses.ResponseInputContentUnionParam{OfInputImage: &img})
		case c.File != nil && c.File.Data != nil:
			parts = append(parts, responses.ResponseInputContentUnionParam{OfInputFile: &responses.ResponseInputFileParam{
				Filename: openai.String(cmp.Or(c.File.Name, "document")),
				FileData: openai.String(v.Base64("data:"+cmp.Or(c.File.MIME, "application/pdf")+";base64,", c.File.Data)),
			}})
		case c.File != nil:
			// The name would be refused beside an address.
			parts = append(parts, responses.ResponseInputContentUnionParam{
				OfInputFile: &responses.ResponseInputFileParam{FileURL: openai.String(c.File.URL)}})
		case c.Text != "":
			parts = append(parts, responses.ResponseInputContentParamOfInputText(c.Text))
		}
	}
	item := responses.ResponseInputItemParamOfMessage(parts, responses.EasyInputMessageRoleUser)
	item.OfMessage.Type = responses.EasyInputMessageTypeMessage
	return item
}

func said(text string) responses.ResponseInputItemUnionParam {
	return responses.ResponseInputItemUnionParam{OfOutputMessage: &responses.ResponseOutputMessageParam{
		Content: []responses.ResponseOutputMessageContentUnionParam{{OfOutputText: &responses.ResponseOutputTextParam{
			Text: text, Annotations: []responses.ResponseOutputTextAnnotationUnionParam{},
		}}},
		Status: responses.ResponseOutputMessageStatusCompleted,
	}}
}

func called(c agent.ToolCall) responses.ResponseInputItemUnionParam {
	input := c.Input
	if !json.Valid([]byte(input)) {
		input = "{}" // a call that was cut off; some servers parse it and fail
	}
	return responses.ResponseInputItemParamOfFunctionCall(input, wire.CallID(c.ID), c.Name)
}
