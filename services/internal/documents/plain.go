package documents

import (
	"bytes"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// encoding turns bytes into text. What is no text becomes U+FFFD.
type encoding func([]byte) string

// encodingOf guesses how a text is encoded from its beginning; nil: it is no
// text. whole says that head is all there is.
func encodingOf(head []byte, whole bool) encoding {
	switch {
	case bytes.HasPrefix(head, []byte{0xFF, 0xFE}):
		return utf16Text(true)
	case bytes.HasPrefix(head, []byte{0xFE, 0xFF}):
		return utf16Text(false)
	}
	if bytes.IndexByte(head, 0) >= 0 {
		return unmarkedWide(head)
	}
	cut := head
	if !whole {
		cut = wholeRunes(head)
	}
	if utf8.Valid(cut) {
		return func(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }
	}
	for _, c := range head {
		if c < 0x20 && c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != 0x1b || c == 0x7f {
			return nil
		}
	}
	return windows1252
}

// unmarkedWide finds UTF-16 that does not say so: Latin letters leave every
// second byte zero.
func unmarkedWide(head []byte) encoding {
	var zeros [2]int
	for i, c := range head {
		switch {
		case c == 0:
			zeros[i%2]++
		case c < ' ' && c != '\t' && c != '\n' && c != '\r':
			return nil
		}
	}
	half := len(head) / 2
	switch {
	case zeros[1] > half*3/4 && zeros[0] == 0:
		return utf16Text(true)
	case zeros[0] > half*3/4 && zeros[1] == 0:
		return utf16Text(false)
	}
	return nil
}

func utf16Text(little bool) encoding {
	return func(b []byte) string {
		units := make([]uint16, 0, len(b)/2)
		for i := 0; i+1 < len(b); i += 2 {
			if little {
				units = append(units, uint16(b[i])|uint16(b[i+1])<<8)
			} else {
				units = append(units, uint16(b[i])<<8|uint16(b[i+1]))
			}
		}
		return string(utf16.Decode(units))
	}
}

// highWindows1252 are the characters 0x80 to 0x9F, which Latin-1 has no use for.
var highWindows1252 = [32]rune{
	'€', '\uFFFD', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\uFFFD', 'Ž', '\uFFFD',
	'\uFFFD', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\uFFFD', 'ž', 'Ÿ',
}

func windows1252(b []byte) string {
	var s strings.Builder
	s.Grow(len(b) + len(b)/8)
	for _, c := range b {
		if c >= 0x80 && c < 0xA0 {
			s.WriteRune(highWindows1252[c-0x80])
		} else {
			s.WriteRune(rune(c))
		}
	}
	return s.String()
}

// extractPlain reads no more of a file than the text may have.
func extractPlain(out *writer, src Source, _ Limits) error {
	most := int64(out.left) * 2 // UTF-16 takes two bytes for what may be one
	data, err := io.ReadAll(io.NewSectionReader(src.Data, 0, min(src.Size, most)))
	if err != nil {
		return err
	}
	decode := encodingOf(data[:min(len(data), HeadSize)], len(data) < HeadSize)
	if decode == nil {
		return failure(nil, reasonDamaged)
	}
	if src.Size > most {
		data = wholeRunes(data)
	}
	out.verbatim = true
	if err := out.write(decode(data)); err != nil {
		return err
	}
	out.full = src.Size > most
	return nil
}
