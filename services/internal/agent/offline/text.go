package offline

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

var stopwords = setOf(`a an the and or but if then else of to in on at by for with from into over under out up down as is are was
	were be been being am do does did done have has had having i me my mine we us our ours you your yours he him his she her hers it
	its they them their theirs this that these those there here what which who whom whose when where why how not no nor so than too
	very can could will would shall should may might must just also only own same such some any each few more most other all both
	s t re ve ll d m don didn isn aren wasn weren won because while during before after above below again once until between
	through about against however therefore thus get got one two per via yes ok`)

// tokens are the words of a text in lower case.
func tokens(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r)
	})
}

// terms are the stems of the words that carry meaning.
func terms(text string) []string {
	var out []string
	for _, w := range tokens(text) {
		if !stopwords[w] {
			out = append(out, stem(w))
		}
	}
	return out
}

// stem cuts common English endings, so that "decides" and "decided" meet.
func stem(w string) string {
	for _, end := range [...]string{"ingly", "edly", "ing", "ies", "ied", "ed", "es", "ly", "s", "e"} {
		if root, ok := strings.CutSuffix(w, end); ok && len(root) >= 4 && !strings.HasSuffix(root, "s") {
			if end == "ies" || end == "ied" {
				return root + "y"
			}
			return root
		}
	}
	return w
}

// abbreviations end in a dot that ends no sentence.
var abbreviations = setOf("e.g. i.e. etc. vs. dr. mr. mrs. ms. prof. st. no. fig. cf. approx. inc. ltd. jr. sr. z.b. d.h. bzw. ca. nr.")

// sentences splits prose. What stands between blank lines is never joined.
func sentences(text string) []string {
	var out []string
	add := func(s string) {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	text = strings.Join(strings.Fields(text), " ")
	start := 0
	for i, r := range text {
		next := i + utf8.RuneLen(r)
		switch r {
		case '。', '！', '？':
			add(text[start:next])
			start = next
		case '.', '!', '?':
			if next < len(text) && text[next] != ' ' || r == '.' && abbreviated(text[start:next]) {
				continue
			}
			add(text[start:next])
			start = next
		}
	}
	add(text[start:])
	return out
}

func abbreviated(s string) bool {
	last := s[strings.LastIndexByte(s, ' ')+1:]
	first, size := utf8.DecodeRuneInString(last)
	return abbreviations[strings.ToLower(strings.TrimLeft(last, "("))] ||
		unicode.IsUpper(first) && len(last) == size+1 || // an initial
		strings.Trim(last, "0123456789.") == "" && !strings.Contains(s[:len(s)-len(last)], " ") // "1. First"
}

// block is a paragraph or list item, and the heading it stands under.
type block struct {
	heading string
	text    string
	item    bool // of a list
}

var (
	headingLine = regexp.MustCompile(`^(#{1,6})\s+(.*?)\s*#*\s*$`)
	itemLine    = regexp.MustCompile(`^\s*(?:[-*+]|\d{1,3}[.)])\s+(.*)$`)
	ruleLine    = regexp.MustCompile(`^\s*([-*_=]\s*){3,}$`)
	emphasis    = regexp.MustCompile(`\*\*|__|!?\[([^\]]*)\]\([^)]*\)`)
)

// prose takes Markdown or plain text apart; code, tables and rules are left out.
func prose(text string) (headings []string, blocks []block) {
	heading, code := "", false
	var paragraph []string
	flush := func() {
		if len(paragraph) > 0 {
			blocks = append(blocks, block{heading: heading, text: clean(strings.Join(paragraph, " "))})
			paragraph = nil
		}
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n \t")
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			flush()
			code = !code
			continue
		}
		switch {
		case code:
		case line == "" || ruleLine.MatchString(line) || strings.HasPrefix(strings.TrimSpace(line), "|"):
			flush()
		case headingLine.MatchString(line):
			flush()
			heading = clean(headingLine.FindStringSubmatch(line)[2])
			headings = append(headings, heading)
		case itemLine.MatchString(line):
			flush()
			blocks = append(blocks, block{heading: heading, text: clean(itemLine.FindStringSubmatch(line)[1]), item: true})
		default:
			paragraph = append(paragraph, strings.TrimLeft(line, "> \t"))
		}
	}
	flush()
	return headings, blocks
}

// clean takes out the marks that would look odd in a quotation.
func clean(s string) string {
	return strings.Join(strings.Fields(emphasis.ReplaceAllString(s, "$1")), " ")
}

// clip shortens s to at most n characters.
func clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	runes := []rune(s)[:n-1]
	return strings.TrimRight(string(runes), " ") + "…"
}
