package offline

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/xuri/excelize/v2"
)

// profiled runs the program on a file, in words and as a page; failed is what it
// said when there is no profile. before is code that runs before.
func profiled(t *testing.T, name string, content []byte, before string) (words, page, failed string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
	code := profiler + "\n" + before + "\n" + sheet{name: name, path: name}.code() + "print('====')\nprint(report.write('page.html'))\n"
	program := filepath.Join(t.TempDir(), "cell.py")
	if err := os.WriteFile(program, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "python3", "-I", "-W", "error", program)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "PYTHONIOENCODING=utf-8"}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); exited {
		return "", "", reason(&step{result: toolError("[error]\n" + strings.TrimSpace(errs.String()))})
	}
	if err != nil {
		t.Fatal(err)
	}
	html, err := os.ReadFile(filepath.Join(dir, "page.html"))
	if err != nil {
		t.Fatal(err)
	}
	wellFormed(t, string(html))
	if len(out.String()) > 10_000 {
		t.Errorf("%s: %d characters are more than a model gets to see", name, out.Len())
	}
	return out.String(), string(html), ""
}

// wellFormed checks that a page needs nothing from outside, runs nothing and
// closes what it opens.
func wellFormed(t *testing.T, page string) {
	t.Helper()
	low := strings.ToLower(page)
	for _, not := range []string{"<script", "<iframe", "<link", "<img", "http://", "https://", "url(", "@import", "href=", " onload="} {
		if strings.Contains(low, not) {
			t.Errorf("the page has %q", not)
		}
	}
	if !strings.Contains(page, "default-src 'none'") || !strings.Contains(page, "prefers-color-scheme: dark") {
		t.Error("the page lacks its policy or its dark colours")
	}
	d := xml.NewDecoder(strings.NewReader(regexp.MustCompile("<meta [^>]*>").ReplaceAllString(page, "")))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Errorf("the page is not well formed: %v", err)
			return
		}
	}
}

func wide(text string, bom bool) []byte {
	var b bytes.Buffer
	if bom {
		b.WriteString("\xff\xfe")
	}
	for _, u := range utf16.Encode([]rune(text)) {
		b.Write([]byte{byte(u), byte(u >> 8)})
	}
	return b.Bytes()
}

func TestProfilerTellsTheTruthOfAnyTable(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		file, content string
		has           []string
		lacks         []string
		drawn         string // beginning of what is said of charts
	}{
		"plain": {"a.csv", sales, []string{"a table of 4 rows and 3 columns (98 bytes, comma-separated, UTF-8, names in the first line)",
			"| city | text | 4 | 0 | 3 | Berlin (2), Oslo (1), Paris (1) |", "| amount | numbers | 3 | 1 | 3 | -3 to 20.5 |", "| when | dates | 4 | 0 | 4 | 2026-01-01 to 2026-01-04 |",
			"| amount | -3 | 10 | 9.16667 | 20.5 | 11.7721 | 27.5 |", "No row comes twice."}, nil, "2 charts on it: city, amount. None for when: all dates are in the same month."},
		"byte order mark":   {"a.csv", "\ufeffname,v\nä,1\nö,2\n", []string{"| name | text |", "| v | whole numbers | 2 |"}, []string{"\ufeff"}, "1 chart"},
		"UTF-16":            {"a.csv", string(wide("name;v\nä;1\nö;2\n", true)), []string{"semicolon-separated, UTF-16", "| v | whole numbers | 2 |"}, nil, "1 chart"},
		"UTF-16, unmarked":  {"a.csv", string(wide("name,v\nab,1\ncd,2\n", false)), []string{"UTF-16", "| v | whole numbers | 2 |"}, nil, "1 chart"},
		"Latin":             {"a.csv", "name,v\n\xe4\xe4,1\n\xe4\xe4,2\n", []string{"Windows-1252, as it is not UTF-8", "ää (2)"}, nil, "1 chart"},
		"tabs":              {"a.tsv", "a\tb\nx, y\t1\nz, w\t2\n", []string{"tab-separated", "a table of 2 rows and 2 columns"}, nil, "1 chart"},
		"bars":              {"a.csv", "a|b\nx, y|1\nz, w|2\n", []string{"separated by \\|", "a table of 2 rows and 2 columns"}, nil, "1 chart"},
		"line breaks":       {"a.csv", "a,b\n\"x\ny\",1\n\"x\ny\",1\n", []string{"a table of 2 rows and 2 columns", "x y (2)", "1 row is the same as another row before."}, nil, "No chart"},
		"ragged":            {"a.csv", "a,b,c\n1\n1,2,3,4\n\n1,2,3\n", []string{"a table of 3 rows and 3 columns", "| c | whole numbers | 2 | 1 |", "1 row has fewer cells", "1 row has more cells"}, nil, "No chart"},
		"no names":          {"a.csv", "1,2\n3,4\n", []string{"a table of 2 rows", "| column 2 | whole numbers | 2 |", "looks like data"}, nil, "2 charts"},
		"names are years":   {"a.csv", "city,2020,2021\nRome,1,2\nOslo,3,4\n", []string{"a table of 2 rows", "| 2021 | whole numbers |"}, nil, "2 charts"},
		"names twice, none": {"a.csv", "a,a,,a\nx,2,3,4\n", []string{"| a (2) |", "| a (3) |", "| column 3 |", "1 column has no name", "2 columns have the name"}, nil, "No chart"},
		"only names":        {"a.csv", "a,b\n", []string{"a table of 0 rows and 2 columns", "| a | empty | 0 | 0 | 0 |"}, nil, "No chart is on it. None for a, b: there are no values."},
		"one column":        {"a.csv", "n\n1\n2\n4\n", []string{"a table of 3 rows and 1 column", "| n | 1 | 2 | 2.33333 | 4 | 1.52753 | 7 |"}, nil, "1 chart"},
		"missing, infinite": {"a.csv", "a,b\nNaN,1\ninf,1e999\nNA,2\n5,3\n,4\n", []string{"| a | whole numbers | 2 | 3 |", "| b | 1 | 2.5 | 2.5 | 4 |", "like empty cells: NA, NaN.", "b: 1 value is infinite"}, nil, "1 chart"},
		"thousands":         {"a.csv", "n,v\nA,\"1,234\"\nB,\"5,678.50\"\nC,3.25\n", []string{"| v | 3.25 | 1234 | 2305.25 | 5678.5 |", "v: commas separate thousands."}, nil, "1 chart"},
		"European":          {"a.csv", "n;v\nA;1.234,50\nB;2,5\nC;10,25\n", []string{"| v | 2.5 | 10.25 | 415.75 | 1234.5 |", "v: a comma is the decimal mark."}, nil, "1 chart"},
		"either":            {"a.csv", "n;v\nA;1,234\nB;5,678\n", []string{"| v | whole numbers |", "were the comma a decimal mark"}, nil, "1 chart"},
		"both":              {"a.csv", "n;v\nA;1,5\nB;2.25\n", []string{"| v | text |", "both used as decimal marks"}, []string{"| v | numbers"}, "No chart"},
		"codes":             {"a.csv", "zip,v\n01234,x\n00456,y\n", []string{"| zip | text | 2 |"}, []string{"The numbers"}, "No chart"},
		"mostly numbers":    {"a.csv", "v\n" + strings.Repeat("1\n2\n", 10) + "oops\n", []string{"| v | whole numbers | 21 | 0 | 3 |", "v: 1 value is of another kind, such as “oops”"}, nil, "1 chart"},
		"days":              {"a.csv", "d,e\n13/01/2026,31.12.2025\n03/04/2026,01.01.2026\n", []string{"2026-01-13 to 2026-04-03", "2025-12-31 to 2026-01-01"}, nil, "2 charts"},
		"days in doubt":     {"a.csv", "d,x\n03/04/2026,a\n05/06/2026,b\n", []string{"| d | text |", "it cannot be told which"}, nil, "No chart"},
		"zones":             {"a.csv", "at\n2026-01-01T00:30:00+02:00\n2026-01-02T00:00:00Z\n", []string{"2025-12-31 22:30:00 to 2026-01-02 00:00:00", "times are in UTC"}, nil, "1 chart"},
		"no such day":       {"a.csv", "d\n2026-02-30\n2026-02-31\n", []string{"| d | text |"}, nil, "No chart"},
		"booleans":          {"a.csv", "ok\ntrue\nFALSE\ntrue\n", []string{"| ok | boolean | 3 | 0 | 2 | true (2), FALSE (1) |"}, nil, "1 chart"},
		"far apart":         {"a.csv", "v,d\n-1e308,0001-01-01\n1e308,9999-12-31\n1e308,2000-01-01\n", []string{"-1e+308 to 1e+308", "too large for a mean"}, nil, "No chart"},
		"zero bytes":        {"a.csv", "a,b\nx,\x00\n" + strings.Repeat("x,y\n", 200), []string{"a table of 201 rows"}, []string{"\x00"}, "1 chart"},
		"unclosed":          {"a.csv", "a,b\n1,\"x\n2,y\n3,z\n", []string{"a table of 3 rows", "A quotation mark is never closed"}, nil, "1 chart"},
		"quotes inside":     {"a.csv", "a,b\n1,\"x\"y\n2,\"p,q\"\n", []string{"a table of 2 rows and 2 columns", "in the middle of a cell"}, nil, "1 chart"},
		"a large cell":      {"a.csv", "a,b\n1,\"" + strings.Repeat("x y,", 1<<19) + "\"\n2,z\n", []string{"a table of 2 rows and 2 columns", "all different"}, nil, "1 chart"},
		"many columns":      {"a.csv", strings.Repeat("c,", 999) + "c\n" + strings.Repeat("1,", 999) + "1\n", []string{"1 row and 1,000 columns", "Only the first 200 columns were looked at."}, nil, "No chart"},
		"records":           {"a.json", `[{"a":1,"b":"x"},{"a":2.5,"c":{"d":[1]}},{"a":null,"b":"\ud800"}]`, []string{"a table of 3 rows and 3 columns", "| a | numbers | 2 | 1 |", "taken as texts in JSON"}, nil, "1 chart"},
		"records inside":    {"a.json", `{"n":1,"data":[{"a":1},{"a":3}]}`, []string{"JSON records of “data”", "| a | 1 | 2 | 2 | 3 |"}, nil, "1 chart"},
		"lines of JSON":     {"a.jsonl", "{\"a\":1}\nnope\n{\"a\":2,\"b\":true}\n", []string{"a table of 2 rows and 2 columns", "| b | boolean | 1 | 1 |", "1 line is not valid JSON and left out."}, nil, "1 chart"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			words, page, failed := profiled(t, c.file, []byte(c.content), "")
			if failed != "" {
				t.Fatal(failed)
			}
			for _, want := range c.has {
				if !strings.Contains(words, want) {
					t.Errorf("lacks %q:\n%s", want, words)
				}
			}
			for _, not := range c.lacks {
				if strings.Contains(words+page, not) {
					t.Errorf("has %q:\n%s", not, words)
				}
			}
			if _, said, _ := strings.Cut(words, "====\n"); !strings.HasPrefix(said, c.drawn) {
				t.Errorf("charts: %s", said)
			}
			if charts, svgs := strings.Contains(words, "on it: "), strings.Contains(page, "<svg"); charts != svgs {
				t.Errorf("charts are said to be there: %v, and are: %v", charts, svgs)
			}
		})
	}
}

func TestProfilerSaysWhyThereIsNoProfile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ content, want string }{
		"empty.csv":   {"", "Unreadable: The file is empty."},
		"lines.csv":   {"\n\n\n", "Unreadable: The file is empty."},
		"binary.csv":  {strings.Repeat("\x00\x01\x02", 500), "Unreadable: It is not a text file."},
		"line.csv":    {"a,b\n" + strings.Repeat("x", 17<<20) + "\n", "Unreadable: A line has more than 16 million characters."},
		"object.json": {`{"a":1}`, "Unreadable: It holds no list of records."},
		"broken.json": {`{`, "Unreadable: It is not valid JSON: "},
		"deep.json":   {strings.Repeat("[", 200_000), "Unreadable: It is not valid JSON: "},
		"none.jsonl":  {"nope\nnope\n", "Unreadable: None of its lines is valid JSON."},
		"text.xlsx":   {"hello", "Unreadable: It is not an Excel file of the present format"},
	} {
		if _, _, failed := profiled(t, name, []byte(c.content), ""); !strings.HasPrefix(failed, c.want) {
			t.Errorf("%s: %q", name, failed)
		}
	}
}

// Whatever a table is called and holds, it is shown as text.
func TestProfilerShowsHostileTextAsText(t *testing.T) {
	t.Parallel()
	evil := "<script>alert(1)</script>"
	content := `"` + evil + `","=cmd|' /C calc'!A0","[a](javascript:1)"` + "\n" +
		strings.Repeat(`"<img src=x onerror=alert(1)>","=HYPERLINK(""http:evil"")","&lt;b&gt; \| `+"\x1b[31m\u202e"+`"`+"\n", 3) + "</svg></title>,x,y\n"
	words, page, failed := profiled(t, `it's "quoted" \ $(x).csv`, []byte(content), "")
	if failed != "" {
		t.Fatal(failed)
	}
	for _, want := range []string{"&lt;script&gt;alert(1)&lt;/script&gt;", "&lt;img src=x onerror=alert(1)&gt;", "&amp;lt;b&amp;gt;", "&lt;/svg&gt;", "it&#x27;s &quot;quoted&quot; \\ $(x).csv"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, want := range []string{`| \<script\>alert(1)\</script\> |`, `\[a\](javascript:1)`, `=cmd\|' /C calc'!A0`} {
		if !strings.Contains(words, want) {
			t.Errorf("lacks %q:\n%s", want, words)
		}
	}
	if strings.ContainsAny(words+page, "\x1b\u202e") {
		t.Error("control characters are left")
	}
}

func TestProfilerReadsWorkbooks(t *testing.T) {
	t.Parallel()
	f := excelize.NewFile()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := f.NewSheet("Sales <2026>")
	must(err)
	must(f.SetSheetRow("Sales <2026>", "A1", &[]any{"city", "amount", "when", "ok"}))
	for i, city := range []string{"Rome", "Oslo", "Rome"} {
		at := fmt.Sprintf("A%d", i+2)
		must(f.SetSheetRow("Sales <2026>", at, &[]any{city, 1.5 * float64(i), time.Date(2026, time.Month(i+1), 2, 0, 0, 0, 0, time.UTC), i == 0}))
	}
	must(f.SetCellValue("Sales <2026>", "B9", 10))
	_, err = f.NewSheet("Other")
	must(err)
	var b bytes.Buffer
	must(f.Write(&b))
	must(f.Close())
	words, _, failed := profiled(t, "book.xlsx", b.Bytes(), "")
	for _, want := range []string{"a table of 4 rows and 4 columns", "Excel, sheet “Sales \\<2026\\>”", "The others: Sheet1, Other.", "| city | text | 3 | 1 | 2 | Rome (2), Oslo (1) |",
		"| amount | 0 | 2.25 | 3.625 | 10 |", "| when | dates | 3 | 1 | 3 | 2026-01-02 to 2026-03-02 |", "| ok | boolean | 3 | 1 | 2 |", "4 charts on it: city, amount, when, ok."} {
		if !strings.Contains(words, want) {
			t.Errorf("lacks %q:\n%s%s", want, words, failed)
		}
	}
}

// A workbook is an archive of XML, either of which can be a trap.
func TestProfilerWithstandsHostileWorkbooks(t *testing.T) {
	t.Parallel()
	book := func(sheet string) []byte {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		for name, content := range map[string]string{
			"xl/workbook.xml":            `<workbook xmlns:r="r"><sheets><sheet name="One" r:id="r1"/></sheets></workbook>`,
			"xl/_rels/workbook.xml.rels": `<Relationships><Relationship Id="r1" Target="worksheets/a.xml"/></Relationships>`,
			"xl/worksheets/a.xml":        sheet,
		} {
			part, err := w.Create(name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(part, content); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	row := `<row><c t="inlineStr"><is><t>a</t></is></c><c r="ZZZ1"><v>1</v></c><c r="B1"><v>NaN</v></c><c r="C1" t="s"><v>9</v></c></row>`
	for what, c := range map[string]struct{ sheet, before, want string }{
		"entities":       {`<!DOCTYPE x [<!ENTITY a "b">]><worksheet>` + row + "</worksheet>", "", "Unreadable: It has a document type of its own"},
		"cut off":        {"<worksheet>" + row, "", "Unreadable: The Excel file is damaged"},
		"no cells":       {"<worksheet/>", "", "Unreadable: The workbook holds no cells."},
		"a large cell":   {`<worksheet><row><c t="inlineStr"><is><t>` + strings.Repeat("x", 17<<20) + "</t></is></c></row></worksheet>", "", "Unreadable: A cell has more than 16 million"},
		"odd references": {"<worksheet>" + row + row + "</worksheet>", "", "a table of 1 row and"},
		"a bomb":         {"<worksheet>" + strings.Repeat(row, 5000) + "</worksheet>", "UNPACKED_MAX = 200_000", "The sheet is longer than what is read here"},
	} {
		if words, _, failed := profiled(t, "b.xlsx", book(c.sheet), c.before); !strings.Contains(words+failed, c.want) {
			t.Errorf("%s: %s%s", what, words, failed)
		}
	}
}

// A long table is read to its end in bounded memory, with figures that are right.
func TestProfilerReadsLongTablesInBoundedMemory(t *testing.T) {
	t.Parallel()
	const rows = 120_000
	var b bytes.Buffer
	b.WriteString("id,value,text\n")
	values := make([]float64, rows)
	for i := range values {
		values[i] = math.Round(1e6*math.Mod(float64(i)*0.6180339887, 1)) / 100
		fmt.Fprintf(&b, "%d,%.2f,%s%d\n", i, values[i], strings.Repeat("long text ", 60), i)
	}
	const bounded = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (128 << 20, 128 << 20))\n"
	words, _, failed := profiled(t, "long.csv", b.Bytes(), bounded)
	if failed != "" {
		t.Fatal(failed)
	}
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	slices.Sort(values)
	median := (values[rows/2-1] + values[rows/2]) / 2
	for _, want := range []string{"a table of 120,000 rows and 3 columns", "| id | whole numbers | 120,000 | 0 | more than 10,000 | 0 to 119999 |",
		fmt.Sprintf("| value | 0 | %s | %s |", trimmed(median), trimmed(sum/rows)), "| text | text | 120,000 | 0 | more than 10,000 |", "None for text: there are too many different values."} {
		if !strings.Contains(words, want) {
			t.Errorf("lacks %q:\n%s", want, words)
		}
	}
	words, _, failed = profiled(t, "long.csv", b.Bytes(), "ROWS_MAX, DUPLICATES_MAX = 1000, 10")
	if !strings.Contains(words, "a table of 1,000 rows") || !strings.Contains(words, "Only the first 1,000 rows were looked at: the file has more.") ||
		!strings.Contains(words, "No row comes twice among the first 10.") {
		t.Errorf("%s%s", words, failed)
	}
}

// trimmed is a number from 1000 to 10,000 as the profiler writes it.
func trimmed(f float64) string {
	return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.2f", f), "0"), ".")
}
