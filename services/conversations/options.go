package conversations

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent"
	"anthill/services/internal/fault"
)

const (
	toolsMax    = 128       // functions in one request
	toolsBytes  = 512 << 10 // of all their descriptions and schemas
	schemaBytes = 128 << 10 // of an output format
	stopMax     = 16
	stopBytes   = 256
)

var toolName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// checkRequestOptions refuses what is wrong in itself.
func checkRequestOptions(o *antonv1.RequestOptions, conversation string) error {
	if err := checkTools(o); err != nil {
		return err
	}
	switch o.Reasoning.GetEffort() {
	case "", "none", "minimal", "low", "medium", "high", "xhigh":
	default:
		return fault.BadField("literal_error",
			"Input should be 'none', 'minimal', 'low', 'medium', 'high' or 'xhigh'", "reasoning", "effort")
	}
	switch o.Reasoning.GetSummary() {
	case "", "auto", "concise", "detailed", "none":
	default:
		return fault.BadField("literal_error", "Input should be 'auto', 'concise' or 'detailed'", "reasoning", "summary")
	}
	switch o.Verbosity {
	case "", "low", "medium", "high":
	default:
		return fault.BadField("literal_error", "Input should be 'low', 'medium' or 'high'", "text", "verbosity")
	}
	switch o.Truncation {
	case "", "auto", "disabled":
	default:
		return fault.BadField("literal_error", "Input should be 'auto' or 'disabled'", "truncation")
	}
	if len(o.User) > 512 {
		return fault.BadField("too_long", "A user has up to 512 characters", "user")
	}
	if len(o.Stop) > stopMax || slices.ContainsFunc(o.Stop, func(s string) bool { return s == "" || len(s) > stopBytes }) {
		return fault.BadField("value_error", fmt.Sprintf("At most %d stop sequences of 1 to %d bytes", stopMax, stopBytes), "stop")
	}
	if err := checkFormat(o.TextFormat); err != nil {
		return err
	}
	switch {
	case o.Background && !stored(o):
		return fault.BadField("value_error", "Only a response that is stored can run in the background", "background")
	case o.PreviousResponseId != "" && conversation != "":
		return fault.New(fault.Invalid, "MUTUALLY_EXCLUSIVE_PARAMETERS",
			"previous_response_id and conversation cannot be given together: the response knows its conversation.").
			With("param", "previous_response_id")
	}
	return nil
}

func checkTools(o *antonv1.RequestOptions) error {
	if len(o.Tools) > toolsMax {
		return fault.BadField("too_long", fmt.Sprintf("At most %d tools can be declared", toolsMax), "tools")
	}
	names := map[string]bool{}
	size := 0
	for i, t := range o.Tools {
		at := []string{"tools", fmt.Sprint(i)}
		switch {
		case t == nil:
			return fault.BadField("model_attributes_type", "Input should be a valid object", at...)
		case !toolName.MatchString(t.Name):
			return fault.BadField("value_error", "A name has 1 to 64 letters, digits, '_' or '-'", append(at, "name")...)
		case names[t.Name]:
			return fault.BadField("value_error", fmt.Sprintf("Two tools are named '%s'", t.Name), append(at, "name")...)
		case t.Parameters != "" && !jsonObject(t.Parameters):
			return fault.BadField("dict_type", "Input should be a JSON Schema object", append(at, "parameters")...)
		}
		names[t.Name] = true
		size += len(t.Description) + len(t.Parameters)
	}
	if size > toolsBytes {
		return fault.BadField("too_long", fmt.Sprintf("The tools are larger than %d KiB", toolsBytes>>10), "tools")
	}
	c := o.ToolChoice
	for i, name := range c.GetAllowed() {
		if !names[name] {
			return fault.BadField("value_error", fmt.Sprintf("No tool is named '%s'", name), "tool_choice", "tools", fmt.Sprint(i))
		}
	}
	switch c.GetMode() {
	case "", "auto", "none", "required":
		return nil
	case "function":
		if !names[c.Name] {
			return fault.BadField("value_error", fmt.Sprintf("No tool is named '%s'", c.Name), "tool_choice", "name")
		}
		return nil
	}
	return fault.BadField("literal_error", "Input should be 'auto', 'none', 'required' or a function", "tool_choice")
}

func checkFormat(f *antonv1.TextFormat) error {
	at := func(name string) []string { return []string{"text", "format", name} }
	switch f.GetType() {
	case "", "text", "json_object":
		if f.GetSchema() != "" {
			return fault.BadField("value_error", "A schema needs the type 'json_schema'", at("schema")...)
		}
		return nil
	case "json_schema":
	default:
		return fault.BadField("literal_error", "Input should be 'text', 'json_object' or 'json_schema'", at("type")...)
	}
	switch {
	case !toolName.MatchString(f.Name):
		return fault.BadField("value_error", "A name has 1 to 64 letters, digits, '_' or '-'", at("name")...)
	case !jsonObject(f.Schema):
		return fault.BadField("dict_type", "Input should be a JSON Schema object", at("schema")...)
	case len(f.Schema) > schemaBytes:
		return fault.BadField("too_long", fmt.Sprintf("A schema has up to %d KiB", schemaBytes>>10), at("schema")...)
	}
	return nil
}

func jsonObject(s string) bool {
	var v map[string]json.RawMessage
	return json.Unmarshal([]byte(s), &v) == nil && v != nil
}

func stored(o *antonv1.RequestOptions) bool { return o.GetStore() || o == nil || o.Store == nil }

// bare says that a client with tools of its own uses the server as a plain
// model: it keeps the history itself and works somewhere else, so the agent's
// instructions and tools would only be in its way.
func bare(o *antonv1.RequestOptions) bool { return !stored(o) && len(o.GetTools()) > 0 }

// apply completes a turn with what the request asked for.
func apply(o *antonv1.RequestOptions, run *agent.Options) {
	var client []agent.ToolSpec
	for _, t := range o.GetTools() {
		if allowed := o.ToolChoice.GetAllowed(); len(allowed) > 0 && !slices.Contains(allowed, t.Name) {
			continue
		}
		schema := json.RawMessage(t.Parameters)
		if len(schema) == 0 {
			schema = json.RawMessage(`{"type":"object","properties":{}}`)
		}
		client = append(client, agent.ToolSpec{Name: t.Name, Description: t.Description, Schema: schema, Strict: t.Strict})
	}
	// Of two tools with one name it is the client's that is meant.
	run.Tools = slices.DeleteFunc(run.Tools, func(t agent.Tool) bool {
		return slices.ContainsFunc(client, func(s agent.ToolSpec) bool { return s.Name == t.Spec().Name })
	})
	run.Client = client
	if bare(o) {
		run.Tools = nil
	}
	q := &run.Request
	switch c := o.GetToolChoice(); c.GetMode() {
	case "none":
		run.Tools, run.Client = nil, nil
	case "required":
		q.ToolChoice = agent.ToolChoice{Mode: "required"}
	case "function":
		q.ToolChoice = agent.ToolChoice{Mode: "tool", Name: c.Name}
	}
	if o != nil {
		q.Parallel, q.Effort, q.Verbosity, q.User = o.ParallelToolCalls, o.Reasoning.GetEffort(), o.Verbosity, o.User
		q.Stop = o.Stop
	}
	switch f := o.GetTextFormat(); f.GetType() {
	case "json_object":
		q.Format = &agent.Format{}
	case "json_schema":
		q.Format = &agent.Format{Name: f.Name, Description: f.Description, Schema: json.RawMessage(f.Schema), Strict: f.Strict}
	}
}
