package memory

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/workspace"
	"anthill/services/memory/manifest"
)

// Bounds of an upload.
const (
	uploadMax   = 16 << 20 // bytes as they come
	unpackedMax = 32 << 20 // bytes of a zip's files
	filesMax    = 1000
	chunkMax    = 1 << 20
)

// bundle is the files of a skill that comes, by their paths.
type bundle struct {
	files []bundled
	paths map[string]string // by their lowercase: as written; folders end in "/"
	size  int64
}

type bundled struct {
	path string
	data []byte
}

func badBundle(format string, args ...any) error {
	return fault.New(fault.Invalid, "SKILL_INVALID", format, args...)
}

// UploadSkill implements antonv1.SkillsServiceServer.
func (s skillsService) UploadSkill(call grpc.ClientStreamingServer[antonv1.UploadSkillRequest, antonv1.InstallSkillResponse]) error {
	first, files, err := receive(call)
	if err != nil {
		return err
	}
	ctx := call.Context()
	at, err := s.room.one(ctx, wanted{scope: first.Scope, project: first.Project}, global)
	if err != nil {
		return err
	}
	b, err := bundleOf(files)
	if err != nil {
		return err
	}
	top, m, err := b.manifest()
	if err != nil {
		return err
	}
	label := labelOf(first.Label)
	if first.Label == "" {
		label = labelOf(m.Name)
	}
	if label == "" {
		return fault.New(fault.Invalid, "INVALID_LABEL", "A label has letters, digits, - and _")
	}
	s.room.writing.Lock()
	defer s.room.writing.Unlock()
	if err := s.room.free(ctx, at, label); err != nil {
		return err
	}
	if err := s.room.place(ctx, at, label, top, b); err != nil {
		return diskFault(err)
	}
	out, err := s.room.installed(ctx, at, label, provenUpload)
	if err != nil {
		return err
	}
	return call.SendAndClose(out)
}

// receive collects what comes, within bounds.
func receive(call grpc.ClientStreamingServer[antonv1.UploadSkillRequest, antonv1.InstallSkillResponse]) (first *antonv1.SkillFileHeader, files []bundled, err error) {
	size := 0
	for {
		m, err := call.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, err
		}
		switch part := m.Part.(type) {
		case *antonv1.UploadSkillRequest_Header:
			if part.Header == nil || part.Header.Path == "" {
				return nil, nil, fault.BadField("missing", "Field required", "header", "path")
			}
			if first == nil {
				first = part.Header
			}
			if len(files) == filesMax {
				return nil, nil, fault.New(fault.Exhausted, "TOO_MANY_FILES", "A skill has up to %d files", filesMax)
			}
			files = append(files, bundled{path: part.Header.Path})
		case *antonv1.UploadSkillRequest_Data:
			if first == nil || len(part.Data) > chunkMax {
				return nil, nil, fault.BadField("value_error", "A file begins with a header, and has pieces of up to 1 MiB", "data")
			}
			if size += len(part.Data); size > uploadMax {
				return nil, nil, fault.New(fault.Exhausted, "FILE_TOO_LARGE", "A skill has up to %d MiB", uploadMax>>20)
			}
			f := &files[len(files)-1]
			f.data = append(f.data, part.Data...)
		default:
			return nil, nil, fault.BadField("missing", "Field required", "part")
		}
	}
	if first == nil {
		return nil, nil, fault.BadField("missing", "Field required", "files")
	}
	return first, files, nil
}

// bundleOf checks the files of a folder, or of the zip that is the only one.
func bundleOf(files []bundled) (*bundle, error) {
	b := &bundle{paths: map[string]string{}}
	if len(files) == 1 && strings.EqualFold(path.Ext(files[0].path), ".zip") {
		return b, b.unzip(files[0].data)
	}
	for _, f := range files {
		if err := b.add(f.path, f.data); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// add takes a file whose path is fit for every disk.
func (b *bundle) add(name string, data []byte) error {
	if litter(name) {
		return nil
	}
	clean, err := b.claim(name)
	if err != nil {
		return err
	}
	if len(b.files) == filesMax {
		return fault.New(fault.Exhausted, "TOO_MANY_FILES", "A skill has up to %d files", filesMax)
	}
	b.files = append(b.files, bundled{clean, data})
	return nil
}

// litter is what systems add to folders.
func litter(name string) bool {
	return strings.HasPrefix(name, "__MACOSX/") || path.Base(name) == ".DS_Store" || strings.HasPrefix(path.Base(name), "._")
}

// claim checks a path against all others: no two may be one where case does not
// count, and none may be a file and a folder.
func (b *bundle) claim(name string) (string, error) {
	clean, err := workspace.Clean(name)
	if err != nil || strings.HasSuffix(name, "/") {
		return "", badBundle("The path %q is not allowed in a skill", clip(strings.ToValidUTF8(name, "\uFFFD"), 100))
	}
	if strings.Count(clean, "/") >= skillDeepest {
		return "", badBundle("Folders of a skill are at most %d deep", skillDeepest)
	}
	for i, c := range clean + "/" {
		if c != '/' {
			continue
		}
		part, folder := clean[:i], i < len(clean)
		if strings.HasPrefix(path.Base(part), ".anthill-") {
			return "", badBundle("The path %q is not allowed in a skill", clip(clean, 100))
		}
		key, written := strings.ToLower(part), part
		if folder {
			written += "/"
		}
		if had, taken := b.paths[key]; taken && (had != written || !folder) {
			return "", badBundle("The paths %q and %q cannot be beside each other", clip(strings.TrimSuffix(had, "/"), 100), clip(clean, 100))
		}
		b.paths[key] = written
	}
	return clean, nil
}

// unzip takes the files of an archive. Nothing but files and folders may be in
// it, and sizes are those that come out, whatever the archive says.
func (b *bundle) unzip(data []byte) error {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return badBundle("The file is not a zip archive that can be read")
	}
	for _, e := range z.File {
		name := e.Name
		switch mode := e.Mode(); {
		case !utf8.ValidString(name):
			return badBundle("A name in the archive is not UTF-8")
		case e.Flags&1 != 0:
			return badBundle("The archive is encrypted")
		case strings.HasSuffix(name, "/") && mode.IsDir():
			continue
		case !mode.IsRegular():
			return badBundle("%q is not a plain file", clip(name, 100))
		}
		if litter(name) {
			continue
		}
		if len(b.files) == filesMax {
			return fault.New(fault.Exhausted, "TOO_MANY_FILES", "A skill has up to %d files", filesMax)
		}
		content, err := b.inflate(e)
		if err != nil {
			return err
		}
		if err := b.add(name, content); err != nil {
			return err
		}
	}
	return nil
}

func (b *bundle) inflate(e *zip.File) ([]byte, error) {
	src, err := e.Open()
	if err != nil {
		return nil, badBundle("The archive is damaged, or packed in an unknown way")
	}
	data, err := io.ReadAll(io.LimitReader(src, unpackedMax-b.size+1))
	err = errors.Join(err, src.Close())
	if b.size += int64(len(data)); b.size > unpackedMax {
		return nil, fault.New(fault.Exhausted, "FILE_TOO_LARGE", "The files of a skill have up to %d MiB", unpackedMax>>20)
	}
	if err != nil {
		return nil, badBundle("The archive is damaged")
	}
	return data, nil
}

// manifest finds the SKILL.md, at the top or in the only folder there.
func (b *bundle) manifest() (top string, m manifest.Manifest, err error) {
	folders := map[string]bool{}
	for _, f := range b.files {
		first, _, nested := strings.Cut(f.path, "/")
		if !nested {
			first = ""
		}
		folders[first] = true
	}
	if len(folders) == 1 {
		for only := range folders {
			top = only
		}
	}
	for _, f := range b.files {
		if f.path != path.Join(top, manifestName) {
			continue
		}
		if len(f.data) > manifestMax {
			return "", m, badBundle("The %s has more than %d KiB", manifestName, manifestMax>>10)
		}
		if m, err = manifest.Parse(f.data); err != nil {
			return "", m, badBundle("The %s cannot be read: %s", manifestName, err)
		}
		return top, m, nil
	}
	return "", m, badBundle("There is no %s at the top of the folder", manifestName)
}

// place puts a skill where the one of its label was, when all of it is on disk.
func (r *Room) place(ctx context.Context, at place, label, top string, b *bundle) error {
	return r.within(ctx, at, func(f *workspace.Folder) (err error) {
		if err := errors.Join(f.RemoveAll(newSkill(at)), f.RemoveAll(oldSkill(at))); err != nil {
			return err
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, f.RemoveAll(newSkill(at)))
			}
		}()
		for _, file := range b.files {
			rel := strings.TrimPrefix(file.path, top+"/")
			if err := f.WriteFile(path.Join(newSkill(at), rel), file.data); err != nil {
				return fmt.Errorf("write %s: %w", rel, err)
			}
		}
		name := path.Join(at.skillsDir(), label)
		replaced := false
		if _, err := f.Stat(name); err == nil {
			if err := f.Move(name, oldSkill(at)); err != nil {
				return err
			}
			replaced = true
		}
		if err := f.Move(newSkill(at), name); err != nil {
			if replaced {
				err = errors.Join(err, f.Move(oldSkill(at), name))
			}
			return err
		}
		return f.RemoveAll(oldSkill(at))
	})
}
