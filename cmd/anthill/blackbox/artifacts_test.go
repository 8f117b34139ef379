package blackbox

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	antonv1 "anthill/gen/anton/v1"
)

// plant writes a file of an artifact by hand, this long ago.
func (s *server) plant(path, content string, ago time.Duration) {
	s.t.Helper()
	name := filepath.Join(s.projects(), path)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		s.t.Fatal(err)
	}
	at := time.Now().Add(-ago)
	if err := os.Chtimes(name, at, at); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) artifacts(query string) []object {
	s.t.Helper()
	a := s.get("/v1/artifacts" + query)
	if a.status != http.StatusOK {
		s.t.Fatalf("%v", a)
	}
	return decode[[]object](s.t, a.body)
}

func names(list []object, key string) (all []string) {
	for _, a := range list {
		all = append(all, fmt.Sprint(a[key]))
	}
	return all
}

// Artifacts made by hand are listed as cards, newest first, in a bare array.
func TestArtifacts(t *testing.T) {
	t.Parallel()
	s := start(t)
	if a := s.get("/v1/artifacts"); a.status != 200 || string(a.body) != "[]" {
		t.Errorf("none: %v", a)
	}
	const at = "general/.anton/artifacts/"
	s.plant(at+"sales/index.html", "<p>hi", time.Hour)
	s.plant(at+"sales/app.js", "1", time.Hour)
	s.plant(at+"sales/metadata.json", `{"schemaVersion":1,"id":"0a1b2c3d","slug":"sales","name":"Sales","description":"d","type":"html-app","primary":null,"port":null,
		"provenance":[{"conversation":"c","title":"t","turns":[{"index":0,"timestamp":"2026-01-01T00:00:00Z","summary":"s","files_touched":["index.html"]}]}]}`, 4*time.Minute+5*time.Second)
	s.plant(at+"data/metadata.json", `{"name":"Data","type":"dataset"}`, 6*time.Minute+5*time.Second)
	s.plant(at+"broken/metadata.json", `{"name":`, 3*time.Hour+time.Minute)
	s.plant(at+"broken/a.png", "x", 3*time.Hour)
	s.plant(at+"broken/.published.json", `{"a.png":{"url":"https://example.com/a"}}`, 3*time.Hour)
	s.plant("general/secret.txt", "x", 0)
	list := s.artifacts("")
	if got := names(list, "slug"); !slices.Equal(got, []string{"sales", "data", "broken"}) {
		t.Fatalf("%q", got)
	}
	folder := filepath.Join(s.projects(), at)
	for key, want := range (object{"id": "0a1b2c3d", "title": "Sales", "description": "d", "type": "html-app", "kind": "Dashboard", "ext": "html", "updated": "updated 4m ago",
		"live": true, "fileCount": 2.0, "folder": folder + "/sales", "path": folder + "/sales/index.html", "primary": "index.html", "publishedUrl": nil, "project": "general"}) {
		if got, ok := list[0][key]; !ok || got != want {
			t.Errorf("%s: %v, want %v", key, got, want)
		}
	}
	if bg, ok := list[0]["bg"].(string); !ok || bg == "" {
		t.Errorf("%v", list[0])
	}
	if a := list[1]; a["live"] != false || a["primary"] != nil || a["path"] != folder+"/data" || a["fileCount"] != 0.0 || a["kind"] != "Data" {
		t.Errorf("%v", a)
	}
	if a := list[2]; a["title"] != "broken" || a["updated"] != "updated 3h ago" || a["publishedUrl"] != "https://example.com/a" || a["kind"] != "Image" {
		t.Errorf("%v", a)
	}
	rpc := antonv1.NewArtifactsServiceClient(s.dial())
	l, err := rpc.ListArtifacts(s.call(), &antonv1.ListArtifactsRequest{})
	if err != nil || len(l.Artifacts) != 3 {
		t.Fatalf("%v %v", l, err)
	}
	for i, g := range l.Artifacts {
		if r := list[i]; g.Slug != r["slug"] || g.Id != r["id"] || g.Path != r["path"] || g.Updated != r["updated"] || float64(g.FileCount) != r["fileCount"] {
			t.Errorf("gRPC %v\nREST %v", g, r)
		}
	}
	one, err := rpc.GetArtifact(s.call(), &antonv1.GetArtifactRequest{Slug: "sales"})
	if err != nil || len(one.Files) != 2 || len(one.Provenance) != 1 || one.Provenance[0].Turns[0].FilesTouched[0] != "index.html" {
		t.Errorf("%v %v", one, err)
	}
	for _, slug := range []string{"none", "..", "../../..", "sales/..", ".hidden"} {
		if _, err := rpc.GetArtifact(s.call(), &antonv1.GetArtifactRequest{Slug: slug}); status.Code(err) != codes.NotFound {
			t.Errorf("%q: %v", slug, err)
		}
	}
}

// The page's default is the active project; the desktop client names one by its
// folder; "all" is all.
func TestArtifactsOfProjects(t *testing.T) {
	t.Parallel()
	s := start(t)
	work := str(s.post("/v1/projects", object{"name": "work"}).ok(), "path")
	s.plant("general/.anton/artifacts/g/metadata.json", `{}`, time.Hour)
	s.plant("work/.anton/artifacts/w/metadata.json", `{}`, time.Minute)
	s.plant("by hand/.anton/artifacts/h/metadata.json", `{}`, 2*time.Hour)
	want := map[string]string{"": "g", "?project=work": "w", "?project=all": "w g h", "?project_path=" + work: "w", "?project_path=" + work + "%2F": "w",
		"?project_path=" + s.projects(): "", "?project_path=/etc": "", "?project_path=..": "", "?project_path=" + work + "/../general": "g"}
	for query, slugs := range want {
		if got := strings.Join(names(s.artifacts(query), "slug"), " "); got != slugs {
			t.Errorf("%s: %q, want %q", query, got, slugs)
		}
	}
	s.put("/v1/projects/active", object{"name": "work"}).ok()
	if got := names(s.artifacts(""), "slug"); !slices.Equal(got, []string{"w"}) {
		t.Errorf("another active project: %q", got)
	}
	s.get("/v1/artifacts?project=unknown").refused(404, "Project not found")
	s.get("/v1/artifacts?project=..%2Fgeneral").refused(404, "Project not found")
	s.delete("/v1/projects/work").ok()
	if got := names(s.artifacts("?project=all"), "slug"); !slices.Equal(got, []string{"g", "h"}) {
		t.Errorf("after the deletion: %q", got)
	}
}

// Links are not followed, however they are laid.
func TestArtifactsOnlyOfTheirFolder(t *testing.T) {
	t.Parallel()
	s := start(t)
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "metadata.json"), []byte(`{"name":"CANARY-7"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	const at = "general/.anton/artifacts/"
	s.plant(at+"good/a.txt", "x", 0)
	s.plant(at+"file/a.txt", "x", 0)
	for name, to := range map[string]string{"linked": outside, "file/metadata.json": outside + "/metadata.json", "up": "../../..", "loop": "loop"} {
		if err := os.Symlink(to, filepath.Join(s.projects(), at, name)); err != nil {
			t.Fatal(err)
		}
	}
	a := s.get("/v1/artifacts?project=all")
	got := names(decode[[]object](t, a.body), "slug")
	slices.Sort(got)
	if !slices.Equal(got, []string{"file", "good"}) || strings.Contains(string(a.body), "CANARY") {
		t.Errorf("%v", a)
	}
}
