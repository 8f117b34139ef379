package scratchpads

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	antonv1 "anthill/gen/anton/v1"
)

const evil = `</code></pre></textarea><script>alert(1)</script><img src=x onerror=alert(1)>"'` + "`]]>" + "\x1b[31mred\x1b]0;title\x07\x00\u202e"

// hostile are cells whose every text tries to get out.
func hostile() []*antonv1.Cell {
	return []*antonv1.Cell{
		{Number: 1, Code: evil, Stdout: evil, Stderr: evil, Error: proto.String(evil), Description: evil, Logs: evil, Notice: evil, Status: "error",
			Installed: []string{"numpy"}, Outputs: []*antonv1.CellOutput{
				{Kind: "display_data", Data: map[string]string{"text/html": evil + "<b>bold</b>", "text/plain": evil}},
				{Kind: "display_data", Data: map[string]string{"image/png": "iVBORw0KGgo=", "text/plain": "<Figure>"}},
				{Kind: "display_data", Data: map[string]string{"image/png": `" onload="alert(1)`, "text/plain": evil}},
				{Kind: "display_data", Data: map[string]string{"image/svg+xml": "<svg onload=alert(1)><script>alert(1)</script></svg>"}},
				{Kind: "display_data", Data: map[string]string{"text/markdown": evil}},
				{Kind: "execute_result", Data: map[string]string{"application/json": `{"a":[1,"</script>"]}`, "text/plain": "{'a': 1}"}},
			}},
		{Number: 2, Code: "```\nx", Stdout: "````\n" + strings.Repeat("line\n", 50), Status: "ok"},
		{Number: 3, Code: "while True: pass", Status: "running"},
	}
}

var tags = regexp.MustCompile(`<(/?[a-zA-Z][a-zA-Z0-9]*)([^>]*)>`)

func TestViewIsHarmless(t *testing.T) {
	t.Parallel()
	v, err := page("pad "+evil, hostile())
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]bool{"html": true, "head": true, "meta": true, "title": true, "style": true, "body": true, "h1": true, "h2": true, "small": true,
		"section": true, "pre": true, "code": true, "p": true, "img": true, "iframe": true}
	frames, images := 0, 0
	for _, m := range tags.FindAllStringSubmatch(v.View, -1) {
		name := strings.TrimPrefix(m[1], "/")
		if !allowed[name] {
			t.Errorf("the page has <%s%s>", m[1], m[2])
		}
		switch {
		case name == "img":
			images++
			if !strings.Contains(m[2], `src="data:image/`) {
				t.Errorf("%s", m[0])
			}
		case m[1] == "iframe":
			frames++
			if !strings.HasPrefix(m[2], ` sandbox="" `) {
				t.Errorf("a frame without its sandbox: %.100s", m[2])
			}
		case strings.Contains(m[2], " on"):
			t.Errorf("%s", m[0])
		}
	}
	if frames != 1 || images != 2 {
		t.Errorf("%d frames and %d images", frames, images)
	}
	for _, c := range v.View {
		if c != '\n' && c != '\t' && (unicode.IsControl(c) || bidi(c)) {
			t.Errorf("the page has %U", c)
		}
	}
	// The policy knows the page's own style, and that of the frame.
	style := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindStringSubmatch(v.View)[1]
	sum := sha256.Sum256([]byte(style))
	contains(t, "policy", v.ContentSecurityPolicy, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'", "default-src 'none'", "sandbox")
	if strings.Contains(v.ContentSecurityPolicy, "unsafe") || strings.Contains(v.ContentSecurityPolicy, "script-src") {
		t.Errorf("%s", v.ContentSecurityPolicy)
	}
	frame := html.UnescapeString(regexp.MustCompile(`srcdoc="([^"]*)"`).FindStringSubmatch(v.View)[1])
	contains(t, "frame", frame, "<style>"+style+"</style>", "<b>bold</b>")
	contains(t, "plain text", v.Text, "--- Cell 1: ", "[output]", "[error]", "[logs]", "[stderr]", "[result]\n{'a': 1}", "--- Cell 3 ---\nwhile True: pass\n(still running)")
	if empty, err := page("a", nil); err != nil || !strings.Contains(empty.View, "no cells yet") || empty.Text != "(no cells)" {
		t.Errorf("%v %v", empty, err)
	}
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	book := markdown("pad *x* <b>", hostile())
	contains(t, "notebook", book, "## Scratchpad: pad \\*x\\* \\<b> (3 cells)\n", "### Cell 1 — ", "**Error:**\n```", "### Cell 3\n\n```python\nwhile True: pass\n```", "line\n…\n")
	// No text ends the fence that it is in.
	open := ""
	for line := range strings.Lines(book) {
		line = strings.TrimSuffix(line, "\n")
		switch fence := regexp.MustCompile("^`{3,}").FindString(line); {
		case open == "" && fence != "":
			open = fence
		case open != "" && line == open:
			open = ""
		case open == "" && line != "" && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "**"):
			t.Errorf("outside of a fence: %q", line)
		}
	}
	if open != "" {
		t.Errorf("a fence stays open:\n%s", book)
	}
	if got := markdown("a", []*antonv1.Cell{{Number: 4, Code: "x\n"}}); got != "## Scratchpad: a (1 cell)\n\n### Cell 4\n\n```python\nx\n```\n" {
		t.Errorf("%q", got)
	}
}

// The notebook is what Jupyter's schema of format 4.5 asks for.
func TestJupyter(t *testing.T) {
	t.Parallel()
	text, err := jupyter(hostile())
	if err != nil {
		t.Fatal(err)
	}
	var book struct {
		Cells []struct {
			Type     string           `json:"cell_type"`
			ID       string           `json:"id"`
			Count    *int             `json:"execution_count"`
			Metadata map[string]any   `json:"metadata"`
			Outputs  []map[string]any `json:"outputs"`
			Source   *string          `json:"source"`
		} `json:"cells"`
		Metadata struct {
			Kernel   map[string]string `json:"kernelspec"`
			Language map[string]string `json:"language_info"`
		} `json:"metadata"`
		Format int `json:"nbformat"`
		Minor  int `json:"nbformat_minor"`
	}
	if err := json.Unmarshal(text, &book); err != nil {
		t.Fatal(err)
	}
	if book.Format != 4 || book.Minor != 5 || book.Metadata.Kernel["name"] != "python3" || book.Metadata.Kernel["display_name"] == "" ||
		book.Metadata.Language["name"] != "python" || len(book.Cells) != 3 {
		t.Errorf("%s", text)
	}
	seen := map[string]bool{}
	for _, c := range book.Cells {
		if c.Type != "code" || !regexp.MustCompile(`^[a-zA-Z0-9-_]{1,64}$`).MatchString(c.ID) || seen[c.ID] || c.Count == nil || c.Metadata == nil || c.Outputs == nil || c.Source == nil {
			t.Errorf("%+v", c)
		}
		seen[c.ID] = true
		for _, o := range c.Outputs {
			var want []string
			switch o["output_type"] {
			case "stream":
				want = []string{"output_type", "name", "text"}
			case "display_data":
				want = []string{"output_type", "data", "metadata"}
			case "execute_result":
				want = []string{"output_type", "data", "metadata", "execution_count"}
			case "error":
				want = []string{"output_type", "ename", "evalue", "traceback"}
			}
			for _, name := range want {
				if o[name] == nil {
					t.Errorf("%v lacks %s", o, name)
				}
			}
			if len(o) != len(want) {
				t.Errorf("%v", o)
			}
		}
	}
	result := book.Cells[0].Outputs[len(book.Cells[0].Outputs)-2]["data"].(map[string]any)
	if _, isObject := result["application/json"].(map[string]any); !isObject {
		t.Errorf("JSON is not JSON: %v", result)
	}
	failed, err := jupyter([]*antonv1.Cell{{Number: 1, Status: "error", Error: proto.String("Traceback:\n  x\nValueError: no: way")}})
	if err != nil {
		t.Fatal(err)
	}
	contains(t, "error", string(failed), `"ename": "ValueError"`, `"evalue": "no: way"`)
}

func FuzzPlain(f *testing.F) {
	f.Add(evil)
	f.Add("a\r\nb\rc\r\n10%\r20%\r100%\n")
	f.Add("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\ \x9b31m")
	f.Fuzz(func(t *testing.T, s string) {
		s = strings.ToValidUTF8(s, "\uFFFD")
		got := plain(s)
		for _, c := range got {
			if c != '\n' && c != '\t' && (unicode.IsControl(c) || bidi(c)) {
				t.Fatalf("%q became %q", s, got)
			}
		}
		if !utf8.ValidString(got) || plain(got) != got {
			t.Fatalf("%q became %q and then %q", s, got, plain(got))
		}
		if short := middleOut(got, 50); utf8.RuneCountInString(short) > 100 {
			t.Fatalf("%q", short)
		}
	})
}

func TestPlain(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a\r\nb\n": "a\nb\n", "10%\r20%\r100%\n": "100%\n", "\x1b[1;31mred\x1b[0m": "red", "\x1b]0;evil\x07x": "x", "ä😀\t\u200d": "ä😀\t\u200d", "\x1b": "", "a\x00\x08b": "ab", "x\r": "x",
	} {
		if got := plain(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	if got := fmt.Sprint(middleOut(strings.Repeat("ä", 100), 10)); got != "ääääää\n… [90 characters left out] …\nääää" {
		t.Errorf("%q", got)
	}
}
