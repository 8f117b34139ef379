package rooms

import (
	"context"
	"fmt"
	"strings"
	"unicode"

	"anthill/services/internal/store"
)

const (
	contextMessages = 6   // before the message, for an agent
	contextChars    = 160 // of each
)

// Injection is a text for a live terminal.
type Injection struct {
	ID       string // the same when it comes again
	Terminal string
	Room     string
	Message  string // id; empty for a digest
	Sender   string // of the message; may be empty
	Text     string // without control characters but line feeds and tabs
	// Raw: the text is a user's own, for whatever runs in the terminal; else it is
	// a notice for an agent, and must not reach a plain shell.
	Raw bool
}

// injection makes the text of what a terminal is owed; nil if its message is gone.
func (r *Room) injection(ctx context.Context, o *owed) (*Injection, error) {
	i := &Injection{ID: fmt.Sprintf("%s-%d", o.Terminal, o.Event), Terminal: o.Terminal, Room: o.Room, Raw: o.Raw, Text: o.Text}
	if o.Seq == 0 {
		return i, nil
	}
	var room *Session
	var around []*message // the message last
	var reply *message
	err := r.opt.Main.View(ctx, func(rd store.Reader) (err error) {
		room, around, reply = nil, nil, nil
		if room, err = r.opt.Sessions.Find(rd, o.Room); err != nil || room == nil {
			return err
		}
		w := window{high: o.Seq + 1, limit: contextMessages + 1}
		if !room.LongMemory {
			w.low = lastBreakBefore(rd, o.Room, o.Seq)
		}
		if around, _, err = w.read(rd, o.Room); err != nil || len(around) == 0 {
			return err
		}
		reply, err = loadMessage(rd, o.Room, around[len(around)-1].ReplyTo)
		return err
	})
	if err != nil || room == nil || len(around) == 0 || around[len(around)-1].Seq != o.Seq {
		return nil, err
	}
	if around, err = r.fill(ctx, around); err != nil || len(around) == 0 || around[len(around)-1].Seq != o.Seq {
		return nil, err
	}
	m := around[len(around)-1]
	i.Message, i.Sender = m.ID, m.Sender
	if o.Raw {
		i.Text = strings.TrimRightFunc(printable(m.Content), unicode.IsSpace)
		return i, nil
	}
	if reply != nil {
		if kept, err := r.fill(ctx, []*message{reply}); err != nil {
			return nil, err
		} else if len(kept) == 0 {
			reply = nil
		}
	}
	i.Text = notice(room, m, around[:len(around)-1], reply, o.Named)
	return i, nil
}

// notice tells an agent of a message (ant.md 3.6). The message is whole, with its lines;
// what stands around it is one line each, and bounded.
func notice(room *Session, m *message, before []*message, reply *message, named bool) string {
	var b strings.Builder
	whom := "for you"
	if !named {
		whom = "for all participants"
	}
	fmt.Fprintf(&b, "[antchat message %s] room: %s id %s", whom, oneLine(room.Name, nameMax), room.ID)
	if m.Sender != "" {
		fmt.Fprintf(&b, " from %s", oneLine(m.Sender, nameMax))
	}
	var said []string
	for _, earlier := range before {
		if !unrouted[earlier.Type] {
			said = append(said, orElse(oneLine(earlier.Sender, nameMax), earlier.Role)+": "+oneLine(earlier.Content, contextChars))
		}
	}
	if len(said) > 0 {
		fmt.Fprintf(&b, " -- bounded room context: %s", strings.Join(said, " | "))
	}
	fmt.Fprintf(&b, " -- %s", strings.TrimSpace(printable(m.Content)))
	if reply != nil {
		fmt.Fprintf(&b, " (replying to %s: %s)", orElse(oneLine(reply.Sender, nameMax), reply.Role), oneLine(reply.Content, contextChars))
	}
	fmt.Fprintf(&b, " -- reply with: anthill post %s YOURREPLY", room.ID)
	return b.String()
}

// oneLine is the beginning of a text, of most characters, on one line.
func oneLine(text string, most int) string {
	text = strings.Join(strings.Fields(printable(text[:min(len(text), 4*most+64)])), " ")
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}

// printable takes out what a terminal would obey instead of showing it.
func printable(text string) string {
	return strings.Map(func(c rune) rune {
		if c == '\n' || c == '\t' {
			return c
		}
		if unicode.IsControl(c) || c == unicode.ReplacementChar || c >= '\u202a' && c <= '\u202e' || c >= '\u2066' && c <= '\u2069' {
			return -1
		}
		return c
	}, text)
}

// lastBreakBefore is the seq of the newest break before a message.
func lastBreakBefore(rd store.Reader, room string, seq uint64) uint64 {
	all := store.Prefix(breaksOf(room))
	for k := range rd.Scan(store.Range{Start: all.Start, End: breaksOf(room).Uint(seq), Reverse: true}) {
		if at, err := lastPart(k, 2); err == nil {
			return at
		}
	}
	return 0
}

// digestOf is what is said of messages that waited.
func digestOf(room *Session, list []*message, more int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[antchat digest] room: %s id %s -- %d messages waited while you were in focus",
		oneLine(room.Name, nameMax), room.ID, len(list)+more)
	shown := list[max(0, len(list)-digestShown):]
	if n := len(list) + more - len(shown); n > 0 {
		fmt.Fprintf(&b, "; the last %d", len(shown))
	}
	var said []string
	for _, m := range shown {
		text := m.Content
		if m.Body != "" {
			text = "(a long message)"
		}
		said = append(said, orElse(oneLine(m.Sender, nameMax), m.Role)+": "+oneLine(text, contextChars))
	}
	fmt.Fprintf(&b, " -- %s", strings.Join(said, " | "))
	return b.String()
}
