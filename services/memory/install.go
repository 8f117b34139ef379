package memory

import (
	"context"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/workspace"
	"anthill/services/memory/manifest"
)

// Folders of skills that are being written or deleted. No list shows them, and
// whoever needs one clears it before.
func newSkill(at place) string { return path.Join(at.skillsDir(), ".anthill-new.part") }
func oldSkill(at place) string { return path.Join(at.skillsDir(), ".anthill-old.part") }

// labelOf is a text as the name of a skill's folder; empty if nothing is left.
func labelOf(s string) string {
	label := strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' {
			return c
		}
		return '_'
	}, strings.ToLower(strings.TrimSpace(s)))
	label = strings.Trim(label, "-_")
	return strings.Trim(label[:min(len(label), labelMax)], "-_")
}

// InstallSkill implements antonv1.SkillsServiceServer.
func (s skillsService) InstallSkill(ctx context.Context, q *antonv1.InstallSkillRequest) (*antonv1.InstallSkillResponse, error) {
	m, text, err := s.room.manifestOf(q)
	if err != nil {
		return nil, err
	}
	label := labelOf(q.Label)
	if q.Label == "" {
		label = labelOf(m.Name)
	}
	if label == "" {
		return nil, fault.New(fault.Invalid, "INVALID_LABEL", "A label has letters, digits, - and _")
	}
	at, err := s.room.one(ctx, wanted{q.Scope, q.Project, q.ProjectPath}, global)
	if err != nil {
		return nil, err
	}
	s.room.writing.Lock()
	defer s.room.writing.Unlock()
	if err := s.room.free(ctx, at, label); err != nil {
		return nil, err
	}
	err = s.room.within(ctx, at, func(f *workspace.Folder) error {
		return f.WriteFile(path.Join(at.skillsDir(), label, manifestName), []byte(text))
	})
	if err != nil {
		return nil, diskFault(err)
	}
	return s.room.installed(ctx, at, label, provenManifest)
}

// manifestOf is the SKILL.md that a request describes.
func (r *Room) manifestOf(q *antonv1.InstallSkillRequest) (m manifest.Manifest, text string, err error) {
	if q.Manifest != "" {
		if len(q.Manifest) > manifestMax {
			return m, "", tooLong("manifest")
		}
		if m, err = manifest.Parse([]byte(q.Manifest)); err != nil {
			return m, "", fault.BadField("value_error", "The manifest cannot be read: "+err.Error(), "manifest")
		}
		return m, q.Manifest, nil
	}
	for _, f := range [][2]string{{"label", q.Label}, {"name", q.Name}, {"declarative", q.Declarative}} {
		if strings.TrimSpace(f[1]) == "" {
			return m, "", fault.BadField("missing", "Field required", f[0])
		}
	}
	if len(q.Declarative) > manifestMax-16<<10 {
		return m, "", tooLong("declarative")
	}
	one := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	m = manifest.Manifest{Name: strings.Trim(strings.ReplaceAll(labelOf(q.Label), "_", "-"), "-"), Title: one(q.Name), Description: one(q.Description), WhenToUse: one(q.WhenToUse),
		CreatedAt: iso(r.opt.Now()), Provenance: provenManifest, Body: strings.TrimSpace(strings.ReplaceAll(q.Declarative, "\r\n", "\n"))}
	if m.Description == "" {
		m.Description = clip(m.WhenToUse, nameMax)
	}
	if m.Description == "" {
		m.Description = clip(m.Title, nameMax)
	}
	for _, f := range [][2]string{{"name", m.Title}, {"description", m.Description}, {"when_to_use", m.WhenToUse}} {
		if utf8.RuneCountInString(f[1]) > 1024 {
			return m, "", fault.BadField("string_too_long", "String should have at most 1024 characters", f[0])
		}
	}
	if m.Name == "" {
		return m, "", fault.New(fault.Invalid, "INVALID_LABEL", "A label has letters, digits, - and _")
	}
	if text, err = m.Format(); err != nil {
		return m, "", fault.BadField("value_error", "It has characters that a SKILL.md cannot have", "declarative")
	}
	return m, text, nil
}

func tooLong(field string) error {
	return fault.BadField("string_too_long", fmt.Sprintf("A SKILL.md has up to %d KiB", manifestMax>>10), field)
}

// free refuses a label that differs from another only by case: on some disks
// they are one.
func (r *Room) free(ctx context.Context, at place, label string) error {
	list, _, err := r.skills(ctx, at)
	for _, s := range list {
		if s.label != label && strings.EqualFold(s.label, label) {
			return fault.New(fault.Conflict, "SKILL_EXISTS", "There is a skill %s already", s.label)
		}
	}
	return err
}

// installed notes where a skill comes from, and shows it.
func (r *Room) installed(ctx context.Context, at place, label, provenance string) (*antonv1.InstallSkillResponse, error) {
	err := r.opt.DB.Update(ctx, func(tx store.Tx) error {
		rec, err := skillRecords.Get(tx, skillKey(at.projectID(), label))
		if err != nil {
			return err
		}
		if rec == nil {
			rec = &skillRecord{ProjectID: at.projectID(), Label: label, Created: iso(r.opt.Now())}
		}
		rec.Provenance = provenance
		return skillRecords.Put(tx, rec)
	})
	if err != nil {
		return nil, err
	}
	list, _, err := r.skills(ctx, at)
	if err != nil {
		return nil, err
	}
	for _, s := range list {
		if s.label == label {
			v, err := r.viewSkill(ctx, s)
			return &antonv1.InstallSkillResponse{Status: "ok", Label: label, Path: v.GetPath(), Skill: v}, err
		}
	}
	return nil, fault.New(fault.Exhausted, "TOO_MANY_FILES", "There are too many skills to show this one: delete some.")
}
