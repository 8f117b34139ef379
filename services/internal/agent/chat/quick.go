package chat

import (
	"bytes"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// maxQuick bounds what gjson is given: it recurses into nested values, so a
// hostile chunk of a few MiB of brackets would exhaust the stack.
const maxQuick = 64 << 10

// piece is what a chunk says that carries text, or reasoning, and nothing else.
type piece struct{ text, reasoning string }

// quick reads the chunks that make up nearly all of a stream, those with a
// piece of text, many times faster than the SDK's types do. It is strict:
// whatever is unusual in a chunk makes it say no, and the SDK decides.
type quick struct {
	last  template // of the last chunk with text
	draft []hole   // of the chunk being taken apart
}

func (q *quick) read(data []byte) (piece, bool) {
	if said, ok := q.last.match(data); ok {
		if q.last.thought {
			return piece{reasoning: string(said)}, true
		}
		return piece{text: string(said)}, true
	}
	if len(data) > maxQuick || !gjson.ValidBytes(data) {
		return piece{}, false
	}
	return q.parse(data)
}

// parse takes a valid chunk apart.
func (q *quick) parse(data []byte) (p piece, ok bool) {
	ok = true
	choices := 0
	q.draft = q.draft[:0]
	null := func(v gjson.Result) { ok = ok && v.Type == gjson.Null }
	said := func(v gjson.Result, into *string) {
		if v.Type != gjson.String {
			null(v)
			return
		}
		*into = v.Str
		if v.Str != "" {
			q.dig(v, true)
		}
	}
	delta := func(k, v gjson.Result) bool {
		switch k.Str {
		case "content":
			said(v, &p.text)
		case "reasoning_content", "reasoning":
			said(v, &p.reasoning)
		case "role":
		default:
			null(v)
		}
		return ok
	}
	choice := func(k, v gjson.Result) bool {
		switch k.Str {
		case "delta":
			ok = ok && v.IsObject()
			v.ForEach(delta)
		case "index":
			ok = ok && v.Num == 0
		case "finish_reason":
			null(v)
		}
		return ok
	}
	gjson.ParseBytes(data).ForEach(func(k, v gjson.Result) bool {
		switch k.Str {
		case "choices":
			ok = ok && v.IsArray()
			v.ForEach(func(_, c gjson.Result) bool {
				choices++
				ok = ok && c.IsObject()
				c.ForEach(choice)
				return ok
			})
		case "usage", "error":
			null(v)
		default: // id, created, and the like may differ from chunk to chunk
			q.dig(v, false)
		}
		return ok
	})
	if !ok || choices != 1 || p.text != "" && p.reasoning != "" || !utf8.ValidString(p.text) || !utf8.ValidString(p.reasoning) {
		return piece{}, false
	}
	if p.text != "" || p.reasoning != "" {
		q.last.learn(data, q.draft, p.reasoning != "")
	}
	return p, true
}

// dig notes where a value is that may be another in the next chunk.
func (q *quick) dig(v gjson.Result, said bool) {
	h := hole{from: v.Index, to: v.Index + len(v.Raw), said: said}
	switch {
	case v.Type == gjson.String:
		h.from, h.to = h.from+1, h.to-1 // the quotes stay
	case v.Type == gjson.Number && v.Raw[0] > '0': // not 0.5, not -1
		h.digits = true
	default:
		return
	}
	q.draft = append(q.draft, h)
}

// template is a chunk with holes where its values were. What fills them with
// values of the same plain kind, and is the same all around them, is as valid as
// the chunk was and means the same: it need not be parsed.
type template struct {
	chunk   []byte
	holes   []hole
	said    hole
	thought bool
}

type hole struct {
	from, to int  // in the chunk
	digits   bool // a number, else the inside of a string
	said     bool // the one that is asked for
}

func (t *template) learn(data []byte, holes []hole, thought bool) {
	t.chunk = append(t.chunk[:0], data...)
	t.holes = append(t.holes[:0], holes...)
	t.thought = thought
	for _, h := range holes {
		if h.said {
			t.said = h
		}
	}
}

func (t *template) match(data []byte) (said []byte, ok bool) {
	if len(t.holes) == 0 {
		return nil, false
	}
	// Mostly nothing but the text differs.
	if before, after := t.chunk[:t.said.from], t.chunk[t.said.to:]; bytes.HasPrefix(data, before) && bytes.HasSuffix(data, after) {
		rest := data[len(before):]
		if n := plain(rest); n >= 0 && n == len(rest)-len(after) {
			return rest[:n], utf8.Valid(rest[:n])
		}
	}
	done := 0 // of the template
	for _, h := range t.holes {
		wall := t.chunk[done:h.from]
		if !bytes.HasPrefix(data, wall) {
			return nil, false
		}
		data, done = data[len(wall):], h.to
		n := 0
		if h.digits {
			n = digits(data)
		} else {
			n = plain(data)
		}
		if n < 0 {
			return nil, false
		}
		if h.said {
			said = data[:n]
		}
		data = data[n:]
	}
	return said, bytes.Equal(data, t.chunk[done:]) && utf8.Valid(said)
}

// digits is the length of the whole number that data begins with, or -1.
func digits(data []byte) int {
	n := 0
	for n < len(data) && '0' <= data[n] && data[n] <= '9' {
		n++
	}
	if n == 0 || data[0] == '0' {
		return -1
	}
	return n
}

// plain is the length of the rest of a string, or -1 if there is anything in it
// to decode or to refuse.
func plain(data []byte) int {
	for n, c := range data {
		if c == '"' {
			return n
		}
		if c < ' ' || c == '\\' {
			return -1
		}
	}
	return -1
}
