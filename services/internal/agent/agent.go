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
	// RoleSystem holds instructions that a client put among the messages. Run
	// moves them behind the system prompt; no provider gets to see one.
	RoleSystem Role = "system"
)

// Message is one entry of the history that a model sees.
type Message struct {
	Role    Role         `json:"role"`
	Text    string       `json:"text,omitempty"`
	Parts   []Part       `json:"parts,omitempty"`   // RoleUser: all of the message in order, if it is more than Text
	Calls   []ToolCall   `json:"calls,omitempty"`   // RoleAssistant: the tools it asked for
	Results []ToolResult `json:"results,omitempty"` // RoleTool: the answers to the calls of the message before
	Trace   *Trace       `json:"trace,omitempty"`   // RoleAssistant
}

// Content is a user's message in parts; Text alone is one part.
func (m Message) Content() []Part {
	if len(m.Parts) == 0 && m.Text != "" {
		return []Part{{Text: m.Text}}
	}
	return m.Parts
}

// Part is a piece of a user's message. Exactly one field is set.
type Part struct {
	Text  string `json:"text,omitempty"`
	Image *Image `json:"image,omitempty"`
	File  *File  `json:"file,omitempty"`
}

// Image is a picture for a model that can see: its bytes, or where they are.
type Image struct {
	MIME   string `json:"mime,omitempty"` // of Data: image/png, image/jpeg, image/gif or image/webp
	Data   []byte `json:"data,omitempty"`
	URL    string `json:"url,omitempty"`    // http or https; fetched by the provider, never by us
	Detail string `json:"detail,omitempty"` // low, high, auto or empty
}

// File is a document that the provider reads itself, such as a PDF: its bytes,
// or where they are.
type File struct {
	Name string `json:"name,omitempty"`
	MIME string `json:"mime,omitempty"` // of Data
	Data []byte `json:"data,omitempty"`
	URL  string `json:"url,omitempty"` // http or https; fetched by the provider, never by us
}

// Trace is what a provider wants back with the message in later calls, such as
// signed or encrypted reasoning. Only the provider of that name reads it, and
// it ignores what another model left.
type Trace struct {
	Provider string          `json:"provider"`
	Model    string          `json:"model"`
	Data     json.RawMessage `json:"data"`
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
	Parts   []Part `json:"parts,omitempty"` // images and files that come with Content; Run shows them to providers as a message
	View    string `json:"-"`               // what people see instead of Content; see Show
}

// ToolSpec describes a tool to a model. Schema is a JSON Schema object.
type ToolSpec struct {
	Name        string
	Description string
	Schema      json.RawMessage
	Strict      *bool // inputs must follow the schema to the letter; nil: the provider's default
}

// Tool is something a model can do. Run may block and must obey ctx, which also
// takes its signs of life (Report); an error it returns is told to the model,
// never to the user as it is.
type Tool interface {
	Spec() ToolSpec
	Run(ctx context.Context, input json.RawMessage) (string, error)
}

// Final is returned by a Tool as its error to end the turn with a text for the
// user, such as a question: the model is not asked again.
type Final struct{ Text string }

func (f *Final) Error() string { return "the turn ends with: " + f.Text }

// Request is one call of a model. What a provider has no notion of it leaves
// out, except a Format, an Image or a File, without which the answer would be
// another.
type Request struct {
	Model       string
	System      string
	Messages    []Message
	Tools       []ToolSpec
	ToolChoice  ToolChoice
	Parallel    *bool // several calls in one answer; nil: the provider's default
	MaxTokens   int   // 0: the provider's default
	Temperature *float64
	TopP        *float64
	Effort      string  // of reasoning: none, minimal, low, medium, high, xhigh; empty: the provider's default
	Verbosity   string  // low, medium, high or empty
	Format      *Format // nil: plain text
	User        string  // a stable id of the end user, for the provider's records
	// Stop are texts that end the answer before them. Run sees to that itself.
	Stop []string
}

// ToolChoice says whether a model may, must or must not call a tool. The zero
// value lets it decide.
type ToolChoice struct {
	Mode string // "", "none", "required" (any tool), or "tool" (the one of Name)
	Name string
}

// Format is the shape that the answer's text must have: a JSON object.
type Format struct {
	Name        string // of the schema; empty without one
	Description string
	Schema      json.RawMessage // JSON Schema; nil: any JSON object
	Strict      *bool
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
	Trace  *Trace // nil: nothing to give back
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
	// ClientCall is a call of a tool that the client runs: the turn ends with it.
	ClientCall(call ToolCall) error
	// History is handed every message of the turn once it is complete, an
	// assistant message with calls before any of its tools run. It must be
	// durable when History returns.
	History(Message) error
	// Compacted says that requests leave older messages out from now on. It
	// should be durable, so that later turns can begin with it.
	Compacted(Compacted, CompactionNote) error
}
