package workspace

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"a":                      "a",
		"a/b.txt":                "a/b.txt",
		"./a//b/./c/":            "a/b/c",
		".anton/anton.md":        ".anton/anton.md",
		"..a/b..":                "..a/b..",
		"...":                    "...",
		"naïve/Größe 1.md":       "naïve/Größe 1.md",
		"%2e%2e/x":               "%2e%2e/x", // decoding is not done here, so these are plain letters
		"aa:b":                   "aa:b",
		"~/x":                    "~/x",
		"-rf":                    "-rf",
		"a/$(id)/b;c":            "a/$(id)/b;c",
		strings.Repeat("a", 255): strings.Repeat("a", 255),
	} {
		if got, err := Clean(in); err != nil || got != want {
			t.Errorf("Clean(%q) = %q, %v", in, got, err)
		}
	}
	for _, in := range []string{
		"", ".", "./", "/", "/etc/passwd", "//etc", "..", "../x", "a/..", "a/../b", "a/../../b", "./..",
		`a\b`, `..\..\x`, "C:", "c:/x", "C:x", "./C:/x", "a\x00b", "a\nb", "a\x1b[0m", "a\x7f", "a\u0085b",
		"a\xff", strings.Repeat("a", 256), strings.Repeat("a/", 513),
	} {
		if got, err := Clean(in); !errors.Is(err, ErrPath) || got != "" {
			t.Errorf("Clean(%q) = %q, %v", in, got, err)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, seed := range []string{"a/b", "../x", "./a/", "C:/x", `\\host\x`, "a//../b", "/", "é/\xff", "a\x00", "con", "./C:"} {
		f.Add(seed)
	}
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, in string) {
		clean, err := Clean(in)
		if err != nil {
			if !errors.Is(err, ErrPath) || clean != "" {
				t.Fatalf("Clean(%q) = %q, %v", in, clean, err)
			}
			return
		}
		joined := filepath.Join(root, filepath.FromSlash(clean))
		if !strings.HasPrefix(joined, root+string(filepath.Separator)) {
			t.Fatalf("Clean(%q) = %q leads to %q", in, clean, joined)
		}
		if back, err := filepath.Rel(root, joined); err != nil || filepath.ToSlash(back) != clean {
			t.Fatalf("Clean(%q) = %q comes back as %q, %v", in, clean, back, err)
		}
		if again, err := Clean(clean); err != nil || again != clean {
			t.Fatalf("Clean(%q) = %q, then %q, %v", in, clean, again, err)
		}
	})
}

func TestFolderName(t *testing.T) {
	for in, want := range map[string]string{
		"My Project":                   "My-Project",
		"  a / b \\ c  ":               "a-b-c",
		"a---b":                        "a-b",
		"../../etc/passwd":             "etc-passwd",
		".hidden":                      "hidden",
		"_._":                          "untitled-project",
		"":                             "untitled-project",
		"***":                          "untitled-project",
		"con":                          "con-x",
		"COM1":                         "COM1-x",
		"nul.txt":                      "nul-x.txt",
		"console":                      "console",
		"com0":                         "com0",
		"Größe 日本":                     "Größe-日本",
		"हिन्दी":                       "हिन्दी",
		"a\x00b\xffc":                  "a-b-c",
		"v1.2_final":                   "v1.2_final",
		strings.Repeat("é", 60):        strings.Repeat("é", 48),
		strings.Repeat("a", 47) + "-b": strings.Repeat("a", 47),
	} {
		if got := FolderName(in); got != want {
			t.Errorf("FolderName(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzFolderName(f *testing.F) {
	f.Add("a b")
	f.Add("con.")
	f.Fuzz(func(t *testing.T, in string) {
		name := FolderName(in)
		clean, err := Clean(name)
		stem, _, _ := strings.Cut(name, ".")
		if err != nil || clean != name || strings.Contains(name, "/") || strings.HasPrefix(name, ".") ||
			utf8.RuneCountInString(name) > maxFolder || reserved(stem) || FolderName(name) != name {
			t.Fatalf("FolderName(%q) = %q, %v", in, name, err)
		}
	})
}
