package documents

import (
	"bytes"
	"strconv"
)

// Operands of a content stream. An operator is an operator value.
type (
	pdfName   string
	pdfString []byte
	pdfArray  []any // of these and float64
	operator  string
)

// pdfLexer takes a content stream or a character map apart. It never fails:
// what is no token is passed over.
type pdfLexer struct {
	b     []byte
	at    int
	level int // arrays that are open
}

const arraysMax = 16 // inside one another

func isBlank(c byte) bool {
	return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\f' || c == 0
}
func isDelimiter(c byte) bool { return bytes.IndexByte([]byte("()<>[]{}/%"), c) >= 0 }

// next returns the next operand or operator, nil at the end. Dictionaries are
// passed over.
func (l *pdfLexer) next() any {
	for l.at < len(l.b) {
		c := l.b[l.at]
		switch {
		case isBlank(c):
			l.at++
		case c == '%':
			for l.at < len(l.b) && l.b[l.at] != '\n' && l.b[l.at] != '\r' {
				l.at++
			}
		case c == '(':
			return l.literal()
		case c == '<' && l.at+1 < len(l.b) && l.b[l.at+1] == '<':
			l.at += 2
		case c == '<':
			return l.hex()
		case c == '[':
			l.at++
			if l.level >= arraysMax {
				continue
			}
			return l.array()
		case c == ']':
			l.at++
			if l.level > 0 {
				return closeArray{}
			}
		case c == '/':
			l.at++
			return pdfName(l.word())
		case isDelimiter(c):
			l.at++
		default:
			word := l.word()
			if n, err := strconv.ParseFloat(word, 64); err == nil && (c < 'A' || c == '.') {
				return n
			}
			return operator(word)
		}
	}
	return nil
}

type closeArray struct{}

func (l *pdfLexer) array() pdfArray {
	l.level++
	defer func() { l.level-- }()
	a := pdfArray{}
	for {
		before := l.at
		switch t := l.next().(type) {
		case nil, closeArray:
			return a
		case operator:
			if t == "null" || t == "true" || t == "false" {
				continue
			}
			l.at = before // nobody closed the array
			return a
		default:
			a = append(a, t)
		}
	}
}

func (l *pdfLexer) word() string {
	start := l.at
	for l.at < len(l.b) && !isBlank(l.b[l.at]) && !isDelimiter(l.b[l.at]) {
		l.at++
	}
	return string(l.b[start:l.at])
}

// literal reads a string in parentheses, which may stand in it in pairs.
func (l *pdfLexer) literal() pdfString {
	s := pdfString{}
	l.at++
	for depth := 1; l.at < len(l.b); l.at++ {
		c := l.b[l.at]
		switch c {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				l.at++
				return s
			}
		case '\\':
			s = l.escaped(s)
			continue
		}
		s = append(s, c)
	}
	return s
}

// escaped adds what a backslash and the characters behind it stand for, and
// stops at the last of them.
func (l *pdfLexer) escaped(s pdfString) pdfString {
	l.at++
	if l.at >= len(l.b) {
		return s
	}
	c := l.b[l.at]
	switch {
	case c == '\n':
		return s
	case c == '\r':
		if l.at+1 < len(l.b) && l.b[l.at+1] == '\n' {
			l.at++
		}
		return s
	case c >= '0' && c <= '7':
		n := 0
		for i := 0; i < 3 && l.at < len(l.b) && l.b[l.at] >= '0' && l.b[l.at] <= '7'; i++ {
			n = n<<3 | int(l.b[l.at]-'0')
			l.at++
		}
		l.at--
		return append(s, byte(n))
	}
	if i := bytes.IndexByte([]byte("nrtbf"), c); i >= 0 {
		c = "\n\r\t\b\f"[i]
	}
	return append(s, c)
}

// hex reads a string in angle brackets.
func (l *pdfLexer) hex() pdfString {
	s, digits, n := pdfString{}, 0, 0
	for l.at++; l.at < len(l.b) && l.b[l.at] != '>'; l.at++ {
		d, err := strconv.ParseUint(string(l.b[l.at]), 16, 8)
		if err != nil {
			continue
		}
		n = n<<4 | int(d)
		if digits++; digits%2 == 0 {
			s, n = append(s, byte(n)), 0
		}
	}
	l.at++
	if digits%2 == 1 {
		s = append(s, byte(n<<4))
	}
	return s
}

// skipImage passes over the bytes of an image inside the stream, which begin
// behind the operator ID and end before an EI that stands alone.
func (l *pdfLexer) skipImage() {
	for {
		i := bytes.Index(l.b[min(l.at, len(l.b)):], []byte("EI"))
		if i < 0 {
			l.at = len(l.b)
			return
		}
		at := l.at + i
		l.at = at + 2
		if at > 0 && isBlank(l.b[at-1]) && (l.at >= len(l.b) || isBlank(l.b[l.at])) {
			return
		}
	}
}
