package blackbox

import (
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	antonv1 "anthill/gen/anton/v1"
)

// askAbout asks from the command line in a conversation and returns what came
// out, and what was said of the progress.
func (s *server) askAbout(conversation string, args ...string) (out, progress string) {
	s.t.Helper()
	out, progress, code := command(s.t, s.environ(), "", append([]string{"ask", "--server", s.addr, "--conversation", conversation}, args...)...)
	if code != 0 {
		s.t.Fatalf("%q ended with %d: %s%s", args, code, out, progress)
	}
	return out, progress
}

// mustHave checks that a text has all of these.
func mustHave(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}

// tableRow is the row of a Markdown table whose first cell is name, of the table
// that has the column head.
func tableRow(t *testing.T, text, head, name string) []string {
	t.Helper()
	inside := false
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if cells[0] == "column" {
			inside = slices.Contains(cells, head)
		}
		if inside && cells[0] == name {
			return cells
		}
	}
	t.Fatalf("no row %q in a table with %q:\n%s", name, head, text)
	return nil
}

const markup = `<script>alert("x")</script>`

// sampleTable is a table, and the numbers in it.
func sampleTable(rows int) (csv string, amounts []float64) {
	var b strings.Builder
	b.WriteString("city,amount," + markup + "\n")
	for i := range rows {
		city := []string{"Rome", "Oslo", "Rome", markup}[i%4]
		if i%10 == 9 {
			fmt.Fprintf(&b, "%s,,%d\n", strings.ReplaceAll(city, `"`, `'`), i)
			continue
		}
		v := float64(i*i%997) / 4
		amounts = append(amounts, v)
		fmt.Fprintf(&b, "%s,%g,%d\n", strings.ReplaceAll(city, `"`, `'`), v, i)
	}
	return b.String(), amounts
}

// rounded reports whether a figure is the number up to how it is rounded.
func rounded(figure string, want float64) bool {
	var got float64
	_, err := fmt.Sscanf(figure, "%g", &got)
	return err == nil && math.Abs(got-want) <= 1e-5*max(1, math.Abs(want))
}

// Done when: with no provider at all, a file given to `anthill ask` is profiled,
// truthfully, and the page made in the scratchpad is an artifact.
func TestAskProfilesATable(t *testing.T) {
	t.Parallel()
	s := start(t)
	csv, amounts := sampleTable(200)
	file := filepath.Join(t.TempDir(), "data.csv")
	writeFile(t, file, csv)
	out, progress := s.askAbout("figures", "--file", file, "profile this")
	mustHave(t, progress, "data.csv is ready", "scratchpad: Profile of data.csv", "create_artifact")
	mustHave(t, out, "a table of 200 rows and 3 columns", "`.anton/artifacts/profile-of-data.csv/index.html`", "charts on it", "offline provider")

	slices.Sort(amounts)
	n := float64(len(amounts))
	sum, spread := 0.0, 0.0
	for _, v := range amounts {
		sum += v
	}
	for _, v := range amounts {
		spread += (v - sum/n) * (v - sum/n)
	}
	median := (amounts[len(amounts)/2-1] + amounts[len(amounts)/2]) / 2
	if len(amounts)%2 == 1 {
		median = amounts[len(amounts)/2]
	}
	figures := tableRow(t, out, "median", "amount")
	for i, want := range []float64{amounts[0], median, sum / n, amounts[len(amounts)-1], math.Sqrt(spread / (n - 1)), sum} {
		if !rounded(figures[i+1], want) {
			t.Errorf("figure %d is %s, want %g: %q", i, figures[i+1], want, figures)
		}
	}
	if got := tableRow(t, out, "filled", "amount"); got[1] != "numbers" || got[2] != "180" || got[3] != "20" {
		t.Errorf("amount: %q", got)
	}
	if got := tableRow(t, out, "filled", "city"); got[1] != "text" || got[4] != "3" || !strings.HasPrefix(got[5], "Rome (100), ") {
		t.Errorf("city: %q", got)
	}

	cards := s.artifacts("")
	if len(cards) != 1 || cards[0]["slug"] != "profile-of-data.csv" || cards[0]["type"] != "html-app" || cards[0]["primary"] != "index.html" || cards[0]["live"] != true {
		t.Fatalf("%v", cards)
	}
	html, err := os.ReadFile(str(cards[0], "path"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(html)
	mustHave(t, page, "<!doctype html>", "<svg", "&lt;script&gt;alert(", "default-src 'none'", "prefers-color-scheme: dark")
	if strings.Contains(page, "<script") || strings.Contains(page, "http:") || strings.Contains(page, "https:") {
		t.Error("the page runs something, or wants something from outside")
	}
	one, err := antonv1.NewArtifactsServiceClient(s.dial()).GetArtifact(s.call(), &antonv1.GetArtifactRequest{Slug: "profile-of-data.csv"})
	if err != nil || len(one.Files) != 1 || len(one.Provenance) != 1 || one.Provenance[0].Conversation != "figures" {
		t.Errorf("%v %v", one, err)
	}
	list := decode[[]object](t, s.get("/v1/attachments/general/figures").body)
	if len(list) != 1 || list[0]["name"] != "data.csv" || list[0]["status"] != "ready" || list[0]["session_id"] != "figures" {
		t.Errorf("the attachment is not the conversation's: %v", list)
	}

	// Asked again, in the same conversation: the same figures, the same artifact.
	for _, question := range []string{"profile data.csv", "analyse it again"} {
		again, _ := s.askAbout("figures", question)
		if again != out {
			t.Errorf("%s:\n%s\nat first:\n%s", question, again, out)
		}
	}
	if cards := s.artifacts(""); len(cards) != 1 {
		t.Errorf("%v", names(cards, "slug"))
	}
	if again, _ := s.askAbout("figures", "Which rows of data.csv are about Oslo?"); !strings.Contains(again, "50 rows") {
		t.Errorf("%s", again)
	}
	// The same file as another attachment is another file.
	if other, _ := s.askAbout("figures", "-f", file, "profile this"); !strings.Contains(other, "profile-of-data.csv-2/index.html") {
		t.Errorf("%s", other)
	}
}

// Files go to the project of the conversation that there is, or of the one to come.
func TestAskBringsFilesToTheConversation(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.post("/v1/projects", object{"name": "work"}).ok()
	dir := t.TempDir()
	notes, table := filepath.Join(dir, "plan ünd 'notes'.md"), filepath.Join(dir, "a.jsonl")
	writeFile(t, notes, "# Plan\n\nThe boat leaves at seven. Ants build hills.\n")
	writeFile(t, table, "{\"n\":1}\n{\"n\":3}\n")
	out, _ := s.askAbout("boats", "--project", "work", "--file", notes, "--file", table, "When does the boat leave?")
	mustHave(t, out, "The boat leaves at seven.", "a.jsonl")
	out, _ = s.askAbout("boats", "-f", table, "profile this")
	mustHave(t, out, "| n | 1 | 2 | 2 | 3 |", "profile-of-a.jsonl/index.html")
	if list := decode[[]object](t, s.get("/v1/attachments/work/boats").body); len(list) != 3 {
		t.Errorf("%v", list)
	}
	if got := names(s.artifacts("?project=work"), "slug"); !slices.Equal(got, []string{"profile-of-a.jsonl"}) {
		t.Errorf("%q", got)
	}
	// What cannot be read is said to be so, and the question is asked all the same.
	broken := filepath.Join(dir, "broken.pdf")
	writeFile(t, broken, "%PDF-1.4\nnothing")
	out, progress := s.askAbout("boats", "--file", broken, "summarise this")
	mustHave(t, progress, "! broken.pdf could not be read: ")
	mustHave(t, out, "`broken.pdf` could not be read: ")
}

func TestAskRefusesWhatIsNoFile(t *testing.T) {
	t.Parallel()
	s := start(t)
	dir := t.TempDir()
	good := filepath.Join(dir, "good.txt")
	writeFile(t, good, "hello")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--file", filepath.Join(dir, "none.csv"), "x"}, "there is no such file"},
		{[]string{"--file", dir, "x"}, "it is a folder"},
		{[]string{"--file", "-", "x"}, "standard input is no file"},
		{[]string{"--file", os.DevNull, "x"}, "not a plain file"},
		{[]string{"--file", good, "--project", "nowhere", "x"}, "upload to project nowhere: Project not found"},
		{append(strings.Fields(strings.Repeat("--file "+good+" ", 21)), "x"), "At most 20 attachments"},
	} {
		out, errs, code := command(t, s.environ(), "", append([]string{"ask", "--server", s.addr}, c.args...)...)
		if code != 1 || out != "" || !strings.Contains(errs, c.want) {
			t.Errorf("%q: code %d, %q, %q", c.args, code, out, errs)
		}
	}
	if a := s.get("/v1/attachments"); strings.TrimSpace(string(a.body)) != "[]" {
		t.Errorf("refused questions left %v", a)
	}
	if out, _, code := command(t, s.environ(), "", "__complete", "ask", "--file", ""); code != 0 || !strings.Contains(out, ":0\n") {
		t.Errorf("file names are not completed: %d %q", code, out)
	}
}

// Code in a message runs in a scratchpad that keeps its variables, within a
// message and from one to the next.
func TestAskRunsCode(t *testing.T) {
	t.Parallel()
	s := start(t)
	out, _ := s.askAbout("sums", "run this\n```python\nx = 20\nprint('x is', x)\n```\nand this\n```python\nx + 1\n```")
	mustHave(t, out, "It printed:\n\n```text\nx is 20\n```", "Its value:\n\n```text\n21\n```")
	out, _ = s.askAbout("sums", "```python\nx * 2\n```")
	mustHave(t, out, "Its value:\n\n```text\n40\n```")
	out, progress := s.askAbout("sums", "execute\n```python\nprint('before')\nx / 0\n```")
	mustHave(t, out, "```text\nbefore\n```", "It ended with an error:", "ZeroDivisionError: division by zero", "I cannot repair code")
	mustHave(t, progress, "! scratchpad: ZeroDivisionError")
	out, _ = s.askAbout("sums", "Don't run this\n```python\nx = 99\n```")
	mustHave(t, out, "not explain, change or write code")
	out, _ = s.askAbout("sums", "show the scratchpad")
	mustHave(t, out, "x * 2", "ZeroDivisionError")
	if strings.Contains(out, "x = 99") {
		t.Errorf("what was not to run did:\n%s", out)
	}
	out, _ = s.askAbout("sums", "run this\n```sh\nls\n```")
	mustHave(t, out, "I run Python only, not `sh`.")
	s.askAbout("sums", "reset the scratchpad")
	out, _ = s.askAbout("sums", "run\n```python\nx\n```")
	mustHave(t, out, "NameError")
}

// Without Python on the machine there is the short profile, and what to install.
func TestAskProfilesWithoutPython(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	for _, tool := range []string{"tmux", "sh"} {
		if path, err := exec.LookPath(tool); err == nil {
			if err := os.Symlink(path, filepath.Join(bin, tool)); err != nil {
				t.Fatal(err)
			}
		}
	}
	s := start(t, withEnv("PATH="+bin))
	file := filepath.Join(t.TempDir(), "data.csv")
	csv, _ := sampleTable(40)
	writeFile(t, file, csv)
	out, _ := s.askAbout("poor", "--file", file, "profile this")
	mustHave(t, out, "so there are no charts", "Python 3.9 or newer", "Install it", "a table of 40 rows and 3 columns", "| amount | 36 of 40 | numbers from 0 to ")
	if cards := s.artifacts(""); len(cards) != 0 {
		t.Errorf("%v", cards)
	}
	out, _ = s.askAbout("poor", "run\n```python\n1\n```")
	mustHave(t, out, "The code did not run: ", "Install it")
	if a := s.get("/v1/conversations/poor/messages"); a.status != http.StatusOK {
		t.Errorf("%v", a)
	}
}
