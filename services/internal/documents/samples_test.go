package documents

import (
	"archive/zip"
	"bytes"
	"compress/zlib"
	"fmt"
	"image"
	"image/png"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"
)

// pdfOf builds a PDF of numbered objects, the first of which is the catalog.
func pdfOf(objects ...string) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
	offsets := make([]int, len(objects))
	for i, o := range objects {
		offsets[i] = b.Len()
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	xref := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(objects)+1)
	for _, at := range offsets {
		fmt.Fprintf(&b, "%010d 00000 n \n", at)
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(objects)+1, xref)
	return b.Bytes()
}

// pdfPages builds a PDF with a page for each content stream. Its fonts are F1
// (WinAnsi) and F2 (two bytes a code, with a map to text).
func pdfPages(contents ...string) []byte {
	objects := []string{"<< /Type /Catalog /Pages 2 0 R >>", "",
		"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding /FirstChar 32 /LastChar 126 /Widths [" +
			strings.Repeat("500 ", 95) + "] >>",
		"<< /Type /Font /Subtype /Type0 /BaseFont /X /Encoding /Identity-H /DescendantFonts [5 0 R] /ToUnicode 6 0 R >>",
		"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /X /DW 500 /W [1 [600 700] 10 12 800] >>",
		deflated("/CIDInit /ProcSet findresource begin begincmap 1 begincodespacerange <0000> <FFFF> endcodespacerange\n" +
			"2 beginbfchar <0001> <00480065> <0002> <FB01> endbfchar\n" +
			"2 beginbfrange <0010> <0012> <0061> <0020> <0021> [<017D> <D83DDE00>] endbfrange endcmap end"),
		"<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Matrix [1 0 0 1 0 -100] /Resources << /Font << /F1 3 0 R >> /XObject << /Fm 7 0 R >> >> /Length 60 >>\nstream\n" +
			fmt.Sprintf("%-60s", "BT /F1 10 Tf 10 700 Td (from a form) Tj ET /Fm Do") + "\nendstream",
	}
	var kids strings.Builder
	for _, c := range contents {
		n := len(objects) + 1
		fmt.Fprintf(&kids, "%d 0 R ", n)
		objects = append(objects, fmt.Sprintf("<< /Type /Page /Parent 2 0 R /Contents %d 0 R >>", n+1), deflated(c))
	}
	objects[1] = fmt.Sprintf("<< /Type /Pages /Count %d /Kids [%s] /Resources << /Font << /F1 3 0 R /F2 4 0 R >> /XObject << /Fm 7 0 R >> >> >>",
		len(contents), kids.String())
	return pdfOf(objects...)
}

func deflated(content string) string {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	if _, err := w.Write([]byte(content)); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return fmt.Sprintf("<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream", b.Len(), b.String())
}

// zipOf packs parts, given as names and contents in turn.
func zipOf(pairs ...string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		w, err := z.Create(pairs[i])
		if err == nil {
			_, err = w.Write([]byte(pairs[i+1]))
		}
		if err != nil {
			panic(err)
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

const (
	wordHead = `<?xml version="1.0" encoding="UTF-8"?><w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" xmlns:mc="mc"><w:body>`
	wordTail = `</w:body></w:document>`
)

func wordOf(body string, more ...string) []byte {
	return zipOf(append([]string{"[Content_Types].xml", "<Types/>", "word/document.xml", wordHead + body + wordTail}, more...)...)
}

func paragraph(text string) string { return "<w:p><w:r><w:t>" + text + "</w:t></w:r></w:p>" }

const drawing = `xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"`

// slidesOf builds a presentation that shows its slides from the last to the first.
func slidesOf(slides []string, more ...string) []byte {
	var ids, rels strings.Builder
	parts := append([]string{"[Content_Types].xml", "<Types/>"}, more...)
	for i, s := range slides {
		fmt.Fprintf(&rels, `<Relationship Id="rId%d" Target="slides/slide%d.xml"/>`, i+1, i+1)
		fmt.Fprintf(&ids, `<p:sldId id="%d" r:id="rId%d"/>`, 256+i, len(slides)-i)
		parts = append(parts, fmt.Sprintf("ppt/slides/slide%d.xml", i+1), "<p:sld "+drawing+">"+s+"</p:sld>")
	}
	return zipOf(append(parts, "ppt/presentation.xml", "<p:presentation "+drawing+"><p:sldIdLst>"+ids.String()+"</p:sldIdLst></p:presentation>",
		"ppt/_rels/presentation.xml.rels", "<Relationships>"+rels.String()+"</Relationships>")...)
}

func shape(paragraphs ...string) string {
	var b strings.Builder
	for _, p := range paragraphs {
		b.WriteString("<a:p><a:r><a:t>" + p + "</a:t></a:r></a:p>")
	}
	return "<p:sp><p:txBody>" + b.String() + "</p:txBody></p:sp>"
}

// sheets builds an Excel file: each sheet has a name and rows.
func sheets(t testing.TB, list ...[][]any) []byte {
	t.Helper()
	f := excelize.NewFile()
	for i, rows := range list {
		name := fmt.Sprintf("Sheet%d", i+1)
		if _, err := f.NewSheet(name); err != nil {
			t.Fatal(err)
		}
		for n, row := range rows {
			if err := f.SetSheetRow(name, fmt.Sprintf("A%d", n+1), &row); err != nil {
				t.Fatal(err)
			}
		}
	}
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func picture(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 2, 2))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
