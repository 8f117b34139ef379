package projects

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"maps"
	"math"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/workspace"
)

const (
	artifactsDir    = ".anton/artifacts"
	artifactsListed = 80
	artifactFiles   = 2000   // of one artifact that are looked at
	artifactFolders = 10_000 // of one project
	liveFor         = 5 * time.Minute
)

// artifact is a folder in artifactsDir. It is known by nothing but its files: what
// people put there, or change, is as good as what the agent made.
type artifact struct {
	slug  string
	meta  metadata
	files []workspace.Entry // but for the sidecars; paths are in the folder
	// updated is when metadata.json was written last, or the newest file of a
	// folder without one.
	updated time.Time
}

type artifactsService struct {
	antonv1.UnimplementedArtifactsServiceServer
	room *Room
}

// ListArtifacts lists those of the active project unless another is named, as
// the public page has it.
func (s artifactsService) ListArtifacts(ctx context.Context, q *antonv1.ListArtifactsRequest) (*antonv1.ListArtifactsResponse, error) {
	projects, err := s.named(ctx, q)
	if err != nil {
		return nil, err
	}
	all, err := s.room.artifactPlaces(ctx, projects)
	if err != nil {
		return nil, err
	}
	type dated struct {
		*antonv1.Artifact
		updated time.Time
	}
	var cards []dated
	ids := map[string]bool{}
	for _, at := range all {
		if len(cards) == artifactsListed {
			break
		}
		err := s.room.inFolder(ctx, at.project, func(f *workspace.Folder) error {
			a, err := readArtifact(ctx, f, at.slug)
			if err != nil || a == nil {
				return err
			}
			card := a.card(at.project, s.room.opt.Now())
			if ids[card.Id] { // a copy made by hand
				card.Id = derivedID(at.project.ID, at.slug)
			}
			ids[card.Id] = true
			a.detail(card, filesListed, fromListed)
			cards = append(cards, dated{card, a.updated})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	// The time of a folder without metadata was a guess.
	slices.SortStableFunc(cards, func(a, b dated) int { return b.updated.Compare(a.updated) })
	out := &antonv1.ListArtifactsResponse{}
	for _, c := range cards {
		out.Artifacts = append(out.Artifacts, c.Artifact)
	}
	return out, nil
}

// artifactPlace is where an artifact may be.
type artifactPlace struct {
	project Project
	slug    string
	updated time.Time
}

// artifactPlaces looks into projects, the newest first.
func (r *Room) artifactPlaces(ctx context.Context, projects []Project) ([]artifactPlace, error) {
	var all []artifactPlace
	for _, p := range projects {
		err := r.inFolder(ctx, p, func(f *workspace.Folder) error {
			slugs, err := artifactSlugs(ctx, f)
			for slug, updated := range slugs {
				all = append(all, artifactPlace{p, slug, updated})
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b artifactPlace) int {
		return cmp.Or(b.updated.Compare(a.updated), cmp.Compare(a.project.Name, b.project.Name), cmp.Compare(a.slug, b.slug))
	})
	return all, nil
}

// named are the projects that a request means.
func (s artifactsService) named(ctx context.Context, q *antonv1.ListArtifactsRequest) ([]Project, error) {
	switch {
	case q.ProjectPath != "" || q.Project == everyProject:
		list, err := s.room.List(ctx)
		if err == nil && q.ProjectPath != "" {
			list = slices.DeleteFunc(list, func(p Project) bool { return p.Path != filepath.Clean(q.ProjectPath) })
		}
		return list, err
	case q.Project != "":
		p, err := s.room.resolveNamed(ctx, q.Project)
		return []Project{p}, err
	}
	p, err := s.room.Active(ctx)
	return []Project{p}, err
}

func (s artifactsService) GetArtifact(ctx context.Context, q *antonv1.GetArtifactRequest) (*antonv1.Artifact, error) {
	list, err := s.named(ctx, &antonv1.ListArtifactsRequest{Project: q.Project})
	if err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, fault.BadField("value_error", "An artifact is in one project", "project")
	}
	var a *artifact
	err = s.room.inFolder(ctx, list[0], func(f *workspace.Folder) (err error) {
		a, err = readArtifact(ctx, f, q.Slug)
		return err
	})
	if err != nil {
		return nil, err
	}
	if a == nil {
		return nil, fault.Missing("ARTIFACT_NOT_FOUND", "Artifact not found")
	}
	v := a.card(list[0], s.room.opt.Now())
	a.detail(v, math.MaxInt, math.MaxInt)
	return v, nil
}

// What a list shows of one artifact.
const (
	filesListed = 50
	fromListed  = 5
)

// detail adds to a card what an artifact consists of and where it comes from.
func (a *artifact) detail(v *antonv1.Artifact, files, from int) {
	for _, e := range a.files[:min(files, len(a.files))] {
		v.Files = append(v.Files, &antonv1.ArtifactFile{Path: e.Path, Bytes: float64(e.Size), ModifiedAt: iso(e.Modified)})
	}
	for _, p := range lastOf(a.meta.Provenance, from) {
		c := &antonv1.ArtifactProvenance{Conversation: p.Conversation, Title: p.Title}
		for _, t := range lastOf(p.Turns, from) {
			touched := t.FilesTouched[:min(files, len(t.FilesTouched))]
			c.Turns = append(c.Turns, &antonv1.ArtifactTurn{Index: int32(t.Index), Timestamp: t.Timestamp, Summary: t.Summary, FilesTouched: touched})
		}
		v.Provenance = append(v.Provenance, c)
	}
}

// lastOf are the last n.
func lastOf[T any](list []T, n int) []T { return list[max(len(list)-n, 0):] }

// inFolder runs fn on a project's folder; one that is gone has nothing in it.
func (r *Room) inFolder(ctx context.Context, p Project, fn func(*workspace.Folder) error) error {
	f, err := r.openFolder(ctx, p.ID)
	if isGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(fn(f), f.Close())
}

// artifactSlugs are the folders that may be artifacts, with the time that orders them.
func artifactSlugs(ctx context.Context, f *workspace.Folder) (map[string]time.Time, error) {
	slugs := map[string]time.Time{}
	entries, _, err := f.List(ctx, workspace.ListOptions{Under: artifactsDir, Max: artifactFolders, Skip: func(name string) bool {
		below := strings.TrimPrefix(name, artifactsDir+"/")
		return strings.Contains(below, "/") && path.Base(below) != metadataFile || strings.Count(below, "/") > 1
	}})
	if absentFolder(err) {
		return slugs, nil
	}
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		slug, file, nested := strings.Cut(strings.TrimPrefix(e.Path, artifactsDir+"/"), "/")
		switch {
		case strings.HasPrefix(slug, "."):
		case nested && file == metadataFile && !e.IsDir:
			slugs[slug] = e.Modified // comes after the folder
		case !nested && e.IsDir:
			slugs[slug] = e.Modified
		}
	}
	return slugs, nil
}

// newest orders slugs by their time, newest first.
func newest(slugs map[string]time.Time) []string {
	return slices.SortedFunc(maps.Keys(slugs), func(a, b string) int {
		return cmp.Or(slugs[b].Compare(slugs[a]), cmp.Compare(a, b))
	})
}

// absentFolder says that a folder is not there, or is none that may be looked into.
func absentFolder(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, workspace.ErrPath) || errors.Is(err, workspace.ErrSpecial)
}

// readArtifact reads one; nil: there is none of that name. Metadata that cannot
// be read counts as none.
func readArtifact(ctx context.Context, f *workspace.Folder, slug string) (*artifact, error) {
	if slug == "" || strings.ContainsAny(slug, `/\`) || strings.HasPrefix(slug, ".") {
		return nil, nil
	}
	dir := path.Join(artifactsDir, slug)
	entries, _, err := f.List(ctx, workspace.ListOptions{Under: dir, Max: artifactFiles, Skip: isBulky})
	if absentFolder(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a := &artifact{slug: slug}
	var described time.Time
	for _, e := range entries {
		e.Path = strings.TrimPrefix(e.Path, dir+"/")
		switch {
		case e.Path == metadataFile:
			described = e.Modified
		case !e.IsDir && !isSidecar(e.Path):
			a.files = append(a.files, e)
			if e.Modified.After(a.updated) {
				a.updated = e.Modified
			}
		}
	}
	if described.IsZero() && len(a.files) == 0 {
		return nil, nil // an empty folder
	}
	if !described.IsZero() {
		a.updated = described
	}
	if a.meta, _, err = readMetadata(f, slug); err != nil {
		return nil, err
	}
	return a, nil
}

// isSidecar says that a file tells about an artifact instead of being of it.
func isSidecar(name string) bool {
	return name == metadataFile || name == brokenFile || name == publishedFile
}

// card shows an artifact.
func (a *artifact) card(p Project, now time.Time) *antonv1.Artifact {
	m := a.meta
	folder := path.Join(p.Path, artifactsDir, a.slug)
	v := &antonv1.Artifact{Id: m.ID, Slug: a.slug, Title: cmp.Or(strings.TrimSpace(m.Name), a.slug), Description: m.Description,
		Type: m.Type, Updated: "updated " + ago(now.Sub(a.updated)), Live: now.Sub(a.updated) < liveFor, Bg: background(a.slug),
		FileCount: int32(len(a.files)), Folder: folder, Path: folder, Project: p.Name, UpdatedAt: iso(a.updated),
		CreatedAt: cmp.Or(m.CreatedAt, iso(a.updated))}
	if v.Id == "" {
		v.Id = derivedID(p.ID, a.slug)
	}
	if primary := a.primary(); primary != "" {
		v.Primary, v.Path = &primary, path.Join(folder, primary)
		v.Ext = strings.ToLower(strings.TrimPrefix(path.Ext(primary), "."))
	}
	if kinds[v.Type] == "" {
		v.Type = typeOf(v.Ext, len(a.files))
	}
	if v.Kind = kinds[v.Type]; v.Type == typeMixed && len(a.files) == 1 {
		v.Kind = "File"
	}
	if m.URL != "" {
		v.PublishedUrl = &m.URL
	}
	if m.Port > 0 {
		port := int32(m.Port)
		v.Port = &port
	}
	for _, d := range m.Datasources {
		v.Datasources = append(v.Datasources, &antonv1.ArtifactDatasource{Engine: d.Engine, Name: d.Name})
	}
	for _, e := range a.files {
		v.Bytes += float64(e.Size)
	}
	return v
}

const readme = "README.md" // tells about the others

// primary is the file that stands for the artifact; "" if there is none.
func (a *artifact) primary() string {
	var page, newest *workspace.Entry
	for i := range a.files {
		e := &a.files[i]
		if e.Path == a.meta.Primary {
			return e.Path
		}
		if e.Path == "index.html" {
			page = e
		}
		if strings.EqualFold(path.Ext(e.Path), ".html") && (page == nil || page.Path != "index.html" && e.Modified.After(page.Modified)) {
			page = e
		}
		if newest == nil || newest.Path == readme || e.Path != readme && e.Modified.After(newest.Modified) {
			newest = e
		}
	}
	switch {
	case page != nil:
		return page.Path
	case newest != nil:
		return newest.Path
	}
	return ""
}

const typeMixed = "mixed"

// kinds names the types for people.
var kinds = map[string]string{
	"html-app": "Dashboard", "document": "Document", "dataset": "Data", "image": "Image", typeMixed: "Bundle",
	"fullstack-stateless-app": "App", "fullstack-stateful-app": "App",
}

var typeByExtension = map[string]string{
	"html": "html-app", "htm": "html-app",
	"md": "document", "txt": "document", "pdf": "document", "docx": "document", "pptx": "document",
	"csv": "dataset", "tsv": "dataset", "json": "dataset", "jsonl": "dataset", "xlsx": "dataset", "parquet": "dataset",
	"png": "image", "jpg": "image", "jpeg": "image", "gif": "image", "webp": "image", "svg": "image",
}

// typeOf guesses the type of an artifact that does not say it.
func typeOf(ext string, files int) string {
	if t := typeByExtension[ext]; t != "" && (files == 1 || t == "html-app") {
		return t
	}
	return typeMixed
}

// derivedID stands for an id that metadata lacks; it stays the same.
func derivedID(projectID, slug string) string {
	sum := sha256.Sum256([]byte(projectID + "\x00" + slug))
	return hex.EncodeToString(sum[:4])
}

// background is a quiet colour of the artifact's own.
func background(slug string) string {
	h := fnv.New32a()
	h.Write([]byte(slug)) // never fails
	hue := h.Sum32() % 360
	return fmt.Sprintf("linear-gradient(135deg, hsl(%d, 62%%, 88%%), hsl(%d, 58%%, 78%%))", hue, (hue+40)%360)
}

// ago says how long something is past.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", int(d.Minutes()))
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh ago", int(d.Hours()))
	}
	return fmt.Sprintf("%dd ago", int(d.Hours()/24))
}

func iso(t time.Time) string { return t.UTC().Format(time.RFC3339) }
