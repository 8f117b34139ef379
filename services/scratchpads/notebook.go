package scratchpads

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
)

// GetScratchpadNotebook implements antonv1.ScratchpadsServiceServer.
func (r *Room) GetScratchpadNotebook(ctx context.Context, q *antonv1.GetScratchpadNotebookRequest) (*antonv1.ScratchpadNotebook, error) {
	switch q.Format {
	case "", "markdown", "ipynb":
	default:
		return nil, fault.BadField("literal_error", "Input should be 'markdown' or 'ipynb'", "format")
	}
	rec, cells, err := r.allCells(ctx, q)
	if err != nil {
		return nil, err
	}
	if q.Format != "ipynb" {
		return &antonv1.ScratchpadNotebook{Notebook: markdown(rec.Name, cells)}, nil
	}
	text, err := jupyter(cells)
	if err != nil {
		return nil, fmt.Errorf("encode a notebook: %w", err)
	}
	return &antonv1.ScratchpadNotebook{Notebook: string(text)}, nil
}

// What a notebook in Markdown shows of each text.
// compat: anton.md 9.
const (
	linesShown = 20
	charsShown = 2000
)

// markdown is a notebook to read.
func markdown(name string, cells []*antonv1.Cell) string {
	var b strings.Builder
	plural := "s"
	if len(cells) == 1 {
		plural = ""
	}
	fmt.Fprintf(&b, "## Scratchpad: %s (%d cell%s)\n", heading(name), len(cells), plural)
	for _, c := range cells {
		fmt.Fprintf(&b, "\n### Cell %d", c.Number)
		if c.Description != "" {
			fmt.Fprintf(&b, " — %s", heading(c.Description))
		}
		fmt.Fprintf(&b, "\n\n%s\n", fenced("python", strings.TrimRight(c.Code, "\n")))
		part := func(title, text string) {
			if text = strings.TrimRight(plain(text), "\n"); text != "" {
				fmt.Fprintf(&b, "\n**%s:**\n%s\n", title, fenced("", clipLines(text)))
			}
		}
		part("Notice", c.Notice)
		part("Output", c.Stdout)
		for _, o := range c.Outputs {
			part("Display", shownAs(o))
		}
		part("Logs", c.Logs)
		part("Stderr", c.Stderr)
		part("Error", c.GetError())
	}
	return b.String()
}

// heading is a text that stays one line of Markdown, and text.
func heading(s string) string {
	return strings.NewReplacer("\\", "\\\\", "<", "\\<", "&", "\\&", "`", "\\`", "*", "\\*", "_", "\\_", "[", "\\[", "]", "\\]").Replace(oneLine(s))
}

// fenced puts a text between fences that it cannot end.
func fenced(language, text string) string {
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fence + language + "\n" + text + "\n" + fence
}

// clipLines keeps the beginning of a text.
func clipLines(s string) string {
	lines := strings.SplitN(s, "\n", linesShown+1)
	more := len(lines) > linesShown
	short := strings.Join(lines[:min(len(lines), linesShown)], "\n")
	if r := []rune(short); len(r) > charsShown {
		short, more = string(r[:charsShown]), true
	}
	if more {
		short += "\n…"
	}
	return short
}

// Jupyter's notebook, format 4.5.
type (
	ipynb struct {
		Cells    []ipynbCell   `json:"cells"`
		Metadata ipynbMetadata `json:"metadata"`
		Format   int           `json:"nbformat"`
		Minor    int           `json:"nbformat_minor"`
	}
	ipynbMetadata struct {
		Kernel   map[string]string `json:"kernelspec"`
		Language map[string]string `json:"language_info"`
	}
	ipynbCell struct {
		Type     string           `json:"cell_type"`
		ID       string           `json:"id"`
		Count    *int32           `json:"execution_count"`
		Metadata map[string]any   `json:"metadata"`
		Outputs  []map[string]any `json:"outputs"`
		Source   string           `json:"source"`
	}
)

// jupyter is a notebook for Jupyter, with all displays.
func jupyter(cells []*antonv1.Cell) ([]byte, error) {
	book := ipynb{Format: 4, Minor: 5, Cells: []ipynbCell{}, Metadata: ipynbMetadata{
		Kernel:   map[string]string{"name": "python3", "display_name": "Python 3", "language": "python"},
		Language: map[string]string{"name": "python", "file_extension": ".py", "mimetype": "text/x-python"}}}
	for _, c := range cells {
		meta := map[string]any{}
		if c.Description != "" {
			meta["name"] = oneLine(c.Description)
		}
		book.Cells = append(book.Cells, ipynbCell{Type: "code", ID: fmt.Sprintf("cell-%d", c.Number), Count: &c.Number,
			Metadata: meta, Outputs: jupyterOutputs(c), Source: c.Code})
	}
	return json.MarshalIndent(book, "", " ")
}

func jupyterOutputs(c *antonv1.Cell) []map[string]any {
	out := []map[string]any{}
	for _, s := range [][2]string{{"stdout", c.Stdout}, {"stderr", c.Logs + c.Stderr}} {
		if s[1] != "" {
			out = append(out, map[string]any{"output_type": "stream", "name": s[0], "text": s[1]})
		}
	}
	for _, o := range c.Outputs {
		entry := map[string]any{"output_type": o.Kind, "data": jupyterData(o.Data), "metadata": map[string]any{}}
		if o.Kind == "execute_result" {
			entry["execution_count"] = c.Number
		}
		out = append(out, entry)
	}
	if c.Error != nil {
		lines := strings.Split(*c.Error, "\n")
		name, value := c.Status, lines[len(lines)-1]
		if before, after, ok := strings.Cut(value, ": "); ok && c.Status == "error" && !strings.ContainsAny(before, " \t") {
			name, value = before, after
		}
		out = append(out, map[string]any{"output_type": "error", "ename": name, "evalue": value, "traceback": lines})
	}
	return out
}

// jupyterData has JSON as JSON and everything else as text.
func jupyterData(data map[string]string) map[string]any {
	out := map[string]any{}
	for mime, text := range data {
		if mime == "application/json" || strings.HasSuffix(mime, "+json") {
			if json.Valid([]byte(text)) {
				out[mime] = json.RawMessage(text)
			}
			continue
		}
		out[mime] = text
	}
	return out
}
