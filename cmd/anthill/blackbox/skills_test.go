package blackbox

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io/fs"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	antonv1 "anthill/gen/anton/v1"
)

const skillText = "---\nname: sea-charts\ndescription: Reads charts of the sea.\n---\n\nLook at references/marks.md first.\n"

func (e *everyRoute) skillRoutes(t *testing.T) {
	i, err := e.skills.InstallSkill(e.s.call(), &antonv1.InstallSkillRequest{Label: "by-grpc", Name: "By gRPC", Declarative: "Do."})
	alike(e, e.call("POST /v1/skills", object{"label": "by-rest", "name": "By REST", "declarative": "Do."}), i, err)
	e.rest["POST /v1/skills/upload"] = true
	body, typ := form(t, "SKILL.md", skillText)
	a := e.s.do(http.MethodPost, "/v1/skills/upload", body, headers("Content-Type", typ))
	up, err := uploadSkill(e.s, &antonv1.SkillFileHeader{Path: "SKILL.md"}, skillText)
	alike(e, a, up, err)
	l, err := e.skills.ListSkills(e.s.call(), &antonv1.ListSkillsRequest{})
	same(e, e.call("GET /v1/skills", nil), l, err)
	d, err := e.skills.DeleteSkill(e.s.call(), &antonv1.DeleteSkillRequest{Label: "by-grpc"})
	alike(e, e.call("DELETE /v1/skills/{label}", nil, "by-rest"), d, err)
	e.s.delete("/v1/skills/sea-charts").ok()
	e.rpc["/anton.v1.SkillsService/UploadSkill"] = true // on a connection of its own
}

func uploadSkill(s *server, h *antonv1.SkillFileHeader, content string) (*antonv1.InstallSkillResponse, error) {
	st, err := antonv1.NewSkillsServiceClient(s.dial()).UploadSkill(s.call())
	if err != nil {
		return nil, err
	}
	for _, m := range []*antonv1.UploadSkillRequest{{Part: &antonv1.UploadSkillRequest_Header{Header: h}}, {Part: &antonv1.UploadSkillRequest_Data{Data: []byte(content)}}} {
		if st.Send(m) != nil {
			break // the answer says why
		}
	}
	return st.CloseAndRecv()
}

type skillList struct {
	Skills []struct {
		Label, Name, Description, WhenToUse, Declarative, CreatedAt, Provenance, Scope, Project, Path, Problem string
		Files                                                                                                  []string
		Stats                                                                                                  struct{ TotalRecalls int }
		Stages                                                                                                 struct{ Stage1, Stage2 bool }
	}
}

func (s *server) skills() skillList {
	s.t.Helper()
	a := s.get("/v1/skills")
	a.ok()
	return decode[skillList](s.t, a.body)
}

// form of a folder: names with their folders, as browsers send them.
func folderForm(t *testing.T, fields map[string]string, pairs ...string) (body []byte, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for k, v := range fields {
		if err := w.WriteField(k, v); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < len(pairs); i += 2 {
		h := textproto.MIMEHeader{}
		h.Set("Content-Disposition", fmt.Sprintf(`form-data; name="files"; filename="%s"`, pairs[i]))
		part, err := w.CreatePart(h)
		if err == nil {
			_, err = part.Write([]byte(pairs[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), w.FormDataContentType()
}

func (s *server) uploadSkill(fields map[string]string, pairs ...string) answer {
	s.t.Helper()
	body, typ := folderForm(s.t, fields, pairs...)
	return s.do(http.MethodPost, "/v1/skills/upload", body, headers("Content-Type", typ))
}

// archived is an archive of names and contents in turn; edit may spoil a header.
func archived(t *testing.T, edit func(*zip.FileHeader), pairs ...string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		h := &zip.FileHeader{Name: pairs[i], Method: zip.Deflate}
		if edit != nil {
			edit(h)
		}
		f, err := z.CreateHeader(h)
		if err == nil {
			_, err = f.Write([]byte(pairs[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Done when: a scripted turn loads a skill. It comes by each of the ways there are.
func TestSkills(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	o := s.post("/v1/skills", object{"label": "CSV Report!", "name": "CSV: report", "description": "Turns tables into \"reports\".", "whenToUse": "a table comes", "declarative": "# How\n\nRead it."}).ok()
	if str(o, "label") != "csv_report" || str(o, "path") != filepath.Join(s.home, "skills", "csv_report", "SKILL.md") {
		t.Errorf("%v", o)
	}
	s.uploadSkill(map[string]string{"project": "general"}, "sea-charts/SKILL.md", skillText, "sea-charts/references/marks.md", "Red is port.", "sea-charts/.DS_Store", "x").ok()
	archive := archived(t, nil, "__MACOSX/x", "x", "SKILL.md", strings.Replace(skillText, "sea-charts", "knots", 1), "scripts/tie.py", "print(1)")
	s.uploadSkill(map[string]string{"label": "knots"}, "knots.zip", archive).ok()
	s.post("/v1/skills", object{"manifest": strings.Replace(skillText, "sea-charts", "tides", 1)}).ok()
	handWritten(t, filepath.Join(s.home, "skills", "by-hand", "SKILL.md"), strings.Replace(skillText, "sea-charts", "by-hand", 1))
	handWritten(t, filepath.Join(s.home, "skills", "broken", "SKILL.md"), "---\nname: broken\n---\nCANARY")
	got := map[string]string{}
	for _, k := range s.skills().Skills {
		got[k.Label] = fmt.Sprintf("%s %s %s %q %v", k.Scope, k.Provenance, k.Name, k.Files, k.Problem != "")
	}
	if want := map[string]string{"csv_report": `Global manifest CSV: report [] false`, "sea-charts": `Project upload sea-charts ["references/marks.md"] false`,
		"knots": `Global upload knots ["scripts/tie.py"] false`, "tides": "Global manifest tides [] false", "by-hand": "Global hand by-hand [] false",
		"broken": "Global hand broken [] true"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v", got)
	}
	if k := s.skills().Skills; k[0].Label != "sea-charts" || k[0].Declarative != "Look at references/marks.md first." {
		t.Errorf("%+v", k[0])
	}

	st := s.ask(object{"input": "What is red?", "conversation": "c"})
	c := p.next()
	sys := c.system()
	if !strings.Contains(sys, "- csv_report: Turns tables into \"reports\". Use it when: a table comes\n") || !strings.Contains(sys, "- sea-charts: Reads charts") ||
		strings.Contains(sys, "CANARY") || strings.Contains(sys, "- broken") || strings.Contains(sys, "Look at references") {
		t.Errorf("%s", sys)
	}
	c.tool(0, "call_s", "recall_skill", `{"label":"Sea Charts"}`).tool(1, "call_f", "recall_skill", `{"label":"sea-charts","file":"references/marks.md"}`).
		tool(2, "call_up", "recall_skill", `{"label":"sea-charts","file":"../../../../secret"}`).tool(3, "call_b", "recall_skill", `{"label":"broken"}`).
		tool(4, "call_p", "read_file", `{"path":".anton/skills/sea-charts/references/marks.md"}`).finish("tool_calls")
	c = p.next()
	r := c.results()
	if !strings.Contains(r["call_s"], "Look at references/marks.md first.") || !strings.Contains(r["call_s"], "- references/marks.md") || r["call_f"] != "Red is port." ||
		!strings.Contains(r["call_up"], "is not a path inside") || strings.Contains(r["call_b"], "CANARY") || r["call_p"] != "Red is port." {
		t.Errorf("%q", r)
	}
	c.say("Port.")
	if h := hits(t, st.turn().frames)["call_s"]; len(h) != 1 || str(h[0], "source") != "skill" || str(h[0], "id") != "sea-charts" {
		t.Errorf("%v", h)
	}
	s.stop()
	s.restart()
	if k := s.skills().Skills[0]; k.Stats.TotalRecalls != 1 {
		t.Errorf("%+v", k)
	}
	// An upload replaces all of a skill, a manifest only its SKILL.md.
	s.post("/v1/skills", object{"label": "sea-charts", "name": "Charts", "declarative": "New.", "project": "general"}).ok()
	if k := s.skills().Skills[0]; k.Declarative != "New." || len(k.Files) != 1 {
		t.Errorf("%+v", k)
	}
	s.uploadSkill(map[string]string{"project": "general"}, "SKILL.md", skillText, "new.md", "x").ok()
	if k := s.skills().Skills[0]; fmt.Sprint(k.Files) != "[new.md]" {
		t.Errorf("%+v", k)
	}
	// The project's goes first, then the global one of that label.
	s.uploadSkill(nil, "SKILL.md", skillText).ok()
	for range 2 {
		if d := s.delete("/v1/skills/sea-charts").ok(); str(d, "deleted") != "sea-charts" {
			t.Errorf("%v", d)
		}
	}
	s.delete("/v1/skills/sea-charts").refused(http.StatusNotFound, "Skill not found")
}

func TestSkillsRefuse(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.uploadSkill(nil, "SKILL.md", skillText, "a.md", "kept").ok()
	before := tree(t, filepath.Dir(s.home), filepath.Join(s.home, "store"))
	link := func(h *zip.FileHeader) {
		if h.Name != "SKILL.md" {
			h.SetMode(fs.ModeSymlink | 0o777)
		}
	}
	device := func(h *zip.FileHeader) {
		if h.Name != "SKILL.md" {
			h.SetMode(fs.ModeDevice | 0o666)
		}
	}
	bomb := strings.Repeat("\x00", 40<<20)
	many := []string{"SKILL.md", skillText}
	for i := range 1001 {
		many = append(many, fmt.Sprintf("f/%d", i), "")
	}
	for what, archive := range map[string]string{
		"slip": archived(t, nil, "SKILL.md", skillText, "../../evil.md", "x"), "absolute": archived(t, nil, "SKILL.md", skillText, "/tmp/evil.md", "x"),
		"drive": archived(t, nil, "SKILL.md", skillText, `C:\evil.md`, "x"), "backslash": archived(t, nil, "SKILL.md", skillText, `..\evil.md`, "x"),
		"link": archived(t, link, "SKILL.md", skillText, "evil", "/etc/passwd"), "device": archived(t, device, "SKILL.md", skillText, "evil", ""),
		"link, then below it": archived(t, link, "SKILL.md", skillText, "d", "/tmp", "d/x", "x"),
		"twice":               archived(t, nil, "SKILL.md", skillText, "a", "1", "a", "2"), "case": archived(t, nil, "SKILL.md", skillText, "Read.md", "1", "read.md", "2"),
		"case of folders": archived(t, nil, "SKILL.md", skillText, "Dir/a", "1", "dir/b", "2"), "file and folder": archived(t, nil, "SKILL.md", skillText, "a", "1", "a/b", "2"),
		"no manifest": archived(t, nil, "README.md", "x"), "broken manifest": archived(t, nil, "SKILL.md", "# x"), "bomb": archived(t, nil, "SKILL.md", skillText, "zeros", bomb),
		"many": archived(t, nil, many...), "no zip": "PK\x03\x04 nothing", "empty": "", "cut": archived(t, nil, "SKILL.md", skillText)[:80], "control": archived(t, nil, "SKILL.md", skillText, "a\x1bb", "x"),
		"not UTF-8": archived(t, func(h *zip.FileHeader) { h.NonUTF8 = true }, "SKILL.md", skillText, "a\xff", "x"), "deep": archived(t, nil, "SKILL.md", skillText, "a/a/a/a/a/a/a/a/a/a", "x"),
		"staging": archived(t, nil, "SKILL.md", skillText, ".anthill-new.part/x", "x"),
	} {
		s.uploadSkill(nil, "skill.zip", archive).unacceptable("zip: " + what)
		_, err := uploadSkill(s, &antonv1.SkillFileHeader{Path: "x.ZIP"}, archive[:min(len(archive), 1<<20)])
		if err == nil {
			t.Errorf("zip over gRPC: %s", what)
		}
	}
	for what, pairs := range map[string][]string{
		"slip": {"SKILL.md", skillText, "../evil.md", "x"}, "absolute": {"SKILL.md", skillText, "/evil.md", "x"}, "nothing": {}, "no manifest": {"a.md", "x"},
		"case": {"SKILL.md", skillText, "skill.MD", "x"}, "two folders": {"a/SKILL.md", skillText, "b/x", "x"}, "large": {"SKILL.md", skillText, "x", strings.Repeat("x", 17<<20)},
		"folder name": {"SKILL.md", skillText, "dir/", "x"},
	} {
		s.uploadSkill(nil, pairs...).unacceptable(what)
	}
	s.uploadSkill(map[string]string{"project": "none"}, "SKILL.md", skillText).unacceptable("project")
	s.uploadSkill(map[string]string{"scope": "x"}, "SKILL.md", skillText).unacceptable("scope")
	s.uploadSkill(map[string]string{"label": "!!!"}, "SKILL.md", skillText).unacceptable("label")
	for what, body := range map[string]object{
		"no name": {"label": "a", "declarative": "x"}, "no body": {"label": "a", "name": "A"}, "no label": {"name": "A", "declarative": "x"}, "label": {"label": "../..", "name": "A", "declarative": "x"},
		"long": {"label": "a", "name": "A", "declarative": strings.Repeat("x", 129<<10)}, "control": {"label": "a", "name": "A", "declarative": "x\x1b"},
		"long description": {"label": "a", "name": "A", "declarative": "x", "description": strings.Repeat("x", 1025)}, "manifest": {"manifest": "# no front matter"},
		"project": {"label": "a", "name": "A", "declarative": "x", "project": "none"}, "blank": {"label": "a", "name": " ", "declarative": "x"},
	} {
		s.post("/v1/skills", body).unacceptable(what)
	}
	for _, label := range []string{"none", "..%2f..%2fstore", "%2e%2e", ".anthill-new.part", "sea-charts%2fa.md", "SEA-CHARTS"} {
		s.delete("/v1/skills/" + label).unacceptable(label)
	}
	c := antonv1.NewSkillsServiceClient(s.dial())
	wantCode(t, "no label", second(c.DeleteSkill(s.call(), &antonv1.DeleteSkillRequest{})), codes.InvalidArgument)
	wantCode(t, "outside", second(c.DeleteSkill(s.call(), &antonv1.DeleteSkillRequest{Label: "../memory"})), codes.NotFound)
	wantCode(t, "nothing", second(c.InstallSkill(s.call(), &antonv1.InstallSkillRequest{})), codes.InvalidArgument)
	wantCode(t, "no path", second(uploadSkill(s, &antonv1.SkillFileHeader{}, "x")), codes.InvalidArgument)
	if after := tree(t, filepath.Dir(s.home), filepath.Join(s.home, "store")); after != before {
		t.Errorf("what was refused changed something:\n%s\nbefore:\n%s", after, before)
	}
}

// tree is every file below a folder with its content, but for one.
func tree(t *testing.T, root, but string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || strings.HasPrefix(path, but) || strings.Contains(path, "/search") {
			return err
		}
		var data []byte
		if d.Type().IsRegular() {
			data, err = os.ReadFile(path)
		}
		fmt.Fprintf(&b, "%s %q\n", path, clip(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
