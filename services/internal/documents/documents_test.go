package documents

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"unicode/utf16"
)

func source(name string, data []byte) Source {
	return Source{Name: name, Data: bytes.NewReader(data), Size: int64(len(data))}
}

func read(t *testing.T, name string, data []byte) Text {
	t.Helper()
	text, err := Extract(t.Context(), source(name, data), DefaultLimits)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return text
}

func wide(s string, little, marked bool) []byte {
	units := utf16.Encode([]rune(s))
	if marked {
		units = append([]uint16{0xFEFF}, units...)
	}
	var b []byte
	for _, u := range units {
		if little {
			b = append(b, byte(u), byte(u>>8))
		} else {
			b = append(b, byte(u>>8), byte(u))
		}
	}
	return b
}

func TestExtract(t *testing.T) {
	for name, tc := range map[string]struct {
		file string
		data []byte
		mime string
		want string
	}{
		"text":              {"a.txt", []byte("one\r\ntwo\rthree\n\n\n\nfour\n"), "text/plain", "one\ntwo\nthree\n\n\n\nfour"},
		"empty":             {"a.txt", nil, "text/plain", ""},
		"no name":           {"", []byte("hello"), "text/plain", "hello"},
		"controls":          {"a.log", []byte("\x1b[31mred\x1b[0m\tx"), "text/plain", "[31mred[0m\tx"},
		"UTF-8 mark":        {"a.txt", []byte("\xef\xbb\xbfhällo"), "text/plain", "hällo"},
		"UTF-16 LE":         {"a.txt", wide("größer 😀\r\nx", true, true), "text/plain", "größer 😀\nx"},
		"UTF-16 BE":         {"a.txt", wide("größer 😀", false, true), "text/plain", "größer 😀"},
		"UTF-16 unmarked":   {"a.csv", wide("name;sum\nx;1\n", true, false), "text/csv", "name;sum\nx;1"},
		"Windows-1252":      {"a.txt", []byte("Gr\xfc\xdfe \x80 5 \x93so\x94"), "text/plain", "Grüße € 5 “so”"},
		"Markdown":          {"a.MD", []byte("# Head\n\n* x"), "text/markdown", "# Head\n\n* x"},
		"TSV":               {"a.tsv", []byte("a\tb\n1\t2"), "text/tab-separated-values", "a\tb\n1\t2"},
		"JSON":              {"a.json", []byte(`{"a": [1,2]}`), "application/json", `{"a": [1,2]}`},
		"code":              {"a.py", []byte("def f():\n    return 1\n"), "text/plain", "def f():\n    return 1"},
		"SVG is text":       {"a.svg", []byte("<svg><script>x</script></svg>"), "image/svg+xml", "<svg><script>x</script></svg>"},
		"text called PDF":   {"a.pdf", []byte("not a PDF"), "text/plain", "not a PDF"},
		"HTML":              {"a.html", []byte("<html><head><title>T</title><style>p{}</style></head><body><h1>Hi</h1><script>evil()</script><p>a <b>b</b> <a href='/x'>c</a></p><table><tr><th>k</th><th>v</th></tr><tr><td>1</td><td>2</td></tr></table><img src='data:image/png;base64,AAAA'></body>"), "text/html", "# Hi\n\na **b** [c](/x)\n\n| k | v |\n|---|---|\n| 1 | 2 |"},
		"HTML in Latin-1":   {"a.htm", []byte("<meta charset=iso-8859-1><p>Gr\xfc\xdfe"), "text/html", "Grüße"},
		"HTML by content":   {"page", []byte("<!doctype html><p>x"), "text/html", "x"},
		"HTML called text":  {"a.txt", []byte("<!doctype html><p>x"), "text/plain", "<!doctype html><p>x"},
		"Word":              {"a.docx", wordOf(paragraph("Hello &amp; good day") + paragraph("again")), officeByExtension[".docx"].MIME, "Hello & good day\n\nagain"},
		"Word without name": {"upload", wordOf(paragraph("x")), officeByExtension[".docx"].MIME, "x"},
		"Word called Excel": {"a.xlsx", wordOf(paragraph("x")), officeByExtension[".docx"].MIME, "x"},
		"Excel": {"a.xlsx", sheets(t, [][]any{{"name", "sum"}, {`say "a,b"`, 12.5}, {}, {"last"}}, nil, [][]any{{true}}),
			officeByExtension[".xlsx"].MIME, "## Sheet: Sheet1\n\nname,sum\n\"say \"\"a,b\"\"\",12.5\nlast\n\n## Sheet: Sheet3\n\nTRUE"},
		"slides": {"a.pptx", slidesOf([]string{shape("second", "more"), shape("first")}),
			officeByExtension[".pptx"].MIME, "## Slide 1\n\nfirst\n\n## Slide 2\n\nsecond\nmore"},
		"PDF":             {"a.pdf", pdfPages("BT /F1 12 Tf 72 700 Td (Hello, ) Tj (world) Tj 0 -14 Td [(second) -300 (line)] TJ ET"), "application/pdf", "Hello, world\nsecond line"},
		"an image":        {"a.txt", picture(t), "image/png", ""},
		"WebP":            {"a.png", []byte("RIFF....WEBPVP8X" + strings.Repeat("x", 30)), "image/webp", ""},
		"PDF called text": {"a.txt", pdfPages("BT /F1 12 Tf (x) Tj ET"), "application/pdf", "x"},
	} {
		t.Run(name, func(t *testing.T) {
			got := read(t, tc.file, tc.data)
			if got.Text != tc.want || got.Format.MIME != tc.mime || got.Truncated {
				t.Errorf("got %+v\nwant %s %q", got, tc.mime, tc.want)
			}
		})
	}
}

func TestExtractWordInFull(t *testing.T) {
	body := `<w:p><w:pPr><w:pStyle w:val="Heading2"/><w:numPr/></w:pPr><w:r><w:t>Part</w:t><w:tab/><w:t>one</w:t></w:r></w:p>` +
		`<w:p><w:pPr><w:tabs><w:tab w:val="left"/></w:tabs></w:pPr><w:r><w:t xml:space="preserve">kept </w:t></w:r><w:del><w:r><w:delText>deleted</w:delText></w:r></w:del>` +
		`<w:ins><w:r><w:t>added</w:t></w:r></w:ins><w:r><w:instrText>PAGE \* MERGEFORMAT</w:instrText></w:r><w:r><w:br/><w:t>new line</w:t></w:r></w:p>` +
		`<w:p><w:pPr><w:numPr/></w:pPr><w:r><w:t>a</w:t></w:r></w:p><w:p><w:pPr><w:numPr/></w:pPr><w:r><w:t>b</w:t></w:r></w:p>` +
		`<mc:AlternateContent><mc:Choice>` + paragraph("box") + `</mc:Choice><mc:Fallback>` + paragraph("box again") + `</mc:Fallback></mc:AlternateContent>` +
		`<w:tbl><w:tr><w:tc>` + paragraph("k") + paragraph("ey") + `</w:tc><w:tc>` + paragraph("v") + `</w:tc></w:tr><w:tr><w:tc>` + paragraph("1") + `</w:tc><w:tc><w:p/></w:tc></w:tr></w:tbl>`
	got := read(t, "a.docx", wordOf(body,
		"word/footnotes.xml", "<w:footnotes>"+paragraph("a note")+"</w:footnotes>", "word/comments.xml", "<w:comments/>")).Text
	want := "## Part\tone\n\nkept added\nnew line\n\n- a\n- b\n\nbox\n\nkey | v\n1 |\n\n## Footnotes\n\na note"
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestExtractSlidesInFull(t *testing.T) {
	table := `<a:tbl><a:tr><a:tc><a:txBody><a:p><a:r><a:t>a</a:t></a:r></a:p></a:txBody></a:tc><a:tc><a:txBody><a:p><a:r><a:t>b</a:t></a:r></a:p></a:txBody></a:tc></a:tr></a:tbl>`
	got := read(t, "a.pptx", slidesOf([]string{shape("Title") + table},
		"ppt/slides/_rels/slide1.xml.rels", `<Relationships><Relationship Id="x" Target="../notesSlides/notesSlide1.xml"/><Relationship Id="y" TargetMode="External" Target="http://x/"/></Relationships>`,
		"ppt/notesSlides/notesSlide1.xml", "<p:notes "+drawing+">"+shape("say this")+`<a:fld><a:t>1</a:t></a:fld></p:notes>`)).Text
	if want := "## Slide 1\n\nTitle\n\na | b\n\nNotes:\n\nsay this"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestExtractPDFInFull(t *testing.T) {
	for name, tc := range map[string]struct{ content, want string }{
		"two bytes a code": {"BT /F2 10 Tf 0 0 Td <0001000200100011> Tj <00200021> Tj ET", "HefiabŽ😀"},
		"gaps are spaces":  {"BT /F1 10 Tf 1 0 0 1 0 0 Tm (ab) Tj 1 0 0 1 10 0 Tm (cd) Tj 1 0 0 1 24 0 Tm (ef) Tj 1 0 0 1 90 0 Tm (gh) Tj ET", "abcd ef\tgh"},
		"lines":            {"BT /F1 10 Tf 12 TL 0 100 Td (a) Tj T* (b) Tj (c) ' 1 1 (d) \" 0 -40 Td (e) Tj ET", "a\nb\nc\nd\n\ne"},
		"rotated":          {"BT /F1 10 Tf 0 1 -1 0 50 50 Tm (up) Tj 0 1 -1 0 50 62 Tm (wards) Tj ET", "up wards"},
		"states":           {"q 2 0 0 2 0 0 cm BT /F1 10 Tf (a) Tj ET Q Q Q BT (lost) Tj ET BT /F1 10 Tf 0 -200 Td (b) Tj ET", "a\n\nb"},
		"strings": {`BT /F1 10 Tf (a\(b\)\\ (in) \101\n\
c) Tj <4142 4> Tj ET`, "a(b)\\ (in) A\ncAB@"},
		"a form":            {"BT /F1 10 Tf 10 700 Td (page) Tj ET /Fm Do", "page\n\n" + strings.Repeat("from a form\n\n", formsMax-1) + "from a form"},
		"an image":          {"BT /F1 10 Tf (a) Tj ET BI /W 2 ID (((EI <<\xff EI BT /F1 10 Tf 0 -20 Td (b) Tj ET", "a\nb"},
		"nonsense":          {"]] >> } ) [[[[[[[[[[[[[[[[[[[[ Tj 1 2 3 Tm /F9 x Tf BT /F1 10 Tf [ (a) [ (x) ] ] TJ (open", "a"},
		"unknown font":      {"BT /F7 10 Tf (x) Tj /F1 10 Tf (a) Tj ET", "a"},
		"operands overflow": {"BT /F1 10 Tf " + strings.Repeat("1 ", 10_000) + "(x) Tj (a) Tj ET", "a"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := read(t, "a.pdf", pdfPages(tc.content)).Text; got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
	two := pdfPages("BT /F1 10 Tf (one) Tj ET", "", "BT /F1 10 Tf (three) Tj ET")
	const both = "[Page 1]\none\n\n[Page 3]\nthree"
	damaged := bytes.Clone(two)
	damaged[bytes.LastIndex(two, []byte("stream\nx"))+len("stream\n")] = 'y'
	for name, tc := range map[string]struct {
		data []byte
		want string
	}{
		"pages":           {two, both},
		"junk around":     {append([]byte("junk\n"), append(bytes.Clone(two), "\n<!-- junk -->\n"...)...), both},
		"a later version": {bytes.Replace(two, []byte("%PDF-1.4"), []byte("%PDF-2.0"), 1), both},
		"a damaged page":  {damaged, "[Page 1]\none"},
	} {
		if got := read(t, "a.pdf", tc.data).Text; got != tc.want {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

func TestExtractRefuses(t *testing.T) {
	small := DefaultLimits
	small.Unpacked = 1 << 20
	ole := append([]byte("\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"), bytes.Repeat([]byte{0}, 70<<10)...)
	for name, tc := range map[string]struct {
		file   string
		data   []byte
		reason string
	}{
		"unknown bytes":       {"a.bin", []byte("\x00\x01\x02\xff\xfe"), "No text can be read from a file of this kind (application/octet-stream)."},
		"a zip":               {"a.zip", zipOf("a", "b"), "No text can be read from a file of this kind (application/zip)."},
		"an empty zip":        {"a.docx", zipOf("a", "b"), "No text can be read from a file of this kind (application/zip)."},
		"a sound":             {"a.mp3", []byte("ID3\x03\x00\x00"), "No text can be read from a file of this kind (audio/mpeg)."},
		"RTF":                 {"a.rtf", []byte(`{\rtf1 x}`), "No text can be read from a file of this kind (application/rtf)."},
		"a damaged image":     {"a.txt", []byte("\x89PNG\r\n\x1a\n"), reasonDamaged},
		"a damaged WebP":      {"a.webp", []byte("RIFF....WEBP" + strings.Repeat("x", 30)), reasonDamaged},
		"a vast image":        {"a.gif", []byte("GIF89a\xff\xff\xff\xff\x00\x00\x00"), "The image has more pixels than a model can see: make it smaller and attach it again."},
		"old Word":            {"a.doc", ole, "The file has an old Office format: save it as .docx, .xlsx or .pptx and attach it again."},
		"encrypted Office":    {"a.docx", append(ole, wide("EncryptedPackage", true, false)...), reasonLocked},
		"damaged zip":         {"a.docx", []byte("PK\x03\x04" + strings.Repeat("x", 100)), reasonDamaged},
		"damaged Excel":       {"a.xlsx", zipOf("xl/workbook.xml", "<workbook><"), reasonDamaged},
		"damaged PDF":         {"a.pdf", []byte("%PDF-1.4\n" + strings.Repeat("x", 1000)), reasonDamaged},
		"short PDF":           {"a.pdf", []byte("%PDF-1.4\n"), reasonDamaged},
		"PDF without text":    {"a.pdf", pdfPages("0 0 10 10 re f"), "No text was found in the PDF: its pages may be scanned images."},
		"Word without text":   {"a.docx", wordOf(""), reasonNoText},
		"unfinished XML":      {"a.docx", wordOf("<w:p>"), reasonDamaged},
		"unknown entity":      {"a.docx", wordOf(paragraph("&secret;")), reasonDamaged},
		"external entity":     {"a.docx", zipOf("word/document.xml", `<!DOCTYPE x [<!ENTITY secret SYSTEM "file:///etc/passwd">]><w:document>`+paragraph("&secret;")+`</w:document>`), reasonDamaged},
		"entities of its own": {"a.docx", zipOf("word/document.xml", `<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><w:document>`+paragraph("&b;")+`</w:document>`), reasonDamaged},
		"deep XML":            {"a.docx", wordOf(strings.Repeat("<w:p>", 100_000)), "The file is nested more deeply than any document needs to be."},
		"a bomb":              {"a.docx", wordOf(strings.Repeat(" ", 2<<20)), "The file is too large to be read: unpacked it has more than 1 MiB."},
		"a bomb of a sheet":   {"a.xlsx", zipOf("xl/workbook.xml", strings.Repeat(" ", 2<<20)), "The file is too large to be read: unpacked it has more than 1 MiB."},
		"a bomb of relations": {"a.pptx", zipOf("ppt/presentation.xml", "<p/>", "ppt/_rels/presentation.xml.rels", strings.Repeat(" ", 2<<20)), "The file is too large to be read: unpacked it has more than 1 MiB."},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := Extract(t.Context(), source(tc.file, tc.data), small)
			var f *Failure
			if !errors.As(err, &f) || f.Reason != tc.reason || text.Text != "" {
				t.Errorf("got %q, %v\nwant %s", text.Text, err, tc.reason)
			}
		})
	}
	small.Input = 10
	if _, err := Extract(t.Context(), source("a.txt", make([]byte, 11)), small); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("a large file: %v", err)
	}
}

func TestExtractCuts(t *testing.T) {
	l := DefaultLimits
	l.Text = 10
	long := strings.Repeat("wörd ", 100)
	for name, data := range map[string][]byte{
		"a.txt": []byte(long), "b.txt": wide(long, true, true), "a.html": []byte("<p>" + long), "a.docx": wordOf(paragraph(long)),
		"a.pdf": pdfPages("BT /F1 10 Tf (" + strings.Repeat("word ", 100) + ") Tj ET"), "a.xlsx": sheets(t, [][]any{{long}}),
		"a.pptx": slidesOf([]string{shape(long)}),
	} {
		text, err := Extract(t.Context(), source(name, data), l)
		if err != nil || !text.Truncated || len(text.Text) < 8 || len(text.Text) > 10 || strings.Contains(text.Text, "\uFFFD") {
			t.Errorf("%s: %+v, %v", name, text, err)
		}
	}
	exact := strings.Repeat("x", 10)
	if text, err := Extract(t.Context(), source("a.txt", []byte(exact)), l); err != nil || text.Truncated || text.Text != exact {
		t.Errorf("what just fits: %+v, %v", text, err)
	}
}

func TestExtractObeysItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, data := range map[string][]byte{
		"a.docx": wordOf(strings.Repeat(paragraph("x"), 1000)), "a.pdf": pdfPages("BT /F1 10 Tf (x) Tj ET"),
		"a.pptx": slidesOf([]string{shape("x")}),
	} {
		if _, err := Extract(ctx, source(name, data), DefaultLimits); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDetectReadsImages(t *testing.T) {
	for head, mime := range map[string]string{
		"\x89PNG\r\n\x1a\n....": "image/png", "\xff\xd8\xff\xe0..": "image/jpeg", "GIF89a..": "image/gif", "GIF87a..": "image/gif",
		"RIFF....WEBPVP8 ": "image/webp",
	} {
		if f := Detect("a.html", []byte(head)); f.Kind != Image || f.MIME != mime {
			t.Errorf("%q: %+v", head, f)
		}
	}
	if f := Detect("a.webp", []byte("RIFF....WAVEfmt ")); f.Kind == Image {
		t.Errorf("a sound: %+v", f)
	}
}
