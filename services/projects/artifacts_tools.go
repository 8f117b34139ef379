package projects

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"anthill/services/internal/agent"
	"anthill/services/internal/workspace"
)

// ArtifactTools are the tools by which a model makes artifacts and finds them
// again: create_artifact, list_artifacts, open_artifact and update_artifact.
// folder must stay open while they are used. The files of an artifact are
// written by whatever else the model can write with.
func (r *Room) ArtifactTools(folder *workspace.Folder) []agent.Tool {
	return []agent.Tool{
		tool[createInput]{"create_artifact", "Make an artifact: something for the user to keep, such as a report, a chart, a data set or a small web page. " +
			"Returns its folder; write its files there, and only there. To change an artifact that exists, use open_artifact instead.",
			`{"type":"object","properties":{` +
				`"name":{"type":"string","description":"What to call it, for people"},` +
				`"description":{"type":"string","description":"What it is and is for, in a sentence"},` +
				`"type":{"type":"string","enum":["html-app","document","dataset","image","mixed","fullstack-stateless-app","fullstack-stateful-app"]},` +
				`"primary":{"type":"string","description":"The file to show first, such as index.html or report.md"}},` +
				`"required":["name","description","type"],"additionalProperties":false}`,
			func(ctx context.Context, in createInput) (any, error) { return r.createArtifact(ctx, folder, in) }},
		tool[struct{}]{"list_artifacts", "List the artifacts of the project, the newest first.",
			`{"type":"object","properties":{},"additionalProperties":false}`,
			func(ctx context.Context, _ struct{}) (any, error) { return r.listForModel(ctx, folder) }},
		tool[slugInput]{"open_artifact", "Show an artifact of the project: its folder, its files and where it comes from.",
			`{"type":"object","properties":{"slug":{"type":"string","description":"Its slug, from list_artifacts"}},"required":["slug"],"additionalProperties":false}`,
			func(ctx context.Context, in slugInput) (any, error) { return r.openForModel(ctx, folder, in.Slug) }},
		tool[updateInput]{"update_artifact", "Change what an artifact says about itself: the file to show first, the port of its backend, the data sources it uses.",
			`{"type":"object","properties":{"slug":{"type":"string"},` +
				`"primary":{"type":"string","description":"A file of the artifact"},` +
				`"port":{"type":"integer","minimum":1,"maximum":65535},` +
				`"datasources":{"type":"array","items":{"type":"object","properties":{"engine":{"type":"string"},"name":{"type":"string"}},` +
				`"required":["engine","name"],"additionalProperties":false}}},"required":["slug"],"additionalProperties":false}`,
			func(ctx context.Context, in updateInput) (any, error) { return r.updateArtifact(ctx, folder, in) }},
	}
}

type createInput struct{ Name, Description, Type, Primary string }

type slugInput struct{ Slug string }

type updateInput struct {
	Slug        string
	Primary     *string
	Port        *int
	Datasources *[]datasource
}

// tool is an agent.Tool whose input is an In and whose answer is JSON.
type tool[In any] struct {
	name, description, schema string
	run                       func(ctx context.Context, in In) (any, error)
}

// Spec implements agent.Tool.
func (t tool[In]) Spec() agent.ToolSpec {
	return agent.ToolSpec{Name: t.name, Description: t.description, Schema: json.RawMessage(t.schema)}
}

// Run implements agent.Tool.
func (t tool[In]) Run(ctx context.Context, input json.RawMessage) (string, error) {
	var in In
	if err := json.Unmarshal(input, &in); err != nil {
		return "", fmt.Errorf("the input is not as %s needs it: %w", t.name, err)
	}
	out, err := t.run(ctx, in)
	if err != nil {
		return "", err
	}
	b, err := json.MarshalIndent(out, "", " ")
	return string(b), err
}

// modelView is an artifact as a model sees it.
type modelView struct {
	Slug        string         `json:"slug"`
	Name        string         `json:"name"`
	Description string         `json:"description,omitempty"`
	Type        string         `json:"type"`
	Primary     string         `json:"primary,omitempty"`
	Updated     string         `json:"updated,omitempty"`
	Folder      string         `json:"folder"`                  // in the project
	Absolute    string         `json:"absolute_path,omitempty"` // of the folder
	Port        int            `json:"port,omitempty"`
	Datasources []datasource   `json:"datasources,omitempty"`
	Files       []recordedFile `json:"files,omitempty"`
	Provenance  []provenance   `json:"provenance,omitempty"`
}

func (a *artifact) forModel() modelView {
	card := a.card(Project{}, a.updated)
	return modelView{Slug: a.slug, Name: card.Title, Description: card.Description, Type: card.Type, Primary: card.GetPrimary(),
		Updated: card.UpdatedAt, Folder: path.Join(artifactsDir, a.slug)}
}

const (
	nameMaxRunes        = 120
	descriptionMaxRunes = 2000
	slugTries           = 1000
)

func (r *Room) createArtifact(ctx context.Context, folder *workspace.Folder, in createInput) (any, error) {
	in.Name, in.Description = strings.TrimSpace(in.Name), strings.TrimSpace(in.Description)
	switch {
	case in.Name == "" || len([]rune(in.Name)) > nameMaxRunes:
		return nil, fmt.Errorf("name must have 1 to %d characters", nameMaxRunes)
	case len([]rune(in.Description)) > descriptionMaxRunes:
		return nil, fmt.Errorf("description must not have more than %d characters", descriptionMaxRunes)
	case kinds[in.Type] == "":
		return nil, fmt.Errorf("type %q is none of html-app, document, dataset, image, mixed, fullstack-stateless-app, fullstack-stateful-app", in.Type)
	}
	if in.Primary != "" {
		clean, err := workspace.Clean(in.Primary)
		if err != nil {
			return nil, errors.New("primary must be a path inside the artifact's folder, such as index.html")
		}
		in.Primary = clean
	}
	r.artifacts.Lock()
	defer r.artifacts.Unlock()
	slug, err := freeSlug(folder, in.Name)
	if err != nil {
		return nil, err
	}
	m := metadata{Name: in.Name, Description: in.Description, Type: in.Type, Primary: in.Primary}
	m.describe(slug, iso(r.opt.Now()))
	if err := m.write(folder, slug); err != nil {
		return nil, fmt.Errorf("the artifact's folder cannot be made: %w", err)
	}
	return modelView{Slug: slug, Name: m.Name, Description: m.Description, Type: m.Type, Primary: m.Primary,
		Folder: path.Join(artifactsDir, slug), Absolute: filepath.Join(folder.Dir(), artifactsDir, slug)}, nil
}

// freeSlug makes a name of a folder that is not there yet.
func freeSlug(folder *workspace.Folder, name string) (string, error) {
	base := "artifact"
	if strings.ContainsFunc(name, func(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) }) {
		base = strings.ToLower(workspace.FolderName(name))
	}
	for n := 1; n < slugTries; n++ {
		slug := numbered(base, n)
		if _, err := folder.Stat(path.Join(artifactsDir, slug)); absentFolder(err) {
			return slug, nil
		} else if err != nil {
			return "", fmt.Errorf("the artifacts cannot be looked at: %w", err)
		}
	}
	return "", errors.New("there are too many artifacts of this name: choose another")
}

// modelListed bounds the list that a model is given.
const modelListed = 100

func (r *Room) listForModel(ctx context.Context, folder *workspace.Folder) (any, error) {
	slugs, err := artifactSlugs(ctx, folder)
	if err != nil {
		return nil, fmt.Errorf("the artifacts cannot be listed: %w", err)
	}
	views := []modelView{}
	for _, slug := range newest(slugs) {
		if len(views) == modelListed {
			break
		}
		a, err := readArtifact(ctx, folder, slug)
		if err != nil {
			return nil, fmt.Errorf("artifact %s cannot be read: %w", slug, err)
		}
		if a != nil {
			views = append(views, a.forModel())
		}
	}
	return map[string]any{"artifacts": views}, nil
}

func (r *Room) openForModel(ctx context.Context, folder *workspace.Folder, slug string) (any, error) {
	a, err := readArtifact(ctx, folder, slug)
	if err != nil {
		return nil, fmt.Errorf("the artifact cannot be read: %w", err)
	}
	if a == nil {
		return nil, noSuchArtifact(ctx, folder, slug)
	}
	v := a.forModel()
	v.Absolute = filepath.Join(folder.Dir(), v.Folder)
	v.Port, v.Datasources, v.Provenance = a.meta.Port, a.meta.Datasources, a.meta.Provenance
	m := metadata{}
	m.record(a.files)
	v.Files = m.Files
	return v, nil
}

// noSuchArtifact tells the model what there is.
func noSuchArtifact(ctx context.Context, folder *workspace.Folder, slug string) error {
	slugs, err := artifactSlugs(ctx, folder)
	if err != nil || len(slugs) == 0 {
		return fmt.Errorf("there is no artifact %q: the project has none", slug)
	}
	names := newest(slugs)
	return fmt.Errorf("there is no artifact %q; the newest are: %s", slug, strings.Join(names[:min(len(names), 20)], ", "))
}

func (r *Room) updateArtifact(ctx context.Context, folder *workspace.Folder, in updateInput) (any, error) {
	a, err := readArtifact(ctx, folder, in.Slug)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the artifact cannot be read: %w", err)
	case a == nil:
		return nil, noSuchArtifact(ctx, folder, in.Slug)
	case in.Port != nil && (*in.Port < 1 || *in.Port > 65535):
		return nil, errors.New("port must be from 1 to 65535")
	case in.Primary != nil && !slices.ContainsFunc(a.files, func(e workspace.Entry) bool { return e.Path == *in.Primary }):
		return nil, fmt.Errorf("the artifact has no file %q: write it first", *in.Primary)
	}
	err = r.changeMetadata(ctx, folder, in.Slug, func(m *metadata, _ string) {
		if in.Primary != nil {
			m.Primary = *in.Primary
		}
		if in.Port != nil {
			m.Port = *in.Port
		}
		if in.Datasources != nil {
			m.Datasources = orEmpty(*in.Datasources)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("the artifact cannot be changed: %w", err)
	}
	return r.openForModel(ctx, folder, in.Slug)
}
