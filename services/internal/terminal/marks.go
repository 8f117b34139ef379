package terminal

import (
	"bytes"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Block is a command that ran in a shell with our integration (OSC 133).
type Block struct {
	Command    string    // as typed; empty if the shell did not say
	ExitCode   int       // -1: not said
	Cwd        string    // where it began; empty: not known
	Started    time.Time // when its first byte of output could come
	Ended      time.Time
	Start, End int64 // offsets of its output
}

// Duration is how long it ran.
func (b Block) Duration() time.Duration { return b.Ended.Sub(b.Started) }

// Limits of what a program can make a parser keep.
const (
	sequenceMost = 8 << 10 // bytes of an operating system command
	commandMost  = 4 << 10 // bytes of a command
	titleMost    = 256     // bytes of a title
	echoMost     = 4 << 10 // bytes read as what was typed
)

// markState is what a markParser knows between two sequences. It is stored.
type markState struct {
	Cwd     string
	Title   string
	Phase   byte // last mark: 0, A, B or C
	Command string
	Started int64 // milliseconds
	Start   int64
	Where   string // cwd when the command began
}

// markParser finds the marks of shells and titles in output that comes in pieces cut
// anywhere. Programs can write marks, too, so nothing that it says is proof.
type markParser struct {
	markState
	scanner scanner
	echo    []byte // behind B: what the user types, as the shell shows it
	text    stripper

	onBlock func(Block)
	onCwd   func(string)
	onTitle func(string)
}

// feed takes the bytes at offset at, which were written at when.
func (p *markParser) feed(at int64, data []byte, when time.Time) {
	p.scanner.limit = sequenceMost
	esc := -1
	for i := 0; i < len(data); {
		if p.Phase != 'B' && p.scanner.ground() { // text, of which nothing is kept
			if esc < i {
				esc = i + indexOrLen(data[i:], 0x1b)
			}
			if i += indexOrLen(data[i:esc], 0xc2); i == len(data) {
				return
			}
		}
		kind, n := p.scanner.next(data[i:])
		if p.Phase == 'B' {
			p.echo = append(p.echo, data[i:i+min(n, echoMost-len(p.echo))]...)
		}
		if kind == scanOSC {
			p.command(p.scanner.payload, at+int64(i+n), when)
		}
		i += n
	}
}

// indexOrLen is the index of the first c in data, or its length.
func indexOrLen(data []byte, c byte) int {
	if i := bytes.IndexByte(data, c); i >= 0 {
		return i
	}
	return len(data)
}

// command carries out an operating system command that ended before offset.
func (p *markParser) command(payload []byte, offset int64, when time.Time) {
	number, rest, _ := strings.Cut(string(payload), ";")
	switch number {
	case "0", "2":
		if title := clean(rest, titleMost); title != p.Title {
			p.Title = title
			p.onTitle(title)
		}
	case "7":
		if cwd := fileURL(rest); cwd != "" && cwd != p.Cwd {
			p.Cwd = cwd
			p.onCwd(cwd)
		}
	case "133":
		p.mark(rest, offset, when)
	}
}

// mark takes a mark of a shell: A prompt, B input, C output, D done.
func (p *markParser) mark(rest string, offset int64, when time.Time) {
	kind, params, _ := strings.Cut(rest, ";")
	switch kind {
	case "A":
		if p.Phase == 'C' {
			p.done(-1, offset, when) // the shell forgot to say
		}
		p.Phase = 'A'
	case "B":
		p.Phase, p.echo = 'B', p.echo[:0]
	case "C":
		if p.Phase == 'C' {
			return // said twice
		}
		p.Phase, p.Start, p.Started, p.Where = 'C', offset, when.UnixMilli(), p.Cwd
		p.Command = commandOf(params)
		if p.Command == "" {
			p.Command = clean(edited(p.text.all(p.echo)), commandMost)
		}
		p.echo = nil
	case "D":
		if p.Phase != 'C' {
			return
		}
		code := -1
		first, _, _ := strings.Cut(params, ";")
		if n, err := strconv.Atoi(first); err == nil && n >= 0 && n <= 255 {
			code = n
		}
		p.done(code, offset, when)
	}
}

func (p *markParser) done(code int, offset int64, when time.Time) {
	p.onBlock(Block{Command: p.Command, ExitCode: code, Cwd: p.Where,
		Started: time.UnixMilli(p.Started), Ended: when, Start: p.Start, End: offset})
	p.Phase, p.Command = 0, ""
}

// snapshot is the state, unless the parser is within a sequence.
func (p *markParser) snapshot() (markState, bool) {
	return p.markState, p.scanner.ground()
}

// commandOf returns the command that a C mark carries, percent-encoded.
func commandOf(params string) string {
	for param := range strings.SplitSeq(params, ";") {
		if encoded, ok := strings.CutPrefix(param, "cmdline_url="); ok {
			if text, err := url.PathUnescape(encoded); err == nil {
				return cleanLines(text, commandMost)
			}
		}
	}
	return ""
}

// fileURL returns the path of a file:// address, or nothing.
func fileURL(s string) string {
	rest, ok := strings.CutPrefix(s, "file://")
	slash := strings.IndexByte(rest, '/')
	if !ok || slash < 0 {
		return ""
	}
	dir, err := url.PathUnescape(rest[slash:])
	if err != nil || !utf8.ValidString(dir) || strings.ContainsFunc(dir, unicode.IsControl) || len(dir) > 4096 {
		return ""
	}
	return path.Clean(dir)
}

// clean returns s as one line without control and direction characters, of at most so many bytes.
func clean(s string, most int) string {
	return cut(strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case hidden(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))), most)
}

// cleanLines is clean for text that may have several lines.
func cleanLines(s string, most int) string {
	return cut(strings.TrimSpace(strings.Map(func(r rune) rune {
		if hidden(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))), most)
}

// hidden says that a character shows nothing, or turns the order of others.
func hidden(r rune) bool {
	return unicode.IsControl(r) || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 ||
		r == 0x200e || r == 0x200f || r == 0x061c || r == 0x2028 || r == 0x2029
}

// cut shortens s to at most n bytes, between characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// edited applies the backspaces in what a line editor echoed.
func edited(s string) string {
	out := make([]rune, 0, len(s))
	for _, r := range s {
		if r == '\b' {
			out = out[:max(0, len(out)-1)]
			continue
		}
		out = append(out, r)
	}
	return string(out)
}
