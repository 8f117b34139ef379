package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"unicode/utf8"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// tool describes one tool.
type tool struct {
	name, title, description string
	reads                    bool // it changes nothing
	schema                   func(in *jsonschema.Schema)
}

// request is one call of a tool.
type request struct {
	session *sdk.ServerSession
	token   any // of progress; nil: the caller does not want it
}

// addTool makes do a tool: it returns what it found as an object and as a text
// for people and for clients that know no objects. Its context ends when the call
// is cancelled, with the cause context.Canceled, or when the caller has gone.
func addTool[In, Out any](s *sdk.Server, t tool, do func(context.Context, request, In) (Out, string, error)) {
	in, err := jsonschema.For[In](nil)
	if err != nil {
		panic(err) // the tables of this package are wrong
	}
	if t.schema != nil {
		t.schema(in)
	}
	harmless := false
	sdk.AddTool(s, &sdk.Tool{Name: t.name, Title: t.title, Description: t.description, InputSchema: in,
		Annotations: &sdk.ToolAnnotations{Title: t.title, ReadOnlyHint: t.reads, DestructiveHint: &harmless, OpenWorldHint: &harmless},
	}, func(ctx context.Context, r *sdk.CallToolRequest, given In) (*sdk.CallToolResult, Out, error) {
		var none Out
		if !utf8.Valid(r.Params.Arguments) {
			return nil, none, errors.New("the arguments are not valid UTF-8")
		}
		ctx, done := bind(ctx)
		defer done()
		out, text, err := do(ctx, request{r.Session, r.Params.GetProgressToken()}, given)
		if err != nil {
			return nil, none, explain(err)
		}
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: clip(text, textMax)}}}, out, nil
	})
}

// between bounds a number.
func between(s *jsonschema.Schema, name string, least, most, usual int) {
	p := s.Properties[name]
	lo, hi := float64(least), float64(most)
	p.Minimum, p.Maximum = &lo, &hi
	p.Default = json.RawMessage(fmt.Sprint(usual))
}

// oneOf lists what a text can be.
func oneOf(s *jsonschema.Schema, name string, values ...any) { s.Properties[name].Enum = values }

// filled asks for texts that are not empty.
func filled(s *jsonschema.Schema, names ...string) {
	one := 1
	for _, name := range names {
		s.Properties[name].MinLength = &one
	}
}

// drop takes a property out.
func drop(s *jsonschema.Schema, name string) {
	delete(s.Properties, name)
	for i, n := range s.PropertyOrder {
		if n == name {
			s.PropertyOrder = append(s.PropertyOrder[:i:i], s.PropertyOrder[i+1:]...)
			break
		}
	}
}

// recovering keeps a defect of one call from ending the program: handlers run on
// goroutines of the SDK, where no server catches it.
func recovering(next sdk.MethodHandler) sdk.MethodHandler {
	return func(ctx context.Context, method string, r sdk.Request) (result sdk.Result, err error) {
		defer func() {
			if v := recover(); v != nil {
				logOf(ctx).Error("panic while serving", "method", method, "panic", v, "stack", string(debug.Stack()))
				result, err = nil, &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: "Internal error"}
			}
		}()
		return next(ctx, method, r)
	}
}
