package documents

import (
	"bytes"
	"io"
	"strings"

	"github.com/JohannesKaufmann/html-to-markdown/v2/converter"
	"github.com/JohannesKaufmann/html-to-markdown/v2/plugin/base"
	"github.com/JohannesKaufmann/html-to-markdown/v2/plugin/commonmark"
	"github.com/JohannesKaufmann/html-to-markdown/v2/plugin/table"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
	"golang.org/x/net/html/charset"
)

// htmlMax is how much of a page is read: converting takes many times as much memory.
const htmlMax = 8 << 20

// extractHTML turns a page into Markdown; one that is nested too deeply for
// that is read as a stream of words.
func extractHTML(out *writer, src Source, _ Limits) error {
	data, err := io.ReadAll(io.NewSectionReader(src.Data, 0, min(src.Size, htmlMax)))
	if err != nil {
		return err
	}
	decoder, _, _ := charset.DetermineEncoding(data[:min(len(data), 1024)], "text/html")
	text, err := decoder.NewDecoder().Bytes(data)
	if err != nil {
		return failure(err, reasonDamaged)
	}
	markdown, ok := toMarkdown(text)
	if ok {
		err = out.write(markdown)
	} else {
		err = wordsOf(out, text)
	}
	if err == nil {
		out.full = src.Size > htmlMax
	}
	return err
}

// toMarkdown is false for what the parser or the converter breaks down on.
func toMarkdown(text []byte) (markdown string, ok bool) {
	defer func() {
		if recover() != nil {
			markdown, ok = "", false
		}
	}()
	doc, err := html.Parse(bytes.NewReader(text))
	if err != nil {
		return "", false
	}
	dropInlineData(doc)
	c := converter.NewConverter(converter.WithPlugins(base.NewBasePlugin(), commonmark.NewCommonmarkPlugin(), table.NewTablePlugin()))
	b, err := c.ConvertNode(doc)
	return string(b), err == nil
}

// dropInlineData takes out what is embedded as a data: address: it is no text.
func dropInlineData(doc *html.Node) {
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		kept := n.Attr[:0]
		for _, a := range n.Attr {
			if len(a.Val) < 5 || !strings.EqualFold(a.Val[:5], "data:") {
				kept = append(kept, a)
			}
		}
		n.Attr = kept
	}
}

// wordsOf adds the text between the tags.
func wordsOf(out *writer, text []byte) error {
	z := html.NewTokenizer(bytes.NewReader(text))
	hidden := false
	for {
		switch kind := z.Next(); kind {
		case html.ErrorToken:
			return nil // the end: the whole text is in memory
		case html.StartTagToken, html.EndTagToken, html.SelfClosingTagToken:
			name, _ := z.TagName()
			switch atom.Lookup(name) {
			case atom.Script, atom.Style, atom.Noscript, atom.Template, atom.Title:
				hidden = kind == html.StartTagToken
			case atom.A, atom.B, atom.I, atom.Em, atom.Strong, atom.Span, atom.Code, atom.Font, atom.U, atom.Sub, atom.Sup:
			default:
				out.line()
			}
		case html.TextToken:
			if hidden {
				continue
			}
			if words := strings.Join(strings.Fields(string(z.Text())), " "); words != "" {
				if out.started() {
					words = " " + words
				}
				if err := out.write(words); err != nil {
					return err
				}
			}
		}
	}
}
