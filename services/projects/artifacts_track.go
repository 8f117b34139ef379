package projects

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"anthill/services/internal/workspace"
)

// snapshotMax bounds the files that a turn is watched for.
const snapshotMax = 20_000

// ArtifactTurn is a turn of a conversation, for the record of an artifact.
type ArtifactTurn struct {
	Conversation string // its id
	Title        string
	Index        int    // of the turn in the conversation
	Summary      string // such as the beginning of what was asked
}

// TouchedArtifact is one that a turn made or changed.
type TouchedArtifact struct {
	Slug    string
	Created bool
	Files   []string // made, changed or removed; paths in its folder
}

// TrackArtifacts looks at a project's artifacts before a turn. finish looks
// again, after it: it writes into the metadata of each artifact that changed
// meanwhile what was touched and by which turn, and returns these. A folder
// without metadata gets one. Turns that run at once in a project are credited
// with each other's changes: a file does not say who wrote it.
//
// folder stays open until finish has returned.
func (r *Room) TrackArtifacts(ctx context.Context, folder *workspace.Folder) (finish func(ctx context.Context, t ArtifactTurn) ([]TouchedArtifact, error), err error) {
	before, err := snapshot(ctx, folder)
	if err != nil {
		return nil, fmt.Errorf("projects: look at the artifacts: %w", err)
	}
	return func(ctx context.Context, t ArtifactTurn) ([]TouchedArtifact, error) {
		after, err := snapshot(ctx, folder)
		if err != nil {
			return nil, fmt.Errorf("projects: look at the artifacts again: %w", err)
		}
		touched := compare(before, after)
		var failed []error
		for _, a := range touched {
			if err := r.creditTurn(ctx, folder, a, t); err != nil {
				failed = append(failed, fmt.Errorf("projects: artifact %s: %w", a.Slug, err))
			}
		}
		return touched, errors.Join(failed...)
	}, nil
}

// stamp tells whether a file is still the same.
type stamp struct {
	size     int64
	modified time.Time
}

// snapshot maps the artifacts to their files.
func snapshot(ctx context.Context, folder *workspace.Folder) (map[string]map[string]stamp, error) {
	entries, _, err := folder.List(ctx, workspace.ListOptions{Under: artifactsDir, Max: snapshotMax, Skip: isBulky})
	if err != nil && !absentFolder(err) {
		return nil, err
	}
	all := map[string]map[string]stamp{}
	for _, e := range entries {
		slug, file, nested := strings.Cut(strings.TrimPrefix(e.Path, artifactsDir+"/"), "/")
		if !nested || e.IsDir || strings.HasPrefix(slug, ".") {
			continue
		}
		if all[slug] == nil {
			all[slug] = map[string]stamp{}
		}
		all[slug][file] = stamp{e.Size, e.Modified}
	}
	return all, nil
}

// compare lists the artifacts that are there now and are not what they were, by slug.
func compare(before, after map[string]map[string]stamp) []TouchedArtifact {
	var list []TouchedArtifact
	for slug, files := range after {
		old := before[slug]
		a := TouchedArtifact{Slug: slug, Created: old == nil}
		changed := a.Created
		note := func(file string) {
			changed = true
			if file != metadataFile && file != publishedFile {
				a.Files = append(a.Files, file)
			}
		}
		for file, now := range files {
			if was, ok := old[file]; !ok || was != now {
				note(file)
			}
		}
		for file := range old {
			if _, ok := files[file]; !ok {
				note(file)
			}
		}
		if changed {
			slices.Sort(a.Files)
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b TouchedArtifact) int { return strings.Compare(a.Slug, b.Slug) })
	return list
}

func (r *Room) creditTurn(ctx context.Context, folder *workspace.Folder, touched TouchedArtifact, t ArtifactTurn) error {
	return r.changeMetadata(ctx, folder, touched.Slug, func(m *metadata, now string) {
		m.credit(t, now, touched.Files)
	})
}

// changeMetadata changes what an artifact says about itself, and notes its
// files. Metadata that cannot be read is kept beside the new one.
func (r *Room) changeMetadata(ctx context.Context, folder *workspace.Folder, slug string, change func(m *metadata, now string)) error {
	r.artifacts.Lock()
	defer r.artifacts.Unlock()
	a, err := readArtifact(ctx, folder, slug)
	if err != nil || a == nil {
		return err
	}
	if err := keepBroken(folder, slug); err != nil {
		return err
	}
	m := a.meta
	now := iso(r.opt.Now())
	m.describe(slug, now)
	if kinds[m.Type] == "" {
		m.Type = a.card(Project{}, r.opt.Now()).Type
	}
	m.record(a.files)
	change(&m, now)
	return m.write(folder, slug)
}
