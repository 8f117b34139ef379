package docs

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// The parts of the document that the page shows.
type (
	spec struct {
		Info       info                            `json:"info"`
		Tags       []tag                           `json:"tags"`
		Paths      map[string]map[string]operation `json:"paths"`
		Components struct {
			Schemas   map[string]*schema  `json:"schemas"`
			Responses map[string]response `json:"responses"`
		} `json:"components"`
	}
	info struct {
		Title       string `json:"title"`
		Version     string `json:"version"`
		Description string `json:"description"`
	}
	tag struct {
		Name        string `json:"name"`
		Description string `json:"description"`
	}
	operation struct {
		ID          string              `json:"operationId"`
		Tags        []string            `json:"tags"`
		Summary     string              `json:"summary"`
		Description string              `json:"description"`
		Parameters  []parameter         `json:"parameters"`
		Body        *body               `json:"requestBody"`
		Responses   map[string]response `json:"responses"`
	}
	parameter struct {
		Name        string  `json:"name"`
		In          string  `json:"in"`
		Required    bool    `json:"required"`
		Description string  `json:"description"`
		Schema      *schema `json:"schema"`
	}
	body struct {
		Required bool             `json:"required"`
		Content  map[string]media `json:"content"`
	}
	response struct {
		Ref         string           `json:"$ref"`
		Description string           `json:"description"`
		Content     map[string]media `json:"content"`
	}
	media struct {
		Schema  *schema         `json:"schema"`
		Example json.RawMessage `json:"example"`
	}
	schema struct {
		Ref         string             `json:"$ref"`
		Type        string             `json:"type"`
		Format      string             `json:"format"`
		Description string             `json:"description"`
		Properties  map[string]*schema `json:"properties"`
		Required    []string           `json:"required"`
		Items       *schema            `json:"items"`
		AllOf       []*schema          `json:"allOf"`
		OneOf       []*schema          `json:"oneOf"`
		Enum        []string           `json:"enum"`
		Nullable    bool               `json:"nullable"`
		Values      json.RawMessage    `json:"additionalProperties"`
	}
)

// What the template is given.
type (
	group struct {
		Name, Anchor, Description string
		Calls                     []call
	}
	call struct {
		ID, Method, Path, Summary, Description string
		Fields                                 []field // of path, query and body, in this order
		Answers                                []answer
		Curl                                   string // behind the base URL and the key
		Flags                                  string
	}
	shape struct {
		Name, Description string
		Type              []piece // of what is no object
		Fields            []field
	}
	field struct {
		Name, In, Description string
		Type                  []piece
		Required              bool
	}
	answer struct {
		Status, Description string
		Types               []string
		Shape               []piece
	}
	// piece is a part of a type: a word, or the name of a shape to go to.
	piece struct{ Text, Shape string }
)

var methods = []string{"get", "post", "put", "patch", "delete"}

func (s spec) groups() []group {
	var out []group
	for _, t := range s.Tags {
		g := group{Name: t.Name, Anchor: strings.ToLower(strings.ReplaceAll(t.Name, " ", "-")), Description: t.Description}
		for _, path := range slices.Sorted(maps.Keys(s.Paths)) {
			for _, method := range methods {
				if op, ok := s.Paths[path][method]; ok && slices.Contains(op.Tags, t.Name) {
					g.Calls = append(g.Calls, s.call(method, path, op))
				}
			}
		}
		out = append(out, g)
	}
	return out
}

func (s spec) call(method, path string, op operation) call {
	c := call{ID: op.ID, Method: strings.ToUpper(method), Path: path, Summary: op.Summary, Description: op.Description}
	for _, p := range op.Parameters {
		c.Fields = append(c.Fields, field{p.Name, p.In, p.Description, typeOf(p.Schema), p.Required})
	}
	if op.Body != nil {
		for _, m := range op.Body.Content {
			c.Fields = append(c.Fields, s.fields(s.resolve(m.Schema), "body")...)
		}
	}
	for _, code := range slices.Sorted(maps.Keys(op.Responses)) {
		c.Answers = append(c.Answers, s.answer(code, op.Responses[code]))
	}
	c.Flags, c.Curl = s.curl(c.Method, path, op)
	return c
}

func (s spec) answer(code string, r response) answer {
	if name, ok := strings.CutPrefix(r.Ref, "#/components/responses/"); ok {
		r = s.Components.Responses[name]
	}
	a := answer{Status: code, Description: r.Description, Types: slices.Sorted(maps.Keys(r.Content))}
	if code == "default" {
		a.Status = "error"
	}
	for _, t := range a.Types {
		if a.Shape == nil {
			a.Shape = typeOf(r.Content[t].Schema)
		}
	}
	return a
}

func (s spec) shapes() []shape {
	var out []shape
	for _, name := range slices.Sorted(maps.Keys(s.Components.Schemas)) {
		x := s.Components.Schemas[name]
		v := shape{Name: name, Description: x.Description, Fields: s.fields(x, "")}
		if len(v.Fields) == 0 {
			v.Type = typeOf(x)
		}
		out = append(out, v)
	}
	return out
}

const schemaRef = "#/components/schemas/"

// resolve follows references.
func (s spec) resolve(x *schema) *schema {
	for x != nil {
		name, ok := strings.CutPrefix(x.Ref, schemaRef)
		if !ok && len(x.AllOf) == 1 {
			x = x.AllOf[0]
			continue
		}
		if !ok {
			return x
		}
		x = s.Components.Schemas[name]
	}
	return &schema{}
}

// fields are the properties of an object, the required ones first.
func (s spec) fields(x *schema, in string) []field {
	var out []field
	for name, p := range x.Properties {
		out = append(out, field{name, in, p.Description, typeOf(p), slices.Contains(x.Required, name)})
	}
	slices.SortFunc(out, func(a, b field) int {
		if a.Required != b.Required {
			if a.Required {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Name, b.Name)
	})
	return out
}

// typeOf says what a value is.
func typeOf(x *schema) []piece {
	if x == nil {
		return []piece{{Text: "anything"}}
	}
	var out []piece
	var values *schema
	if len(x.Values) > 0 && json.Unmarshal(x.Values, &values) != nil {
		values = nil // true: anything goes
	}
	name, isRef := strings.CutPrefix(x.Ref, schemaRef)
	switch {
	case isRef:
		out = []piece{{name, name}}
	case len(x.AllOf) == 1:
		out = typeOf(x.AllOf[0])
	case len(x.OneOf) > 0:
		for i, one := range x.OneOf {
			if i > 0 {
				out = append(out, piece{Text: " or "})
			}
			out = append(out, typeOf(one)...)
		}
	case len(x.Enum) > 0:
		out = []piece{{Text: strings.Join(x.Enum, ", ")}}
	case x.Type == "array":
		out = append([]piece{{Text: "list of "}}, typeOf(x.Items)...)
	case x.Type == "object" && values != nil && len(x.Properties) == 0:
		out = append([]piece{{Text: "object of "}}, typeOf(values)...)
	default:
		out = []piece{{Text: cmp.Or(map[string]string{"byte": "base64", "binary": "bytes", "int64": "integer as text"}[x.Format], x.Type, "anything")}}
	}
	if x.Nullable {
		out = append(out, piece{Text: " or null"})
	}
	return out
}
