package blackbox

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	antonv1 "anthill/gen/anton/v1"
)

// The twelve routes, each by REST and by gRPC.
func TestScratchpadRoutes(t *testing.T) {
	t.Parallel()
	s := start(t)
	pads := antonv1.NewScratchpadsServiceClient(s.dial())
	both := func(a answer, m proto.Message, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("gRPC beside %s: %v", a.what, err)
		}
		data, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if rest, rpc := shapeOf(a.ok()), shapeOf(decode[object](t, data)); !reflect.DeepEqual(rest, rpc) {
			t.Errorf("%s:\nREST %s\ngRPC %s", a.what, clip(a.body), clip(data))
		}
	}
	st, err := pads.StartScratchpad(s.call(), &antonv1.StartScratchpadRequest{Name: "g"})
	both(s.pad("start", object{"name": "r", "coding_model": "", "coding_provider": ""}), st, err)
	ex, err := pads.ExecuteCell(s.call(), &antonv1.ExecuteCellRequest{Name: "g", Code: proto.String("print('hä')\n1/0"), Description: "d", EstimatedSeconds: 5})
	both(s.pad("execute", object{"name": "r", "code": "print('hä')\n1/0", "description": "d", "estimated_time": "", "estimated_seconds": 5}), ex, err)
	if ex.Cell.Stdout != "hä\n" || !strings.Contains(ex.Cell.GetError(), "ZeroDivisionError") || ex.Cell.Status != "error" {
		t.Errorf("%v", ex)
	}
	st2, err := pads.StreamCell(s.call(), &antonv1.StreamCellRequest{Name: "g", Code: proto.String("print(1)\ndisplay(2)\n3")})
	if err != nil {
		t.Fatal(err)
	}
	events, err := receive(st2)
	if err != nil || events[0].GetStarted().GetNumber() != 2 || events[len(events)-1].GetCell().GetStdout() != "1\n" {
		t.Errorf("%v %v", events, err)
	}
	if c := s.streamCell("r", "print(1)\ndisplay(2)\n3").end(); c.Stdout != "1\n" || len(c.Outputs) != 2 {
		t.Errorf("%s", c)
	}
	cells, err := pads.ListCells(s.call(), &antonv1.ListCellsRequest{Name: "g"})
	both(s.get(padRoot+"cells?name=r"), cells, err)
	l, err := pads.ListScratchpads(s.call(), &antonv1.ListScratchpadsRequest{})
	a := s.get(padRoot + "list")
	both(a, l, err)
	if len(l.Pads) != 2 || l.Pads[0].Name != "g" || l.Pads[1].LastUsed == "" || !slices.Equal(l.Names, []string{"g", "r"}) {
		t.Errorf("%v", l)
	}
	view, err := pads.GetScratchpadView(s.call(), &antonv1.GetScratchpadViewRequest{Name: "g"})
	both(s.do(http.MethodGet, padRoot+"view?name=r", nil, headers("Accept", "application/json")), view, err)
	book, err := pads.GetScratchpadNotebook(s.call(), &antonv1.GetScratchpadNotebookRequest{Name: "g"})
	both(s.do(http.MethodGet, padRoot+"notebook?name=r", nil, headers("Accept", "application/json")), book, err)
	for _, op := range []struct {
		name, status string
		call         func() (*antonv1.ScratchpadStatus, error)
	}{
		{"cancel", "cancelled", func() (*antonv1.ScratchpadStatus, error) {
			return pads.CancelCell(s.call(), &antonv1.CancelCellRequest{Name: "g"})
		}},
		{"reset", "reset", func() (*antonv1.ScratchpadStatus, error) {
			return pads.ResetScratchpad(s.call(), &antonv1.ResetScratchpadRequest{Name: "g"})
		}},
		{"close", "closed", func() (*antonv1.ScratchpadStatus, error) {
			return pads.CloseScratchpad(s.call(), &antonv1.CloseScratchpadRequest{Name: "g"})
		}},
		{"cleanup", "cleaned", func() (*antonv1.ScratchpadStatus, error) {
			return pads.CleanupScratchpad(s.call(), &antonv1.CleanupScratchpadRequest{Name: "g"})
		}},
	} {
		m, err := op.call()
		a := s.pad(op.name, object{"name": "r"})
		both(a, m, err)
		if o := a.object(); o["status"] != op.status || o["name"] != "r" || m.Status != op.status {
			t.Errorf("%v", a)
		}
	}
	for name, err := range map[string]error{
		"view": func() error {
			_, err := pads.GetScratchpadView(s.call(), &antonv1.GetScratchpadViewRequest{Name: "g"})
			return err
		}(),
		"install": func() error {
			_, err := pads.InstallPackages(s.call(), &antonv1.InstallPackagesRequest{Name: "g", Packages: []string{"x"}})
			return err
		}(),
	} {
		wantCode(t, name+" when it is gone", err, codes.NotFound)
	}
}

func TestScratchpadState(t *testing.T) {
	t.Parallel()
	s := start(t)
	if o := s.pad("start", object{}).ok(); o["name"] != "default" {
		t.Errorf("%v", o)
	}
	s.printed("default", "x = 41\ndef f():\n    return x + 1")
	c := s.cell("default", "print('out')\nimport sys; print('err', file=sys.stderr)\nf()")
	if c.Number != 2 || c.Stdout != "out\n" || c.Stderr != "err\n" || c.Outputs[0].Kind != "execute_result" || c.Outputs[0].Data["text/plain"] != "42" ||
		c.Status != "ok" || len(c.Started) < 20 || c.Duration <= 0 {
		t.Errorf("%s", c)
	}
	// Files of the project are where code looks for them, and the other way round.
	s.put("/v1/projects/general/files/in.txt", object{"content": "from REST"}).ok()
	if out := s.printed("default", "print(open('in.txt').read())\nopen('out.txt', 'w').write('from code'); None"); out != "from REST\n" {
		t.Errorf("%q", out)
	}
	if got := s.get("/v1/projects/general/files/out.txt").ok()["content"]; got != "from code" {
		t.Errorf("%q", got)
	}
	s.pad("reset", object{"name": "default"}).ok()
	if c := s.cell("default", "x"); c.Number != 1 || c.Error == nil || !strings.Contains(*c.Error, "NameError") {
		t.Errorf("%s", c)
	}
	env := filepath.Join(s.projects(), "general", ".anton", "scratchpad-venvs", "default")
	s.pad("close", object{"name": "default"}).ok()
	if _, err := os.Stat(filepath.Join(env, "bin", "python")); err != nil {
		t.Errorf("close keeps the packages: %v", err)
	}
	s.pad("execute", object{"name": "default", "code": "1"}).refused(http.StatusNotFound, "Scratchpad 'default' not found. Call /v1/scratchpad/start first.")
	s.startPad("default")
	s.pad("cleanup", object{"name": "default"}).ok()
	if _, err := os.Stat(env); !os.IsNotExist(err) {
		t.Errorf("cleanup removes the packages: %v", err)
	}
	s.get(padRoot+"cells?name=default").refused(http.StatusNotFound, "")
}

// A scratchpad belongs to a project, follows it under a new name, and goes with it.
func TestScratchpadProjects(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.post("/v1/projects", object{"name": "one"}).ok()
	for _, project := range []string{"", "one"} {
		s.pad("start", object{"name": "a", "project": project}).ok()
		s.pad("execute", object{"name": "a", "project": project, "code": fmt.Sprintf("x = %q", project)}).ok()
	}
	print := func(project string) padCell {
		t.Helper()
		a := s.pad("execute", object{"name": "a", "project": project, "code": "import os\nprint(x, os.path.basename(os.getcwd()))"})
		a.ok()
		return decode[struct{ Cell padCell }](t, a.body).Cell
	}
	if a, b := print(""), print("one"); a.Stdout != " general\n" || b.Stdout != "one one\n" {
		t.Errorf("%s %s", a, b)
	}
	s.patch("/v1/projects/one", object{"name": "two"}).ok()
	if c := print("two"); !strings.Contains(c.Notice, "moved") || c.Number != 3 {
		t.Errorf("%s", c)
	}
	list := processes(t, func() string {
		a := s.pad("execute", object{"name": "a", "project": "two", "code": brood})
		a.ok()
		return decode[struct{ Cell padCell }](t, a.body).Cell.Stdout
	}())
	s.delete("/v1/projects/two").ok()
	buried(t, list)
	s.pad("execute", object{"name": "a", "project": "two", "code": "1"}).refused(http.StatusNotFound, "Project not found: two")
	if c := print(""); c.Stdout != " general\n" {
		t.Errorf("%s", c)
	}
}

const redSquare = `
import struct, zlib
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")) + chunk(b"IEND", b"")
class Square:
    def _repr_png_(self): return png
class Table:
    def _repr_html_(self): return "<table><tr><td>1</td></tr></table><script>alert(1)</script>"
display(Square())
print("</code><script>alert(2)</script>")
Table()
`

// What a scratchpad looks like: the document itself or in JSON, as Accept asks.
func TestScratchpadDocuments(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.startPad("a")
	if c := s.cell("a", redSquare); c.Status != "ok" || len(c.Outputs) != 2 {
		t.Fatalf("%s", c)
	}
	for _, tc := range []struct{ path, accept, want string }{
		{"view?name=a", "text/html", "text/html; charset=utf-8"},
		{"view?name=a", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8"},
		{"view?name=a", "*/*", "text/html; charset=utf-8"},
		{"view?name=a", "", "text/html; charset=utf-8"},
		{"view?name=a", "application/json", "application/json"},
		{"view?name=a", "application/json, text/plain, */*", "application/json"},
		{"notebook?name=a", "text/markdown", "text/markdown; charset=utf-8"},
		{"notebook?name=a", "*/*", "text/markdown; charset=utf-8"},
		{"notebook?name=a", "application/json", "application/json"},
		{"notebook?name=a", "application/x-ipynb+json", "application/x-ipynb+json"},
		{"notebook?name=a&format=ipynb", "application/json", "application/x-ipynb+json"},
		{"notebook?name=a&format=markdown", "text/markdown", "text/markdown; charset=utf-8"},
	} {
		h := http.Header{"Accept": {tc.accept}}
		if tc.accept == "" {
			h = http.Header{"Accept": nil}
		}
		a := s.do(http.MethodGet, padRoot+tc.path, nil, h)
		if got := a.header.Get("Content-Type"); a.status != http.StatusOK || got != tc.want {
			t.Errorf("%s, Accept %q: %d %s", tc.path, tc.accept, a.status, got)
		}
	}
	a := s.do(http.MethodGet, padRoot+"view?name=a", nil, headers("Accept", "text/html"))
	page := string(a.body)
	for _, want := range []string{"&lt;/code&gt;&lt;script&gt;", `<iframe sandbox=""`, `src="data:image/png;base64,`, "srcdoc=\"&lt;!doctype html&gt;"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	if strings.Contains(page, "<script") {
		t.Error("the page has a script")
	}
	policy := a.header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "sandbox") || strings.Contains(policy, "unsafe") ||
		a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v", a.header)
	}
	wrapped := s.do(http.MethodGet, padRoot+"view?name=a", nil, headers("Accept", "application/json")).ok()
	if wrapped["view"] != page || !strings.Contains(str(wrapped, "text"), "--- Cell 1 ---") {
		t.Errorf("%v", wrapped)
	}
	book := s.do(http.MethodGet, padRoot+"notebook?name=a", nil, headers("Accept", "text/markdown"))
	if !strings.Contains(string(book.body), "## Scratchpad: a (1 cell)") || !strings.Contains(string(book.body), "```python") {
		t.Errorf("%s", book.body)
	}
	jupyter := s.get(padRoot + "notebook?name=a&format=ipynb")
	o := jupyter.object()
	cell := o["cells"].([]any)[0].(object)
	outputs := cell["outputs"].([]any)
	if o["nbformat"] != 4.0 || o["nbformat_minor"] != 5.0 || cell["cell_type"] != "code" || cell["id"] == "" || len(outputs) != 3 {
		t.Errorf("%s", jupyter.body)
	}
	shown := outputs[1].(object)["data"].(object)["image/png"]
	if data, err := base64.StdEncoding.DecodeString(fmt.Sprint(shown)); err != nil || !strings.HasPrefix(string(data), "\x89PNG") {
		t.Errorf("%v %v", shown, err)
	}
	s.get(padRoot+"notebook?name=a&format=pdf").refused(http.StatusUnprocessableEntity, "")
}

func TestScratchpadBadInput(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.startPad("a")
	for _, op := range []string{"execute", "execute-stream", "install", "reset", "cancel", "close", "cleanup"} {
		body := object{"name": "nope", "code": "1", "packages": []string{"x"}}
		s.pad(op, body).refused(http.StatusNotFound, "Scratchpad 'nope' not found. Call /v1/scratchpad/start first.")
		body["project"] = "nope"
		s.pad(op, body).refused(http.StatusNotFound, "Project not found: nope")
		delete(body, "name")
		s.pad(op, body).refused(http.StatusUnprocessableEntity, "")
	}
	for _, path := range []string{"view", "notebook", "cells"} {
		s.get(padRoot+path+"?name=nope").refused(http.StatusNotFound, "Scratchpad 'nope' not found. Call /v1/scratchpad/start first.")
		s.get(padRoot+path).refused(http.StatusUnprocessableEntity, "")
		s.get(padRoot+path+"?name=a&project=nope").refused(http.StatusNotFound, "Project not found: nope")
	}
	s.get(padRoot+"list?project=nope").refused(http.StatusNotFound, "Project not found: nope")
	for _, tc := range []struct{ op, body, loc string }{
		{"start", `{"name":"a/b"}`, "name"}, {"start", `{"name":".."}`, "name"}, {"start", `{"name":"` + strings.Repeat("x", 65) + `"}`, "name"},
		{"start", `{"name":7}`, "name"}, {"start", `{"name":"x\ny"}`, "name"}, {"execute", `{"name":"a"}`, "code"}, {"execute", `{"name":"a","code":7}`, "code"},
		{"execute", `{"name":"a","code":"1","estimated_seconds":-1}`, "estimated_seconds"}, {"execute", `{"name":"a","code":"1","estimated_seconds":"x"}`, "estimated_seconds"},
		{"execute", `{"name":"a","code":"` + strings.Repeat("#", 256<<10+1) + `"}`, "code"}, {"execute-stream", `{"name":"a"}`, "code"},
		{"execute-stream", `{"name":"a","code":["1"]}`, "code"}, {"install", `{"name":"a"}`, "packages"}, {"install", `{"name":"a","packages":[]}`, "packages"},
		{"install", `{"name":"a","packages":"x"}`, "packages"}, {"install", `{"name":"a","packages":["--index-url=http://evil"]}`, "packages 0"},
		{"install", `{"name":"a","packages":["ok","../x"]}`, "packages 1"}, {"execute", `{"name":"a","code":"1","packages":["a;b"]}`, "packages 0"},
	} {
		a := s.do(http.MethodPost, padRoot+tc.op, tc.body)
		list, _ := a.refused(http.StatusUnprocessableEntity, "")["detail"].([]any)
		loc := fmt.Sprint(list[0].(object)["loc"])
		if strings.Trim(loc, "[]") != "body "+tc.loc {
			t.Errorf("%s %s: %v", tc.op, clip([]byte(tc.body)), a)
		}
	}
	for _, body := range []string{"", "{", "[]", "nul", `{"name":"a","code":"\ud800"}`, `{"name":"a","code":"a\u0000b"}`, `{"name":"a","name":"b","code":"1"}`, "\xff"} {
		for _, op := range []string{"execute", "execute-stream", "install", "cancel"} {
			s.do(http.MethodPost, padRoot+op, body).unacceptable(op + " " + body)
		}
	}
	s.do(http.MethodPost, padRoot+"execute-stream", strings.Repeat("x", 11<<20)).refused(http.StatusRequestEntityTooLarge, "Request body too large")
	s.get(padRoot+"execute").refused(http.StatusMethodNotAllowed, "Method Not Allowed")
	s.pad("view", object{}).refused(http.StatusMethodNotAllowed, "Method Not Allowed")
	s.get(padRoot+"cells?name=a&limit=x").refused(http.StatusUnprocessableEntity, "")
	s.get(padRoot+"cells?name=a&before=-1").refused(http.StatusUnprocessableEntity, "")
	if got := s.cells("a"); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

// Without Python a scratchpad says what to install, and everything else works.
func TestScratchpadWithoutPython(t *testing.T) {
	t.Parallel()
	s := start(t, withEnv("PATH="+t.TempDir()))
	a := s.pad("start", object{"name": "a"})
	o := a.refused(http.StatusServiceUnavailable, "")
	if d := str(o, "detail"); !strings.Contains(d, "Python 3.9 or newer") || !strings.Contains(d, "install python3") {
		t.Errorf("%v", a)
	}
	s.pad("execute", object{"name": "a", "code": "1"}).refused(http.StatusServiceUnavailable, "")
	s.pad("execute-stream", object{"name": "a", "code": "1"}).refused(http.StatusServiceUnavailable, "")
	s.pad("install", object{"name": "a", "packages": []string{"x"}}).refused(http.StatusServiceUnavailable, "")
	s.get("/health").ok()
	if got := s.cells("a"); len(got) != 0 {
		t.Errorf("%v", got)
	}
}
