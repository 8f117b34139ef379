package offline

import (
	"fmt"
	"path"
	"strings"

	"anthill/services/internal/agent"
	"anthill/services/internal/agent/files"
)

// aboutFiles answers about attachments and about files of the project. Those it
// reads first, and looks around for the ones that are not there.
func (t *talk) aboutFiles(w wish, list []attached, names []string) (string, []agent.ToolCall) {
	if len(names) > 0 && len(t.results(files.ReadTool)) == 0 {
		if !t.tools[files.ReadTool] {
			return "I cannot read files here: the tool for it is not available in this conversation.\n\n" + notice(), nil
		}
		var calls []agent.ToolCall
		for _, name := range names {
			calls = append(calls, t.call(files.ReadTool, t.reading(w, name)))
		}
		return "", calls
	}
	found, missing := t.sortOut()
	listings := t.results(files.ListTool)
	if len(missing) > 0 && len(listings) == 0 && t.tools[files.ListTool] {
		return "", []agent.ToolCall{t.call(files.ListTool, pathInput{})}
	}
	var there []files.Listed
	for _, l := range listings {
		if !l.result.IsError {
			more, _ := files.ParseList(l.result.Content)
			there = append(there, more...)
		}
	}
	if calls := t.retry(w, missing, there); len(calls) > 0 {
		return "", calls
	}
	text, calls := t.answers(w, list, found)
	if len(calls) > 0 {
		return "", calls
	}
	for _, name := range t.stillMissing(missing, there) {
		text += absent(name, there) + "\n\n"
	}
	return text + w.cannot() + signature, nil
}

// answers goes through attachments and files that were found, one by one.
func (t *talk) answers(w wish, list []attached, found []step) (string, []agent.ToolCall) {
	var b strings.Builder
	begun := false
	for _, a := range list {
		text, calls := t.aboutAttached(a, w, begun)
		if len(calls) > 0 {
			return "", calls
		}
		begun = begun || t.profiles(w, a.name)
		b.WriteString(text + "\n\n")
	}
	for _, s := range found {
		text, calls := t.aboutFile(s, w, begun)
		if len(calls) > 0 {
			return "", calls
		}
		begun = begun || t.profiles(w, s.path)
		b.WriteString(text + "\n\n")
	}
	return b.String(), nil
}

// profiles reports whether a file is to be profiled in the scratchpad.
func (t *talk) profiles(w wish, name string) bool {
	return w.profile && tables[document{name: name}.ext()] && (t.tools[scratchpadTool] || len(t.results(scratchpadTool)) > 0)
}

// reading is how a file is read at first: of a table that the scratchpad reads
// it is enough to know that it is there.
func (t *talk) reading(w wish, path string) pathInput {
	if t.profiles(w, path) {
		return pathInput{Path: path, Limit: 1}
	}
	return pathInput{Path: path}
}

// sortOut tells what was read, or failed for good, from what is not there.
func (t *talk) sortOut() (found []step, missing []string) {
	had := map[string]bool{}
	for _, s := range t.results(files.ReadTool) {
		if had[s.path] {
			continue // once more, as a whole
		}
		had[s.path] = true
		if s.result.IsError && strings.HasPrefix(s.result.Content, "there is no file ") {
			missing = append(missing, s.path)
		} else {
			found = append(found, s)
		}
	}
	return found, missing
}

// retry reads the files that were surely meant, such as one in another folder.
func (t *talk) retry(w wish, missing []string, there []files.Listed) []agent.ToolCall {
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
			calls = append(calls, t.call(files.ReadTool, t.reading(w, path)))
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

// aboutAttached answers from one attachment.
func (t *talk) aboutAttached(a attached, w wish, begun bool) (string, []agent.ToolCall) {
	said := func() (string, []agent.ToolCall) {
		if strings.TrimSpace(a.text) == "" && a.note != "" {
			return fmt.Sprintf("`%s` could not be read: %s", a.name, a.note), nil
		}
		return a.document().respond(w), nil
	}
	if t.profiles(w, a.name) {
		return t.profile(sheet{a.name, a.path, said}, begun)
	}
	return said()
}

// unreadable begins what read_file says of a file that is there, but no text in UTF-8.
const unreadable = " is not a text file"

// aboutFile answers from one file of the project.
func (t *talk) aboutFile(s step, w wish, begun bool) (string, []agent.ToolCall) {
	if t.profiles(w, s.path) && (!s.result.IsError || strings.Contains(s.result.Content, unreadable)) {
		return t.profile(sheet{path.Base(s.path), s.path, func() (string, []agent.ToolCall) {
			whole, calls := t.step(files.ReadTool, pathInput{Path: s.path})
			if whole == nil {
				return "", calls
			}
			return said(*whole, w), nil
		}}, begun)
	}
	return said(s, w), nil
}

// said answers from what read_file returned.
func said(s step, w wish) string {
	if s.result.IsError {
		why, _, _ := strings.Cut(s.result.Content, "\n")
		return fmt.Sprintf("`%s` could not be read: %s.", s.path, strings.TrimSuffix(why, "."))
	}
	doc := document{name: s.path}
	doc.text, doc.size, doc.whole = files.SplitNotice(s.result.Content)
	return doc.respond(w)
}

// respond says about the document what is asked.
func (d document) respond(w wish) string {
	switch {
	case strings.TrimSpace(d.text) == "":
		return fmt.Sprintf("`%s` is empty.", d.name)
	case w.profile && tables[d.ext()]:
		return d.summary(nil)
	case w.verbatim:
		return d.quote()
	case w.asks || d.hasHeading(w.terms):
		return d.answer(w.terms)
	}
	return d.summary(w.terms)
}
