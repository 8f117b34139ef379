package projects

import (
	"context"
	"slices"

	"anthill/services/internal/workspace"
)

// TurnArtifact is one that a turn made or changed.
type TurnArtifact struct {
	Project, Slug, Title string // Project by its name
	Primary              string // path in its folder of the file that stands for it; may be empty
}

// TurnArtifacts lists the artifacts that are credited to a turn, by its conversation and
// its place in it, newest first: of the 80 that changed last.
func (r *Room) TurnArtifacts(ctx context.Context, projectID, conversation string, turn int) (list []TurnArtifact, err error) {
	p, ok, err := r.ByID(ctx, projectID)
	if err != nil || !ok {
		return nil, err
	}
	err = r.inFolder(ctx, p, func(f *workspace.Folder) error {
		list = nil
		slugs, err := artifactSlugs(ctx, f)
		if err != nil {
			return err
		}
		found := newest(slugs)
		for _, slug := range found[:min(len(found), artifactsListed)] {
			a, err := readArtifact(ctx, f, slug)
			if err != nil {
				return err
			}
			if a == nil || !a.meta.creditedTo(conversation, turn) {
				continue
			}
			card := a.card(p, r.opt.Now())
			list = append(list, TurnArtifact{Project: p.Name, Slug: slug, Title: card.Title, Primary: a.primary()})
		}
		return nil
	})
	return list, err
}

// creditedTo says whether a turn worked on the artifact.
func (m *metadata) creditedTo(conversation string, turn int) bool {
	return slices.ContainsFunc(m.Provenance, func(p provenance) bool {
		return p.Conversation == conversation && slices.ContainsFunc(p.Turns, func(t provenanceTurn) bool { return t.Index == turn })
	})
}
