package documents

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// argument makes this test program the process that reads.
const argument = "read-document"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == argument {
		if err := Serve(os.Stdin, os.Stdout, os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func newProcess(t *testing.T) Process {
	t.Helper()
	command, err := Command(argument)
	if err != nil {
		t.Fatal(err)
	}
	return Process{Command: command, Limits: DefaultLimits}
}

func file(t *testing.T, data []byte) *os.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func TestProcess(t *testing.T) {
	p := newProcess(t)
	for name, tc := range map[string]struct {
		data []byte
		want string
	}{
		"--help.txt": {[]byte("plain"), "plain"},
		"a.pdf":      {pdfPages("BT /F1 10 Tf (a page\\)) Tj ET"), "a page)"},
		"a.docx":     {wordOf(paragraph("a\nword")), "a\nword"},
		"a.xlsx":     {sheets(t, [][]any{{"a", 1}}), "## Sheet: Sheet1\n\na,1"},
		"a.pptx":     {slidesOf([]string{shape("a slide")}), "## Slide 1\n\na slide"},
		"\n\".html":  {[]byte("<p>a page"), "a page"},
	} {
		text, err := p.Extract(t.Context(), name, file(t, tc.data))
		if err != nil || text.Text != tc.want || text.Format.MIME == "" {
			t.Errorf("%q: %+v, %v", name, text, err)
		}
	}
	p.Limits.Text = 5
	if text, err := p.Extract(t.Context(), "a.docx", file(t, wordOf(paragraph("longer than that")))); err != nil || !text.Truncated || text.Text != "longe" {
		t.Errorf("%+v, %v", text, err)
	}
}

// What would take the server's memory, its stack or all its time ends with a
// reason, and the next file is read.
func TestProcessSurvivesHostileFiles(t *testing.T) {
	p := newProcess(t)
	p.Limits.Memory = 256 << 20
	p.Limits.Unpacked = 8 << 20
	xref := func(trailer, table string) []byte {
		head := "%PDF-1.4\n" + strings.Repeat("%\n", 60)
		return fmt.Appendf(nil, "%sxref\n%s\ntrailer\n%s\nstartxref\n%d\n%%%%EOF\n", head, table, trailer, len(head))
	}
	slow := "The file took longer to read than 1 seconds."
	large := "The file takes more memory to read than 256 MiB."
	packed := "The file is too large to be read: unpacked it has more than 8 MiB."
	for name, tc := range map[string]struct {
		file    string
		data    []byte
		reasons []string
	}{
		// The table of a PDF that says that it has a thousand million objects.
		"a table that lies": {"a.pdf", xref("<< /Size 9 /Root 1 0 R >>", "1000000000 1\n0000000000 65535 f "), []string{large, reasonDamaged}},
		// A table whose predecessor is itself.
		"a table before itself": {"a.pdf", xref("<< /Size 9 /Root 1 0 R /Prev 129 >>", "0 1\n0000000000 65535 f "), []string{slow}},
		"a page above itself":   {"a.pdf", pdfOf("<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [2 0 R 2 0 R] /Parent 2 0 R >>"), []string{reasonDamaged}},
		"arrays without end":    {"a.pdf", pdfOf("<< /Type /Catalog /Pages " + strings.Repeat("[", 5_000_000)), []string{large, reasonDamaged}},
		"deflated zeros":        {"a.pdf", pdfPages(strings.Repeat("\x00", 8<<20)), []string{"No text was found in the PDF: its pages may be scanned images."}},
		"deflated words":        {"a.docx", wordOf(strings.Repeat(`<w:p x="`+strings.Repeat("y", 1<<20)+`"/>`, 10)), []string{packed}},
		"deflated strings":      {"a.xlsx", zipOf("[Content_Types].xml", "<Types/>", "xl/workbook.xml", "<workbook/>", "xl/sharedStrings.xml", strings.Repeat("\x00", 10<<20)), []string{packed}},
	} {
		t.Run(name, func(t *testing.T) {
			p := p
			if slices.Equal(tc.reasons, []string{slow}) { // it never ends
				p.Limits.Time = time.Second
			}
			text, err := p.Extract(t.Context(), tc.file, file(t, tc.data))
			var f *Failure
			if !errors.As(err, &f) {
				t.Fatalf("%.100q, %v", text.Text, err)
			}
			if !slices.Contains(tc.reasons, f.Reason) {
				t.Errorf("%v", err)
			}
		})
	}
	if text, err := p.Extract(t.Context(), "a.docx", file(t, wordOf(paragraph("x")))); err != nil || text.Text != "x" {
		t.Errorf("afterwards: %+v, %v", text, err)
	}
}

func TestProcessReadsDeeplyNestedHTML(t *testing.T) {
	deep := strings.Repeat("<div>", 200_000) + "inside" + strings.Repeat("</div>", 200_000)
	text, err := newProcess(t).Extract(t.Context(), "a.html", file(t, []byte("<p>before</p>"+deep+"<script>x</script>")))
	if err != nil || text.Text != "before\ninside" {
		t.Errorf("%.100q, %v", text.Text, err)
	}
}

func TestProcessEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newProcess(t).Extract(ctx, "a.docx", file(t, wordOf(paragraph("x")))); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A machine that cannot start a process is not the document's fault.
func TestProcessThatDoesNotStart(t *testing.T) {
	p := newProcess(t)
	p.Command = []string{filepath.Join(t.TempDir(), "none")}
	_, err := p.Extract(t.Context(), "a.docx", file(t, wordOf(paragraph("x"))))
	var f *Failure
	if err == nil || errors.As(err, &f) {
		t.Errorf("%v", err)
	}
}

func TestServeRefusesNonsense(t *testing.T) {
	var out strings.Builder
	if err := Serve(file(t, nil), &out, "x"); err == nil || out.Len() > 0 {
		t.Errorf("%v %q", err, out.String())
	}
}
