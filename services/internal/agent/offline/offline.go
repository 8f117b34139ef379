// Package offline is the provider that is built in: it answers without a model,
// without a key and without the network.
//
// Rooms enter through New and use it like any provider. It acts like a model
// that can do little: it calls read_file and list_files, and answers with what
// they return, with words from the conversation, or with how to configure a
// real model. It never invents: all it says about a file or a conversation is
// taken from there, the same question always gets the same answer, and every
// answer says where it comes from.
package offline

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"anthill/services/internal/agent"
	"anthill/services/internal/agent/files"
)

// maxNames bounds the files of one question: each is a tool call.
const maxNames = 4

// Provider has no state. Safe for concurrent use.
type Provider struct{}

var _ agent.Provider = (*Provider)(nil)

// New cannot fail and needs nothing.
func New() *Provider { return &Provider{} }

// Stream answers at once, in words. Usage stays zero: no tokens were used.
func (*Provider) Stream(ctx context.Context, req agent.Request, emit func(agent.Delta) error) (agent.Completion, error) {
	if req.Format != nil {
		return agent.Completion{}, agent.NewError(agent.Error{Code: agent.CodeUnsupported, Model: req.Model}, nil)
	}
	text, calls := decide(req)
	var said strings.Builder
	partial := func(err error) (agent.Completion, error) {
		return agent.Completion{Text: said.String(), Finish: agent.FinishCut}, err
	}
	for word := range words(text) {
		if ctx.Err() != nil {
			return partial(agent.NewError(agent.Error{}, context.Cause(ctx)))
		}
		said.WriteString(word)
		if err := emit(agent.Delta{Text: word}); err != nil {
			return partial(err)
		}
	}
	for _, c := range calls {
		if err := emit(agent.Delta{CallStart: &agent.ToolCall{ID: c.ID, Name: c.Name}}); err != nil {
			return partial(err)
		}
	}
	finish := agent.FinishStop
	if len(calls) > 0 {
		finish = agent.FinishTools
	}
	return agent.Completion{Text: text, Calls: calls, Finish: finish}, nil
}

// words splits text so that each piece is a word with the space behind it.
func words(text string) func(func(string) bool) {
	return func(yield func(string) bool) {
		start, inSpace := 0, false
		for i, r := range text {
			space := unicode.IsSpace(r)
			if inSpace && !space {
				if !yield(text[start:i]) {
					return
				}
				start = i
			}
			inSpace = space
		}
		if start < len(text) {
			yield(text[start:])
		}
	}
}

// talk is a request as this provider sees it.
type talk struct {
	question string
	unseen   string          // what comes with the question and cannot be read here
	earlier  []agent.Message // before the question
	steps    []step          // tools called since
	tools    map[string]bool
	calls    int // tool calls in the whole history, to number the next ones
}

// step is one tool call with its result.
type step struct {
	tool, path string
	result     agent.ToolResult
}

func listen(req agent.Request) talk {
	t := talk{tools: map[string]bool{}}
	for _, spec := range req.Tools {
		t.tools[spec.Name] = true
	}
	last := -1
	for i, m := range req.Messages {
		if m.Role == agent.RoleUser {
			last = i
		}
		t.calls += len(m.Calls)
	}
	if last < 0 {
		return t
	}
	t.hear(req.Messages[last])
	t.earlier = req.Messages[:last]
	var calls []agent.ToolCall
	for _, m := range req.Messages[last+1:] {
		if m.Role == agent.RoleAssistant {
			calls = m.Calls
		}
		for _, r := range m.Results {
			for _, c := range calls {
				if c.ID == r.ID {
					t.steps = append(t.steps, step{tool: c.Name, path: pathOf(c.Input), result: r})
				}
			}
		}
	}
	return t
}

// hear takes in the question with the texts that come with it.
func (t *talk) hear(m agent.Message) {
	var texts []string
	images, documents := 0, 0
	for _, p := range m.Content() {
		switch {
		case p.Image != nil:
			images++
		case p.File != nil:
			documents++
		default:
			texts = append(texts, p.Text)
		}
	}
	t.question = strings.Join(texts, "\n\n")
	var unseen []string
	if images > 0 {
		unseen = append(unseen, plural(images, "image"))
	}
	if documents > 0 {
		unseen = append(unseen, plural(documents, "document"))
	}
	t.unseen = strings.Join(unseen, " and ")
}

func pathOf(input string) string {
	var in struct {
		Path string `json:"path"`
	}
	if json.Unmarshal([]byte(input), &in) != nil {
		return "" // a call that is not ours
	}
	return in.Path
}

// call is the next tool call. Ids follow from the history, so that they are the
// same each time and differ within a conversation.
func (t *talk) call(tool, path string) agent.ToolCall {
	t.calls++
	input := "{}"
	if path != "" {
		// A string always marshals.
		quoted, err := json.Marshal(path)
		if err == nil {
			input = `{"path":` + string(quoted) + `}`
		}
	}
	return agent.ToolCall{ID: fmt.Sprintf("call_offline_%d", t.calls), Name: tool, Input: input}
}

// results returns the steps of one tool.
func (t *talk) results(tool string) []step {
	var out []step
	for _, s := range t.steps {
		if s.tool == tool {
			out = append(out, s)
		}
	}
	return out
}

// decide is the whole mind of this provider: an answer, or calls to get one.
func decide(req agent.Request) (string, []agent.ToolCall) {
	t := listen(req)
	w := understand(t.question)
	if t.unseen != "" {
		return "Your message comes with " + t.unseen + ", which only a language model can look at.\n\n" + notice(), nil
	}
	switch w.kind {
	case wishRecall:
		return t.recall(), nil
	case wishNote:
		return "I will keep that in mind for as long as this conversation lasts: ask me about it any time.\n\n" + signature, nil
	case wishFiles:
		return t.aboutFiles(w)
	case wishList:
		return t.listing(w)
	case wishDigest:
		doc := document{name: "your text", text: w.body, whole: true}
		return doc.summary(nil) + "\n\n" + signature, nil
	}
	return notice(), nil
}

// aboutFiles reads the files that are named, looks around for those that are
// not there, and then answers.
func (t *talk) aboutFiles(w wish) (string, []agent.ToolCall) {
	if len(t.steps) == 0 {
		if !t.tools[files.ReadTool] {
			return "I cannot read files here: the tool for it is not available in this conversation.\n\n" + notice(), nil
		}
		var calls []agent.ToolCall
		for _, name := range w.names {
			calls = append(calls, t.call(files.ReadTool, name))
		}
		return "", calls
	}
	found, missing := t.sortOut()
	listings := t.results(files.ListTool)
	if len(missing) > 0 && len(listings) == 0 && t.tools[files.ListTool] {
		return "", []agent.ToolCall{t.call(files.ListTool, "")}
	}
	var there []files.Listed
	for _, l := range listings {
		if !l.result.IsError {
			more, _ := files.ParseList(l.result.Content)
			there = append(there, more...)
		}
	}
	if calls := t.retry(missing, there); len(calls) > 0 {
		return "", calls
	}
	var b strings.Builder
	for _, s := range found {
		b.WriteString(t.aboutFile(s, w))
		b.WriteString("\n\n")
	}
	for _, name := range t.stillMissing(missing, there) {
		b.WriteString(absent(name, there))
		b.WriteString("\n\n")
	}
	return b.String() + signature, nil
}

// sortOut tells what was read, or failed for good, from what is not there.
func (t *talk) sortOut() (found []step, missing []string) {
	for _, s := range t.results(files.ReadTool) {
		if s.result.IsError && strings.HasPrefix(s.result.Content, "there is no file ") {
			missing = append(missing, s.path)
		} else {
			found = append(found, s)
		}
	}
	return found, missing
}

// retry reads the files that were surely meant, such as one in another folder.
func (t *talk) retry(missing []string, there []files.Listed) []agent.ToolCall {
	if !t.tools[files.ReadTool] {
		return nil
	}
	tried := map[string]bool{}
	for _, s := range t.results(files.ReadTool) {
		tried[s.path] = true
	}
	var calls []agent.ToolCall
	for _, name := range missing {
		if path := meant(name, there); path != "" && !tried[path] {
			tried[path] = true
			calls = append(calls, t.call(files.ReadTool, path))
		}
	}
	return calls
}

// stillMissing leaves out the names for which another file stepped in.
func (t *talk) stillMissing(missing []string, there []files.Listed) []string {
	var out []string
	for _, name := range missing {
		if meant(name, there) == "" {
			out = append(out, name)
		}
	}
	return out
}

func meant(name string, there []files.Listed) string {
	near := files.Nearest(name, paths(there), 1)
	if len(near) == 1 && near[0] != name && files.Same(name, near[0]) {
		return near[0]
	}
	return ""
}

func paths(there []files.Listed) []string {
	out := make([]string, len(there))
	for i, f := range there {
		out[i] = f.Path
	}
	return out
}

// aboutFile answers from one file.
func (t *talk) aboutFile(s step, w wish) string {
	if s.result.IsError {
		why, _, _ := strings.Cut(s.result.Content, "\n")
		return fmt.Sprintf("`%s` could not be read: %s.", s.path, strings.TrimSuffix(why, "."))
	}
	doc := document{name: s.path}
	doc.text, doc.size, doc.whole = files.SplitNotice(s.result.Content)
	switch {
	case strings.TrimSpace(doc.text) == "":
		return fmt.Sprintf("`%s` is empty.", s.path)
	case w.verbatim:
		return doc.quote()
	case w.asks || doc.hasHeading(w.terms):
		return doc.answer(w.terms)
	}
	return doc.summary(w.terms)
}

// listing answers what files there are.
func (t *talk) listing(w wish) (string, []agent.ToolCall) {
	done := t.results(files.ListTool)
	if len(done) == 0 {
		if !t.tools[files.ListTool] {
			return "I cannot list files here: the tool for it is not available in this conversation.\n\n" + notice(), nil
		}
		return "", []agent.ToolCall{t.call(files.ListTool, w.folder)}
	}
	last := done[len(done)-1]
	if last.result.IsError {
		why, _, _ := strings.Cut(last.result.Content, "\n")
		return fmt.Sprintf("The files could not be listed: %s.\n\n%s", strings.TrimSuffix(why, "."), signature), nil
	}
	there, whole := files.ParseList(last.result.Content)
	return inventory(there, whole, w.folder) + "\n\n" + signature, nil
}
