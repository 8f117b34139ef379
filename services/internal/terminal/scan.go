package terminal

// What scanner.next found.
const (
	scanText    = iota // characters and controls that are not part of a sequence
	scanInside         // a part of a sequence
	scanEnd            // the end of a sequence other than an OSC
	scanOSC            // the end of an operating system command; its payload is kept
	scanControl        // one control character of C0
)

// States of a scanner.
const (
	inGround = iota
	inEscape
	inCharset // ESC and an intermediate byte: charset designations, DECALN, S7C1T
	inCSI
	inOSC
	inString    // DCS, SOS, PM, APC: thrown away
	inOSCEsc    // an ESC within, which may be the first half of ST
	inStringEsc // the same
	inC1        // 0xC2, which may begin a C1 character in UTF-8
)

// scanner splits output into text and control sequences (ECMA-48, xterm), in
// pieces cut anywhere. 8-bit C1 controls count when encoded in UTF-8
// (U+0080 to U+009F); raw bytes above 0x7F are text. It keeps limit bytes at most.
type scanner struct {
	limit   int
	payload []byte // of an OSC; valid until the next call
	over    bool   // the payload was longer than limit: it is dropped
	state   byte
	back    byte // the byte before, within a string
	set     byte // the intermediate byte of a designation that ended, such as ( for G0; else 0
}

func (s *scanner) ground() bool { return s.state == inGround }

// next takes one or more bytes from the front of data, which is not empty, and says what they are.
func (s *scanner) next(data []byte) (kind, n int) {
	if s.state == inGround {
		for n < len(data) && data[n] >= 0x20 && data[n] != 0x7f && data[n] != 0xc2 {
			n++
		}
		if n > 0 {
			return scanText, n
		}
	}
	return s.byte(data[0]), 1
}

// byte takes one byte outside of plain text.
func (s *scanner) byte(c byte) int {
	if s.state != inCharset {
		s.set = 0
	}
	switch s.state {
	case inGround:
		switch {
		case c == 0x1b:
			s.state = inEscape
		case c == 0xc2:
			s.state = inC1
		default:
			return scanControl
		}
		return scanInside
	case inC1:
		return s.c1(c)
	case inEscape:
		return s.escape(c)
	case inCharset:
		if c >= 0x20 && c <= 0x2f {
			return scanInside
		}
		return s.finish(c)
	case inCSI:
		if c >= 0x20 && c <= 0x3f {
			return scanInside
		}
		return s.finish(c)
	default:
		return s.str(c)
	}
}

// finish ends a sequence by its last byte; controls within are carried out, as terminals do.
func (s *scanner) finish(c byte) int {
	switch {
	case c == 0x1b:
		s.state = inEscape
		return scanInside
	case c == 0x18 || c == 0x1a:
		s.state = inGround
		return scanEnd
	case c < 0x20:
		return scanControl
	case c == 0x7f:
		return scanInside
	case c >= 0x80: // no sequence has it: what follows is text again
		s.state = inGround
		return scanEnd
	}
	s.state = inGround
	return scanEnd
}

// escape takes the byte behind ESC.
func (s *scanner) escape(c byte) int {
	switch {
	case c == '[':
		s.state = inCSI
	case c == ']':
		s.begin(inOSC)
	case c == 'P' || c == 'X' || c == '^' || c == '_':
		s.begin(inString)
	case c == 'k': // screen's title
		s.begin(inString)
	case c >= 0x20 && c <= 0x2f:
		s.state, s.set = inCharset, c
	default:
		return s.finish(c)
	}
	return scanInside
}

func (s *scanner) begin(state byte) {
	s.state, s.payload, s.over, s.back = state, s.payload[:0], false, 0
}

// c1 takes the byte behind 0xC2.
func (s *scanner) c1(c byte) int {
	s.state = inGround
	switch c {
	case 0x9b:
		s.state = inCSI
	case 0x9d:
		s.begin(inOSC)
	case 0x90, 0x98, 0x9e, 0x9f:
		s.begin(inString)
	default:
		if c >= 0x80 && c <= 0x9f {
			return scanEnd
		}
		return scanText // the second half of U+00A0 to U+00BF, or no UTF-8
	}
	return scanInside
}

// str takes a byte of an OSC or of a string that is thrown away.
func (s *scanner) str(c byte) int {
	osc := s.state == inOSC || s.state == inOSCEsc
	if s.state == inOSCEsc || s.state == inStringEsc {
		if c == '\\' {
			return s.ended(osc)
		}
		s.state = inEscape // the string was given up
		return s.escape(c)
	}
	switch {
	case c == 0x1b:
		if s.state = inStringEsc; osc {
			s.state = inOSCEsc
		}
	case c == 0x18 || c == 0x1a:
		s.state = inGround
		return scanEnd
	case c == 0x07 && osc:
		return s.ended(osc)
	case c == 0x9c && s.back == 0xc2: // ST in UTF-8; its first half is in the payload
		if n := len(s.payload); osc && !s.over && n > 0 {
			s.payload = s.payload[:n-1]
		}
		return s.ended(osc)
	default:
		if osc {
			if s.over = s.over || len(s.payload) >= s.limit; !s.over {
				s.payload = append(s.payload, c)
			}
		}
	}
	s.back = c
	return scanInside
}

func (s *scanner) ended(osc bool) int {
	s.state, s.back = inGround, 0
	if osc && !s.over {
		return scanOSC
	}
	return scanEnd
}
