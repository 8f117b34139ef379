// Package offline is the provider that is built in: it answers without a model,
// without a key and without the network.
//
// Rooms enter through New and use it like any provider. It acts like a model
// that can do little: it reads files and lists them, runs the code that it is
// given and profiles tables in a scratchpad, and answers with what came of it,
// with words from the conversation, or with how to configure a real model. It never invents: all it says about a file or a conversation is
// taken from there, the same question always gets the same answer, and every
// answer says where it comes from.
package offline

import (
	"context"
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

// decide is the whole mind of this provider: an answer, or calls to get one.
func decide(req agent.Request) (string, []agent.ToolCall) {
	t := listen(req)
	w := understand(t.question)
	text, calls := t.respond(w)
	if t.unseen != "" && len(calls) == 0 && text != "" {
		text = "Your message comes with " + t.unseen + ", which only a language model can look at.\n\n" + text
	}
	return text, calls
}

func (t *talk) respond(w wish) (string, []agent.ToolCall) {
	switch w.kind {
	case wishRun:
		return t.run(w)
	case wishPad:
		return t.pad(w)
	case wishJudge:
		return "I can run Python, but not explain, change or write code: that takes a language model. Say “run this” to have it run.\n\n" + notice(), nil
	case wishNote:
		return t.note()
	}
	list, names := t.pick(w)
	switch {
	case len(list) > 0 && w.kind != wishRecall, len(names) > 0 && w.kind == wishFiles:
		return t.aboutFiles(w, list, names)
	case t.unseen != "":
		return notice(), nil
	case w.kind == wishRecall:
		return t.lookUp()
	case w.kind == wishList:
		return t.listing(w)
	case w.kind == wishDigest:
		doc := document{name: "your text", text: w.body, whole: true}
		return doc.summary(nil) + "\n\n" + signature, nil
	}
	return notice(), nil
}

// listing answers what files there are.
func (t *talk) listing(w wish) (string, []agent.ToolCall) {
	done := t.results(files.ListTool)
	if len(done) == 0 {
		if !t.tools[files.ListTool] {
			return "I cannot list files here: the tool for it is not available in this conversation.\n\n" + notice(), nil
		}
		return "", []agent.ToolCall{t.call(files.ListTool, pathInput{Path: w.folder})}
	}
	last := done[len(done)-1]
	if last.result.IsError {
		why, _, _ := strings.Cut(last.result.Content, "\n")
		return fmt.Sprintf("The files could not be listed: %s.\n\n%s", strings.TrimSuffix(why, "."), signature), nil
	}
	there, whole := files.ParseList(last.result.Content)
	return inventory(there, whole, w.folder) + "\n\n" + signature, nil
}
