package anthropic

import (
	"encoding/json"
	"fmt"

	"anthill/services/internal/agent"
	"anthill/services/internal/agent/wire"

	sdk "github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/packages/param"
	"github.com/tidwall/gjson"
)

// defaultMaxTokens is what an answer may have: the API wants to be told.
const defaultMaxTokens = 8192

// body is the request as it is sent.
func body(req agent.Request, d *dialect) ([]byte, error) {
	var v wire.Verbatim
	p := sdk.MessageNewParams{Model: req.Model}
	var err error
	if p.Messages, err = conversation(req, d, &v); err != nil {
		return nil, err
	}
	if p.Tools, err = tools(req, &v); err != nil {
		return nil, err
	}
	if len(p.Tools) > 0 {
		p.ToolChoice = choice(req, d)
	}
	thinks := think(&p, req, d)
	if req.Temperature != nil && !thinks && !d.noTemperature {
		p.Temperature = sdk.Float(min(*req.Temperature, 1)) // 1 is the most here
	}
	if req.TopP != nil && !thinks && !d.noTopP {
		p.TopP = sdk.Float(*req.TopP)
	}
	if req.User != "" && !d.noUser {
		p.Metadata.UserID = sdk.String(req.User)
	}
	instruction, err := format(&p, req.Format, d, &v)
	if err != nil {
		return nil, err
	}
	for _, text := range []string{req.System, instruction} {
		if !blank(text) {
			p.System = append(p.System, sdk.TextBlockParam{Text: text})
		}
	}
	if !d.noCache {
		remember(&p)
	}
	p.SetExtraFields(map[string]any{"stream": true})
	raw, err := p.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return v.Fill(raw), nil
}

func tools(req agent.Request, v *wire.Verbatim) ([]sdk.ToolUnionParam, error) {
	var out []sdk.ToolUnionParam
	for _, t := range req.Tools {
		schema := t.Schema
		if !json.Valid(schema) || !gjson.ParseBytes(schema).IsObject() {
			return nil, fmt.Errorf("the schema of the tool %s is not a JSON object", t.Name)
		}
		if obj := gjson.ParseBytes(schema); !obj.Get("type").Exists() {
			schema = typed(obj) // the API insists
		}
		def := &sdk.ToolParam{Name: t.Name, InputSchema: param.Override[sdk.ToolInputSchemaParam](v.Mark(schema))}
		if t.Description != "" {
			def.Description = sdk.String(t.Description)
		}
		if t.Strict != nil {
			def.Strict = sdk.Bool(*t.Strict)
		}
		out = append(out, sdk.ToolUnionParam{OfTool: def})
	}
	return out, nil
}

// typed is the schema with the type that all inputs have.
func typed(schema gjson.Result) json.RawMessage {
	out := []byte(`{"type":"object"`)
	schema.ForEach(func(k, v gjson.Result) bool {
		out = append(append(append(append(out, ','), k.Raw...), ':'), v.Raw...)
		return true
	})
	return append(out, '}')
}

func choice(req agent.Request, d *dialect) sdk.ToolChoiceUnionParam {
	var single param.Opt[bool]
	if req.Parallel != nil && !*req.Parallel && !d.noParallel {
		single = sdk.Bool(true)
	}
	switch c := req.ToolChoice; c.Mode {
	case "none":
		return sdk.ToolChoiceUnionParam{OfNone: &sdk.ToolChoiceNoneParam{}}
	case "required":
		return sdk.ToolChoiceUnionParam{OfAny: &sdk.ToolChoiceAnyParam{DisableParallelToolUse: single}}
	case "tool":
		return sdk.ToolChoiceUnionParam{OfTool: &sdk.ToolChoiceToolParam{Name: c.Name, DisableParallelToolUse: single}}
	}
	if single.Valid() {
		return sdk.ToolChoiceUnionParam{OfAuto: &sdk.ToolChoiceAutoParam{DisableParallelToolUse: single}}
	}
	return sdk.ToolChoiceUnionParam{}
}

// format asks for the shape of the answer: by output_config.format, which newer
// models have and which takes a schema, or else by an instruction that goes
// behind the system prompt.
func format(p *sdk.MessageNewParams, f *agent.Format, d *dialect, v *wire.Verbatim) (instruction string, err error) {
	switch {
	case f == nil:
		return "", nil
	case f.Schema == nil:
		return "Answer with one JSON object and nothing else: no other words, no code fence.", nil
	case !json.Valid(f.Schema):
		return "", fmt.Errorf("the schema of the format is not JSON")
	case d.noFormat:
		return fmt.Sprintf("Answer with one JSON object and nothing else: no other words, no code fence. %s\n"+
			"The object must follow this JSON Schema:\n%s", f.Description, f.Schema), nil
	}
	var out sdk.JSONOutputFormatParam
	out.SetExtraFields(map[string]any{"schema": v.Mark(f.Schema)})
	p.OutputConfig.Format = out
	return "", nil
}

// remember marks how far the provider may keep what it read for the next call:
// the tools, the system prompt, and all of the conversation.
func remember(p *sdk.MessageNewParams) {
	keep := sdk.NewCacheControlEphemeralParam()
	if n := len(p.Tools); n > 0 {
		p.Tools[n-1].OfTool.CacheControl = keep
	}
	if n := len(p.System); n > 0 {
		p.System[n-1].CacheControl = keep
	}
	if n := len(p.Messages); n > 0 {
		blocks := p.Messages[n-1].Content
		if at := blocks[len(blocks)-1].GetCacheControl(); at != nil {
			*at = keep
		}
	}
}
