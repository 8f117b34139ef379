package workspace

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxPath    = 1024 // bytes
	maxSegment = 255  // bytes, what file systems take
	maxFolder  = 48   // runes of a project's folder name
)

// Clean is the guard that every path from outside passes: it returns the path
// without empty and "." segments, or ErrPath for anything that is not plainly
// below the folder. Cleaning a clean path changes nothing.
func Clean(name string) (string, error) {
	refuse := func(why string) (string, error) { return "", fmt.Errorf("%w: %s", ErrPath, why) }
	switch {
	case name == "":
		return refuse("it is empty")
	case len(name) > maxPath:
		return refuse("it is too long")
	case !utf8.ValidString(name):
		return refuse("it is not UTF-8")
	case strings.ContainsFunc(name, unicode.IsControl):
		return refuse("it has a control character")
	case strings.Contains(name, `\`):
		return refuse("it has a backslash")
	case name[0] == '/':
		return refuse("it is absolute")
	case len(name) > 1 && name[1] == ':' && isLetter(name[0]):
		return refuse("it names a drive")
	}
	for seg := range strings.SplitSeq(name, "/") {
		if seg == ".." {
			return refuse("it leads upwards")
		}
		if len(seg) > maxSegment {
			return refuse("a name in it is too long")
		}
	}
	clean := path.Clean(name)
	if clean == "." {
		return refuse("it names the folder itself")
	}
	// "./C:x" becomes a drive only by cleaning; some systems have names of their own.
	if len(clean) > 1 && clean[1] == ':' && isLetter(clean[0]) || !filepath.IsLocal(filepath.FromSlash(clean)) {
		return refuse("it is not a local name")
	}
	return clean, nil
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// FolderName turns any text into the name of a project folder. It never fails;
// the caller deals with names that are taken.
func FolderName(requested string) string {
	var b strings.Builder
	for _, r := range requested {
		if r == utf8.RuneError || !(unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r) || r == '.' || r == '_' || r == '-') {
			r = '-'
		}
		if r == '-' && strings.HasSuffix(b.String(), "-") {
			continue
		}
		b.WriteRune(r)
	}
	name := trimName(b.String())
	if stem, rest, _ := strings.Cut(name, "."); reserved(stem) {
		// Windows reserves the name with any extension, so the stem must change.
		name = trimName(stem + "-x." + rest)
	}
	if name == "" {
		return "untitled-project"
	}
	return name
}

func trimName(name string) string {
	const edges = "-._"
	runes := []rune(strings.Trim(name, edges))
	if len(runes) > maxFolder {
		runes = runes[:maxFolder]
	}
	return strings.TrimRight(string(runes), edges)
}

// reserved reports whether Windows keeps the name for a device.
func reserved(stem string) bool {
	stem = strings.ToLower(stem)
	switch stem {
	case "con", "prn", "aux", "nul":
		return true
	}
	return len(stem) == 4 && (stem[:3] == "com" || stem[:3] == "lpt") && '1' <= stem[3] && stem[3] <= '9'
}
