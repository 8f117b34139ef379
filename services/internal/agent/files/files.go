// Package files gives a model the tools to look into a project's folder:
// read_file, list_files and read_image.
//
// Rooms enter through Tools. The tools only read, only inside the
// folder, and never more at a time than a model can take in. What goes wrong is
// said so that the model can do better next time.
package files

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"anthill/services/internal/agent"
	"anthill/services/internal/workspace"
)

// Names of the tools.
const (
	ReadTool = "read_file"
	ListTool = "list_files"
)

const (
	maxRead    = 200 << 10 // bytes of one answer
	maxWide    = 1 << 20   // bytes of a UTF-16 file, which is decoded whole
	maxListed  = 500       // files of one listing
	maxWalked  = 5000      // entries looked at for suggestions
	sniffBytes = 8 << 10
)

// Tools returns the tools over a folder, which must stay open while they are used.
func Tools(folder *workspace.Folder) []agent.Tool {
	return []agent.Tool{reader{folder}, lister{folder}, imager{folder}}
}

type reader struct{ folder *workspace.Folder }

func (reader) Spec() agent.ToolSpec {
	return agent.ToolSpec{
		Name: ReadTool,
		Description: "Read a text file of the project. Returns its content; a long file comes in parts, " +
			"and a last line in brackets says where the next part begins.",
		Schema: json.RawMessage(`{"type":"object","properties":{` +
			`"path":{"type":"string","description":"Path relative to the project folder, such as notes.md or data/report.csv"},` +
			`"offset":{"type":"integer","minimum":0,"description":"Byte to begin at, 0 by default"},` +
			`"limit":{"type":"integer","minimum":1,"description":"Bytes to return at most"}},` +
			`"required":["path"],"additionalProperties":false}`),
	}
}

func (r reader) Run(ctx context.Context, input json.RawMessage) (text string, err error) {
	var in struct {
		Path   string `json:"path"`
		Offset int64  `json:"offset"`
		Limit  int64  `json:"limit"`
	}
	if err := json.Unmarshal(input, &in); err != nil {
		return "", fmt.Errorf("the input is not as %s needs it: %w", ReadTool, err)
	}
	if in.Offset < 0 || in.Limit < 0 {
		return "", errors.New("offset and limit must not be negative")
	}
	if in.Limit == 0 || in.Limit > maxRead {
		in.Limit = maxRead
	}
	file, info, err := r.folder.OpenReader(in.Path)
	if err != nil {
		return "", explain(ctx, r.folder, in.Path, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()

	head, err := io.ReadAll(io.LimitReader(file, sniffBytes))
	if err != nil {
		return "", fmt.Errorf("%s cannot be read: %w", in.Path, err)
	}
	if order := wide(head); order != nil && info.Size() <= maxWide {
		rest, err := io.ReadAll(io.LimitReader(file, maxWide))
		if err != nil {
			return "", fmt.Errorf("%s cannot be read: %w", in.Path, err)
		}
		whole := decodeWide(append(head, rest...), order)
		return part(bytes.NewReader(whole), int64(len(whole)), in.Offset, in.Limit)
	}
	if !isText(head, info.Size() > int64(len(head))) {
		return "", fmt.Errorf("%s is not a text file (%s, %d bytes)", in.Path, http.DetectContentType(head), info.Size())
	}
	return part(file, info.Size(), in.Offset, in.Limit)
}

// part returns limit bytes from offset on, cut where a character ends, with a
// notice if there is more.
func part(src io.ReadSeeker, size, offset, limit int64) (string, error) {
	if offset >= size && size > 0 {
		return "", fmt.Errorf("offset %d is behind the end: the file has %d bytes", offset, size)
	}
	if _, err := src.Seek(offset, io.SeekStart); err != nil {
		return "", err
	}
	data, err := io.ReadAll(io.LimitReader(src, limit))
	if err != nil {
		return "", err
	}
	for len(data) > 0 && !utf8.RuneStart(data[0]) { // the offset points inside a character
		data, offset = data[1:], offset+1
	}
	end := offset + int64(len(data))
	if end < size {
		cut := wholeRunes(data)
		if len(cut) > 0 { // else the limit is smaller than a character
			data = cut
		}
		end = offset + int64(len(data))
	}
	text := strings.ToValidUTF8(string(data), "\uFFFD")
	if offset == 0 {
		text = strings.TrimPrefix(text, "\uFEFF")
	}
	if offset == 0 && end >= size {
		return text, nil
	}
	return text + Notice(offset, end, size), nil
}

// Notice is the last line of a part of a file.
func Notice(from, to, size int64) string {
	next := ""
	if to < size {
		next = fmt.Sprintf("; read on with offset %d", to)
	}
	return fmt.Sprintf("\n[bytes %d to %d of %d%s]", from, to, size, next)
}

// SplitNotice takes the notice off what read_file returned. Without one, size
// is that of the text and whole is true.
func SplitNotice(result string) (text string, size int64, whole bool) {
	i := strings.LastIndexByte(result, '\n') + 1
	var from, to int64
	if n, err := fmt.Sscanf(result[i:], "[bytes %d to %d of %d", &from, &to, &size); i > 0 && err == nil && n == 3 {
		return result[:i-1], size, false
	}
	return result, int64(len(result)), true
}

// wholeRunes cuts off a last character that is not all there.
func wholeRunes(data []byte) []byte {
	for i := len(data) - 1; i >= 0 && i >= len(data)-utf8.UTFMax; i-- {
		if utf8.RuneStart(data[i]) {
			if !utf8.FullRune(data[i:]) {
				return data[:i]
			}
			break
		}
	}
	return data
}

func isText(head []byte, more bool) bool {
	if more {
		head = wholeRunes(head)
	}
	return utf8.Valid(head) && bytes.IndexByte(head, 0) < 0
}

// wide is the byte order of UTF-16 text that says so at its beginning.
func wide(head []byte) binary.ByteOrder {
	switch {
	case bytes.HasPrefix(head, []byte{0xFF, 0xFE}):
		return binary.LittleEndian
	case bytes.HasPrefix(head, []byte{0xFE, 0xFF}):
		return binary.BigEndian
	}
	return nil
}

func decodeWide(data []byte, order binary.ByteOrder) []byte {
	units := make([]uint16, 0, len(data)/2)
	for i := 2; i+1 < len(data); i += 2 {
		units = append(units, order.Uint16(data[i:]))
	}
	return []byte(string(utf16.Decode(units)))
}

// explain says what a model can do about a file that cannot be opened.
func explain(ctx context.Context, folder *workspace.Folder, name string, err error) error {
	switch {
	case errors.Is(err, workspace.ErrIsDir):
		return fmt.Errorf("%s is a folder; call %s with it as path", name, ListTool)
	case errors.Is(err, workspace.ErrPath):
		return fmt.Errorf("%q is not a path inside the project; give one relative to its folder, without \"..\"", name)
	case errors.Is(err, workspace.ErrSpecial):
		return fmt.Errorf("%s is not a plain file and is not read", name)
	case errors.Is(err, fs.ErrNotExist):
		near := ""
		if names, _, err := list(ctx, folder, "", maxWalked); err == nil {
			if found := Nearest(name, names, 3); len(found) > 0 {
				near = "; the nearest names are " + strings.Join(found, ", ")
			}
		}
		return fmt.Errorf("there is no file %s%s. Call %s to see what there is", name, near, ListTool)
	}
	return fmt.Errorf("%s cannot be read: %w", name, err)
}

type lister struct{ folder *workspace.Folder }

func (lister) Spec() agent.ToolSpec {
	return agent.ToolSpec{
		Name:        ListTool,
		Description: "List the files of the project, at every depth, one on a line with its size.",
		Schema: json.RawMessage(`{"type":"object","properties":{` +
			`"path":{"type":"string","description":"Folder to list, the whole project by default"},` +
			`"max":{"type":"integer","minimum":1,"description":"Files to return at most"}},"additionalProperties":false}`),
	}
}

func (l lister) Run(ctx context.Context, input json.RawMessage) (string, error) {
	var in struct {
		Path string `json:"path"`
		Max  int    `json:"max"`
	}
	if err := json.Unmarshal(input, &in); err != nil {
		return "", fmt.Errorf("the input is not as %s needs it: %w", ListTool, err)
	}
	if in.Max <= 0 || in.Max > maxListed {
		in.Max = maxListed
	}
	if in.Path = strings.TrimSuffix(in.Path, "/"); in.Path == "." {
		in.Path = ""
	}
	entries, truncated, err := entries(ctx, l.folder, in.Path, maxWalked)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("there is no folder %s", in.Path)
	case errors.Is(err, workspace.ErrPath):
		return "", fmt.Errorf("%q is not a folder inside the project", in.Path)
	case err != nil:
		return "", fmt.Errorf("the files cannot be listed: %w", err)
	case len(entries) == 0:
		return "There are no files.", nil
	}
	var b strings.Builder
	shown := entries[:min(len(entries), in.Max)]
	for _, e := range shown {
		fmt.Fprintf(&b, "%s (%d bytes)\n", e.Path, e.Size)
	}
	if truncated || len(shown) < len(entries) {
		fmt.Fprintf(&b, "[only the first %d files; list a folder to see more of it]\n", len(shown))
	}
	return b.String(), nil
}

// Listed is one file of a listing.
type Listed struct {
	Path string
	Size int64
}

// ParseList reads what list_files returned.
func ParseList(result string) (found []Listed, whole bool) {
	whole = true
	for line := range strings.Lines(result) {
		line = strings.TrimSuffix(line, "\n")
		at := strings.LastIndex(line, " (")
		var size int64
		if at > 0 {
			if n, err := fmt.Sscanf(line[at:], " (%d bytes)", &size); err == nil && n == 1 {
				found = append(found, Listed{line[:at], size})
				continue
			}
		}
		whole = whole && !strings.HasPrefix(line, "[only the first")
	}
	return found, whole
}

// entries lists files, without what programs keep for themselves unless it is
// asked for by its path.
func entries(ctx context.Context, folder *workspace.Folder, under string, most int) ([]workspace.Entry, bool, error) {
	all, truncated, err := folder.List(ctx, workspace.ListOptions{Under: under, Max: most, Skip: internal})
	return slices.DeleteFunc(all, func(e workspace.Entry) bool { return e.IsDir }), truncated, err
}

func list(ctx context.Context, folder *workspace.Folder, under string, most int) ([]string, bool, error) {
	all, truncated, err := entries(ctx, folder, under, most)
	names := make([]string, len(all))
	for i, e := range all {
		names[i] = e.Path
	}
	return names, truncated, err
}

func internal(name string) bool {
	switch path.Base(name) {
	case ".git", "node_modules", "__pycache__", ".venv":
		return true
	}
	// Of our own folder people know their uploads, artifacts and instructions.
	rest, ours := strings.CutPrefix(name, ".anton/")
	first, _, _ := strings.Cut(rest, "/")
	return ours && first != "uploads" && first != "artifacts" && first != "anton.md"
}
