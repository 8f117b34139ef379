package scratchpads

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"strings"

	antonv1 "anthill/gen/anton/v1"
)

//go:embed view.css
var viewStyle string

//go:embed view.html
var viewPage string

var viewTemplate = template.Must(template.New("view").Parse(viewPage))

// viewPolicy lets a page show itself and pictures within it, and nothing else:
// frames inherit it.
var viewPolicy = func() string {
	sum := sha256.Sum256([]byte(viewStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; img-src data:; base-uri 'none'; form-action 'none'" + onlyHeader
}()

// onlyHeader is the part of the policy that a page cannot give itself.
const onlyHeader = "; frame-ancestors 'self'; sandbox"

// viewCell is a cell as the page shows it.
type viewCell struct {
	*antonv1.Cell
	Code    string
	Title   string
	Took    string
	Texts   []viewText
	Outputs []viewOutput
}

type viewText struct{ Kind, Text string }

// viewOutput is one display; one of the three is set.
type viewOutput struct {
	Image template.URL
	Frame string // HTML of a frame of its own, where no script runs
	Text  string
}

// GetScratchpadView implements antonv1.ScratchpadsServiceServer.
func (r *Room) GetScratchpadView(ctx context.Context, q *antonv1.GetScratchpadViewRequest) (*antonv1.ScratchpadView, error) {
	rec, cells, err := r.allCells(ctx, q)
	if err != nil {
		return nil, err
	}
	return page(rec.Name, cells)
}

// page is a view of cells.
func page(name string, cells []*antonv1.Cell) (*antonv1.ScratchpadView, error) {
	p := struct {
		Name   string
		Policy string
		Style  template.CSS
		Cells  []viewCell
	}{Name: oneLine(name), Policy: strings.TrimSuffix(viewPolicy, onlyHeader), Style: template.CSS(viewStyle)}
	for _, c := range cells {
		p.Cells = append(p.Cells, viewOf(c))
	}
	var b strings.Builder
	if err := viewTemplate.Execute(&b, p); err != nil {
		return nil, fmt.Errorf("write a view: %w", err)
	}
	return &antonv1.ScratchpadView{View: b.String(), Text: pageText(cells), ContentSecurityPolicy: viewPolicy}, nil
}

func viewOf(c *antonv1.Cell) viewCell {
	v := viewCell{Cell: c, Code: plain(c.Code), Title: oneLine(c.Description)}
	if c.Status != statusRunning {
		v.Took = fmt.Sprintf("%.3g s", c.Duration)
	}
	for _, t := range []viewText{{"notice", c.Notice}, {"installed", strings.Join(c.Installed, ", ")}, {"stdout", c.Stdout},
		{"logs", c.Logs}, {"stderr", c.Stderr}, {"error", c.GetError()}} {
		if t.Text = plain(t.Text); t.Text != "" {
			v.Texts = append(v.Texts, t)
		}
	}
	for _, o := range c.Outputs {
		v.Outputs = append(v.Outputs, viewOutputOf(o.Data))
	}
	return v
}

// viewOutputOf chooses the richest representation that a page without scripts can show.
func viewOutputOf(data map[string]string) viewOutput {
	for _, mime := range []string{"image/png", "image/jpeg", "image/gif", "image/webp"} {
		if b, err := base64.StdEncoding.DecodeString(data[mime]); err == nil && len(b) > 0 {
			return viewOutput{Image: dataURL(mime, b)}
		}
	}
	if s := data["image/svg+xml"]; s != "" {
		return viewOutput{Image: dataURL("image/svg+xml", []byte(s))} // as an image it runs no script
	}
	if s := data["text/html"]; s != "" {
		return viewOutput{Frame: "<!doctype html><meta charset=utf-8><style>" + viewStyle + "</style>" + visible(s)}
	}
	for _, mime := range []string{"text/markdown", "text/latex", "application/json"} {
		if s := data[mime]; s != "" {
			return viewOutput{Text: plain(s)}
		}
	}
	return viewOutput{Text: plain(data["text/plain"])}
}

func dataURL(mime string, b []byte) template.URL {
	return template.URL("data:" + mime + ";base64," + base64.StdEncoding.EncodeToString(b))
}
