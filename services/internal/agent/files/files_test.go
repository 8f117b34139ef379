package files

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"anthill/services/internal/agent"
	"anthill/services/internal/workspace"
)

// project opens a folder with the given files and returns its tools by name.
func project(t *testing.T, content map[string]string) (map[string]agent.Tool, *workspace.Folder) {
	t.Helper()
	folder, err := workspace.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := folder.Close(); err != nil {
			t.Error(err)
		}
	})
	for name, text := range content {
		if err := folder.WriteFile(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	tools := map[string]agent.Tool{}
	for _, tool := range Tools(folder) {
		spec := tool.Spec()
		if !json.Valid(spec.Schema) {
			t.Errorf("schema of %s: %s", spec.Name, spec.Schema)
		}
		tools[spec.Name] = tool
	}
	return tools, folder
}

func run(tool agent.Tool, input string) (string, error) {
	return tool.Run(context.Background(), json.RawMessage(input))
}

func TestRead(t *testing.T) {
	tools, folder := project(t, map[string]string{
		"notes.md": "Grüße\nsecond", "bom.txt": "\uFEFFhi", "empty": "", "data/q.csv": "a,b\n1,2\n",
		"image.png": "\x89PNG\r\n\x1a\n\x00\x00", "latin.txt": "Gr\xfc\xdfe", "wide.txt": "\xff\xfeH\x00i\x00=\xd8\x00\xde", "wideb.txt": "\xfe\xff\x00H\x00i",
	})
	if err := os.Symlink("/etc/passwd", filepath.Join(folder.Dir(), "link")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ input, want, fails string }{
		{`{"path":"notes.md"}`, "Grüße\nsecond", ""},
		{`{"path":"./data//q.csv"}`, "a,b\n1,2\n", ""},
		{`{"path":"bom.txt"}`, "hi", ""},
		{`{"path":"empty"}`, "", ""},
		{`{"path":"wide.txt"}`, "Hi😀", ""},
		{`{"path":"wideb.txt"}`, "Hi", ""},
		{`{"path":"notes.md","limit":3}`, "Gr\n[bytes 0 to 2 of 14; read on with offset 2]", ""},
		{`{"path":"notes.md","limit":1,"offset":2}`, "\uFFFD\n[bytes 2 to 3 of 14; read on with offset 3]", ""},
		{`{"path":"notes.md","offset":3,"limit":4}`, "ße\n[bytes 4 to 7 of 14; read on with offset 7]", ""},
		{`{"path":"notes.md","offset":8}`, "second\n[bytes 8 to 14 of 14]", ""},
		{`{"path":"notes.md","offset":14}`, "", "14 bytes"},
		{`{"path":"notes.md","offset":-1}`, "", "negative"},
		{`{"path":7}`, "", "not as read_file needs it"},
		{`{"path":"data"}`, "", "call list_files"},
		{`{"path":"image.png"}`, "", "not a text file (image/png, 10 bytes)"},
		{`{"path":"latin.txt"}`, "", "not a text file"},
		{`{"path":"../x"}`, "", "inside the project"},
		{`{"path":"link"}`, "", "inside the project"},
		{`{"path":"NOTES.md"}`, "", "nearest names are notes.md."},
		{`{"path":"q.csv"}`, "", "data/q.csv"},
		{`{"path":"zzzzz.zz"}`, "", "there is no file zzzzz.zz. Call list_files"},
	} {
		got, err := run(tools[ReadTool], c.input)
		if (err != nil) != (c.fails != "") || got != c.want || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%s: %q, %v", c.input, got, err)
		}
		if err != nil && strings.Contains(err.Error(), folder.Dir()) {
			t.Errorf("%s: the folder's place is told: %v", c.input, err)
		}
	}
}

// Reading on from each notice gives the whole file, whatever its characters.
func TestPartsMakeTheWhole(t *testing.T) {
	whole := strings.Repeat("aé日😀", 30000)
	tools, _ := project(t, map[string]string{"big.txt": whole})
	var got strings.Builder
	offset, parts := 0, 0
	for {
		out, err := run(tools[ReadTool], fmt.Sprintf(`{"path":"big.txt","offset":%d,"limit":50001}`, offset))
		if err != nil {
			t.Fatal(err)
		}
		text, size, all := SplitNotice(out)
		if all || size != int64(len(whole)) || !utf8.ValidString(text) {
			t.Fatalf("part at %d: size %d, whole %v", offset, size, all)
		}
		got.WriteString(text)
		parts++
		if offset += len(text); offset == len(whole) {
			break
		}
	}
	if got.String() != whole || parts < 6 {
		t.Errorf("%d parts make %d of %d bytes", parts, got.Len(), len(whole))
	}
	out, err := run(tools[ReadTool], `{"path":"big.txt","limit":10000000}`)
	if err != nil || len(out) > maxRead+100 {
		t.Errorf("%d bytes, %v", len(out), err)
	}
}

func TestSplitNotice(t *testing.T) {
	for in, want := range map[string]string{"plain": "plain", "two\nlines\n": "two\nlines\n", "": "", "[bytes 1 to 2 of 3]": "[bytes 1 to 2 of 3]"} {
		if text, size, whole := SplitNotice(in); text != want || size != int64(len(in)) || !whole {
			t.Errorf("%q: %q, %d, %v", in, text, size, whole)
		}
	}
}

func TestList(t *testing.T) {
	tools, _ := project(t, map[string]string{
		"b.txt": "1", "a/x (1).txt": "12", ".env": "", ".anton/anton.md": "x", ".anton/uploads/s/att/r.csv": "1", ".anton/streams/c/t.jsonl": "1",
		".git/config": "1", "a/node_modules/m/i.js": "1",
	})
	for input, want := range map[string]string{
		`{}`:                 ".anton/anton.md (1 bytes)\n.anton/uploads/s/att/r.csv (1 bytes)\n.env (0 bytes)\na/x (1).txt (2 bytes)\nb.txt (1 bytes)\n",
		`{"path":"."}`:       ".anton/anton.md (1 bytes)\n.anton/uploads/s/att/r.csv (1 bytes)\n.env (0 bytes)\na/x (1).txt (2 bytes)\nb.txt (1 bytes)\n",
		`{"path":"a/"}`:      "a/x (1).txt (2 bytes)\n",
		`{"path":".git"}`:    ".git/config (1 bytes)\n",
		`{"max":1}`:          ".anton/anton.md (1 bytes)\n[only the first 1 files; list a folder to see more of it]\n",
		`{"path":"a/x (1)"}`: "",
		`{"path":"../"}`:     "",
	} {
		got, err := run(tools[ListTool], input)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v", input, got, err)
		}
	}
	out, err := run(tools[ListTool], `{"path":"a"}`)
	if found, whole := ParseList(out); err != nil || !whole || !reflect.DeepEqual(found, []Listed{{"a/x (1).txt", 2}}) {
		t.Errorf("%v, %v, %v", found, whole, err)
	}
	out, err = run(tools[ListTool], `{"max":2}`)
	if found, whole := ParseList(out); err != nil || whole || len(found) != 2 {
		t.Errorf("%v, %v, %v", found, whole, err)
	}
	empty, _ := project(t, nil)
	if got, err := run(empty[ListTool], `{}`); err != nil || got != "There are no files." {
		t.Errorf("%q, %v", got, err)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"README.md", "docs/readme.txt", "data/report.csv", "data/reports.csv", "main.go", "Makefile", ".env"}
	for name, want := range map[string][]string{
		"readme":        {"README.md", "docs/readme.txt"},
		"report.csv":    {"data/report.csv", "data/reports.csv"},
		"reprot.csv":    {"data/report.csv", "data/reports.csv"},
		"report.xlsx":   {"data/report.csv"},
		"x/main.go":     {"main.go"},
		"makefile":      {"Makefile"},
		"nothing-alike": {},
	} {
		if got := Nearest(name, names, 3); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v", name, got)
		}
	}
	if !Same("readme", "README.md") || !Same("report.csv", "data/report.csv") || Same("reprot.csv", "data/report.csv") || Same("a.md", "a.txt") {
		t.Error("Same is wrong")
	}
}
