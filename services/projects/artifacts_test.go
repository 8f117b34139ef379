package projects

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent"
	"anthill/services/internal/workspace"
)

func (h *house) artifacts(q *antonv1.ListArtifactsRequest) []*antonv1.Artifact {
	h.t.Helper()
	l, err := h.made.ListArtifacts(h.t.Context(), q)
	if err != nil {
		h.t.Fatal(err)
	}
	return l.Artifacts
}

func (h *house) artifact(slug string) *antonv1.Artifact {
	h.t.Helper()
	a, err := h.made.GetArtifact(h.t.Context(), &antonv1.GetArtifactRequest{Slug: slug})
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

// age sets the time of a file to so long ago.
func (h *house) age(name string, d time.Duration) {
	h.t.Helper()
	at := time.Now().Add(-d)
	if err := os.Chtimes(filepath.Join(h.dir, name), at, at); err != nil {
		h.t.Fatal(err)
	}
}

func slugs(list []*antonv1.Artifact) (all []string) {
	for _, a := range list {
		all = append(all, a.Slug)
	}
	return all
}

func TestListArtifacts(t *testing.T) {
	h := newHouse(t)
	const at = "general/.anton/artifacts/"
	h.put(at+"sales/metadata.json", `{"schemaVersion":1,"id":"0a1b2c3d","slug":"x","name":"Sales 2026","description":"All of it","type":"html-app",`+
		`"primary":"page.html","port":8080,"createdAt":"2026-01-02T03:04:05Z","datasources":[{"engine":"postgres","name":"main"}],`+
		`"provenance":[{"conversation":"c1","title":"T","turns":[{"index":2,"timestamp":"2026-01-02T03:04:05Z","summary":"s","files_touched":["page.html"]}]}],"own":{"a":1}}`)
	h.put(at+"sales/page.html", "<p>")
	h.put(at+"sales/index.html", "<p>")
	h.put(at+"sales/assets/a.js", "12345")
	h.put(at+"sales/.published.json", `{"index.html":{"url":"https://x/index"},"page.html":{"url":"https://x/page"}}`)
	h.age(at+"sales/metadata.json", 4*time.Minute+10*time.Second)
	h.put(at+"by hand/report.csv", "a,b")
	h.age(at+"by hand/report.csv", 2*time.Hour+time.Minute)
	h.put(at+"broken/metadata.json", `{"name": "half`)
	h.put(at+"broken/chart.png", "x")
	h.age(at+"broken/metadata.json", 50*time.Hour)
	h.put(at+"odd/metadata.json", "\ufeff"+`{"name":7,"description":[],"type":"virus","primary":"../../../secret","id":"nothex","port":"x","datasources":7,"provenance":[7],"files":{}}`)
	h.put(at+"odd/a.txt", "x")
	h.put(at+"odd/README.md", "x")
	h.age(at+"odd/metadata.json", 99*time.Hour)
	h.age(at+"odd/a.txt", 99*time.Hour)
	h.mkdir(at + "empty")
	h.put(at+".hidden/metadata.json", `{}`)
	h.put(at+"loose.txt", "x")
	h.put("general/secret", "x")
	list := h.artifacts(&antonv1.ListArtifactsRequest{})
	if got := slugs(list); !slices.Equal(got, []string{"sales", "by hand", "broken", "odd"}) {
		t.Fatalf("%q", got)
	}
	dir := filepath.Join(h.dir, at)
	a := list[0]
	if a.Id != "0a1b2c3d" || a.Title != "Sales 2026" || a.Description != "All of it" || a.Type != "html-app" || a.Kind != "Dashboard" || a.Ext != "html" ||
		a.Updated != "updated 4m ago" || !a.Live || a.FileCount != 3 || a.Folder != dir+"/sales" || a.Path != dir+"/sales/page.html" ||
		a.GetPrimary() != "page.html" || a.GetPublishedUrl() != "https://x/page" || a.Project != "general" || a.GetPort() != 8080 || a.Bytes != 11 ||
		a.CreatedAt != "2026-01-02T03:04:05Z" || len(a.Datasources) != 1 || !regexp.MustCompile(`^linear-gradient\(.*\)$`).MatchString(a.Bg) ||
		len(a.Files) != 3 || len(a.Provenance) != 1 {
		t.Errorf("%v", a)
	}
	a = list[1]
	if len(a.Id) != 8 || a.Title != "by hand" || a.Type != "dataset" || a.Kind != "Data" || a.Updated != "updated 2h ago" || a.Live || a.GetPrimary() != "report.csv" ||
		a.PublishedUrl != nil || a.Port != nil {
		t.Errorf("%v", a)
	}
	if a = list[2]; a.Title != "broken" || a.Kind != "Image" || a.Updated != "updated 2d ago" {
		t.Errorf("%v", a)
	}
	if a = list[3]; a.Title != "odd" || a.Type != "mixed" || a.Kind != "Bundle" || a.GetPrimary() != "a.txt" || a.Path != dir+"/odd/a.txt" || a.Id == "nothex" || a.Datasources != nil {
		t.Errorf("%v", a)
	}
	full := h.artifact("sales")
	if len(full.Files) != 3 || full.Files[0].Path != "assets/a.js" || full.Files[0].Bytes != 5 || len(full.Provenance) != 1 ||
		full.Provenance[0].Turns[0].Index != 2 || full.Provenance[0].Turns[0].FilesTouched[0] != "page.html" {
		t.Errorf("%v", full)
	}
	for _, slug := range []string{"unknown", "../artifacts/sales", "..", ".hidden", "empty", "sales/", `sales\`, "loose.txt"} {
		_, err := h.made.GetArtifact(t.Context(), &antonv1.GetArtifactRequest{Slug: slug})
		wantFault(t, err, "ARTIFACT_NOT_FOUND", "Artifact not found")
	}
}

func TestListArtifactsOfProjects(t *testing.T) {
	h := newHouse(t)
	for i, name := range []string{"work", "other"} {
		h.create(name)
		for _, slug := range []string{"one", "copy"} {
			file := name + "/.anton/artifacts/" + slug + "/metadata.json"
			h.put(file, `{"id":"00000001","name":"`+name+`"}`)
			h.age(file, time.Duration(i)*time.Hour)
		}
	}
	if err := h.setActive("other"); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		q    *antonv1.ListArtifactsRequest
		want string
	}{
		{&antonv1.ListArtifactsRequest{}, "other/copy other/one"},
		{&antonv1.ListArtifactsRequest{Project: "work"}, "work/copy work/one"},
		{&antonv1.ListArtifactsRequest{Project: "all"}, "work/copy work/one other/copy other/one"},
		{&antonv1.ListArtifactsRequest{ProjectPath: filepath.Join(h.dir, "work")}, "work/copy work/one"},
		{&antonv1.ListArtifactsRequest{ProjectPath: filepath.Join(h.dir, "work") + "/"}, "work/copy work/one"},
		{&antonv1.ListArtifactsRequest{ProjectPath: h.dir}, ""},
		{&antonv1.ListArtifactsRequest{ProjectPath: "/etc"}, ""},
		{&antonv1.ListArtifactsRequest{ProjectPath: "work"}, ""},
		{&antonv1.ListArtifactsRequest{Project: "general"}, ""},
	} {
		var got []string
		ids := map[string]bool{}
		for _, a := range h.artifacts(tc.q) {
			got = append(got, a.Project+"/"+a.Slug)
			ids[a.Id] = true
		}
		if strings.Join(got, " ") != tc.want || len(ids) != len(got) {
			t.Errorf("%v: %q with %d ids, want %q", tc.q, got, len(ids), tc.want)
		}
	}
	_, err := h.made.ListArtifacts(t.Context(), &antonv1.ListArtifactsRequest{Project: "unknown"})
	wantFault(t, err, "PROJECT_NOT_FOUND", "Project not found")
	_, err = h.made.GetArtifact(t.Context(), &antonv1.GetArtifactRequest{Project: "all", Slug: "one"})
	wantFault(t, err, "INVALID_FIELD", "An artifact is in one project")
}

func TestListArtifactsStopsAtEighty(t *testing.T) {
	h := newHouse(t)
	for i := range artifactsListed + 5 {
		file := fmt.Sprintf("general/.anton/artifacts/a%03d/metadata.json", i)
		h.put(file, "{}")
		h.age(file, time.Duration(i)*time.Minute)
	}
	if got := slugs(h.artifacts(&antonv1.ListArtifactsRequest{})); len(got) != artifactsListed || got[0] != "a000" || got[79] != "a079" {
		t.Errorf("%q", got)
	}
}

// Links lead nowhere, and whatever else stands in the way does not break the list.
func TestListArtifactsOnlyOfTheirFolder(t *testing.T) {
	h := newHouse(t)
	outside := t.TempDir()
	for name, content := range map[string]string{"metadata.json": `{"name":"stolen"}`, "secret.html": "secret"} {
		if err := os.WriteFile(filepath.Join(outside, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const at = "general/.anton/artifacts/"
	h.put(at+"good/metadata.json", `{"name":"good"}`)
	h.put(at+"linked file/a.txt", "x")
	h.mkdir(at + "folder/metadata.json")
	h.put(at+"folder/a.txt", "x")
	h.put(at+"large/metadata.json", `{"name":"`+strings.Repeat("x", metadataMax)+`"}`)
	for to, from := range map[string]string{"linked": outside, "linked file/metadata.json": outside + "/metadata.json", "linked file/secret.html": outside + "/secret.html"} {
		if err := os.Symlink(from, filepath.Join(h.dir, at, to)); err != nil {
			t.Fatal(err)
		}
	}
	var titles []string
	for _, a := range h.artifacts(&antonv1.ListArtifactsRequest{}) {
		titles = append(titles, a.Title)
		if a.FileCount > 1 || strings.Contains(a.Path, "secret") {
			t.Errorf("%v", a)
		}
	}
	slices.Sort(titles)
	if !slices.Equal(titles, []string{"folder", "good", "large", "linked file"}) {
		t.Errorf("%q", titles)
	}
	h.remove("general/.anton/artifacts")
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(h.dir, "general/.anton/artifacts")); err != nil {
		t.Fatal(err)
	}
	if got := h.artifacts(&antonv1.ListArtifactsRequest{Project: "all"}); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

// run calls an artifact tool as a model does.
func (h *house) run(folder *workspace.Folder, name, input string) (map[string]any, error) {
	h.t.Helper()
	for _, tool := range h.room.ArtifactTools(folder) {
		if tool.Spec().Name != name {
			continue
		}
		text, err := tool.Run(h.t.Context(), json.RawMessage(input))
		if err != nil {
			return nil, err
		}
		var out map[string]any
		if err := json.Unmarshal([]byte(text), &out); err != nil {
			h.t.Fatal(err)
		}
		return out, nil
	}
	h.t.Fatalf("no tool %s", name)
	return nil, nil
}

func (h *house) folder(project string) *workspace.Folder {
	h.t.Helper()
	f, err := h.room.Folder(h.t.Context(), h.id(project))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		if err := f.Close(); err != nil {
			h.t.Error(err)
		}
	})
	return f
}

func TestArtifactTools(t *testing.T) {
	h := newHouse(t)
	f := h.folder("general")
	const good = `{"name":"Sales Report!","description":"d","type":"document","primary":"./report.md"}`
	for i, want := range []string{"sales-report", "sales-report-2"} {
		out, err := h.run(f, "create_artifact", good)
		if err != nil || out["slug"] != want || out["folder"] != ".anton/artifacts/"+want || out["absolute_path"] != filepath.Join(h.dir, "general/.anton/artifacts", want) {
			t.Errorf("%d: %v %v", i, out, err)
		}
	}
	for name, want := range map[string]string{"Über Maß": "über-maß", "😀": "artifact", "../x": "x", "CON": "con-x"} {
		out, err := h.run(f, "create_artifact", fmt.Sprintf(`{"name":%q,"description":"","type":"mixed"}`, name))
		if err != nil || out["slug"] != want {
			t.Errorf("%q: %v %v", name, out, err)
		}
	}
	for input, want := range map[string]string{
		`{"name":" ","description":"d","type":"document"}`:                                 "name must have",
		`{"name":"` + strings.Repeat("x", 121) + `","type":"document"}`:                    "name must have",
		`{"name":"x","type":"program"}`:                                                    `type "program" is none of html-app`,
		`{"name":"x","type":"document","primary":"../x"}`:                                  "primary must be a path inside",
		`{"name":"x","type":"document","description":"` + strings.Repeat("x", 2001) + `"}`: "description must not have more",
		`{"name":7}`: "the input is not as create_artifact needs it",
	} {
		if out, err := h.run(f, "create_artifact", input); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v %v", input, out, err)
		}
	}
	list, err := h.run(f, "list_artifacts", `{}`)
	if err != nil || len(list["artifacts"].([]any)) != 6 {
		t.Errorf("%v %v", list, err)
	}
	if _, err := h.run(f, "update_artifact", `{"slug":"sales-report","primary":"report.md"}`); err == nil || !strings.Contains(err.Error(), `has no file "report.md"`) {
		t.Errorf("%v", err)
	}
	h.put("general/.anton/artifacts/sales-report/report.md", "# R")
	h.put("general/.anton/artifacts/sales-report/README.md", "about")
	if a := h.artifact("sales-report"); a.Title != "Sales Report!" || a.Kind != "Document" || a.GetPrimary() != "report.md" || !a.Live || a.Updated != "updated just now" {
		t.Errorf("%v", a)
	}
	out, err := h.run(f, "update_artifact", `{"slug":"sales-report","primary":"README.md","port":4000,"datasources":[{"engine":"pg","name":"x"}]}`)
	if err != nil || out["primary"] != "README.md" || out["port"] != 4000.0 {
		t.Errorf("%v %v", out, err)
	}
	out, err = h.run(f, "open_artifact", `{"slug":"sales-report"}`)
	if err != nil || out["primary"] != "README.md" || len(out["files"].([]any)) != 2 || len(out["datasources"].([]any)) != 1 || out["name"] != "Sales Report!" {
		t.Errorf("%v %v", out, err)
	}
	for _, bad := range []string{`{"slug":"sales-report","port":0}`, `{"slug":"sales-report","port":70000}`} {
		if _, err := h.run(f, "update_artifact", bad); err == nil || !strings.Contains(err.Error(), "port must be") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	for _, slug := range []string{"none", "../../..", ".", ""} {
		for _, name := range []string{"open_artifact", "update_artifact"} {
			if _, err := h.run(f, name, fmt.Sprintf(`{"slug":%q}`, slug)); err == nil || !strings.Contains(err.Error(), "the newest are: ") || !strings.Contains(err.Error(), "sales-report") {
				t.Errorf("%s %q: %v", name, slug, err)
			}
		}
	}
}

func TestArtifactToolSpecs(t *testing.T) {
	h := newHouse(t)
	var names []string
	for _, tool := range h.room.ArtifactTools(h.folder("general")) {
		var _ agent.Tool = tool
		spec := tool.Spec()
		names = append(names, spec.Name)
		var schema map[string]any
		if err := json.Unmarshal(spec.Schema, &schema); err != nil || schema["type"] != "object" || spec.Description == "" {
			t.Errorf("%s: %v %s", spec.Name, err, spec.Schema)
		}
	}
	if !slices.Equal(names, []string{"create_artifact", "list_artifacts", "open_artifact", "update_artifact"}) {
		t.Errorf("%q", names)
	}
}

func (h *house) metadata(slug string) (m map[string]any) {
	h.t.Helper()
	data, err := os.ReadFile(filepath.Join(h.dir, "general/.anton/artifacts", slug, "metadata.json"))
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return m
}

// track runs act as a turn and returns what it touched.
func (h *house) track(f *workspace.Folder, turn ArtifactTurn, act func()) string {
	h.t.Helper()
	finish, err := h.room.TrackArtifacts(h.t.Context(), f)
	if err != nil {
		h.t.Fatal(err)
	}
	act()
	touched, err := finish(h.t.Context(), turn)
	if err != nil {
		h.t.Fatal(err)
	}
	return fmt.Sprint(touched)
}

func TestTrackArtifacts(t *testing.T) {
	h := newHouse(t)
	f := h.folder("general")
	const at = "general/.anton/artifacts/"
	first := ArtifactTurn{Conversation: "c1", Title: "Sales", Index: 0, Summary: "make it " + strings.Repeat("x", 400)}
	got := h.track(f, first, func() {
		if _, err := h.run(f, "create_artifact", `{"name":"Sales","description":"d","type":"html-app"}`); err != nil {
			t.Fatal(err)
		}
		h.put(at+"sales/index.html", "<p>")
		h.put(at+"sales/node_modules/x/y.js", "x")
		h.put(at+"bare/data.csv", "a")
		h.put("general/notes.md", "not an artifact")
	})
	if got != "[{bare true [data.csv]} {sales true [index.html]}]" {
		t.Errorf("%s", got)
	}
	if m := h.metadata("bare"); m["type"] != "dataset" || m["name"] != "bare" || !hexID(m["id"].(string)) || m["slug"] != "bare" || m["port"] != nil || m["schemaVersion"] != 1.0 {
		t.Errorf("%v", m)
	}
	if got := h.track(f, ArtifactTurn{Conversation: "c1", Index: 1}, func() {}); got != "[]" {
		t.Errorf("nothing: %s", got)
	}
	created := h.metadata("sales")["createdAt"]
	h.put(at+"sales/metadata.json", strings.Replace(string(readAll(t, filepath.Join(h.dir, at, "sales/metadata.json"))), "{", `{"mine":[1,2.50],`, 1))
	got = h.track(f, ArtifactTurn{Conversation: "c1", Title: "Renamed", Index: 2, Summary: "more"}, func() {
		h.put(at+"sales/index.html", "<p>longer")
		h.put(at+"sales/style.css", "p{}")
		h.remove(at + "bare")
	})
	if got != "[{sales false [index.html style.css]}]" {
		t.Errorf("%s", got)
	}
	got = h.track(f, ArtifactTurn{Conversation: "c2", Title: "Other", Index: 0}, func() { h.remove(at + "sales/style.css") })
	if got != "[{sales false [style.css]}]" {
		t.Errorf("%s", got)
	}
	a := h.artifact("sales")
	if a.CreatedAt != created || len(a.Provenance) != 2 || a.Provenance[0].Conversation != "c1" || a.Provenance[0].Title != "Renamed" || len(a.Provenance[0].Turns) != 2 ||
		a.Provenance[0].Turns[1].Index != 2 || a.Provenance[0].Turns[1].Summary != "more" || !slices.Equal(a.Provenance[0].Turns[1].FilesTouched, []string{"index.html", "style.css"}) ||
		a.Provenance[1].Title != "Other" || len([]rune(a.Provenance[0].Turns[0].Summary)) != summaryMax+1 {
		t.Errorf("%v", a.Provenance)
	}
	m := h.metadata("sales")
	if fmt.Sprint(m["mine"]) != "[1 2.5]" || len(m["files"].([]any)) != 1 {
		t.Errorf("%v", m)
	}
	if _, err := time.Parse(time.RFC3339, m["updatedAt"].(string)); err != nil {
		t.Error(err)
	}
	// The same turn again, as after a retry, counts once.
	h.track(f, ArtifactTurn{Conversation: "c2", Title: "Other", Index: 0}, func() { h.put(at+"sales/b.txt", "x") })
	if a := h.artifact("sales"); len(a.Provenance[1].Turns) != 1 || a.Provenance[1].Turns[0].FilesTouched[0] != "b.txt" {
		t.Errorf("%v", a.Provenance)
	}
}

func readAll(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Metadata that cannot be read is kept for whoever wrote it.
func TestTrackArtifactsKeepsBrokenMetadata(t *testing.T) {
	h := newHouse(t)
	f := h.folder("general")
	const at = "general/.anton/artifacts/x/"
	h.put(at+"metadata.json", `{"name":"half`)
	h.track(f, ArtifactTurn{Conversation: "c"}, func() { h.put(at+"a.txt", "x") })
	if got := string(readAll(t, filepath.Join(h.dir, at, "metadata.json.broken"))); got != `{"name":"half` {
		t.Errorf("%q", got)
	}
	if a := h.artifact("x"); a.Title != "x" || len(a.Provenance) != 1 || a.FileCount != 1 {
		t.Errorf("%v", a)
	}
}

func TestProvenanceStaysSmall(t *testing.T) {
	m := metadata{}
	for i := range turnsRecorded + 50 {
		m.credit(ArtifactTurn{Conversation: fmt.Sprint("c", i/60), Index: i}, "now", slices.Repeat([]string{"f"}, 500))
	}
	turns := 0
	for _, p := range m.Provenance {
		turns += len(p.Turns)
	}
	if turns != turnsRecorded || len(m.Provenance[0].Turns[0].FilesTouched) != touchedOneTurn || m.Provenance[0].Turns[0].Index != 50 {
		t.Errorf("%d turns, the first is %d", turns, m.Provenance[0].Turns[0].Index)
	}
}
