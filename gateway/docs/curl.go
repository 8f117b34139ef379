package docs

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// samples stand for parameters in examples.
var samples = map[string]string{"project": "general", "path": "notes.md", "id": "trip", "conversation_id": "trip", "turn_index": "0",
	"response_id": "RESPONSE_ID", "item_id": "ITEM_ID", "model": "anton", "name": "openai"}

func sample(name string) string {
	if s, ok := samples[name]; ok {
		return s
	}
	return strings.ToUpper(name)
}

// curl is an example of a call: the flags, and what follows the base URL.
func (s spec) curl(method, path string, op operation) (flags, rest string) {
	flags = "-s"
	for _, r := range op.Responses {
		if _, ok := r.Content["text/event-stream"]; ok {
			flags = "-sN"
		}
		for _, m := range r.Content {
			if m.Schema != nil && m.Schema.Format == "binary" {
				flags = "-sOJ"
			}
		}
	}
	if method != "GET" && !(method == "POST" && op.Body != nil) {
		flags += "X " + method
	}
	query := url.Values{}
	for _, p := range op.Parameters {
		switch {
		case p.In == "path":
			path = strings.ReplaceAll(path, "{"+p.Name+"}", sample(p.Name))
		case p.Required:
			query.Set(p.Name, sample(p.Name))
		}
	}
	rest = path
	if len(query) > 0 {
		rest = path + "?" + query.Encode()
	}
	rest += "'"
	if op.Body != nil {
		rest += s.body(op.Body)
	}
	return flags, rest
}

// body is the part of an example that sends one.
func (s spec) body(b *body) string {
	if _, ok := b.Content["multipart/form-data"]; ok {
		return " \\\n  -F 'files=@notes.md'"
	}
	m := b.Content["application/json"]
	text := m.Example
	if len(text) == 0 {
		made, err := json.Marshal(s.example(m.Schema, 0))
		if err != nil {
			return ""
		}
		text = made
	}
	var compact bytes.Buffer
	if json.Compact(&compact, text) != nil {
		return ""
	}
	return " \\\n  -H 'Content-Type: application/json' \\\n  -d '" + strings.ReplaceAll(compact.String(), "'", `'\''`) + "'"
}

// example is a value with what a schema requires.
func (s spec) example(x *schema, depth int) any {
	x = s.resolve(x)
	switch {
	case depth > 3:
		return nil
	case len(x.OneOf) > 0:
		return s.example(x.OneOf[0], depth)
	case len(x.Enum) > 0:
		return x.Enum[0]
	}
	switch x.Type {
	case "object":
		out := map[string]any{}
		for name, p := range x.Properties {
			if slices.Contains(x.Required, name) {
				out[name] = s.example(p, depth+1)
				if s.resolve(p).Type == "string" && len(s.resolve(p).Enum) == 0 {
					out[name] = sample(name)
				}
			}
		}
		return out
	case "array":
		return []any{}
	case "integer", "number":
		return 0
	case "boolean":
		return true
	}
	return ""
}
