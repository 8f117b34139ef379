package paste_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// faults are what the fake agent does wrong.
type faults struct {
	Burst     int  `json:"burst"`     // ms: an Enter sooner than this after text is a line break
	Slow      int  `json:"slow"`      // ms until it draws
	Swallow   bool `json:"swallow"`   // the first Enter for each message does nothing
	Plain     bool `json:"plain"`     // it does not ask for bracketed paste
	Modal     bool `json:"modal"`     // a question is open
	Dies      int  `json:"dies"`      // after so many bytes
	Alternate bool `json:"alternate"` // it draws on the alternate screen
	Deaf      bool `json:"deaf"`      // it never takes Enter
	Working   bool `json:"working"`   // it is at work and stays so
	Cuts      int  `json:"cuts"`      // it drops what comes after so many bytes of a paste
	Asks      bool `json:"asks"`      // a question opens when text comes in
}

// record is one thing that the fake was told: a message, or a key that it got while a question was open.
type record struct {
	SHA256 string `json:"sha256"`
	Length int    `json:"length"`
	Stray  string `json:"stray"`
}

const fakeEnv = "ANTHILL_FAKE_AGENT"

func TestMain(m *testing.M) {
	if spec := os.Getenv(fakeEnv); spec != "" {
		runFake(spec)
		return
	}
	os.Exit(m.Run())
}

// piece is a part of the fake's input: typed text, or a paste that may be shown as a placeholder.
type piece struct {
	text   string
	pasted bool
}

// fake is an agent CLI in small: a box with text, a conversation above it, a status line below.
type fake struct {
	faults
	log       *os.File
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
}

func runFake(spec string) {
	f := &fake{}
	path, rules, _ := strings.Cut(spec, " ")
	if err := json.Unmarshal([]byte(rules), &f.faults); err != nil {
		panic(err)
	}
	var err error
	if f.log, err = os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600); err != nil {
		panic(err)
	}
	if _, err := term.MakeRaw(0); err != nil {
		panic(err)
	}
	f.cols, _, _ = term.GetSize(0)
	input := make(chan []byte)
	go func() {
		for {
			b := make([]byte, 4096)
			n, err := os.Stdin.Read(b)
			if err != nil {
				close(input)
				return
			}
			input <- b[:n]
		}
	}()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	if f.Alternate {
		fmt.Print("\x1b[?1049h")
	}
	if !f.Plain {
		fmt.Print("\x1b[?2004h")
	}
	f.draw()
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
		case <-stop:
			return
		}
	}
}

func (f *fake) write(r record) {
	b, _ := json.Marshal(r)
	_, _ = f.log.Write(append(b, '\n'))
}

// take is one byte from the terminal.
func (f *fake) take(c byte) {
	if f.got++; f.Dies > 0 && f.got >= f.Dies {
		os.Exit(3)
	}
	if f.Modal {
		f.write(record{Stray: string(c)})
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
		_, _ = os.Stdout.Write(b.Bytes())
		return
	}
	if f.Working {
		b.WriteString("* Working… (3s)\r\n")
	}
	rule := strings.Repeat("─", f.cols) + "\r\n"
	b.WriteString(rule + "> ")
	var shown strings.Builder
	for _, p := range f.pieces {
		if p.pasted && (len(p.text) > 300 || strings.Count(p.text, "\n") > 3) {
			fmt.Fprintf(&shown, "[Pasted #%d %d chars]", f.pastes, utf8.RuneCountInString(p.text))
		} else {
			shown.WriteString(p.text)
		}
	}
	b.WriteString(strings.ReplaceAll(shown.String(), "\n", "\r\n  ") + "\r\n" + rule + "  ready")
	_, _ = os.Stdout.Write(b.Bytes())
}
