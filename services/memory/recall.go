package memory

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"anthill/services/internal/agent"
	"anthill/services/internal/index"
)

const (
	recallName    = "recall"
	hitsDefault   = 20
	hitsMost      = 50
	hitMax        = 600 // characters of one
	queryMax      = 500 // characters
	wordsMost     = 12  // of a query that are looked for one by one
	daysMost      = 36_500
	passagesMost  = 40 // that are asked for at a time
	resultMaxSize = 24 << 10
)

// recall is the tool by which an agent looks up what it remembers and what was
// said.
type recall struct {
	room *Room
	turn Turn
}

func (recall) Spec() agent.ToolSpec {
	return agent.ToolSpec{
		Name: recallName,
		Description: "Look up what you remember, and what was said in earlier conversations of this project and in rooms. " +
			"Returns what has the words of the query, the best first, with when and where it was said.",
		Schema: json.RawMessage(`{"type":"object","properties":{` +
			`"query":{"type":"string","description":"A few words that it would have"},` +
			`"max_results":{"type":"integer","minimum":1,"maximum":50,"description":"20 by default"},` +
			`"days_back":{"type":"integer","minimum":1,"description":"Only what was said since then"}},` +
			`"required":["query"],"additionalProperties":false}`),
	}
}

// hit is something found, as models and frames show it.
type hit struct {
	Source  string `json:"source"` // memory, conversation, room or skill
	TS      string `json:"ts"`
	Role    string `json:"role"`
	Content string `json:"content"`
	Session string `json:"session"`
	ID      string `json:"id"`

	words int // of the query that it has
	at    time.Time
}

func (t recall) Run(ctx context.Context, input json.RawMessage) (string, error) {
	var in struct {
		Query      string `json:"query"`
		MaxResults *int   `json:"max_results"`
		DaysBack   *int   `json:"days_back"`
	}
	if err := json.Unmarshal(input, &in); err != nil {
		return "", fmt.Errorf("the input is not as %s needs it: %w", recallName, err)
	}
	most := hitsDefault
	if in.MaxResults != nil {
		most = *in.MaxResults
	}
	switch {
	case strings.TrimSpace(in.Query) == "":
		return "", errors.New("the query is empty")
	case utf8.RuneCountInString(in.Query) > queryMax:
		return "", fmt.Errorf("a query has up to %d characters", queryMax)
	case most < 1 || most > hitsMost:
		return "", fmt.Errorf("max_results is from 1 to %d", hitsMost)
	case in.DaysBack != nil && (*in.DaysBack < 1 || *in.DaysBack > daysMost):
		return "", fmt.Errorf("days_back is from 1 to %d", daysMost)
	}
	var since time.Time
	if in.DaysBack != nil {
		since = t.room.opt.Now().AddDate(0, 0, -*in.DaysBack)
	}
	found, partial, err := t.find(ctx, wordsOf(in.Query), since)
	if err != nil {
		return "", err
	}
	return t.show(ctx, found[:min(len(found), most)], partial)
}

// wordsOf are the words that a query looks for: those that say little are left
// out, if there are others.
func wordsOf(query string) []string {
	all := strings.FieldsFunc(query, func(r rune) bool { return strings.ContainsRune(" \t\r\n\"“”?!.,;:()", r) })
	words := slices.DeleteFunc(slices.Clone(all), func(w string) bool { return filler[strings.ToLower(w)] })
	if len(words) == 0 {
		words = all
	}
	return words[:min(len(words), wordsMost)]
}

var filler = func() map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields("a an the of to in on at for and or is are was were be do does did i you we he she it they my your our me us that this what which who whom whose when where why how about with from by as not") {
		set[w] = true
	}
	return set
}()

// find looks for each word, and puts first what has most of them.
func (t recall) find(ctx context.Context, words []string, since time.Time) (found []hit, partial bool, err error) {
	m := t.room.opt.Modes()
	places, err := t.room.turnPlaces(ctx, t.turn.ProjectID)
	if err != nil {
		return nil, false, err
	}
	if m.Memory {
		if found, err = t.remembered(ctx, places, words, since); err != nil {
			return nil, false, err
		}
	}
	if m.Past {
		more, some, err := t.said(ctx, places[0].project.Name, words, since)
		if err != nil {
			return nil, false, err
		}
		found, partial = append(found, more...), some
	}
	slices.SortStableFunc(found, func(a, b hit) int { return cmp.Or(b.words-a.words, b.at.Compare(a.at)) })
	return found, partial, nil
}

// having is how many of the words a text has.
func having(words []string, text string) (n int) {
	for _, w := range words {
		if index.Parse(index.Words, w).Match(text) {
			n++
		}
	}
	return n
}

func (t recall) remembered(ctx context.Context, places []place, words []string, since time.Time) (found []hit, err error) {
	list, err := t.room.entries(ctx, places)
	hide := t.room.veil()
	for _, e := range list {
		n := having(words, e.Text+"\n"+e.Meta.Name+"\n"+e.Meta.Description+"\n"+e.kind+"\n"+e.rel)
		if n == 0 || e.updated().Before(since) {
			continue
		}
		role := e.Meta.By
		if role == "" {
			role = byHand
		}
		found = append(found, hit{Source: "memory", TS: iso(e.updated()), Role: role, Content: clip(hide.over(e.Text), hitMax),
			Session: e.Meta.Conversation, ID: e.id, words: n, at: e.updated()})
	}
	return found, err
}

// said asks for passages with all words first, then for those with any of them.
func (t recall) said(ctx context.Context, project string, words []string, since time.Time) (found []hit, partial bool, err error) {
	t.room.mu.Lock()
	past := t.room.past
	t.room.mu.Unlock()
	if past == nil {
		return nil, true, nil
	}
	seen, hide := map[string]bool{}, t.room.veil()
	queries := []string{strings.Join(words, " ")}
	if len(words) > 1 {
		queries = append(queries, words...)
	}
	for _, text := range queries {
		list, some, err := past.Find(ctx, Question{Text: text, Project: project, Since: since, Limit: passagesMost})
		if err != nil {
			return nil, false, err
		}
		partial = partial || some
		for _, p := range list {
			key := p.Source + "\x00" + p.ID + "\x00" + p.Role + "\x00" + p.Text
			if p.ID == t.turn.TurnID && p.ID != "" || seen[key] { // what is being asked now answers nothing
				continue
			}
			seen[key] = true
			if n := having(words, p.Text); n > 0 {
				found = append(found, hit{Source: p.Source, TS: iso(p.At), Role: p.Role, Session: p.Session, ID: p.ID, words: n, at: p.At,
					Content: around(words, hide.over(p.Text))})
			}
		}
		if len(found) >= passagesMost {
			break
		}
	}
	return found, partial, nil
}

// around is the part of a text where the words are.
func around(words []string, text string) string {
	if utf8.RuneCountInString(text) <= hitMax {
		return text
	}
	at := -1
	lower := strings.ToLower(text)
	for _, w := range words {
		if i := strings.Index(lower, strings.ToLower(w)); i >= 0 && (at < 0 || i < at) {
			at = i
		}
	}
	if at = min(at, len(text)); at < hitMax/4 {
		return clip(text, hitMax)
	}
	from := at - hitMax/4
	for from > 0 && !utf8.RuneStart(text[from]) {
		from--
	}
	return "…" + clip(text[from:], hitMax)
}

// show gives hits to the model, and to whoever watches.
func (t recall) show(ctx context.Context, found []hit, partial bool) (string, error) {
	size := 0
	for i, h := range found {
		if size += len(h.Content); size > resultMaxSize {
			found, partial = found[:i], true
			break
		}
	}
	if found == nil {
		found = []hit{}
	}
	view, err := json.Marshal(found)
	if err != nil {
		return "", err
	}
	agent.Show(ctx, string(view))
	out := struct {
		Hits    []hit  `json:"hits"`
		Partial bool   `json:"partial"`
		Note    string `json:"note,omitempty"`
	}{Hits: found, Partial: partial}
	if len(found) == 0 {
		out.Note = "Nothing was found. Try other words, or fewer."
	}
	b, err := json.Marshal(out)
	return string(b), err
}
