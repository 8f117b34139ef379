package documents

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"net/http"
	"path"
	"strings"
	"unicode/utf8"
)

// Kind is the way a file is read.
type Kind string

// Kinds of files.
const (
	Plain  Kind = "text"   // any text that is read as it is
	HTML   Kind = "html"   // turned into Markdown
	PDF    Kind = "pdf"    // page after page
	Word   Kind = "docx"   // turned into Markdown
	Sheet  Kind = "xlsx"   // a section of comma-separated lines for each sheet
	Slide  Kind = "pptx"   // slide after slide, with the notes
	Image  Kind = "image"  // PNG, JPEG, GIF or WebP, for a model that can see
	Legacy Kind = "legacy" // an old or encrypted Office file
	Other  Kind = "other"  // has no text that could be read
)

// Format is what a file is.
type Format struct {
	Kind Kind
	MIME string // without parameters
}

// HeadSize is how much of a file Detect wants to see.
const HeadSize = 4096

// officeByExtension and officeByPart tell the packed formats apart: the first
// is a guess from the name, the second is what the archive has in it.
var (
	officeByExtension = map[string]Format{
		".docx": {Word, "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
		".xlsx": {Sheet, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
		".pptx": {Slide, "application/vnd.openxmlformats-officedocument.presentationml.presentation"},
	}
	officeByPart = map[string]string{"word/document.xml": ".docx", "xl/workbook.xml": ".xlsx", "ppt/presentation.xml": ".pptx"}
)

// textByExtension are the texts whose name says more than their content does.
var textByExtension = map[string]Format{
	".txt":      {Plain, "text/plain"},
	".log":      {Plain, "text/plain"},
	".md":       {Plain, "text/markdown"},
	".markdown": {Plain, "text/markdown"},
	".csv":      {Plain, "text/csv"},
	".tsv":      {Plain, "text/tab-separated-values"},
	".json":     {Plain, "application/json"},
	".jsonl":    {Plain, "application/jsonl"},
	".ndjson":   {Plain, "application/jsonl"},
	".xml":      {Plain, "application/xml"},
	".svg":      {Plain, "image/svg+xml"},
	".yaml":     {Plain, "application/yaml"},
	".yml":      {Plain, "application/yaml"},
	".html":     {HTML, "text/html"},
	".htm":      {HTML, "text/html"},
	".xhtml":    {HTML, "text/html"},
}

var (
	magicOLE    = []byte("\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1")
	magicRTF    = []byte(`{\rtf`)
	imageByHead = []struct{ head, mime string }{
		{"\x89PNG\r\n\x1a\n", "image/png"}, {"\xff\xd8\xff", "image/jpeg"}, {"GIF87a", "image/gif"}, {"GIF89a", "image/gif"},
	}
)

// Detect says what a file is from its first HeadSize bytes (all of a shorter
// one). The content decides; the name only tells texts apart, and Office files,
// of which Extract looks at more.
func Detect(name string, head []byte) Format {
	ext := strings.ToLower(path.Ext(name))
	for _, m := range imageByHead {
		if bytes.HasPrefix(head, []byte(m.head)) {
			return Format{Image, m.mime}
		}
	}
	switch {
	case len(head) >= 12 && string(head[:4]) == "RIFF" && string(head[8:12]) == "WEBP":
		return Format{Image, "image/webp"}
	case bytes.Contains(head[:min(len(head), 1024)], []byte("%PDF-")):
		return Format{PDF, "application/pdf"}
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		if f, ok := officeByExtension[ext]; ok {
			return f
		}
		return Format{Other, "application/zip"}
	case bytes.HasPrefix(head, magicOLE):
		return Format{Legacy, "application/x-ole-storage"}
	case bytes.HasPrefix(head, magicRTF):
		return Format{Other, "application/rtf"}
	case encodingOf(head, len(head) < HeadSize) == nil:
		mime, _, _ := strings.Cut(http.DetectContentType(head), ";")
		if strings.HasPrefix(mime, "text/") {
			mime = "application/octet-stream"
		}
		return Format{Other, mime}
	}
	if f, ok := textByExtension[ext]; ok {
		return f
	}
	if strings.HasPrefix(http.DetectContentType(head), "text/html") {
		return Format{HTML, "text/html"}
	}
	return Format{Plain, "text/plain"}
}

// format is Detect with a look into archives.
func format(src Source) (Format, error) {
	head := make([]byte, HeadSize)
	n, err := src.Data.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return Format{}, err
	}
	f := Detect(src.Name, head[:n])
	if f.Kind != Other && f.Kind != Word && f.Kind != Sheet && f.Kind != Slide || !bytes.HasPrefix(head, []byte("PK\x03\x04")) {
		return f, nil
	}
	z, err := zip.NewReader(src.Data, src.Size)
	if err != nil {
		return f, nil // whoever reads it finds out
	}
	for _, part := range z.File {
		if ext := officeByPart[part.Name]; ext != "" {
			return officeByExtension[ext], nil
		}
	}
	return Format{Other, "application/zip"}, nil
}

// wholeRunes cuts off a last character that is not all there.
func wholeRunes(b []byte) []byte {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return b[:i]
			}
			break
		}
	}
	return b
}
