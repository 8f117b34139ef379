package exports

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"google.golang.org/protobuf/proto"

	antv1 "anthill/gen/ant/v1"
)

// markdown writes the room to be read: what it is, what it has, and its messages,
// each in a block that its text cannot leave.
func (d *document) markdown(w io.Writer) error {
	out := bufio.NewWriter(w)
	d.front(out)
	fmt.Fprintf(out, "# %s\n", inline(d.session.Name))
	if err := d.lists(out, "\n## "); err != nil {
		return err
	}
	fmt.Fprint(out, "\n## Messages\n")
	err := d.eachMessage(func(m *antv1.Message) error {
		who := m.GetSenderId()
		if who == "" {
			who = m.Role
		}
		fmt.Fprintf(out, "\n### %s\n\n*%s UTC%s*\n\n", inline(who), inline(m.CreatedAt), inline(marks(m)))
		return block(out, m.Content)
	})
	if err != nil {
		return err
	}
	return out.Flush()
}

// front is what programs such as Obsidian read of a note: text in double quotes
// is the same in YAML and JSON.
func (d *document) front(w io.Writer) {
	fmt.Fprintf(w, "---\nroom: %s\nid: %s\ntype: %s\nexported: %s\n---\n\n", strconv.QuoteToASCII(plain(d.session.Name)),
		strconv.QuoteToASCII(d.session.Id), strconv.QuoteToASCII(d.session.Type), d.at.Format("2006-01-02T15:04:05Z"))
}

// lists writes the parts that have a title, each under its heading.
func (d *document) lists(w io.Writer, heading string) error {
	for _, l := range d.Lists {
		if l.Title == "" {
			continue
		}
		begun := false
		err := l.Each(d.ctx, d.session.Id, func(m proto.Message) error {
			if !begun {
				begun = true
				if _, err := fmt.Fprintf(w, "%s%s\n\n", heading, l.Title); err != nil {
					return err
				}
			}
			_, err := fmt.Fprintf(w, "- %s\n", inline(l.Line(m)))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// marks is what is special about a message.
func marks(m *antv1.Message) string {
	var out string
	if m.GetTarget() != "" {
		out += " to " + m.GetTarget()
	}
	if m.MsgType != "message" {
		out += ", " + m.MsgType
	}
	if m.Pinned != 0 {
		out += ", pinned"
	}
	if m.GetReplyTo() != "" {
		out += ", in reply to " + m.GetReplyTo()
	}
	return out
}

// block writes text between fences longer than any in it (CommonMark 4.5).
func block(w *bufio.Writer, text string) error {
	text = strings.TrimRight(plain(text), "\n")
	fence := strings.Repeat("`", max(3, longestRun(text, '`')+1))
	_, err := fmt.Fprintf(w, "%stext\n%s\n%s\n", fence, text, fence)
	return err
}

func longestRun(s string, c byte) (longest int) {
	run := 0
	for i := range len(s) {
		if s[i] != c {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}

// inline is text on one line, in which nothing is Markdown or HTML.
func inline(s string) string {
	var b strings.Builder
	for _, r := range strings.Join(strings.Fields(plain(s)), " ") {
		harmless := strings.ContainsRune(".,:@/", r) || r == '-' && b.Len() > 0
		if r < 0x80 && (unicode.IsPunct(r) || unicode.IsSymbol(r)) && !harmless {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// plain is text without control characters, and without those that change the
// direction of what is around them. Lines end in \n.
func plain(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == '\r' || r == '\u2028' || r == '\u2029':
			return '\n'
		case unicode.IsControl(r), r >= '\u202A' && r <= '\u202E', r >= '\u2066' && r <= '\u2069':
			return -1
		}
		return r
	}, s)
}
