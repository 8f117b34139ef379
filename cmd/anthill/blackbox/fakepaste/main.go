// Fakepaste plays an agent CLI that misbehaves, for tests of how messages get into
// terminals: a box with text, a conversation above it, a status line below. What it
// is told is appended to a file, one JSON line each.
//
//	fakepaste FILE '{"burst":120,"slow":60}'
//
// SIGUSR1 lets it work or stop working, SIGUSR2 opens or closes a question, SIGTERM
// ends it, with its last picture left on the screen.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// faults are what it does wrong.
type faults struct {
	Name      string `json:"name"`      // in its title line, when it is not the only one
	Burst     int    `json:"burst"`     // ms: an Enter sooner than this after text is a line break
	Slow      int    `json:"slow"`      // ms until it draws
	Swallow   bool   `json:"swallow"`   // the first Enter for each message does nothing
	Plain     bool   `json:"plain"`     // it does not ask for bracketed paste
	Modal     bool   `json:"modal"`     // a question is open
	Dies      int    `json:"dies"`      // when a message has more than so many bytes, in the middle of it
	Alternate bool   `json:"alternate"` // it draws on the alternate screen
	Deaf      bool   `json:"deaf"`      // it never takes Enter
	Working   bool   `json:"working"`   // it is at work
	Torn      bool   `json:"torn"`      // it draws the beginning of its input first, the rest later
}

// record is one thing that it was told.
type record struct {
	SHA256 string `json:"sha256"`
	Length int    `json:"length"`
	File   bool   `json:"file"`            // the digest is of the file that was named
	Start  string `json:"start"`           // the first characters
	Stray  string `json:"stray,omitempty"` // a key that came while a question was open
	Died   bool   `json:"died,omitempty"`
	Pid    int    `json:"pid,omitempty"` // it began
}

// piece is a part of the input: typed text, or a paste that may be shown as a placeholder.
type piece struct {
	text   string
	pasted bool
}

type fake struct {
	faults
	log       *os.File
	pieces    []piece
	paste     []byte // of a paste that is not over
	inPaste   bool
	escape    []byte
	size      int // of what stands in the input, and of the paste
	lastText  time.Time
	swallowed bool
	said      []string
	pastes    int
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 3 {
		return fmt.Errorf("usage: fakepaste FILE FAULTS")
	}
	f := &fake{}
	if err := json.Unmarshal([]byte(os.Args[2]), &f.faults); err != nil {
		return err
	}
	var err error
	if f.log, err = os.OpenFile(os.Args[1], os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600); err != nil {
		return err
	}
	before, err := term.MakeRaw(0)
	if err != nil {
		return err
	}
	input := make(chan []byte)
	go func() {
		for {
			b := make([]byte, 64<<10)
			n, err := os.Stdin.Read(b)
			if err != nil {
				close(input)
				return
			}
			input <- b[:n]
		}
	}()
	toggled := make(chan os.Signal, 4)
	signal.Notify(toggled, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTERM)
	f.write(record{Pid: os.Getpid()})
	if f.Alternate {
		fmt.Print("\x1b[?1049h")
	}
	if !f.Plain {
		fmt.Print("\x1b[?2004h")
	}
	f.draw()
	f.loop(input, toggled)
	fmt.Print("\x1b[?2004l\r\n")
	return term.Restore(0, before)
}

func (f *fake) loop(input <-chan []byte, toggled <-chan os.Signal) {
	var redraw <-chan time.Time
	for {
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
		case s := <-toggled:
			switch s {
			case syscall.SIGUSR1:
				f.Working = !f.Working
			case syscall.SIGUSR2:
				f.Modal = !f.Modal
			default:
				return
			}
			f.draw()
		}
	}
}

func (f *fake) write(r record) {
	b, err := json.Marshal(r)
	if err == nil {
		_, err = f.log.Write(append(b, '\n'))
	}
	if err != nil {
		os.Exit(4)
	}
}

// take is one byte from the terminal.
func (f *fake) take(c byte) {
	if f.Modal {
		f.write(record{Stray: string(c)})
		return
	}
	if f.size++; f.Dies > 0 && f.size > f.Dies {
		f.write(record{Died: true})
		os.Exit(3)
	}
	if len(f.escape) > 0 || c == 0x1b {
		f.sequence(c)
		return
	}
	switch {
	case f.inPaste:
		f.paste = append(f.paste, c)
	case c == '\r':
		f.enter()
	case c == 0x15: // ctrl-u
		f.pieces, f.size = nil, 0
	default: // a line feed is the key for a line break
		f.typed(string([]byte{c}))
	}
}

// sequence takes a byte of an escape sequence. A paste that has one within breaks.
func (f *fake) sequence(c byte) {
	f.escape = append(f.escape, c)
	switch string(f.escape) {
	case "\x1b[200~":
		f.inPaste, f.paste, f.escape = true, nil, nil
	case "\x1b[201~":
		if f.inPaste {
			f.pieces = append(f.pieces, piece{strings.ReplaceAll(string(f.paste), "\r", "\n"), true})
			f.pastes++
		}
		f.inPaste, f.escape, f.lastText = false, nil, time.Now()
	default:
		if len(f.escape) > 6 {
			f.escape = nil
		}
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

// named finds the file that a message names.
var named = regexp.MustCompile(`@(/\S+\.md)\b`)

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
	f.pieces, f.size = nil, 0
	text, file := all.String(), false
	if m := named.FindStringSubmatch(text); m != nil && strings.HasPrefix(text, "A message for you is in the file") {
		if b, err := os.ReadFile(m[1]); err == nil {
			text, file = string(b), true
		}
	}
	sum := sha256.Sum256([]byte(text))
	digest := hex.EncodeToString(sum[:])
	f.said = append(f.said, "you said "+digest[:8])
	start := strings.ToValidUTF8(text[:min(len(text), 400)], "")
	f.write(record{SHA256: digest, Length: len(text), File: file, Start: start})
}

// draw paints everything anew, as such programs do.
func (f *fake) draw() {
	cols, _, err := term.GetSize(0)
	if err != nil {
		cols = 80
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\x1b[2J\x1b[HPaste Fake v1 %s\r\n", f.Name)
	for _, s := range f.said[max(0, len(f.said)-5):] {
		b.WriteString("  " + s + "\r\n")
	}
	if f.Modal {
		b.WriteString("\r\nMay I run this?\r\n❯ 1. Yes\r\n  2. No\r\n\r\nEsc to cancel\r\n")
		fmt.Print(b.String())
		return
	}
	if f.Working {
		b.WriteString("* Working… (3s)\r\n")
	}
	rule := strings.Repeat("─", cols) + "\r\n"
	b.WriteString(rule + "> ")
	if f.Torn {
		fmt.Print(b.String())
		b.Reset()
		time.Sleep(15 * time.Millisecond)
	}
	b.WriteString(strings.ReplaceAll(f.shown(), "\n", "\r\n  ") + "\r\n" + rule + "  ready")
	fmt.Print(b.String())
}

// shown is the input as it is drawn.
func (f *fake) shown() string {
	var b strings.Builder
	for _, p := range f.pieces {
		if p.pasted && (len(p.text) > 300 || strings.Count(p.text, "\n") > 3) {
			fmt.Fprintf(&b, "[Pasted #%d %d chars]", f.pastes, utf8.RuneCountInString(p.text))
		} else {
			b.WriteString(p.text)
		}
	}
	return b.String()
}
