package memory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"anthill/services/internal/agent"
	"anthill/services/internal/agent/files"
	"anthill/services/internal/store"
	"anthill/services/internal/workspace"
)

const (
	recallSkillName = "recall_skill"
	resourceMax     = 200 << 10 // bytes of a file that the tool reads
)

// recallSkill is the tool by which an agent loads a procedure.
type recallSkill struct {
	room *Room
	turn Turn
}

func (recallSkill) Spec() agent.ToolSpec {
	return agent.ToolSpec{
		Name: recallSkillName,
		Description: "Load a skill: its procedure, and the list of the files that belong to it. " +
			"With file, read one of those instead.",
		Schema: json.RawMessage(`{"type":"object","properties":{` +
			`"label":{"type":"string","description":"Its label, from the list of skills"},` +
			`"file":{"type":"string","description":"A file of the skill, such as references/format.md"}},` +
			`"required":["label"],"additionalProperties":false}`),
	}
}

func (t recallSkill) Run(ctx context.Context, input json.RawMessage) (string, error) {
	var in struct{ Label, File string }
	if err := json.Unmarshal(input, &in); err != nil {
		return "", fmt.Errorf("the input is not as %s needs it: %w", recallSkillName, err)
	}
	s, err := t.find(ctx, in.Label)
	if err != nil {
		return "", err
	}
	view, err := json.Marshal([]hit{{Source: "skill", TS: iso(s.modified), Role: s.at.scope(), Content: s.Description, ID: s.label}})
	if err != nil {
		return "", err
	}
	agent.Show(ctx, string(view))
	if in.File != "" {
		return t.resource(ctx, s, in.File)
	}
	if err := t.room.counted(ctx, s); err != nil {
		t.room.opt.Log.Warn("the use of a skill was not counted", "skill", s.label, "error", err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s\n", s.label, t.room.veil().over(s.Body))
	if len(s.files) > 0 {
		fmt.Fprintf(&b, "\nFiles of this skill, in %s (call %s with file to read one):\n", t.room.absolute(s.at, s.dir()), recallSkillName)
		for _, f := range s.files {
			fmt.Fprintf(&b, "- %s\n", f)
		}
	}
	return b.String(), nil
}

// find is the skill that a label means: the project's before the global one, and
// a similar label if there is none of this.
func (t recallSkill) find(ctx context.Context, label string) (skill, error) {
	places, err := t.room.turnPlaces(ctx, t.turn.ProjectID)
	if err != nil {
		return skill{}, err
	}
	var all []skill
	var labels []string
	for _, at := range places {
		list, _, err := t.room.skills(ctx, at)
		if err != nil {
			return skill{}, err
		}
		for _, s := range list {
			if s.problem == "" && !slices.Contains(labels, s.label) {
				all, labels = append(all, s), append(labels, s.label)
			}
		}
	}
	i := slices.Index(labels, label)
	if near := files.Nearest(labelOf(label), labels, 1); i < 0 && len(near) == 1 {
		i = slices.Index(labels, near[0])
	}
	switch {
	case i >= 0:
		return all[i], nil
	case len(labels) == 0:
		return skill{}, errors.New("there are no skills")
	}
	return skill{}, fmt.Errorf("there is no skill %q; there are %s", clip(label, labelMax), strings.Join(labels[:min(len(labels), 50)], ", "))
}

// resource reads a file that belongs to a skill.
func (t recallSkill) resource(ctx context.Context, s skill, name string) (text string, err error) {
	clean, err := workspace.Clean(name)
	if err != nil {
		return "", fmt.Errorf("%q is not a path inside the skill", name)
	}
	err = t.room.within(ctx, s.at, func(f *workspace.Folder) error {
		data, err := f.ReadFile(path.Join(s.dir(), clean), resourceMax)
		switch {
		case absent(err):
			return fmt.Errorf("the skill has no file %s; it has %s", clean, strings.Join(s.files, ", "))
		case err != nil:
			return fmt.Errorf("%s cannot be read: it is too large, or no plain file", clean)
		case !utf8.Valid(data):
			return fmt.Errorf("%s is not a text", clean)
		}
		text = t.room.veil().over(string(data))
		return nil
	})
	return text, err
}

// counted notes that a skill was used.
func (r *Room) counted(ctx context.Context, s skill) error {
	return r.opt.DB.Update(ctx, func(tx store.Tx) error {
		rec, err := skillRecords.Get(tx, skillKey(s.at.projectID(), s.label))
		if err != nil {
			return err
		}
		if rec == nil {
			rec = &skillRecord{ProjectID: s.at.projectID(), Label: s.label, Provenance: provenHand, Created: iso(s.modified)}
		}
		rec.Recalls++
		return skillRecords.Put(tx, rec)
	})
}
