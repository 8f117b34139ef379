package documents

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/ledongthuc/pdf"
)

const (
	mapMax   = 200_000 // entries of a character map
	widthMax = 100_000 // entries of a table of widths
)

// pdfFont tells which characters the codes of a string stand for, and how wide
// they are.
type pdfFont struct {
	wide    bool // two bytes a code
	toText  map[uint32]string
	plain   pdf.TextEncoding // for one that has no map
	widths  map[uint32]float64
	missing float64 // width of the others; in ems
}

// font finds a font among the resources; nil: there is none.
func (x *pdfText) font(resources pdf.Value, name string) *pdfFont {
	v := resources.Key("Font").Key(name)
	if v.Kind() != pdf.Dict {
		return nil
	}
	key := v.String() // shows references as such: the same font, the same text
	if f := x.fonts[key]; f != nil {
		return f
	}
	f := newPDFFont(v)
	x.fonts[key] = f
	return f
}

func newPDFFont(v pdf.Value) *pdfFont {
	f := &pdfFont{widths: map[uint32]float64{}, missing: 0.5}
	if v.Key("Subtype").Name() == "Type0" {
		f.wide = true
		f.cidWidths(v.Key("DescendantFonts").Index(0))
	} else {
		f.simpleWidths(v)
	}
	if data, _ := streamOf(v.Key("ToUnicode")); len(data) > 0 {
		f.toText = readCharacterMap(data)
	}
	if len(f.toText) == 0 && (!f.wide || v.Key("Encoding").Name() == "UniGB-UCS2-H") {
		font := pdf.Font{V: v}
		f.plain = encoderOf(&font)
	}
	return f
}

// encoderOf is nil for an encoding that the parser breaks down on.
func encoderOf(font *pdf.Font) (e pdf.TextEncoding) {
	defer func() {
		if recover() != nil {
			e = nil
		}
	}()
	return font.Encoder()
}

func (f *pdfFont) simpleWidths(v pdf.Value) {
	first, list := v.Key("FirstChar").Int64(), v.Key("Widths")
	for i := range min(list.Len(), 256) {
		f.widths[uint32(first)+uint32(i)] = list.Index(i).Float64() / 1000
	}
	if v.Key("Subtype").Name() == "Type3" { // in units of its own
		for code := range f.widths {
			f.widths[code] = f.missing
		}
	}
}

func (f *pdfFont) cidWidths(v pdf.Value) {
	f.missing = 1
	if w := v.Key("DW"); !w.IsNull() {
		f.missing = w.Float64() / 1000
	}
	list := v.Key("W")
	for i := 0; i+1 < list.Len() && len(f.widths) < widthMax; {
		first, second := list.Index(i).Int64(), list.Index(i+1)
		if second.Kind() == pdf.Array {
			for j := range min(second.Len(), widthMax) {
				f.widths[uint32(first)+uint32(j)] = second.Index(j).Float64() / 1000
			}
			i += 2
			continue
		}
		width := list.Index(i+2).Float64() / 1000
		for code := first; code <= second.Int64() && len(f.widths) < widthMax; code++ {
			f.widths[uint32(code)] = width
		}
		i += 3
	}
}

// decode gives the text of a string, its width in ems, how many glyphs it has,
// and how many of them are spaces that word spacing widens.
func (f *pdfFont) decode(raw []byte) (text string, width float64, glyphs, spaces int) {
	step := 1
	if f.wide {
		step = 2
	}
	var b strings.Builder
	for i := 0; i+step <= len(raw); i += step {
		code := uint32(raw[i])
		if f.wide {
			code = code<<8 | uint32(raw[i+1])
		} else if code == ' ' {
			spaces++
		}
		glyphs++
		w, known := f.widths[code]
		if !known {
			w = f.missing
		}
		width += w
		if s, ok := f.toText[code]; ok {
			b.WriteString(s)
		} else if f.plain != nil {
			b.WriteString(plainText(f.plain, raw[i:i+step]))
		}
	}
	return unligate.Replace(strings.ToValidUTF8(b.String(), "\uFFFD")), width, glyphs, spaces
}

// unligate writes ligatures as the letters they show.
var unligate = strings.NewReplacer("ﬀ", "ff", "ﬁ", "fi", "ﬂ", "fl", "ﬃ", "ffi", "ﬄ", "ffl", "\u00AD", "-")

func plainText(e pdf.TextEncoding, raw []byte) (s string) {
	defer func() {
		if recover() != nil {
			s = ""
		}
	}()
	s = e.Decode(string(raw))
	if s == string(raw) && !utf8.ValidString(s) { // passed through: read it as most do
		s = windows1252(raw)
	}
	return s
}

// readCharacterMap reads a ToUnicode map.
func readCharacterMap(data []byte) map[uint32]string {
	m := map[uint32]string{}
	l := &pdfLexer{b: data}
	var args []any
	for {
		switch t := l.next().(type) {
		case nil:
			return m
		case operator:
			switch t {
			case "endbfchar":
				mapCharacters(m, args)
			case "endbfrange":
				mapRanges(m, args)
			}
			args = args[:0]
		default:
			if len(args) < 3*mapMax {
				args = append(args, t)
			}
		}
	}
}

func mapCharacters(m map[uint32]string, args []any) {
	for i := 0; i+1 < len(args) && len(m) < mapMax; i += 2 {
		code, ok := args[i].(pdfString)
		text, ok2 := args[i+1].(pdfString)
		if ok && ok2 {
			m[codeOf(code)] = wideText(text)
		}
	}
}

func mapRanges(m map[uint32]string, args []any) {
	for i := 0; i+2 < len(args); i += 3 {
		low, ok := args[i].(pdfString)
		high, ok2 := args[i+1].(pdfString)
		if !ok || !ok2 {
			continue
		}
		first, last := codeOf(low), codeOf(high)
		switch to := args[i+2].(type) {
		case pdfArray:
			for j, text := range to {
				if s, ok := text.(pdfString); ok && len(m) < mapMax {
					m[first+uint32(j)] = wideText(s)
				}
			}
		case pdfString:
			base := []rune(wideText(to))
			if len(base) == 0 {
				continue
			}
			for code := first; code <= last && code >= first && len(m) < mapMax; code++ {
				next := append([]rune(nil), base...)
				next[len(next)-1] += rune(code - first)
				m[code] = string(next)
			}
		}
	}
}

func codeOf(s pdfString) uint32 {
	var code uint32
	for _, c := range s[:min(len(s), 4)] {
		code = code<<8 | uint32(c)
	}
	return code
}

// wideText decodes UTF-16 with the high byte first.
func wideText(s pdfString) string {
	units := make([]uint16, 0, len(s)/2)
	for i := 0; i+1 < len(s); i += 2 {
		units = append(units, uint16(s[i])<<8|uint16(s[i+1]))
	}
	return string(utf16.Decode(units))
}
