package documents

import (
	"errors"
	"fmt"
	"math"

	"github.com/ledongthuc/pdf"
)

const (
	formsMax    = 8      // forms inside one another
	operandsMax = 256    // before one operator
	statesMax   = 256    // saved ones
	formsOfPage = 10_000 // drawn on one page
)

// pdfText lays out the text of pages: it follows where each piece is shown, and
// so finds words and lines, which a PDF does not have.
type pdfText struct {
	out   *writer
	fonts map[string]*pdfFont // by the text of their dictionaries
	title string              // to stand before the next text
	forms int                 // drawn on this page

	shown bool    // something was shown on this page
	end   point   // where the last piece ended
	size  float64 // its height
}

type point struct{ x, y float64 }

// matrix is [a b 0; c d 0; e f 1].
type matrix struct{ a, b, c, d, e, f float64 }

var identity = matrix{a: 1, d: 1}

func (m matrix) mul(n matrix) matrix {
	return matrix{
		m.a*n.a + m.b*n.c, m.a*n.b + m.b*n.d,
		m.c*n.a + m.d*n.c, m.c*n.b + m.d*n.d,
		m.e*n.a + m.f*n.c + n.e, m.e*n.b + m.f*n.d + n.f,
	}
}

func shift(x, y float64) matrix { return matrix{a: 1, d: 1, e: x, f: y} }

// state is what q saves and Q restores.
type state struct {
	ctm                        matrix
	font                       *pdfFont
	size, leading, scale, rise float64
	charSpacing, wordSpacing   float64
}

// canvas is one content stream under way.
type canvas struct {
	state
	saved     []state
	tm, line  matrix
	resources pdf.Value
	level     int // forms around it
}

func (x *pdfText) page(p pdf.Page) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("page: %v", p)
		}
	}()
	x.shown, x.forms = false, 0
	data, broken := streamOf(p.V.Key("Contents"))
	c := &canvas{state: state{ctm: identity, scale: 1}, resources: inherited(p.V, "Resources")}
	return errors.Join(x.draw(c, data), broken)
}

// draw runs the operators of a content stream.
func (x *pdfText) draw(c *canvas, data []byte) error {
	l := &pdfLexer{b: data}
	var args []any
	for {
		switch t := l.next().(type) {
		case nil:
			return nil
		case operator:
			if t == "ID" {
				l.skipImage()
			} else if err := x.operate(c, t, args); err != nil {
				return err
			}
			args = args[:0]
		default:
			if len(args) < operandsMax {
				args = append(args, t)
			}
		}
	}
}

// numberAt is an operand, 0 if it is no number; nameAt likewise.
func numberAt(args []any, i int) float64 {
	if i < len(args) {
		if n, ok := args[i].(float64); ok {
			return n
		}
	}
	return 0
}

func nameAt(args []any, i int) string {
	if i < len(args) {
		if n, ok := args[i].(pdfName); ok {
			return string(n)
		}
	}
	return ""
}

func matrixOf(args []any) matrix {
	return matrix{numberAt(args, 0), numberAt(args, 1), numberAt(args, 2), numberAt(args, 3), numberAt(args, 4), numberAt(args, 5)}
}

func (x *pdfText) operate(c *canvas, op operator, args []any) error {
	switch op {
	case "q":
		if len(c.saved) < statesMax {
			c.saved = append(c.saved, c.state)
		}
	case "Q":
		if n := len(c.saved); n > 0 {
			c.state, c.saved = c.saved[n-1], c.saved[:n-1]
		}
	case "cm":
		c.ctm = matrixOf(args).mul(c.ctm)
	case "BT":
		c.tm, c.line = identity, identity
	case "Tf":
		c.font, c.size = x.font(c.resources, nameAt(args, 0)), numberAt(args, 1)
	case "Tc":
		c.charSpacing = numberAt(args, 0)
	case "Tw":
		c.wordSpacing = numberAt(args, 0)
	case "Tz":
		c.scale = numberAt(args, 0) / 100
	case "TL":
		c.leading = numberAt(args, 0)
	case "Ts":
		c.rise = numberAt(args, 0)
	case "Td":
		c.move(numberAt(args, 0), numberAt(args, 1))
	case "TD":
		c.leading = -numberAt(args, 1)
		c.move(numberAt(args, 0), numberAt(args, 1))
	case "Tm":
		c.tm = matrixOf(args)
		c.line = c.tm
	case "T*":
		c.move(0, -c.leading)
	case "Tj", "'", "\"", "TJ":
		return x.showing(c, op, args)
	case "Do":
		return x.form(c, nameAt(args, 0))
	}
	return nil
}

func (c *canvas) move(dx, dy float64) {
	c.line = shift(dx, dy).mul(c.line)
	c.tm = c.line
}

func (x *pdfText) showing(c *canvas, op operator, args []any) error {
	if len(args) == 0 {
		return nil
	}
	if op == "\"" {
		c.wordSpacing, c.charSpacing = numberAt(args, 0), numberAt(args, 1)
	}
	if op == "'" || op == "\"" {
		c.move(0, -c.leading)
	}
	parts, ok := args[len(args)-1].(pdfArray)
	if !ok {
		parts = pdfArray{args[len(args)-1]}
	}
	for _, part := range parts {
		switch part := part.(type) {
		case float64:
			c.tm = shift(-part/1000*c.size*c.scale, 0).mul(c.tm)
		case pdfString:
			if err := x.show(c, part); err != nil {
				return err
			}
		}
	}
	return nil
}

// show adds the text of one string, with what its place says: a space, a new
// line, or nothing between it and the one before.
func (x *pdfText) show(c *canvas, raw []byte) error {
	if c.font == nil {
		return nil
	}
	text, width, glyphs, spaces := c.font.decode(raw)
	at := shift(0, c.rise).mul(c.tm).mul(c.ctm)
	height := math.Abs(c.size) * math.Hypot(at.c, at.d)
	start := point{at.e, at.f}
	advance := (width*c.size + float64(glyphs)*c.charSpacing + float64(spaces)*c.wordSpacing) * c.scale
	c.tm = shift(advance, 0).mul(c.tm)
	if text == "" {
		return nil
	}
	if x.title != "" {
		if err := x.out.write(x.title + "\n"); err != nil {
			return err
		}
		x.title = ""
	}
	if err := x.separate(start, at, height); err != nil {
		return err
	}
	after := shift(0, c.rise).mul(c.tm).mul(c.ctm)
	x.shown, x.end, x.size = true, point{after.e, after.f}, height
	return x.out.write(text)
}

// separate writes what stands between the last piece and the one that starts
// there, seen along the line that it is written on.
func (x *pdfText) separate(start point, at matrix, height float64) error {
	if !x.shown {
		return nil
	}
	norm := math.Hypot(at.a, at.b)
	if norm == 0 || math.IsNaN(norm) || math.IsInf(norm, 0) {
		return nil
	}
	dx, dy := start.x-x.end.x, start.y-x.end.y
	along, across := (dx*at.a+dy*at.b)/norm, (dy*at.a-dx*at.b)/norm
	unit := math.Max(math.Min(height, x.size), 0.1)
	switch {
	case math.Abs(across) > 2.2*math.Max(height, x.size):
		x.out.paragraph()
	case math.Abs(across) > 0.6*unit, along < -1.5*unit:
		x.out.line()
	case along > 2.5*unit:
		return x.out.write("\t")
	case along > 0.18*unit:
		return x.out.write(" ")
	}
	return nil
}

// form draws what a page shares with others, such as a header.
func (x *pdfText) form(c *canvas, name string) error {
	if x.forms++; x.forms > formsOfPage || c.level >= formsMax {
		return nil
	}
	v := c.resources.Key("XObject").Key(name)
	if v.Key("Subtype").Name() != "Form" {
		return nil
	}
	data, err := streamOf(v)
	inner := &canvas{state: c.state, resources: v.Key("Resources"), level: c.level + 1}
	if inner.resources.IsNull() {
		inner.resources = c.resources
	}
	if m := v.Key("Matrix"); m.Len() == 6 {
		inner.ctm = matrix{m.Index(0).Float64(), m.Index(1).Float64(), m.Index(2).Float64(),
			m.Index(3).Float64(), m.Index(4).Float64(), m.Index(5).Float64()}.mul(c.ctm)
	}
	return errors.Join(x.draw(inner, data), err)
}
