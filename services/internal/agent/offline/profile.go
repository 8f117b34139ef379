package offline

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"

	"anthill/services/internal/agent"
)

// profiler is the program that profiles a table: it runs in a scratchpad.
//
//go:embed profile.py
var profiler string

const (
	createArtifactTool = "create_artifact"
	openArtifactTool   = "open_artifact"
)

// profileTime is how long a profile may be expected to take, in seconds: the
// program bounds what it looks at.
const profileTime = 180

// tables are the endings of files that the profiler reads.
var tables = setOf("csv tsv tab psv xlsx xlsm json jsonl ndjson")

// sheet is a file that is to be profiled.
type sheet struct {
	name, path string
	// fallback is what there is to say of the file without Python; with calls it
	// is still to be found out.
	fallback func() (string, []agent.ToolCall)
}

// code profiles the file, once the program is there.
func (s sheet) code() string {
	return "report = profile(" + literal(s.path) + ", " + literal(s.name) + ")\nprint(report.markdown())\n"
}

// artifactInput is an input of the tool create_artifact.
type artifactInput struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Type        string `json:"type"`
	Primary     string `json:"primary"`
}

// profile profiles one file in three steps: a cell that reads it, an artifact,
// and a cell that writes the page into it. begun says that the program is in the
// scratchpad already.
func (t *talk) profile(s sheet, begun bool) (string, []agent.ToolCall) {
	code := s.code()
	if !begun {
		code = profiler + "\n\n" + code
	}
	exec := func(code, what string) padInput {
		return padInput{Action: "exec", Name: profilerPad, Code: code, Description: what, Estimate: profileTime, Confirmed: true}
	}
	read, calls := t.step(scratchpadTool, exec(code, profileOf+s.name))
	if len(calls) > 0 {
		return "", calls
	}
	words := ""
	if read != nil && !read.result.IsError {
		words = sectionOf(read.result.Content, "output")
	}
	if words == "" {
		text, calls := s.fallback()
		if strings.HasSuffix(text, " is empty.") {
			return text, nil
		}
		return failure(s.name, read) + "\n\n" + text, calls
	}
	folder, calls := t.artifact(s)
	if len(calls) > 0 || folder == "" {
		return words + "\n\nThere is no page with charts: no artifact can be made here.", calls
	}
	page := folder + "/index.html"
	written, calls := t.step(scratchpadTool, exec("print(report.write("+literal(page)+"))\n", "Page with charts of "+s.name))
	if len(calls) > 0 {
		return "", calls
	}
	if written == nil || written.result.IsError {
		return words + "\n\nThe page with charts could not be written: " + reason(written), nil
	}
	return fmt.Sprintf("%s\n\nThe whole profile is on a page, the artifact **%s**: `%s`. %s", words, cell(titleOf(s)), page,
		sectionOf(written.result.Content, "output")), nil
}

// profileOf begins titles of profiles and of the cells that make them.
const profileOf = "Profile of "

func titleOf(s sheet) string {
	return profileOf + clip(strings.Join(strings.Fields(s.name), " "), 100)
}

// artifact is the folder of the artifact for a file: the one that this
// conversation has for it, else a new one. Empty if there cannot be one.
func (t *talk) artifact(s sheet) (folder string, calls []agent.ToolCall) {
	if slug := s.madeIn(t.earlier); slug != "" {
		opened, calls := t.step(openArtifactTool, map[string]string{"slug": slug})
		if len(calls) > 0 {
			return "", calls
		}
		if p := placeOf(opened); p.Folder != "" {
			return p.Folder, nil
		}
	}
	made, calls := t.step(createArtifactTool, artifactInput{Name: titleOf(s), Description: "The columns of " + clip(s.name, 200) + " in figures and charts.",
		Type: "html-app", Primary: "index.html"})
	return placeOf(made).Folder, calls
}

// madeIn finds the artifact that earlier messages made of the same file.
func (s sheet) madeIn(messages []agent.Message) (slug string) {
	same := false
	for _, x := range stepsOf(messages) {
		switch x.tool {
		case scratchpadTool:
			var in padInput
			if json.Unmarshal([]byte(x.input), &in) == nil && strings.HasPrefix(in.Description, profileOf) {
				same = strings.HasSuffix(in.Code, s.code())
			}
		case createArtifactTool:
			if p := placeOf(&x); same && p.Slug != "" {
				slug = p.Slug
			}
		}
	}
	return slug
}

// place is what the tools for artifacts say of one.
type place struct{ Slug, Folder string }

func placeOf(s *step) (p place) {
	if s == nil || s.result.IsError || json.Unmarshal([]byte(s.result.Content), &p) != nil {
		return place{}
	}
	return p
}

// failure says why there is no profile.
func failure(name string, s *step) string {
	why := reason(s)
	if told, ok := strings.CutPrefix(why, "Unreadable: "); ok {
		return fmt.Sprintf("`%s` cannot be profiled. %s", name, told)
	}
	return fmt.Sprintf("The scratchpad did not profile `%s`, so there are no charts. %s", name, why)
}

// reason is why a step failed, in a sentence or a few.
func reason(s *step) string {
	if s == nil {
		return "The limit of this turn is reached."
	}
	trace := sectionOf(s.result.Content, "error")
	if trace == "" {
		why, _, _ := strings.Cut(s.result.Content, "\n")
		return why
	}
	last := trace[strings.LastIndexByte(trace, '\n')+1:]
	if i := strings.Index(last, "Unreadable: "); i >= 0 {
		return last[i:]
	}
	return "It ended with an error: " + cell(last)
}

// literal is a text as a literal of Python, which reads those of JSON.
func literal(s string) string { return encode(strings.ToValidUTF8(s, "\uFFFD")) }

// encode is a value as JSON.
func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "{}" // texts and numbers always encode
	}
	return string(b)
}
