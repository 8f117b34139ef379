package agent

import "strings"

// unknownWindow is taken for models that the table does not have.
const unknownWindow = 128_000

// windows are the contexts of well-known models in tokens, by what their names
// begin with; the first that fits counts.
var windows = []struct {
	prefix string
	tokens int
}{
	{"claude", 200_000},
	{"gpt-5", 400_000},
	{"gpt-4.1", 1_047_576},
	{"gpt-4o", 128_000},
	{"gpt-4-turbo", 128_000},
	{"gpt-4", 8_192},
	{"gpt-3.5", 16_385},
	{"o1", 200_000},
	{"o3", 200_000},
	{"o4", 200_000},
	{"gemini", 1_048_576},
}

// WindowOf is how many tokens a model takes in one request, by its name; what
// stands before a slash, such as a vendor's, does not count.
func WindowOf(model string) int {
	name := strings.ToLower(model[strings.LastIndexByte(model, '/')+1:])
	for _, w := range windows {
		if strings.HasPrefix(name, w.prefix) {
			return w.tokens
		}
	}
	return unknownWindow
}

// A token is about four bytes of text; pictures and documents have no text to
// count.
const (
	bytesPerToken  = 4
	tokensPerImage = 1_500
	bytesPerPDF    = 25 // of a document for each token
	tokensPerMore  = 4  // that a message takes beside its text
)

// estimate is about how many tokens messages take.
func estimate(messages ...Message) int {
	tokens, bytes := 0, 0
	for _, m := range messages {
		tokens += tokensPerMore
		switch {
		case len(m.Parts) == 0:
			bytes += len(m.Text)
		default:
			tokens += estimateParts(m.Parts)
		}
		for _, c := range m.Calls {
			bytes += len(c.Name) + len(c.Input)
		}
		for _, r := range m.Results {
			bytes += len(r.Content)
			tokens += tokensPerMore + estimateParts(r.Parts)
		}
	}
	return tokens + bytes/bytesPerToken
}

func estimateParts(parts []Part) int {
	tokens := 0
	for _, p := range parts {
		switch {
		case p.Image != nil:
			tokens += tokensPerImage
		case p.File != nil:
			tokens += len(p.File.Data) / bytesPerPDF
		default:
			tokens += len(p.Text) / bytesPerToken
		}
	}
	return tokens
}

// estimateTools is the same for what every request repeats.
func estimateTools(system string, specs []ToolSpec) int {
	bytes := len(system)
	for _, s := range specs {
		bytes += len(s.Name) + len(s.Description) + len(s.Schema)
	}
	return bytes / bytesPerToken
}
