// Package agent is the engine that turns a conversation and a model into one
// finished turn: it asks the provider, runs the tools the model calls, and
// tells a Sink what happens while it happens.
//
// Rooms enter through Run. The package never stores anything and never speaks
// to a client: what must survive goes through the Sink before Run continues.
package agent

import (
	"context"
	"encoding/json"
	"time"
)

// Role says who a message is from.
type Role string

const (
	RoleUser      Role = "user"
	RoleAssistant Role = "assistant"
	RoleTool      Role = "tool"
)

// Message is one entry of the history that a model sees.
type Message struct {
	Role    Role         `json:"role"`
	Text    string       `json:"text,omitempty"`
	Calls   []ToolCall   `json:"calls,omitempty"`   // RoleAssistant: the tools it asked for
	Results []ToolResult `json:"results,omitempty"` // RoleTool: the answers to the calls of the message before
}

// ToolCall is a model's request to run a tool. Input is one JSON object; it is
// not valid JSON when the model's output was cut off, and then is never run.
type ToolCall struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Input string `json:"input"`
}

// ToolResult answers the call with the same id.
type ToolResult struct {
	ID      string `json:"id"`
	Content string `json:"content"`
	IsError bool   `json:"is_error,omitempty"`
}

// ToolSpec describes a tool to a model. Schema is a JSON Schema object.
type ToolSpec struct {
	Name        string
	Description string
	Schema      json.RawMessage
}

// Tool is something a model can do. Run may block and must obey ctx, which also
// takes its signs of life (Report); an error it returns is told to the model,
// never to the user as it is.
type Tool interface {
	Spec() ToolSpec
	Run(ctx context.Context, input json.RawMessage) (string, error)
}

// Request is one call of a model.
type Request struct {
	Model       string
	System      string
	Messages    []Message
	Tools       []ToolSpec
	MaxTokens   int // 0: the provider's default
	Temperature *float64
	TopP        *float64
}

// Usage counts tokens as the provider reported them; all zero if it did not.
type Usage struct {
	InputTokens     int `json:"input_tokens"`
	CachedTokens    int `json:"cached_tokens"`
	OutputTokens    int `json:"output_tokens"`
	ReasoningTokens int `json:"reasoning_tokens"`
}

// Finish says why a model stopped.
type Finish string

const (
	FinishStop   Finish = "stop"
	FinishTools  Finish = "tool_calls"
	FinishLength Finish = "length"  // the output budget was used up
	FinishFilter Finish = "filter"  // the provider withheld the rest
	FinishCut    Finish = "cut_off" // the stream ended without its finish marker
)

// Completion is what a model answered in one call.
type Completion struct {
	Text   string
	Calls  []ToolCall
	Finish Finish
	Usage  Usage
}

// Delta is a piece of an answer as it arrives. Exactly one field is set.
type Delta struct {
	Text      string
	Reasoning string
	CallStart *ToolCall // id and name known, input still to come
}

// Provider calls one kind of model. Stream blocks until the answer is complete,
// handing pieces to emit in order; an error from emit ends the call and is
// returned. A failure is an *Error. The returned Completion holds what arrived,
// also beside an error.
type Provider interface {
	Stream(ctx context.Context, req Request, emit func(Delta) error) (Completion, error)
}

// Progress is a sign of life for people: never part of the answer.
type Progress struct {
	Phase     string // planning, executing, tool_start, tool_done …
	Message   string
	ETA       time.Duration
	ToolUseID string
}

// Sink receives a turn as it happens, in order, never two calls at once. An
// error from any method ends the turn with that error.
type Sink interface {
	Text(delta string) error
	Reasoning(delta string) error
	Progress(Progress) error
	ToolStart(id, name string) error // the model began the call
	ToolInput(call ToolCall) error   // its input is complete; left out for a call that was cut off
	// ToolResult ends every call that was started. The result is bare: what Run
	// adds to it for the model only is in History.
	ToolResult(call ToolCall, r ToolResult, took time.Duration) error
	// History is handed every message of the turn once it is complete, an
	// assistant message with calls before any of its tools run. It must be
	// durable when History returns.
	History(Message) error
}
