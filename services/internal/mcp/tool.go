package mcp

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"anthill/services/internal/agent"
)

// Bounds of what a turn gets.
const (
	offeredMax      = 100       // tools; providers take 128 in all
	offeredBytes    = 256 << 10 // of their descriptions and schemas
	resultMax       = 100 << 10 // bytes of one result
	picturesMost    = 3
	pictureBytesMax = 2 << 20
	progressGap     = 250 * time.Millisecond
)

// tool is one of a server.
type tool struct {
	name, title, description string
	schema                   json.RawMessage
}

// tool reads what a server says of one; false if models cannot have it.
func (s *server) tool(t *sdk.Tool) (tool, bool) {
	secrets := s.entry.secrets
	own := tool{name: t.Name, description: clip(redact(wellFormed(t.Description), secrets), descriptionMax)}
	title := t.Title
	if title == "" && t.Annotations != nil {
		title = t.Annotations.Title
	}
	own.title = clip(redact(readable(title), secrets), titleMax)
	schema, ok := t.InputSchema.(map[string]any)
	if !ok && t.InputSchema != nil {
		return tool{}, false
	}
	if schema == nil {
		schema = map[string]any{}
	}
	if _, has := schema["type"]; !has { // providers insist
		schema["type"] = "object"
	}
	b, err := json.Marshal(schema)
	own.schema = json.RawMessage(redact(string(b), secrets))
	valid := err == nil && schema["type"] == "object" && len(b) <= schemaMax && json.Valid(own.schema)
	return own, valid && t.Name != "" && len(t.Name) <= schemaMax && utf8.ValidString(t.Name) && redact(t.Name, secrets) == t.Name
}

func wellFormed(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// offer are the tools that turns get of servers which are there: those that a
// rule allows, of each server its first ones if they are too many.
func offer(servers []*server, r Rule) []agent.Tool {
	type candidate struct {
		offered
		rank int // in its server
	}
	var all []candidate
	names := namesOf(servers)
	for _, s := range servers {
		if !s.connected() {
			continue
		}
		rank := 0
		for _, t := range s.known() {
			name := names[of{s.entry.name, t.name}]
			if name != "" && r.allows(s.entry.name, t.name, name) {
				all = append(all, candidate{offered{server: s, tool: t, name: name}, rank})
				rank++
			}
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return a.rank - b.rank })
	had, size := map[string]bool{}, 0
	var out []agent.Tool
	for _, c := range all {
		size += len(c.tool.description) + len(c.tool.schema)
		if len(out) == offeredMax || size > offeredBytes {
			break
		}
		if !had[c.name] {
			had[c.name] = true
			out = append(out, c.offered)
		}
	}
	slices.SortFunc(out, func(a, b agent.Tool) int { return cmp.Compare(a.(offered).name, b.(offered).name) })
	return out
}

// offered is a tool of a server as a turn has it.
type offered struct {
	server *server
	tool   tool
	name   string
}

// Spec implements agent.Tool.
func (t offered) Spec() agent.ToolSpec {
	return agent.ToolSpec{Name: t.name, Description: t.tool.description, Schema: t.tool.schema}
}

// Run implements agent.Tool.
func (t offered) Run(ctx context.Context, input json.RawMessage) (string, error) {
	var mu sync.Mutex
	var last time.Time
	heard := func(p *sdk.ProgressNotificationParams) {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(last) >= progressGap {
			last = time.Now()
			agent.Report(ctx, agent.Progress{Phase: "executing", Message: t.server.step(p)})
		}
	}
	for again := true; ; again = false {
		c, err := t.server.connection(ctx)
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		if err != nil {
			return "", fmt.Errorf("the server %s is not there: %w", t.server.entry.name, err)
		}
		r, err := t.server.call(ctx, c, t.tool.name, input, heard)
		switch {
		case err == nil:
			return t.result(ctx, r)
		case ctx.Err() != nil:
			return "", context.Cause(ctx)
		case errors.Is(err, sdk.ErrSessionMissing) && again: // it has not run the call
			t.server.forget(c)
			continue
		}
		return "", fmt.Errorf("the server %s did not answer: %s", t.server.entry.name, t.server.words(c, err))
	}
}

// step is what a sign of life says.
func (s *server) step(p *sdk.ProgressNotificationParams) string {
	text := clip(redact(readable(p.Message), s.entry.secrets), titleMax)
	done := fmt.Sprintf("%g", p.Progress)
	if p.Total > 0 {
		done += fmt.Sprintf(" of %g", p.Total)
	}
	if text == "" {
		return done
	}
	return text + " (" + done + ")"
}

// result is what a call came to: the text for the model, pictures beside it.
func (t offered) result(ctx context.Context, r *sdk.CallToolResult) (string, error) {
	if r == nil {
		return "", errors.New("the server answered nothing")
	}
	var parts []string
	var pictures []agent.Part
	for _, c := range r.Content {
		text, picture := content(c)
		if picture != nil && len(pictures) < picturesMost {
			pictures = append(pictures, agent.Part{Image: picture})
		}
		if text != "" {
			parts = append(parts, text)
		}
	}
	if r.StructuredContent != nil {
		if b, err := json.Marshal(r.StructuredContent); err == nil && !slices.ContainsFunc(parts, func(s string) bool { return sameJSON(s, b) }) {
			parts = append(parts, string(b))
		}
	}
	// Secrets first: a cut through one would hide it from whoever looks for it.
	text := middleOut(redact(wellFormed(strings.Join(parts, "\n")), t.server.entry.secrets, t.server.engine.opt.Secrets()), resultMax)
	if r.IsError {
		return "", errors.New(cmp.Or(text, "the tool failed and did not say why"))
	}
	agent.Attach(ctx, pictures...)
	return cmp.Or(text, "(no output)"), nil
}

// content is one piece of a result.
func content(c sdk.Content) (text string, picture *agent.Image) {
	switch c := c.(type) {
	case *sdk.TextContent:
		return c.Text, nil
	case *sdk.ImageContent:
		mime := http.DetectContentType(c.Data)
		switch mime {
		case "image/png", "image/jpeg", "image/gif", "image/webp":
			if len(c.Data) <= pictureBytesMax {
				return "(a picture, " + mime + ")", &agent.Image{MIME: mime, Data: c.Data}
			}
		}
		return fmt.Sprintf("(a picture of %d bytes that cannot be shown)", len(c.Data)), nil
	case *sdk.AudioContent:
		return fmt.Sprintf("(a sound of %d bytes that cannot be played)", len(c.Data)), nil
	case *sdk.ResourceLink:
		if c.Description != "" {
			return fmt.Sprintf("%s (%s): %s", cmp.Or(c.Title, c.Name), c.Description, c.URI), nil
		}
		return cmp.Or(c.Title, c.Name) + ": " + c.URI, nil
	case *sdk.EmbeddedResource:
		switch {
		case c.Resource == nil:
			return "", nil
		case c.Resource.Text != "":
			return c.Resource.URI + "\n" + c.Resource.Text, nil
		}
		return fmt.Sprintf("%s (%d bytes that are no text)", c.Resource.URI, len(c.Resource.Blob)), nil
	}
	return "", nil
}

// sameJSON says whether a text is the JSON that Marshal gave.
func sameJSON(text string, b []byte) bool {
	var v any
	if json.Unmarshal([]byte(text), &v) != nil {
		return false
	}
	again, err := json.Marshal(v)
	return err == nil && string(again) == string(b)
}

// clip cuts a text to at most n bytes, between characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	n -= len("…")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// middleOut takes the middle out of a text that is too long, and says so.
func middleOut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	head, end := most*2/3, len(s)-most/3
	for head > 0 && !utf8.RuneStart(s[head]) {
		head--
	}
	for end < len(s) && !utf8.RuneStart(s[end]) {
		end++
	}
	return fmt.Sprintf("%s\n\n[… %d bytes of the result are left out here; ask for less at a time …]\n\n%s", s[:head], end-head, s[end:])
}
