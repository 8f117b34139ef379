package mcp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"

	"anthill/services/internal/workspace"
)

// File is where a project says which servers it has.
const File = ".anton/mcp.json"

// Bounds of the file.
const (
	fileMax    = 256 << 10 // bytes
	serversMax = 32
	nameMax    = 100 // characters
	argsMax    = 256
)

// Transports.
const (
	stdio = "stdio"
	web   = "http"
)

// config is what a file says.
type config struct {
	entries []entry
	secrets []string // the longest first
	problem string   // of the file as a whole
}

// entry is one server. If there is a problem, it says why it cannot be used.
type entry struct {
	name, transport string
	command         string
	args            []string
	env             map[string]string
	dir             string // empty: the project's folder
	url             *url.URL
	headers         map[string]string
	disabled        bool
	problem         string
	secrets         []string
}

func (e entry) same(other entry) bool { return reflect.DeepEqual(e, other) }

// read reads the file of a project. One that is not there says nothing.
func read(f *workspace.Folder) config {
	data, err := f.ReadFile(File, fileMax)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return config{}
	case errors.Is(err, workspace.ErrTooLarge):
		return config{problem: fmt.Sprintf("it is larger than %d KiB", fileMax>>10)}
	case errors.Is(err, workspace.ErrPath), errors.Is(err, workspace.ErrSpecial), errors.Is(err, workspace.ErrIsDir):
		return config{problem: "it is no plain file inside the project"}
	case err != nil:
		return config{problem: "it cannot be read"}
	}
	return parse(data)
}

func parse(data []byte) (c config) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(data) {
		return config{problem: "it is not UTF-8"}
	}
	var file struct {
		Servers map[string]json.RawMessage `json:"mcpServers"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return config{problem: wrongJSON(data, err)}
	}
	for i, name := range slices.Sorted(maps.Keys(file.Servers)) {
		raw := file.Servers[name]
		hidden := secretsOf(raw)
		c.secrets = append(c.secrets, hidden...)
		if i >= serversMax {
			c.problem = fmt.Sprintf("it has more than %d servers: the others are left out", serversMax)
			continue
		}
		e, err := parseEntry(raw)
		if err == nil {
			err = checkName(name)
		}
		if err != nil {
			e.problem = err.Error()
		}
		e.name, e.secrets = clip(strings.Map(printable, name), nameMax), hidden
		c.entries = append(c.entries, e)
	}
	c.secrets = longestFirst(c.secrets)
	return c
}

// wrongJSON says what is wrong with a file without quoting it.
func wrongJSON(data []byte, err error) string {
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		at := data[:min(int(syntax.Offset), len(data))]
		return fmt.Sprintf("it is not valid JSON: see line %d", bytes.Count(at, []byte("\n"))+1)
	case errors.As(err, &typ) && typ.Field != "":
		return fmt.Sprintf("its %s is not an object", typ.Field)
	}
	return "it is not a JSON object"
}

func checkName(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return errors.New("its name is empty")
	case utf8.RuneCountInString(name) > nameMax:
		return fmt.Errorf("its name is longer than %d characters", nameMax)
	case strings.Map(printable, name) != name || strings.Contains(name, "/"):
		return errors.New("its name has a slash or a character that does not show")
	}
	return nil
}

func printable(c rune) rune {
	if unicode.IsPrint(c) {
		return c
	}
	return -1
}

func parseEntry(raw json.RawMessage) (entry, error) {
	var in *struct {
		Type     string            `json:"type"`
		Command  string            `json:"command"`
		Args     []string          `json:"args"`
		Env      map[string]string `json:"env"`
		Dir      string            `json:"cwd"`
		URL      string            `json:"url"`
		Headers  map[string]string `json:"headers"`
		Disabled bool              `json:"disabled"`
	}
	if err := json.Unmarshal(raw, &in); err != nil || in == nil {
		if typ, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && typ.Field != "" {
			return entry{}, fmt.Errorf("its %s is of the wrong type", typ.Field)
		}
		return entry{}, errors.New("it is not an object")
	}
	e := entry{command: in.Command, args: in.Args, env: in.Env, dir: in.Dir, headers: in.Headers, disabled: in.Disabled}
	switch strings.ToLower(in.Type) {
	case "":
		if e.transport = stdio; in.URL != "" {
			e.transport = web
		}
	case "stdio":
		e.transport = stdio
	case "http", "streamable-http", "streamablehttp":
		e.transport = web
	case "sse":
		return e, errors.New("the transport sse is not supported: use the server's address for streamable HTTP, with the type http")
	default:
		return e, errors.New("its type is neither stdio nor http")
	}
	if in.Command != "" && in.URL != "" {
		return e, errors.New("it has both a command and a url")
	}
	if e.transport == web {
		return e, e.checkWeb(in.URL)
	}
	return e, e.checkProcess()
}

func (e *entry) checkProcess() error {
	texts := append([]string{e.command, e.dir}, e.args...)
	switch {
	case strings.TrimSpace(e.command) == "":
		return errors.New("it has no command")
	case len(e.args) > argsMax:
		return fmt.Errorf("it has more than %d args", argsMax)
	}
	for name, value := range e.env {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			return errors.New("a name in its env is not valid")
		}
		texts = append(texts, value)
	}
	if slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(s, "\x00") }) {
		return errors.New("a text in it has a zero byte")
	}
	return nil
}

func (e *entry) checkWeb(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return errors.New("its url is not an http or https address")
	}
	u.Fragment, u.RawFragment = "", ""
	e.url = u
	for name, value := range e.headers {
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return errors.New("one of its headers is not valid")
		}
		switch http.CanonicalHeaderKey(name) {
		case "Host", "Connection", "Content-Length", "Transfer-Encoding", "Upgrade", "Te", "Trailer":
			return fmt.Errorf("the header %s cannot be set", http.CanonicalHeaderKey(name))
		}
	}
	return nil
}
