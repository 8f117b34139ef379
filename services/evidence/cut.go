package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// cutText is text of at most n characters, all of them whole.
func cutText(s string, n int) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	if len(s) <= n {
		return s
	}
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

// Limits of what is left of a payload that is cut.
const (
	cutMember = 4 << 10                      // bytes of a member that is left
	cutNames  = 32                           // members that the mark names
	cutName   = 64                           // bytes of such a name
	cutRoom   = 256 + cutNames*(6*cutName+3) // for the mark, whose names may be escaped
)

// cutMark says what a payload lacks.
type cutMark struct {
	Bytes   int      `json:"bytes"`   // of the whole
	SHA256  string   `json:"sha256"`  // of the whole
	Members []string `json:"members"` // that were left out; the first ones
}

// cutPayload is a JSON object of at most n bytes: b itself if it is small, else its
// small members, as they are and in their order, and last "_cut". b is an object
// without blanks between values. If n is less than what the mark may need, the
// mark alone is left.
func cutPayload(b []byte, n int) []byte {
	if len(b) <= n {
		return b
	}
	sum := sha256.Sum256(b)
	mark := cutMark{Bytes: len(b), SHA256: hex.EncodeToString(sum[:]), Members: []string{}}
	out := bytes.NewBufferString("{")
	left := n - cutRoom
	each(b, func(name string, member, value []byte) bool {
		if name != "_cut" && len(value) <= cutMember && len(member)+1 <= left {
			left -= len(member) + 1
			out.Write(member)
			out.WriteByte(',')
		} else if len(mark.Members) < cutNames {
			mark.Members = append(mark.Members, cutBytes(name, cutName))
		}
		return true
	})
	text, err := encode(mark)
	if err != nil {
		return []byte("{}") // numbers and valid text: it cannot fail
	}
	out.WriteString(`"_cut":`)
	out.Write(text)
	out.WriteByte('}')
	return out.Bytes()
}

// each hands on the members of a JSON object without blanks, until fn says that it
// is enough: the name, the member as it stands there, and its value. It is one pass
// over valid JSON, however many members there are.
func each(b []byte, fn func(name string, member, value []byte) bool) {
	for at := 1; at < len(b)-1; at++ { // behind "{" or ","
		colon := at + endOf(b[at:])
		end := colon + 1 + endOf(b[colon+1:])
		if !fn(textIn(b[at:colon]), b[at:end], b[colon+1:end]) {
			return
		}
		at = end
	}
}

// endOf is how many bytes the value has that b begins with.
func endOf(b []byte) int {
	depth, inString := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			depth++
		case depth == 0 && (c == ',' || c == ':' || c == '}' || c == ']'):
			return i
		case c == '}' || c == ']':
			depth--
		}
	}
	return len(b)
}

// textIn is the text of a JSON string.
func textIn(b []byte) (s string) {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b[1 : len(b)-1])
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return string(b) // cannot happen: it is a valid string
	}
	return s
}

// cutBytes is text of at most n bytes whose characters are whole.
func cutBytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// encode is JSON as people write it, without escapes for web pages.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
