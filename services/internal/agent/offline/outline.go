package offline

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/tidwall/gjson"
)

const (
	maxOutline = 30
	maxKeys    = 20
)

// languages maps endings to what defines something in a file of that kind. The
// first group is what the outline shows.
var languages = func() map[string]*regexp.Regexp {
	script := regexp.MustCompile(`^\s*((?:export\s+)?(?:default\s+)?(?:async\s+)?(?:function\*?|class|interface|type|enum)\s+[\w$]+|(?:export\s+)?const\s+[\w$]+\s*=\s*(?:async\s*)?\([^)]*\)\s*=>)`)
	curly := regexp.MustCompile(`^\s*((?:(?:public|private|protected|internal|static|final|abstract|async|override|sealed|virtual|open|data|inline|extern|const|unsigned|struct)\s+)*(?:class|interface|enum|struct|namespace|record|object|trait|fun|void|int|bool|boolean|char|double|float|long|string|String)\s+\w+[^;{=]{0,80})`)
	settings := regexp.MustCompile(`^(\[[^\]]+\]|[A-Za-z_][\w.-]*)\s*(?:[:=].*)?$`)
	kinds := map[string]*regexp.Regexp{
		"go":       regexp.MustCompile(`^((?:func|type)\s+[^{]+|package\s+\w+)`),
		"py":       regexp.MustCompile(`^\s*((?:async\s+)?def\s+\w+\([^)]*\)?|class\s+\w+[^:]*)`),
		"rs":       regexp.MustCompile(`^\s*((?:pub(?:\([^)]*\))?\s+)?(?:async\s+)?(?:fn|struct|enum|trait|mod|impl)\b[^{;]{0,80})`),
		"rb":       regexp.MustCompile(`^\s*((?:def|class|module)\s+\S+)`),
		"php":      regexp.MustCompile(`^\s*((?:(?:public|private|protected|static|abstract|final)\s+)*(?:function|class|interface|trait)\s+\w+)`),
		"sh":       regexp.MustCompile(`^\s*(?:function\s+)?(\w[\w-]*)\s*\(\)`),
		"sql":      regexp.MustCompile(`(?i)^\s*(create\s+(?:or\s+replace\s+)?(?:temp\s+)?\w+\s+(?:if\s+not\s+exists\s+)?\S+|alter\s+table\s+\S+)`),
		"proto":    regexp.MustCompile(`^\s*((?:message|service|enum|rpc)\s+\w+)`),
		"css":      regexp.MustCompile(`^([^\s{}@/][^{}]*)\{`),
		"makefile": regexp.MustCompile(`^([\w./-]+)\s*:(?:[^=]|$)`),
	}
	for _, ext := range strings.Fields("js jsx mjs ts tsx") {
		kinds[ext] = script
	}
	for _, ext := range strings.Fields("java kt c h cc cpp hpp cs swift scala") {
		kinds[ext] = curly
	}
	for _, ext := range strings.Fields("yaml yml toml ini cfg conf env") {
		kinds[ext] = settings
	}
	kinds["bash"], kinds["zsh"] = kinds["sh"], kinds["sh"]
	return kinds
}()

// outline shows what a file of code or settings defines, with line numbers.
func (d document) outline() (string, bool) {
	kind := d.ext()
	if strings.EqualFold(d.name[strings.LastIndexByte(d.name, '/')+1:], "makefile") {
		kind = "makefile"
	}
	defines, ok := languages[kind]
	if !ok {
		return "", false
	}
	var b strings.Builder
	found, at := 0, 0
	for line := range strings.Lines(d.text) {
		at++
		m := defines.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
		if m == nil {
			continue
		}
		if found++; found <= maxOutline {
			fmt.Fprintf(&b, "\n- line %d: `%s`", at, clip(strings.ReplaceAll(strings.TrimSpace(m[1]), "`", "'"), 100))
		}
	}
	out := d.headline("")
	if lead := leadComment(d.text); lead != "" {
		out += "\n\n> " + clip(lead, maxPassage)
	}
	switch {
	case found == 0:
		return out + "\n\nNo definitions were recognised in it.", true
	case found > maxOutline:
		fmt.Fprintf(&b, "\n- and %d more", found-maxOutline)
	}
	return out + "\n\nOutline:\n" + b.String(), true
}

// leadComment is what a file says about itself at its beginning.
func leadComment(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#!") || line == "" && len(out) == 0 {
			continue
		}
		words := strings.TrimLeft(line, "/#*-\"'<!; ")
		if words == line || line == "" {
			break
		}
		if words = strings.TrimRight(words, "*/\"'-> "); words != "" {
			out = append(out, words)
		}
	}
	return strings.Join(out, " ")
}

// structure shows what a JSON document, or the first line of one per line, is
// made of.
func (d document) structure() (string, bool) {
	text, lines := d.text, 0
	if d.ext() != "json" {
		lines = strings.Count(strings.TrimSpace(d.text), "\n") + 1
		text, _, _ = strings.Cut(strings.TrimSpace(d.text), "\n")
	}
	// encoding/json bounds how deep it goes, which gjson does not.
	if !json.Valid([]byte(text)) {
		return "", false
	}
	v := gjson.Parse(text)
	out := d.headline("")
	if lines > 0 {
		out += fmt.Sprintf("\n\n%s, one value each. The first is %s", plural(lines, "line"), kindOf(v))
	} else {
		out += "\n\nThe document is " + kindOf(v)
	}
	if v.IsArray() && len(v.Array()) > 0 {
		v = v.Array()[0]
		out += "; the first is " + kindOf(v)
	}
	var b strings.Builder
	n := 0
	if v.IsObject() {
		v.ForEach(func(key, val gjson.Result) bool {
			if n++; n <= maxKeys {
				fmt.Fprintf(&b, "\n- `%s`: %s", clip(strings.ReplaceAll(key.Str, "`", "'"), maxCell), kindOf(val))
			}
			return true
		})
	}
	if n > maxKeys {
		fmt.Fprintf(&b, "\n- and %d more", n-maxKeys)
	}
	if n == 0 {
		return out + ".", true
	}
	return out + ":\n" + b.String(), true
}

func kindOf(v gjson.Result) string {
	switch {
	case v.IsArray():
		return "a list of " + plural(len(v.Array()), "item")
	case v.IsObject():
		n := 0
		v.ForEach(func(_, _ gjson.Result) bool { n++; return true })
		return "an object with " + plural(n, "key")
	case v.Type == gjson.String:
		return fmt.Sprintf("text “%s”", clip(strings.Join(strings.Fields(v.Str), " "), maxCell))
	case v.Type == gjson.Null:
		return "null"
	}
	return clip(v.Raw, maxCell)
}
