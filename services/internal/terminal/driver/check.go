package driver

import (
	"fmt"
	"regexp"
	"slices"
)

// Classes of prompts, as clients know them.
const (
	Permission     = "permission_request"
	ToolAuth       = "tool_auth"
	MultiChoice    = "multi_choice"
	Confirmation   = "confirmation"
	FreeText       = "free_text"
	ErrorRetry     = "error_retry"
	SubclassTrust  = "trust_folder"
	SubclassMenu   = "menu"
	chooseDown     = "down"
	chooseRight    = "right"
	chooseNumber   = "number"
	chooseKey      = "key"
	kindNumbered   = "numbered"
	kindListed     = "listed"
	kindChips      = "chips"
	kindLine       = "line"
	kindNone       = "none"
	deedApprove    = "approve"
	deedDeny       = "deny"
	deedSelect     = "select"
	deedText       = "text"
	deedConfirm    = "confirm"
	deedRetry      = "retry"
	deedAbort      = "abort"
	maxPrompts     = 30
	defaultBurst   = 150
	defaultRetry   = 1000
	defaultTries   = 3
	defaultMax     = 64 << 10
	defaultMaxRows = 6
)

var (
	classes = []string{Permission, ToolAuth, MultiChoice, Confirmation, FreeText, ErrorRetry}
	kinds   = []string{kindNumbered, kindListed, kindChips, kindLine, kindNone}
	chooses = []string{"", chooseDown, chooseRight, chooseNumber, chooseKey}
	deeds   = []string{deedApprove, deedDeny, deedText, deedConfirm, deedRetry, deedAbort}
	names   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,40}$`)
)

// check says what is wrong with a driver beyond its syntax, and fills in what was left out.
func (d *Driver) check() error {
	switch {
	case !names.MatchString(d.Name):
		return fmt.Errorf("line 1: name %q: small letters, digits and hyphens", d.Name)
	case d.Describes == "":
		return fmt.Errorf("describes: which version these screens are of is missing")
	case len(d.Commands) == 0 && len(d.Recognise) == 0 && len(d.Titles) == 0:
		return fmt.Errorf("nothing says how it is recognised: commands, titles or recognise")
	case !d.Input.Row.Set():
		return fmt.Errorf("input: row is missing")
	case len(d.Prompts) > maxPrompts:
		return fmt.Errorf("prompts: more than %d", maxPrompts)
	}
	if d.Label == "" {
		d.Label = d.Name
	}
	seen := map[string]bool{}
	for i := range d.Prompts {
		r := &d.Prompts[i]
		if err := r.check(); err != nil {
			return fmt.Errorf("prompt %q: %w", r.Name, err)
		}
		if seen[r.Name] {
			return fmt.Errorf("prompt %q is there twice", r.Name)
		}
		seen[r.Name] = true
	}
	return d.Paste.check()
}

func (r *Rule) check() error {
	if r.Options.Kind == "" {
		r.Options.Kind = kindNumbered
	}
	o := r.Options
	switch {
	case r.Name == "":
		return fmt.Errorf("name is missing")
	case !slices.Contains(classes, r.Class):
		return fmt.Errorf("class %q is none of %v", r.Class, classes)
	case !slices.Contains(kinds, o.Kind):
		return fmt.Errorf("options: kind %q is none of %v", o.Kind, kinds)
	case !slices.Contains(chooses, r.Choose):
		return fmt.Errorf("choose %q is none of %v", r.Choose, chooses[1:])
	case (o.Kind == kindListed || o.Kind == kindLine || o.Kind == kindNone) && !o.Row.Set():
		return fmt.Errorf("options: %s needs row", o.Kind)
	case o.Kind == kindChips && len(o.Labels) < 2:
		return fmt.Errorf("options: chips needs labels")
	case o.Kind == kindLine && len(o.Labels) != len(o.Keys):
		return fmt.Errorf("options: line needs as many keys as labels")
	case o.Kind == kindNumbered && !r.Foot.Set() && !r.Question.Set():
		return fmt.Errorf("numbered options need a foot or a question: a list of text has neither")
	}
	for _, k := range o.Keys {
		if err := known([]string{k}); err != nil {
			return err
		}
	}
	for name, deed := range r.Answers {
		if !slices.Contains(deeds, name) {
			return fmt.Errorf("answers: %q is none of %v", name, deeds)
		}
		if !deed.Option.Set() && len(deed.Keys) == 0 && !deed.Text {
			return fmt.Errorf("answers: %s says neither option nor keys", name)
		}
		if deed.Option.Set() && r.Choose == "" {
			return fmt.Errorf("answers: %s needs choose", name)
		}
		if err := known(slices.Concat(deed.Keys, deed.Then)); err != nil {
			return err
		}
	}
	return nil
}

func (p *Paste) check() error {
	for field, value := range map[string]*int{"burst": &p.Burst, "retry": &p.Retry, "tries": &p.Tries, "max": &p.Max, "max_rows": &p.MaxRows} {
		otherwise := map[string]int{"burst": defaultBurst, "retry": defaultRetry, "tries": defaultTries, "max": defaultMax, "max_rows": defaultMaxRows}[field]
		switch {
		case *value < 0 || *value > 1<<20:
			return fmt.Errorf("paste: %s is out of range", field)
		case *value == 0:
			*value = otherwise
		}
	}
	if p.Tries > 10 || p.Burst > 10_000 || p.Retry > 60_000 {
		return fmt.Errorf("paste: burst, retry or tries is out of range")
	}
	if p.FileMention == "" {
		p.FileMention = "{path}"
	}
	return known(slices.Concat(p.Newline, p.Clear))
}
