package offline

import (
	"fmt"
	"path"
	"strings"

	"anthill/services/internal/agent/files"
)

// signature says under every answer where it comes from.
const signature = "*From the built-in offline provider: no language model is configured, so this is quoted or counted, not written by a model.*"

// notice says what this provider is, what it can do, and how to get a model.
func notice() string {
	return `No language model is configured, so there is little that I can answer. This is the built-in offline provider; it works without a key and without the network, and it can:

- summarise, quote or search files that you attach, or files of the project: name these, such as ` + "`notes.md`" + `
- profile tables (CSV, TSV, Excel, JSON records) and chart their columns on a page: “profile data.csv”
- run Python: put it between ` + "```` ```python ```` and ```` ``` ````" + ` and say “run this”; variables stay for the next time. “show the scratchpad” and “reset the scratchpad” work, too
- list the files of the project
- find what was said earlier in this conversation
- summarise a longer text in your message

It cannot write or repair code, answer questions of general knowledge, or look at images. To use a language model, choose one in the settings, or send

` + "```" + `
PUT /v1/settings
{"planningProvider": "openai-compatible", "planningModel": "<model>", "openaiBaseUrl": "<https://host/v1>", "openaiApiKey": "<key>"}
` + "```" + `

or set these in ` + "`~/.anton/.env`" + ` or the environment:

` + "```" + `
ANTON_PLANNING_PROVIDER=openai-compatible
ANTON_PLANNING_MODEL=<model>
ANTON_OPENAI_BASE_URL=<https://host/v1>
ANTON_OPENAI_API_KEY=<key>
` + "```" + `

Any server that speaks OpenAI's chat completions will do, also one on this machine.`
}

// maxInventory bounds a listing in an answer.
const maxInventory = 60

// inventory lists files for people.
func inventory(there []files.Listed, whole bool, folder string) string {
	where := "this project"
	if folder != "" {
		where = "`" + folder + "`"
	}
	if len(there) == 0 {
		return "There are no files in " + where + " yet."
	}
	var b strings.Builder
	count := plural(len(there), "file")
	if !whole {
		count = "more than " + count
	}
	fmt.Fprintf(&b, "There are %s in %s:\n", count, where)
	if len(there) == 1 && whole {
		b.Reset()
		fmt.Fprintf(&b, "There is 1 file in %s:\n", where)
	}
	for _, f := range there[:min(len(there), maxInventory)] {
		fmt.Fprintf(&b, "\n- `%s` (%s)", f.Path, bytesText(f.Size))
	}
	if more := len(there) - maxInventory; more > 0 {
		fmt.Fprintf(&b, "\n- and %d more", more)
	}
	return b.String()
}

// absent says that a file is not there, and what is.
func absent(name string, there []files.Listed) string {
	s := fmt.Sprintf("There is no file `%s` in this project.", name)
	if near := files.Nearest(name, paths(there), 1); len(near) == 1 {
		s += fmt.Sprintf(" The nearest name is `%s`.", near[0])
	}
	if len(there) == 0 {
		return s + " It has no files yet."
	}
	const most = 20
	var names []string
	for _, f := range there[:min(len(there), most)] {
		names = append(names, "`"+path.Clean(f.Path)+"`")
	}
	s += " The files are: " + strings.Join(names, ", ")
	if more := len(there) - most; more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s + "."
}
