package offline

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

type wishKind int

const (
	wishUnknown wishKind = iota
	wishFiles            // something about files that are named
	wishList             // what files there are
	wishRecall           // something about this conversation
	wishNote             // to be remembered
	wishDigest           // a summary of text in the message itself
	wishRun              // to run code in the message
	wishJudge            // something about code in the message that only a model can do
	wishPad              // something about the scratchpad itself
)

// wish is what a message seems to ask for.
type wish struct {
	kind     wishKind
	names    []string // files
	folder   string   // to list; "" is all
	body     string   // text to digest
	terms    []string // what the message is about, beside the files and the deed
	asks     bool     // a question, not an order
	verbatim bool     // the content itself is wanted
	profile  bool     // figures and charts are wanted, of tables
	charts   bool     // charts above all
	back     bool     // a file of before is meant, if none is named
	execute  bool     // something is to be run
	fences   []fence  // code in the message
	action   string   // on the scratchpad
}

var (
	fenced  = regexp.MustCompile("(?s)```.*?(```|$)")
	address = regexp.MustCompile(`(?i)\b(https?://|www\.)\S+`)
	quoted  = regexp.MustCompile("`([^`\n]{1,200})`|\"([^\"\n]{1,200})\"|“([^”\n]{1,200})”|«([^»\n]{1,200})»|(?:^|[\\s(])'([^'\n]{1,200})'")
	bare    = regexp.MustCompile(`[\p{L}\p{N}_~./-]*[\p{L}\p{N}_-]\.[A-Za-z0-9]{1,8}\b`)
	known   = regexp.MustCompile(`\b(?:README|CHANGELOG|LICENSE|Makefile|Dockerfile)\b|(?i)\b(?:the|this|your|my|project)\s+(?:readme|changelog|license|makefile|dockerfile)\b`)
	ending  = regexp.MustCompile(`\.[A-Za-z][A-Za-z0-9]{0,7}$`)

	listing   = regexp.MustCompile(`(?i)\b(what|which|list|show|see|any|all|how many)\b[^.?!]{0,40}\b(files?|documents?|attachments?|uploads?|folders?)\b|\bls\b|\bwhat('s| is| do you have)? in (the|this|my) (project|folder|workspace|directory)`)
	recalling = regexp.MustCompile(`(?i)\b(did|have|had|do|were|was)\s+(i|we|you)\b[^.?!]*\b(say|said|tell|told|mention|mentioned|ask|asked|talk|talked|discuss|discussed|write|wrote|call|called)\b|\b(i|we)\s+(said|told|mentioned|asked|talked|discussed|wrote)\b[^.!]*\?|\b(do|can) you (remember|recall)\b|\bremind me\b|\b(this|our) (conversation|chat)\b|\b(my|the) (first|last|previous) (message|question)\b|\bso far\b`)
	personal  = regexp.MustCompile(`(?i)^\W*(what|who|whats|where|when|which|how)\b[^.!]*\b(my|am i|do i|did i)\b`)
	noting    = regexp.MustCompile(`(?i)^\W*(please\s+)?(remember|note|keep in mind|don't forget|my name is|call me)\b`)
	digesting = regexp.MustCompile(`(?i)\b(summar(y|ise|ize)|tl;?dr|key points|main points|condense|shorten)\b`)
	showing   = regexp.MustCompile(`(?i)\b(show|print|display|cat|quote|output)\b|\b(full|whole|exact|raw) (text|content|contents)\b|\bcontents? of\b`)
	profiling = regexp.MustCompile(`(?i)\b(profil\w*|analy[sz]\w*|explore|statistics|stats|distributions?|eda)\b|` + charting.String())
	charting  = regexp.MustCompile(`(?i)\b(charts?|plots?|graphs?|histograms?|visuali[sz]\w*|diagrams?|draw)\b`)
	pointing  = regexp.MustCompile(`(?i)\b(the|this|that|these|those|my|same)\s+(same\s+)?(files?|tables?|data|dataset|sheets?|spreadsheet|documents?|attachments?|uploads?|pdf|csv)\b|\b(it|them|this|again)\W*$`)
	running   = regexp.MustCompile(`(?i)\b(run|execute|exec|evaluate|eval|try|compute|calculate)\b|\bwhat (does|will|would|do) (this|it|that|these)( code| script)? (print|output|return|give)`)
	refusing  = regexp.MustCompile(`(?i)\b(don['’]?t|do not|never|without|not|instead of|before) (yet )?(run|running|execute|executing|try|trying|evaluate)\b`)
	judging   = regexp.MustCompile(`(?i)\b(explain|review|fix|repair|correct|debug|improve|refactor|rewrite|translate|convert|port|document|comment|simplify|complete|optimi[sz]e|summari[sz]e|remember|write|extend|add)\b`)
	wondering = regexp.MustCompile(`(?i)\b(why|what|how|wrong|bugs?|mean|means|is|should|can|could)\b|\?`)
	resetting = regexp.MustCompile(`(?i)\b(reset|clear|empty|restart|wipe)\s+(the |my |your |this )?scratch\s?pad\b`)
	viewing   = regexp.MustCompile(`(?i)\b(show|view|print|dump|list|see)\s+(me )?(what is in |what's in )?(the |my |your |this )?scratch\s?pad\b|\bwhat('s| is) in (the|my|your|this) scratch\s?pad\b`)
	asking    = regexp.MustCompile(`(?i)\?|^\W*(what|who|where|when|why|which|whose|how|is|are|was|were|does|do|did|can|could|has|have|find|search|look for|look up)\b`)
)

// textual are the endings by which a bare word is taken for a file.
var textual = setOf(`md markdown txt text rst org tex log csv tsv json jsonl ndjson yaml yml toml ini cfg conf env xml html htm
	css js jsx mjs ts tsx go py ipynb rs java kt c h cc cpp hpp cs rb php pl lua swift scala sh bash zsh sql r jl proto mod sum lock
	diff patch svg srt vtt bib eml pdf docx xlsx pptx odt ods png jpg jpeg gif webp zip`)

// notFiles end like files and are none.
var notFiles = setOf("node.js next.js vue.js react.js three.js d3.js express.js asp.net")

func setOf(words string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(words) {
		set[w] = true
	}
	return set
}

const (
	longText = 400     // bytes from which a message is text to work on and not only a request
	reach    = 4 << 10 // bytes at either end of a message in which a request is looked for
)

func understand(message string) wish {
	blocks, plain := fences(message)
	if len(plain) > 2*reach {
		plain = strings.ToValidUTF8(plain[:reach]+"\n"+plain[len(plain)-reach:], "")
	}
	plain = address.ReplaceAllString(fenced.ReplaceAllString(plain, " "), " ")
	w := wish{asks: asking.MatchString(plain), profile: profiling.MatchString(plain), charts: charting.MatchString(plain),
		fences: blocks, execute: running.MatchString(plain)}
	w.back = len(message) <= longText && (w.profile || digesting.MatchString(plain) || pointing.MatchString(plain))
	var rest string
	w.names, w.folder, rest = fileNames(plain)
	w.terms = subject(rest)
	w.verbatim = showing.MatchString(rest)
	switch {
	case len(blocks) > 0 && codeWish(plain, blocks) != wishUnknown:
		w.kind = codeWish(plain, blocks)
	case resetting.MatchString(plain):
		w.kind, w.action = wishPad, "reset"
	case viewing.MatchString(plain):
		w.kind, w.action = wishPad, "view"
	case noting.MatchString(plain) && !strings.Contains(plain, "?") && len(w.names) == 0:
		w.kind = wishNote
	case recalling.MatchString(plain):
		w.kind = wishRecall
	case len(w.names) > 0:
		w.kind = wishFiles
	case w.folder != "" || listing.MatchString(plain):
		w.kind = wishList
	case digesting.MatchString(plain) && len(message) > longText:
		w.kind = wishDigest
		w.body = message
		if lead, body, ok := strings.Cut(message, "\n"); ok && digesting.MatchString(lead) {
			w.body = body
		}
	case personal.MatchString(plain):
		w.kind = wishRecall
	}
	return w
}

// shortOrder is how long the words beside a block of Python may be that is
// meant to be run without saying so.
const shortOrder = 80

// codeWish is what is to be done with code in a message: run if that is said, or
// if it is Python with little beside it. What has effects is never run in doubt.
func codeWish(plain string, blocks []fence) wishKind {
	orders, marked := running.MatchString(plain), false
	for _, f := range blocks {
		marked = marked || f.python() && f.language != ""
	}
	switch {
	case refusing.MatchString(plain), judging.MatchString(plain):
		if marked || orders {
			return wishJudge
		}
	case orders:
		return wishRun
	case marked && len(strings.TrimSpace(plain)) <= shortOrder && !wondering.MatchString(plain):
		return wishRun
	case marked && len(strings.TrimSpace(plain)) <= longText && wondering.MatchString(plain):
		return wishJudge
	}
	return wishUnknown
}

// programs are the endings of files that people may want to have run.
var programs = setOf("py js mjs ts go sh bash rb pl php lua r jl")

// cannot says what was asked for beside what was done.
func (w wish) cannot() string {
	switch {
	case w.charts:
		return "A chart shows one column. What sets columns against each other takes a language model, or a cell of your own: send Python between ```` ```python ```` and ```` ``` ````.\n\n"
	case w.execute && slices.ContainsFunc(w.names, func(n string) bool { return programs[document{name: n}.ext()] }):
		return "I do not run files, only Python that is in your message, between ```` ```python ```` and ```` ``` ````.\n\n"
	}
	return ""
}

// fileNames finds what looks like files in a message, in the order of their
// appearance, and returns the message without them.
func fileNames(message string) (names []string, folder, rest string) {
	rest = message
	take := func(name string, marked bool) bool {
		name, ok := fileName(name, marked)
		if !ok {
			return false
		}
		if !slices.Contains(names, name) && len(names) < maxNames {
			names = append(names, name)
		}
		return true
	}
	rest = quoted.ReplaceAllStringFunc(rest, func(m string) string {
		inside := strings.Trim(m, " \t\n(`\"“”«»'")
		if dir, ok := strings.CutSuffix(inside, "/"); ok && dir != "" && !strings.Contains(dir, " ") {
			folder = dir
			return " "
		}
		if take(inside, true) {
			return " "
		}
		return m
	})
	rest = bare.ReplaceAllStringFunc(rest, func(m string) string {
		if take(m, false) {
			return " "
		}
		return m
	})
	rest = known.ReplaceAllStringFunc(rest, func(m string) string {
		word := strings.Fields(m)
		name := word[len(word)-1]
		if strings.EqualFold(name, "readme") || strings.EqualFold(name, "changelog") {
			name = strings.ToUpper(name) + ".md"
		}
		if !slices.Contains(names, name) && len(names) < maxNames {
			names = append(names, name)
		}
		return " "
	})
	return names, folder, rest
}

// fileName judges one word, or some in quotes, and makes it a path inside the project.
func fileName(s string, marked bool) (string, bool) {
	s = strings.TrimRight(strings.TrimSpace(s), ".,;:!?)")
	ext := strings.ToLower(strings.TrimPrefix(path.Ext(s), "."))
	switch {
	case s == "" || strings.Contains(s, "://") || notFiles[strings.ToLower(s)]:
		return "", false
	case marked && !ending.MatchString(s) && (!strings.Contains(s, "/") || strings.Contains(s, " ")):
		return "", false
	case !marked && !textual[ext]:
		return "", false
	}
	if strings.HasPrefix(s, "/") || strings.HasPrefix(s, "~") {
		// An absolute place, as attachments are told: only what is inside counts.
		if _, inside, ok := strings.Cut(s, "/.anton/"); ok {
			return ".anton/" + inside, true
		}
		return path.Base(s), true
	}
	return strings.TrimPrefix(s, "./"), true
}

// deeds say what to do, not what about.
var deeds = setOf(`summarise summarize summary summaries read open show display print explain describe tell file files document
	documents content contents overview key point points main please short brief briefly about say says contain contains inside look
	check review analyse analyze profile outline tldr give bullet bullets sentence sentences paragraph word words line lines text
	quick quickly project folder find search quote cat full whole exact raw attached attachment uploaded use using compare
	following answer question mean means want need know let thanks thank hello dear anton`)

// subject are the terms of a message that are neither filler nor deed.
func subject(message string) []string {
	var out []string
	for _, word := range tokens(message) {
		if !stopwords[word] && !deeds[word] {
			out = append(out, stem(word))
		}
	}
	return out
}
