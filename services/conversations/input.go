package conversations

import (
	"context"
	"encoding/base64"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"
	"unicode/utf8"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent"
	"anthill/services/internal/fault"
)

// refsMax bounds the references in one request: each reads a turn.
const refsMax = 500

// given are the items of a request as messages, one or two per item, and what
// they ask.
type given struct {
	messages []agent.Message
	question string // the last thing the user said, in words for a title
	asks     bool   // something in it wants an answer
}

// readItems turns items into messages. at is the name of the list in the
// request; what an item refers to is read from the store.
func (r *Room) readItems(ctx context.Context, items []*antonv1.InputItem, at string) (*given, error) {
	g := &given{}
	size, refs := 0, 0
	for i, it := range items {
		loc := []string{at, fmt.Sprint(i)}
		switch {
		case it == nil:
			return nil, fault.BadField("model_attributes_type", "Input should be a valid object", loc...)
		case it.FunctionCall != nil:
			c := it.FunctionCall
			if c.CallId == "" || c.Name == "" {
				return nil, fault.BadField("missing", "A call has a call_id and a name", loc...)
			}
			g.messages = append(g.messages, agent.Message{Role: agent.RoleAssistant,
				Calls: []agent.ToolCall{{ID: c.CallId, Name: c.Name, Input: c.Arguments}}})
			size += len(c.Arguments)
		case it.FunctionCallOutput != nil:
			o := it.FunctionCallOutput
			if o.CallId == "" {
				return nil, fault.BadField("missing", "Field required", append(loc, "call_id")...)
			}
			g.messages = append(g.messages, agent.Message{Role: agent.RoleTool,
				Results: []agent.ToolResult{{ID: o.CallId, Content: o.Output}}})
			g.asks = true
			size += len(o.Output)
		case it.ItemReference != "":
			if refs++; refs > refsMax {
				return nil, fault.BadField("too_long", fmt.Sprintf("At most %d references to items in one request", refsMax), at)
			}
			found, err := r.referred(ctx, it.ItemReference, loc)
			if err != nil {
				return nil, err
			}
			for _, m := range found {
				size += sizeOf(m)
				g.hear(m, headlineOf(m))
			}
			g.messages = append(g.messages, found...)
		default:
			m, err := readMessage(it, loc)
			if err != nil {
				return nil, err
			}
			g.messages = append(g.messages, m)
			size += len(m.Text)
			title := headlineOf(m)
			if m.Text == "" && len(it.Content) > 0 && it.Content[0].GetFile().GetFilename() != "" {
				title = it.Content[0].File.Filename // not the words of a file that is text
			}
			g.hear(m, title)
		}
		if size > inputMax {
			return nil, fault.New(fault.Invalid, "BODY_TOO_LARGE", "The input is larger than %d MiB", inputMax>>20)
		}
	}
	return g, nil
}

// sizeOf is about what a message takes.
func sizeOf(m agent.Message) int {
	n := len(m.Text)
	for _, p := range m.Parts {
		n += len(p.Text)
		if p.Image != nil {
			n += len(p.Image.Data)
		}
		if p.File != nil {
			n += len(p.File.Data)
		}
	}
	for _, c := range m.Calls {
		n += len(c.Input)
	}
	for _, r := range m.Results {
		n += len(r.Content)
	}
	return n
}

// hear notes what a user's message asks.
func (g *given) hear(m agent.Message, title string) {
	if m.Role == agent.RoleUser && title != "" {
		g.question, g.asks = title, true
	}
}

// calls are the ids of the calls in the messages, and of those that are answered.
func (g *given) calls() (made map[string]bool, answered []string) {
	made = map[string]bool{}
	for _, m := range g.messages {
		for _, c := range m.Calls {
			made[c.ID] = true
		}
		for _, r := range m.Results {
			answered = append(answered, r.ID)
		}
	}
	return made, answered
}

// headlineOf is what a user's message says, in words; empty if it says nothing.
func headlineOf(m agent.Message) string {
	if strings.TrimSpace(m.Text) != "" {
		return m.Text
	}
	for _, p := range m.Parts {
		switch {
		case p.File != nil && p.File.Name != "":
			return p.File.Name
		case p.File != nil:
			return "Document"
		case p.Image != nil:
			return "Image"
		case strings.TrimSpace(p.Text) != "":
			return p.Text
		}
	}
	return ""
}

func readMessage(it *antonv1.InputItem, loc []string) (agent.Message, error) {
	m := agent.Message{Text: it.Text}
	switch it.Role {
	case "user":
		m.Role = agent.RoleUser
	case "assistant":
		m.Role = agent.RoleAssistant
	case "system", "developer":
		m.Role = agent.RoleSystem
	default:
		return m, fault.BadField("literal_error",
			"Input should be 'user', 'assistant', 'system' or 'developer'", append(loc, "role")...)
	}
	if len(it.Content) == 0 {
		return m, nil
	}
	var text strings.Builder
	more := false // than the user's own text
	for n, c := range it.Content {
		at := append(append([]string(nil), loc...), "content", fmt.Sprint(n))
		var p agent.Part
		var err error
		switch {
		case c.GetImage() != nil && m.Role == agent.RoleUser:
			p, err = readImage(c.Image, at)
			more = true
		case c.GetFile() != nil && m.Role == agent.RoleUser:
			p, err = readFile(c.File, at)
			more = true
		case c.GetImage() != nil || c.GetFile() != nil:
			err = fault.BadField("value_error", "Only a user's message holds images and files", at...)
		default:
			p.Text = c.GetText()
			text.WriteString(p.Text)
		}
		if err != nil {
			return m, err
		}
		m.Parts = append(m.Parts, p)
	}
	m.Text = text.String()
	if !more {
		m.Parts = nil
	}
	return m, nil
}

// imageTypes are those that every model that sees can read.
var imageTypes = map[string]bool{"image/png": true, "image/jpeg": true, "image/gif": true, "image/webp": true}

func readImage(in *antonv1.InputImage, at []string) (agent.Part, error) {
	bad := func(format string, args ...any) (agent.Part, error) {
		return agent.Part{}, fault.BadField("value_error", fmt.Sprintf(format, args...), append(at, "image_url")...)
	}
	switch in.Detail {
	case "", "auto", "low", "high", "original":
	default:
		return agent.Part{}, fault.BadField("literal_error", "Input should be 'auto', 'low' or 'high'", append(at, "detail")...)
	}
	img := &agent.Image{Detail: in.Detail}
	if !strings.HasPrefix(in.Url, "data:") {
		if !webURL(in.Url) {
			return bad("An image is a data: URL, or an http or https URL")
		}
		img.URL = in.Url
		return agent.Part{Image: img}, nil
	}
	_, data, err := readDataURL(in.Url)
	if err != nil {
		return bad("The data: URL cannot be read: %v", err)
	}
	// What the bytes are decides, not what they are called.
	if img.MIME = http.DetectContentType(data); !imageTypes[img.MIME] {
		return bad("The image is not a PNG, JPEG, GIF or WebP")
	}
	img.Data = data
	return agent.Part{Image: img}, nil
}

// readFile makes text of a file that is text, and keeps a PDF for providers
// that read one.
func readFile(in *antonv1.InputFile, at []string) (agent.Part, error) {
	bad := func(field, format string, args ...any) (agent.Part, error) {
		return agent.Part{}, fault.BadField("value_error", fmt.Sprintf(format, args...), append(at, field)...)
	}
	name := path.Base("/" + strings.ToValidUTF8(in.Filename, "\uFFFD"))
	if name == "/" {
		name = "document"
	}
	if in.Data == "" {
		if !webURL(in.Url) {
			return bad("file_data", "A file has file_data (a data: URL or base64), or a file_url")
		}
		return agent.Part{File: &agent.File{Name: name, URL: in.Url}}, nil
	}
	var declared string
	var data []byte
	var err error
	if strings.HasPrefix(in.Data, "data:") {
		declared, data, err = readDataURL(in.Data)
	} else {
		data, err = base64.StdEncoding.DecodeString(in.Data)
	}
	if err != nil {
		return bad("file_data", "The file's data cannot be read: %v", err)
	}
	switch {
	case strings.HasPrefix(string(data), "%PDF-"):
		return agent.Part{File: &agent.File{Name: name, MIME: "application/pdf", Data: data}}, nil
	case imageTypes[http.DetectContentType(data)]:
		return agent.Part{Image: &agent.Image{MIME: http.DetectContentType(data), Data: data}}, nil
	case utf8.Valid(data) && !strings.ContainsRune(string(data), 0):
		return agent.Part{Text: fmt.Sprintf("<file name=%q>\n%s\n</file>", name, data)}, nil
	}
	if declared == "" {
		declared = http.DetectContentType(data)
	}
	return bad("file_data", "A file of type %s cannot be read by this version: send text, an image or a PDF", declared)
}

func webURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil
}

// readDataURL decodes a URL as in RFC 2397.
func readDataURL(s string) (mediaType string, data []byte, err error) {
	head, body, ok := strings.Cut(strings.TrimPrefix(s, "data:"), ",")
	if !ok {
		return "", nil, fmt.Errorf("it has no comma")
	}
	head, isBase64 := strings.CutSuffix(head, ";base64")
	if head != "" {
		if mediaType, _, err = mime.ParseMediaType(head); err != nil {
			return "", nil, fmt.Errorf("its media type is malformed")
		}
	}
	if !isBase64 {
		text, err := url.PathUnescape(body)
		if err != nil {
			return "", nil, fmt.Errorf("its escapes are malformed")
		}
		return mediaType, []byte(text), nil
	}
	if data, err = base64.StdEncoding.DecodeString(body); err != nil {
		return "", nil, fmt.Errorf("its base64 is malformed")
	}
	return mediaType, data, nil
}

// showMessage is the item that a given message came from.
func showMessage(m agent.Message) *antonv1.InputItem {
	switch {
	case len(m.Calls) > 0:
		c := m.Calls[0]
		return &antonv1.InputItem{FunctionCall: &antonv1.FunctionCallItem{CallId: c.ID, Name: c.Name, Arguments: c.Input}}
	case len(m.Results) > 0:
		return &antonv1.InputItem{FunctionCallOutput: &antonv1.FunctionCallOutput{
			CallId: m.Results[0].ID, Output: m.Results[0].Content}}
	}
	it := &antonv1.InputItem{Role: string(m.Role), Text: m.Text}
	for _, p := range m.Parts {
		it.Content = append(it.Content, showPart(p))
	}
	return it
}

func showPart(p agent.Part) *antonv1.ContentPart {
	switch {
	case p.Image != nil && p.Image.URL != "":
		return &antonv1.ContentPart{Image: &antonv1.InputImage{Url: p.Image.URL, Detail: p.Image.Detail}}
	case p.Image != nil:
		return &antonv1.ContentPart{Image: &antonv1.InputImage{Url: dataURL(p.Image.MIME, p.Image.Data), Detail: p.Image.Detail}}
	case p.File != nil && p.File.URL != "":
		return &antonv1.ContentPart{File: &antonv1.InputFile{Filename: p.File.Name, Url: p.File.URL}}
	case p.File != nil:
		return &antonv1.ContentPart{File: &antonv1.InputFile{Filename: p.File.Name, Data: dataURL(p.File.MIME, p.File.Data)}}
	}
	return &antonv1.ContentPart{Text: p.Text}
}

func dataURL(mediaType string, data []byte) string {
	return "data:" + mediaType + ";base64," + base64.StdEncoding.EncodeToString(data)
}
