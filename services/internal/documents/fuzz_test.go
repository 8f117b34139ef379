package documents

import (
	"context"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ledongthuc/pdf"
)

// sound checks what every text promises.
func sound(t *testing.T, text Text, l Limits) {
	t.Helper()
	if !utf8.ValidString(text.Text) || len(text.Text) > l.Text || strings.ContainsAny(text.Text, "\x00\x1b\r\f") {
		t.Errorf("%q", text.Text)
	}
}

func extractAll(t *testing.T, name string, data []byte) {
	t.Helper()
	l := Limits{Input: 1 << 20, Unpacked: 1 << 20, Text: 1000}
	if text, err := Extract(context.Background(), source(name, data), l); err == nil {
		sound(t, text, l)
	}
}

func FuzzPlain(f *testing.F) {
	for _, s := range []string{"", "a\r\nb", "\xff\xfea\x00", "\xfe\xff\x00a\xd8\x00", "\xef\xbb\xbfx", "\x80\x81", "\u2028\u0085"} {
		f.Add("a.txt", []byte(s))
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		if k := Detect(name, data[:min(len(data), HeadSize)]).Kind; k == Plain {
			extractAll(t, name, data)
		}
	})
}

func FuzzWord(f *testing.F) {
	f.Add(paragraph("x"))
	f.Add(`<w:tbl><w:tr><w:tc/></w:tr></w:tbl></w:tbl><w:del><w:t>x</w:del>`)
	f.Add(`<tr><tc/><tc/></tr><br/><tab/><numPr/>`)
	f.Fuzz(func(t *testing.T, body string) { extractAll(t, "a.docx", wordOf(body)) })
}

func FuzzSlides(f *testing.F) {
	f.Add(shape("x"), "slides/slide1.xml")
	f.Add(`<a:tbl><a:tr><a:tc/></a:tr></a:tbl></a:tbl>`, "../presentation.xml")
	f.Fuzz(func(t *testing.T, body, target string) {
		extractAll(t, "a.pptx", slidesOf([]string{body}, "ppt/slides/_rels/slide1.xml.rels", `<R><Relationship Id="n" Target="`+target+`"/></R>`))
	})
}

func FuzzArchive(f *testing.F) {
	f.Add(wordOf(paragraph("x")))
	f.Add(slidesOf([]string{shape("x")}))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, name := range []string{"a.docx", "a.pptx"} {
			if Detect(name, data[:min(len(data), HeadSize)]).Kind != Sheet {
				extractAll(t, name, data)
			}
		}
	})
}

func FuzzHTML(f *testing.F) {
	f.Add([]byte("<table><tr><td>a<td>b</table><pre> x\n</pre><a href=x>y</a>"))
	f.Fuzz(func(t *testing.T, data []byte) {
		extractAll(t, "a.html", data)
		out := &writer{ctx: context.Background(), left: 1000}
		if err := wordsOf(out, []byte(strings.ToValidUTF8(string(data), ""))); err == nil {
			sound(t, Text{Text: out.text()}, Limits{Text: 1000})
		}
	})
}

// The parts of reading a PDF that are ours: its content streams and maps.
func FuzzPDFContent(f *testing.F) {
	f.Add([]byte("BT /F1 12 Tf 1 0 0 1 0 0 Tm [(a) -500 (b)] TJ T* <41> ' ET q Q BI ID x EI"), []byte("1 beginbfrange <00> <ff> <0041> endbfrange <61> [<0062>] endbfchar"))
	f.Add([]byte("((((\\"), []byte("<00> <ffffffff> <> endbfrange"))
	f.Fuzz(func(t *testing.T, content, characters []byte) {
		l := Limits{Text: 1000}
		out := &writer{ctx: context.Background(), left: l.Text}
		x := &pdfText{out: out, fonts: map[string]*pdfFont{}}
		font := &pdfFont{toText: readCharacterMap(characters), widths: map[uint32]float64{65: 0.7}, missing: 0.5}
		c := &canvas{state: state{ctm: identity, scale: 1, font: font, size: 10}, resources: pdf.Value{}}
		if err := x.draw(c, content); err == nil || err == errFull {
			sound(t, Text{Text: out.text()}, l)
		}
	})
}
