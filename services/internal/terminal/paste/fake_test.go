package paste_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// faults are what the fake agent does wrong.
type faults struct {
	Burst     int  // ms: an Enter sooner than this after text is a line break
	Slow      int  // ms until it draws
	Swallow   bool // the first Enter for each message does nothing
	Plain     bool // it does not ask for bracketed paste
	Modal     bool // a question is open
	Dies      int  // after so many bytes
	Alternate bool // it draws on the alternate screen
	Deaf      bool // it never takes Enter
	Working   bool // it is at work and stays so
	Cuts      int  // it drops what comes after so many bytes of a paste
	Asks      bool // a question opens when text comes in
	Gone      bool // it has ended; its picture stays, and a shell below takes the input
	Torn      int  // ms between the beginning of its input and the rest, when it draws
}

// record is one thing that the fake was told: a message, or a key that it got while a question was open.
type record struct {
	SHA256 string
	Length int
	Stray  string
}

// piece is a part of the fake's input: typed text, or a paste that may be shown as a placeholder.
type piece struct {
	text   string
	pasted bool
}

// fake is an agent CLI in small: a box with text, a conversation above it, a status line below.
type fake struct {
	faults
	out       io.Writer
	log       []record
	dead      bool
	pieces    []piece
	paste     []byte // of a paste that is not over
	inPaste   bool
	escape    []byte
	lastText  time.Time
	swallowed bool
	said      []string
	got       int
	cols      int
	pastes    int
	line      string // of the shell
}

// run is the program: it ends with its input, or by a fault.
func (f *fake) run(input <-chan []byte) {
	if f.Alternate {
		f.print("\x1b[?1049h")
	}
	if !f.Plain {
		f.print("\x1b[?2004h")
	}
	f.draw()
	var redraw <-chan time.Time
	for !f.dead {
		select {
		case b, ok := <-input:
			if !ok {
				return
			}
			for _, c := range b {
				f.take(c)
			}
			if redraw == nil {
				redraw = time.After(time.Duration(f.Slow) * time.Millisecond)
			}
		case <-redraw:
			redraw = nil
			f.draw()
		}
	}
}

func (f *fake) print(s string) { _, _ = io.WriteString(f.out, s) }

func (f *fake) write(r record) { f.log = append(f.log, r) }

// take is one byte from the terminal.
func (f *fake) take(c byte) {
	if f.got++; f.Dies > 0 && f.got >= f.Dies {
		f.dead = true
		return
	}
	if f.Modal {
		f.write(record{Stray: string(c)})
		return
	}
	if f.Gone {
		f.shell(c)
		return
	}
	if len(f.escape) > 0 || c == 0x1b {
		f.escape = append(f.escape, c)
		switch string(f.escape) {
		case "\x1b[200~":
			f.inPaste, f.paste, f.escape = true, nil, nil
		case "\x1b[201~":
			text := strings.ReplaceAll(string(f.paste), "\r", "\n")
			if f.Cuts > 0 && len(text) > f.Cuts {
				text = text[:f.Cuts]
			}
			f.pieces = append(f.pieces, piece{text, true})
			f.inPaste, f.escape, f.lastText = false, nil, time.Now()
			f.pastes++
			f.Modal = f.Asks
		default:
			if len(f.escape) > 6 {
				f.escape = nil
			}
		}
		return
	}
	switch {
	case f.inPaste:
		f.paste = append(f.paste, c)
	case c == '\r':
		f.enter()
	case c == 0x15: // ctrl-u
		f.pieces = nil
	default: // a line feed is the key for a line break
		f.typed(string([]byte{c}))
	}
}

// shell is a byte for the shell that is there instead.
func (f *fake) shell(c byte) {
	switch c {
	case '\r', '\n':
		if f.line != "" {
			f.write(record{Stray: f.line})
		}
		f.line = ""
	case 0x15:
		f.line = ""
	default:
		f.line += string([]byte{c})
	}
}

func (f *fake) typed(s string) {
	if n := len(f.pieces); n > 0 && !f.pieces[n-1].pasted {
		f.pieces[n-1].text += s
	} else {
		f.pieces = append(f.pieces, piece{text: s})
	}
	f.lastText = time.Now()
}

func (f *fake) enter() {
	switch {
	case time.Since(f.lastText) < time.Duration(f.Burst)*time.Millisecond:
		f.typed("\n")
		return
	case len(f.pieces) == 0 || f.Deaf:
		return
	case f.Swallow && !f.swallowed:
		f.swallowed = true
		return
	}
	f.swallowed = false
	var all strings.Builder
	for _, p := range f.pieces {
		all.WriteString(p.text)
	}
	sum := sha256.Sum256([]byte(all.String()))
	f.write(record{SHA256: hex.EncodeToString(sum[:]), Length: all.Len()})
	f.said = append(f.said, "you said "+hex.EncodeToString(sum[:4]))
	f.pieces = nil
}

// draw paints everything anew, as such programs do.
func (f *fake) draw() {
	var b bytes.Buffer
	b.WriteString("\x1b[2J\x1b[HFake Agent v1\r\n")
	for _, s := range f.said[max(0, len(f.said)-5):] {
		b.WriteString("  " + s + "\r\n")
	}
	if f.Modal {
		b.WriteString("\r\nMay I run this?\r\n❯ 1. Yes\r\n  2. No\r\n\r\nEsc to cancel\r\n")
		f.print(b.String())
		return
	}
	if f.Working {
		b.WriteString("* Working… (3s)\r\n")
	}
	rule := strings.Repeat("─", f.cols) + "\r\n"
	b.WriteString(rule + "> ")
	if f.Torn > 0 {
		f.print(b.String())
		b.Reset()
		time.Sleep(time.Duration(f.Torn) * time.Millisecond)
	}
	var shown strings.Builder
	for _, p := range f.pieces {
		if p.pasted && (len(p.text) > 300 || strings.Count(p.text, "\n") > 3) {
			fmt.Fprintf(&shown, "[Pasted #%d %d chars]", f.pastes, utf8.RuneCountInString(p.text))
		} else {
			shown.WriteString(p.text)
		}
	}
	b.WriteString(strings.ReplaceAll(shown.String(), "\n", "\r\n  ") + "\r\n" + rule + "  ready")
	if f.Gone {
		b.WriteString("\r\n$ " + f.line)
	}
	f.print(b.String())
}
