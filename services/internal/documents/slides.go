package documents

import (
	"encoding/xml"
	"fmt"
)

// slidesMax is more than anybody presents.
const slidesMax = 5000

// extractSlides reads the slides in the order in which they are shown.
func extractSlides(out *writer, src Source, l Limits) error {
	const main = "ppt/presentation.xml"
	a, err := openArchive(out.ctx, src, l)
	if err != nil {
		return err
	}
	to, err := a.relations(main)
	if err != nil {
		return err
	}
	var slides []string
	err = a.walk(main, func(t xml.Token) error {
		if e, ok := t.(xml.StartElement); ok && e.Name.Local == "sldId" && len(slides) < slidesMax {
			for _, at := range e.Attr {
				if part := to[at.Value]; at.Name.Local == "id" && a.has(part) { // one without a namespace is a number
					slides = append(slides, part)
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, part := range slides {
		if err := a.slide(out, part, i+1); err != nil {
			return err
		}
	}
	return nil
}

func (a *archive) slide(out *writer, part string, number int) error {
	text := &drawingReader{out: out, title: fmt.Sprintf("## Slide %d", number)}
	if err := a.walk(part, text.see); err != nil {
		return err
	}
	to, err := a.relations(part)
	if err != nil {
		return err
	}
	for _, notes := range to {
		if !notesPart(notes) || !a.has(notes) {
			continue
		}
		text := &drawingReader{out: out, title: text.title, notes: true}
		if text.title == "" {
			text.title = "Notes:"
		}
		return a.walk(notes, text.see)
	}
	return nil
}

func notesPart(name string) bool {
	const dir = "ppt/notesSlides/"
	return len(name) > len(dir) && name[:len(dir)] == dir
}

// drawingReader reads the paragraphs of DrawingML.
type drawingReader struct {
	out   *writer
	title string // to stand before the first text
	notes bool
	text  bool // inside a:t
	skip  int  // elements open since one whose content does not count
	row   bool // a cell of the table row was begun
	table int  // open tables
}

func (r *drawingReader) see(t xml.Token) error {
	switch t := t.(type) {
	case xml.StartElement:
		// A field such as the number of the slide is no text of the author's.
		if r.skip > 0 || t.Name.Local == "Fallback" || t.Name.Local == "fld" && r.notes {
			r.skip++
			return nil
		}
		return r.open(t.Name.Local)
	case xml.EndElement:
		switch {
		case r.skip > 0:
			r.skip--
		case t.Name.Local == "t":
			r.text = false
		case t.Name.Local == "tbl":
			r.table--
		}
	case xml.CharData:
		if r.text && r.skip == 0 && len(t) > 0 {
			return r.say(string(t))
		}
	}
	return nil
}

func (r *drawingReader) open(name string) error {
	switch name {
	case "t":
		r.text = true
	case "txBody":
		if r.table == 0 {
			r.out.paragraph()
		}
	case "p", "br":
		if r.table == 0 {
			r.out.line()
		}
	case "tbl":
		r.out.paragraph()
		r.table++
	case "tr":
		r.out.line()
		r.row = false
	case "tc":
		if r.row {
			return r.out.write(" | ")
		}
		r.row = true
	}
	return nil
}

func (r *drawingReader) say(s string) error {
	if r.title != "" {
		r.out.paragraph()
		if err := r.out.write(r.title); err != nil {
			return err
		}
		r.out.paragraph()
		r.title = ""
	}
	return r.out.write(s)
}
