package driver

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	maxFile    = 64 << 10 // bytes of a driver's file
	maxFiles   = 200      // files read from the user's folder
	maxPattern = 512      // bytes of a pattern
)

//go:embed drivers/*.yaml
var embedded embed.FS

// Set is the drivers that are known, by name. It never changes.
type Set struct{ drivers []*Driver }

// Problem is a file, or a part of one, that cannot be used. The other files are used all the same.
type Problem struct {
	File   string
	Line   int // 0: the file as a whole
	Reason string
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Reason
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Reason)
}

// Load reads the drivers of this program, and those in the user's folder: a file there takes the place of the one with
// its name. dir may be "" or missing. A broken file changes nothing: the one that it would replace stays.
func Load(dir string) (*Set, []Problem) {
	s := &Set{}
	own, _ := fs.Sub(embedded, "drivers")
	problems := s.read(own)
	if dir == "" {
		return s, problems
	}
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return s, problems
	}
	if err != nil {
		return s, append(problems, Problem{File: dir, Reason: reason(err)})
	}
	defer root.Close()
	return s, append(problems, s.read(root.FS())...)
}

// Get is the driver with a name or an alias, nil for none.
func (s *Set) Get(name string) *Driver {
	for _, d := range s.drivers {
		if d.Name == name || slices.Contains(d.Aliases, name) {
			return d
		}
	}
	return nil
}

// All are the drivers by name.
func (s *Set) All() []*Driver { return slices.Clone(s.drivers) }

// read adds the files of a folder.
func (s *Set) read(dir fs.FS) []Problem {
	entries, err := fs.ReadDir(dir, ".")
	if err != nil {
		return []Problem{{File: ".", Reason: reason(err)}}
	}
	var problems []Problem
	files := 0
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".yaml")
		if !ok || strings.HasPrefix(name, ".") {
			continue
		}
		if files++; files > maxFiles {
			return append(problems, Problem{File: e.Name(), Reason: fmt.Sprintf("only %d files are read", maxFiles)})
		}
		d, problem := readFile(dir, e.Name())
		if problem != nil {
			problems = append(problems, *problem)
			continue
		}
		s.drivers = slices.DeleteFunc(s.drivers, func(o *Driver) bool { return o.Name == d.Name })
		s.drivers = append(s.drivers, d)
	}
	slices.SortFunc(s.drivers, func(a, b *Driver) int { return strings.Compare(a.Name, b.Name) })
	return problems
}

func readFile(dir fs.FS, name string) (*Driver, *Problem) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, &Problem{File: name, Reason: reason(err)}
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, &Problem{File: name, Reason: "is not a file"}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, &Problem{File: name, Reason: reason(err)}
	case len(b) > maxFile:
		return nil, &Problem{File: name, Reason: fmt.Sprintf("is longer than %d bytes", maxFile)}
	}
	d, err := Parse(b)
	if err != nil {
		line, why := place(err)
		return nil, &Problem{File: name, Line: line, Reason: why}
	}
	if d.Name+".yaml" != name {
		return nil, &Problem{File: name, Line: 1, Reason: fmt.Sprintf("the name in it is %q, not that of the file", d.Name)}
	}
	return d, nil
}

// Parse reads one driver. Its errors begin with "line N: " where a line is to blame.
func Parse(b []byte) (*Driver, error) {
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	d := &Driver{}
	if err := dec.Decode(d); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("is empty")
		}
		return nil, err
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("has more than one document")
	}
	return d, d.check()
}

var lineOf = regexp.MustCompile(`^(?:yaml: )?(?:unmarshal errors:\s*)?line (\d+): (.*)`)

// place takes an error of Parse apart. Of several it is the first.
func place(err error) (int, string) {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if typed := (*yaml.TypeError)(nil); errors.As(err, &typed) && len(typed.Errors) > 0 {
		text = typed.Errors[0]
	}
	if m := lineOf.FindStringSubmatch(text); m != nil {
		n, _ := strconv.Atoi(m[1])
		return n, strings.TrimSuffix(m[2], " in type driver.Driver")
	}
	return 0, strings.TrimPrefix(text, "yaml: ")
}

// reason is what the system said, without the path: that is told beside it.
func reason(err error) string {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// Pattern is a regular expression (RE2) of bounded size. The zero Pattern is not set and matches nothing.
type Pattern struct{ re *regexp.Regexp }

// UnmarshalYAML compiles the pattern; what is wrong is told with its line.
func (p *Pattern) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.ScalarNode || node.Value == "" {
		return fmt.Errorf("line %d: a pattern is a string that is not empty", node.Line)
	}
	if len(node.Value) > maxPattern {
		return fmt.Errorf("line %d: the pattern is longer than %d bytes", node.Line, maxPattern)
	}
	re, err := regexp.Compile(node.Value)
	if err != nil {
		return fmt.Errorf("line %d: %s", node.Line, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	p.re = re
	return nil
}

// Set says whether there is a pattern.
func (p Pattern) Set() bool { return p.re != nil }

// Match says whether the pattern is in s.
func (p Pattern) Match(s string) bool { return p.re != nil && p.re.MatchString(s) }

// group is the first group of a match, or all of it when there is no group.
func (p Pattern) group(s string) (string, bool) {
	if p.re == nil {
		return "", false
	}
	m := p.re.FindStringSubmatch(s)
	switch {
	case m == nil:
		return "", false
	case len(m) == 1:
		return m[0], true
	}
	for _, g := range m[1:] {
		if g != "" {
			return g, true
		}
	}
	return "", true
}

// named are the named groups of a match, nil without one.
func (p Pattern) named(s string) map[string]string {
	if p.re == nil {
		return nil
	}
	m := p.re.FindStringSubmatch(s)
	if m == nil {
		return nil
	}
	groups := map[string]string{}
	for i, name := range p.re.SubexpNames() {
		if name != "" {
			groups[name] = m[i]
		}
	}
	return groups
}

func regexpPattern(s string) Pattern { return Pattern{regexp.MustCompile(s)} }

// Whole are the named groups of a match of all of s; false when the pattern does not match all of it.
func (p Pattern) Whole(s string) (map[string]string, bool) {
	if p.re == nil {
		return nil, false
	}
	at := p.re.FindStringIndex(s)
	if at == nil || at[0] != 0 || at[1] != len(s) {
		return nil, false
	}
	return p.named(s), true
}
