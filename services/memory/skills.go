package memory

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
	"anthill/services/internal/workspace"
	"anthill/services/memory/manifest"
)

const (
	manifestName   = "SKILL.md"
	manifestMax    = 128 << 10 // bytes
	skillsWalked   = 5000      // files and folders of a place
	skillDeepest   = 8         // folders below each other
	skillsShown    = 200       // of one place
	skillFiles     = 100       // of one skill that are shown
	labelMax       = 64
	bodiesMax      = 1 << 20 // bytes of procedures in a list
	provenHand     = "hand"
	provenUpload   = "upload"
	provenManifest = "manifest"
)

// skill is one as it is on disk.
type skill struct {
	manifest.Manifest
	at       place
	label    string
	problem  string // why it cannot be used
	files    []string
	modified time.Time
}

// dir is its folder in the place.
func (s skill) dir() string { return path.Join(s.at.skillsDir(), s.label) }

// skillRecord is what the store keeps of a skill beside its files.
type skillRecord struct {
	ProjectID  string `json:"project_id"` // empty: global
	Label      string `json:"label"`
	Provenance string `json:"provenance"`
	Created    string `json:"created"` // ISO 8601 in UTC
	Recalls    int32  `json:"recalls"`
}

func skillKey(projectID, label string) key.Key { return key.Key(nil).Str(projectID).Str(label) }

var skillRecords = store.NewTable(store.TableOptions[skillRecord]{Name: "skills",
	Key: func(s *skillRecord) key.Key { return skillKey(s.ProjectID, s.Label) }})

// skills are those of a place, those with problems, too. more says that there
// are others.
func (r *Room) skills(ctx context.Context, at place) (list []skill, more bool, err error) {
	dir := at.skillsDir()
	err = r.within(ctx, at, func(f *workspace.Folder) error {
		entries, truncated, err := f.List(ctx, workspace.ListOptions{Under: dir, Max: skillsWalked, Skip: func(name string) bool {
			return strings.HasPrefix(path.Base(name), ".") || strings.Count(name[len(dir):], "/") > skillDeepest
		}})
		if absent(err) || errors.Is(err, workspace.ErrPath) { // a link out of the project has no skills
			return nil
		}
		if err != nil {
			return err
		}
		more = truncated
		for _, e := range entries {
			label, rel, inside := strings.Cut(strings.TrimPrefix(e.Path, dir+"/"), "/")
			if !inside && !e.IsDir {
				continue
			}
			i := slices.IndexFunc(list, func(s skill) bool { return s.label == label })
			if i < 0 {
				if i = len(list); i == skillsShown {
					more = true
					continue
				}
				list = append(list, skill{at: at, label: label, problem: "it has no " + manifestName})
			}
			switch {
			case rel == manifestName && !e.IsDir:
				list[i].read(f, e)
			case inside && !e.IsDir && len(list[i].files) < skillFiles:
				list[i].files = append(list[i].files, rel)
			}
		}
		return nil
	})
	for _, s := range list {
		r.tell(r.absolute(at, path.Join(s.dir(), manifestName)), s.problem)
	}
	return list, more, diskFault(err)
}

// read takes in the SKILL.md.
func (s *skill) read(f *workspace.Folder, e workspace.Entry) {
	s.problem, s.modified = "", e.Modified
	data, err := f.ReadFile(e.Path, manifestMax)
	switch {
	case errors.Is(err, workspace.ErrTooLarge):
		s.problem = fmt.Sprintf("its %s has more than %d KiB", manifestName, manifestMax>>10)
		return
	case err != nil:
		s.problem = "its " + manifestName + " is not a plain file that can be read"
		return
	}
	m, err := manifest.Parse(data)
	if err != nil {
		s.problem = manifestName + ": " + err.Error()
		return
	}
	s.Manifest = m
}

type skillsService struct {
	antonv1.UnimplementedSkillsServiceServer
	room *Room
}

// ListSkills implements antonv1.SkillsServiceServer.
func (s skillsService) ListSkills(ctx context.Context, q *antonv1.ListSkillsRequest) (*antonv1.ListSkillsResponse, error) {
	places, err := s.room.all(ctx, q.Project, q.ProjectPath)
	if err != nil {
		return nil, err
	}
	out := &antonv1.ListSkillsResponse{}
	size := 0
	for _, at := range places {
		list, more, err := s.room.skills(ctx, at)
		if err != nil {
			return nil, err
		}
		out.Truncated = out.Truncated || more
		for _, found := range list {
			v, err := s.room.viewSkill(ctx, found)
			if err != nil {
				return nil, err
			}
			if size += len(v.Declarative); size > bodiesMax {
				v.Declarative, out.Truncated = "", true
			}
			out.Skills = append(out.Skills, v)
		}
	}
	return out, nil
}

func (r *Room) viewSkill(ctx context.Context, s skill) (*antonv1.Skill, error) {
	rec, err := r.record(ctx, s)
	if err != nil {
		return nil, err
	}
	name, created := s.Title, rec.Created
	if name == "" {
		name = s.Name
	}
	if name == "" {
		name = s.label
	}
	if created == "" && !s.modified.IsZero() {
		created = iso(s.modified)
	}
	return &antonv1.Skill{Label: s.label, Name: name, Description: s.Description, WhenToUse: s.WhenToUse, Declarative: clip(s.Body, shownMax),
		CreatedAt: created, Provenance: rec.Provenance, Stages: &antonv1.SkillStages{Stage1: s.Body != ""}, Stats: &antonv1.SkillStats{TotalRecalls: rec.Recalls},
		Scope: s.at.scope(), Project: s.at.projectName(), Path: r.absolute(s.at, path.Join(s.dir(), manifestName)), Files: s.files, Problem: s.problem}, nil
}

// record is what the store has of a skill; one that was put there by hand has
// nothing.
func (r *Room) record(ctx context.Context, s skill) (rec skillRecord, err error) {
	rec = skillRecord{Provenance: provenHand}
	err = r.opt.DB.View(ctx, func(rd store.Reader) error {
		found, err := skillRecords.Get(rd, skillKey(s.at.projectID(), s.label))
		if found != nil {
			rec = *found
		}
		return err
	})
	return rec, err
}

// DeleteSkill implements antonv1.SkillsServiceServer.
func (s skillsService) DeleteSkill(ctx context.Context, q *antonv1.DeleteSkillRequest) (*antonv1.DeleteSkillResponse, error) {
	gone := fault.Missing("SKILL_NOT_FOUND", "Skill not found")
	if clean, err := workspace.Clean(q.Label); err != nil || clean != q.Label || strings.Contains(clean, "/") || strings.HasPrefix(clean, ".") {
		return nil, gone
	}
	places, err := s.room.all(ctx, q.Project, "")
	if err == nil && q.Scope != "" {
		places = make([]place, 1)
		places[0], err = s.room.one(ctx, wanted{scope: q.Scope, project: q.Project}, project)
	}
	if err != nil {
		return nil, err
	}
	s.room.writing.Lock()
	defer s.room.writing.Unlock()
	for _, at := range places {
		found, err := s.room.removeSkill(ctx, at, q.Label)
		if err != nil {
			return nil, diskFault(err)
		}
		if found {
			return &antonv1.DeleteSkillResponse{Status: "ok", Deleted: q.Label}, nil
		}
	}
	return nil, gone
}

// removeSkill is false if there is none of the label.
func (r *Room) removeSkill(ctx context.Context, at place, label string) (found bool, err error) {
	err = r.within(ctx, at, func(f *workspace.Folder) error {
		name := path.Join(at.skillsDir(), label)
		info, err := f.Stat(name)
		if absent(err) || err == nil && !info.IsDir() {
			return nil
		}
		if err != nil {
			return err
		}
		found = true
		if err := f.RemoveAll(oldSkill(at)); err != nil {
			return err
		}
		if err := f.Move(name, oldSkill(at)); err != nil { // gone at once, or not at all
			return err
		}
		return f.RemoveAll(oldSkill(at))
	})
	if err != nil || !found {
		return false, err
	}
	return true, r.opt.DB.Update(ctx, func(tx store.Tx) error {
		_, err := skillRecords.Delete(tx, skillKey(at.projectID(), label))
		return err
	})
}
