// Package manifest is the SKILL.md of a skill, as agentskills.io describes it:
// front matter in YAML that says what the skill is for, and the procedure in
// Markdown. Nothing here touches a disk.
package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Manifest is what a SKILL.md says.
type Manifest struct {
	Name        string // 64 characters at most
	Description string // 1024 characters at most
	Title       string // for people; empty: the name
	WhenToUse   string
	CreatedAt   string // ISO 8601 in UTC; may be empty
	Provenance  string // may be empty
	Body        string // the procedure, without outer blanks
}

const (
	frontMax       = 16 << 10 // bytes
	nameMax        = 64       // characters
	descriptionMax = 1024     // characters
	fence          = "---"
)

// front is the part in YAML.
type front struct {
	Name        string    `yaml:"name"`
	Description string    `yaml:"description"`
	Metadata    yaml.Node `yaml:"metadata"`
}

// Names in the metadata that are ours.
const (
	titleKey      = "title"
	whenKey       = "when_to_use"
	createdKey    = "created_at"
	provenanceKey = "provenance"
)

// Parse reads a SKILL.md. The error says what is wrong with it, for people.
func Parse(data []byte) (m Manifest, err error) {
	text := strings.ReplaceAll(strings.TrimPrefix(string(data), "\uFEFF"), "\r\n", "\n")
	if !utf8.ValidString(text) {
		return m, errors.New("it is not UTF-8")
	}
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }) {
		return m, errors.New("it has a control character")
	}
	head, body, err := divide(text)
	if err != nil {
		return m, err
	}
	var f front
	if err := yaml.Unmarshal([]byte(head), &f); err != nil {
		return m, errors.New("its front matter is not YAML with a name and a description")
	}
	m = Manifest{Name: oneLine(f.Name), Description: oneLine(f.Description), Body: strings.TrimSpace(body)}
	var more map[string]any
	if f.Metadata.Kind == yaml.MappingNode && f.Metadata.Decode(&more) == nil {
		for k, to := range map[string]*string{titleKey: &m.Title, whenKey: &m.WhenToUse, createdKey: &m.CreatedAt, provenanceKey: &m.Provenance} {
			if s, ok := more[k].(string); ok {
				*to = oneLine(s)
			}
		}
	}
	return m, m.valid()
}

// divide cuts a text into its front matter and the rest.
func divide(text string) (head, body string, err error) {
	first, rest, _ := strings.Cut(text, "\n")
	if strings.TrimRight(first, " \t") != fence {
		return "", "", errors.New("it does not begin with front matter between lines of ---")
	}
	at := 0
	for line := range strings.Lines(rest) {
		if strings.TrimRight(line, " \t\n") == fence {
			return rest[:at], rest[at+len(line):], nil
		}
		if at += len(line); at > frontMax {
			return "", "", fmt.Errorf("its front matter is longer than %d KiB", frontMax>>10)
		}
	}
	return "", "", errors.New("its front matter has no end")
}

func (m Manifest) valid() error {
	switch {
	case m.Name == "":
		return errors.New("its front matter has no name")
	case utf8.RuneCountInString(m.Name) > nameMax:
		return fmt.Errorf("its name has more than %d characters", nameMax)
	case m.Description == "":
		return errors.New("its front matter has no description")
	case utf8.RuneCountInString(m.Description) > descriptionMax:
		return fmt.Errorf("its description has more than %d characters", descriptionMax)
	case strings.ContainsFunc(m.Name+m.Description+m.Title+m.WhenToUse+m.CreatedAt+m.Provenance, unicode.IsControl): // YAML has escapes
		return errors.New("its front matter has a control character")
	}
	return nil
}

// oneLine is a text without outer blanks and line ends.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// Format is the SKILL.md that says it. It fails if that could not be read back.
func (m Manifest) Format() (string, error) {
	var b strings.Builder
	write := func(indent, name, value string) {
		if value != "" {
			b.WriteString(indent + name + ": " + quoted(value) + "\n")
		}
	}
	b.WriteString(fence + "\n")
	write("", "name", m.Name)
	write("", "description", m.Description)
	if m.Title+m.WhenToUse+m.CreatedAt+m.Provenance != "" {
		b.WriteString("metadata:\n")
	}
	write("  ", titleKey, m.Title)
	write("  ", whenKey, m.WhenToUse)
	write("  ", createdKey, m.CreatedAt)
	write("  ", provenanceKey, m.Provenance)
	b.WriteString(fence + "\n\n" + m.Body + "\n")
	if back, err := Parse([]byte(b.String())); err != nil || back != m {
		return "", errors.Join(errors.New("manifest: it cannot be written"), err)
	}
	return b.String(), nil
}

// quoted is a text as JSON has it, which is YAML as well.
func quoted(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err) // strings always encode
	}
	return strings.TrimSpace(b.String())
}
