package projects

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/workspace"
)

const (
	// instructions is shown, and reads as empty, also when it does not exist.
	instructions     = ".anton/anton.md"
	instructionsName = "anton.md"

	textMax  = 2 << 20 // bytes of a file that is read or written as text
	filesMax = 10_000  // entries of a listing
)

// bulky are folders that programs fill. They are listed unless there is too
// much, and then they must not crowd out what people made.
var bulky = []string{".git", ".venv", "venv", "node_modules", "__pycache__", ".cache", "scratchpad-venvs"}

type filesService struct {
	antonv1.UnimplementedProjectFilesServiceServer
	room *Room
	max  int // entries of a listing
}

// within runs fn on the folder of the project of that name.
func (s filesService) within(ctx context.Context, project string, fn func(*workspace.Folder) error) error {
	p, err := s.room.resolveNamed(ctx, project)
	if err != nil {
		return err
	}
	f, err := s.room.Folder(ctx, p.ID)
	if err != nil {
		return err
	}
	return errors.Join(fn(f), f.Close())
}

func (s filesService) GetInstructions(ctx context.Context, q *antonv1.GetInstructionsRequest) (*antonv1.GetInstructionsResponse, error) {
	out := &antonv1.GetInstructionsResponse{}
	err := s.within(ctx, q.Project, func(f *workspace.Folder) (err error) {
		out.File, err = describeInstructions(f)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func describeInstructions(f *workspace.Folder) (*antonv1.ProjectFile, error) {
	file := &antonv1.ProjectFile{Path: instructions, Name: instructionsName, Synthetic: true}
	info, err := f.Stat(instructions)
	switch {
	case err == nil && info.Mode().IsRegular():
		file.Synthetic, file.Size, file.Modified = false, float64(info.Size()), seconds(info.ModTime())
	case err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, workspace.ErrPath):
		return nil, err
	}
	return file, nil
}

func (s filesService) ListFiles(ctx context.Context, q *antonv1.ListFilesRequest) (*antonv1.ListFilesResponse, error) {
	out := &antonv1.ListFilesResponse{}
	err := s.within(ctx, q.Project, func(f *workspace.Folder) error {
		first, err := describeInstructions(f)
		if err != nil {
			return err
		}
		entries, truncated, err := f.List(ctx, workspace.ListOptions{Max: s.max})
		if err == nil && truncated {
			entries, _, err = f.List(ctx, workspace.ListOptions{Max: s.max, Skip: isBulky})
		}
		if err != nil {
			return err
		}
		out.Truncated = truncated
		out.Files = append(make([]*antonv1.ProjectFile, 0, len(entries)+1), first)
		for _, e := range entries {
			if e.Path != instructions {
				out.Files = append(out.Files, &antonv1.ProjectFile{Path: e.Path, Name: e.Name,
					Size: float64(e.Size), Modified: seconds(e.Modified), IsDir: e.IsDir})
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func isBulky(path string) bool {
	return slices.Contains(bulky, path[strings.LastIndexByte(path, '/')+1:])
}

func (s filesService) ReadFile(ctx context.Context, q *antonv1.ReadFileRequest) (*antonv1.FileContent, error) {
	name, err := cleanPath(q.Path)
	if err != nil {
		return nil, err
	}
	out := &antonv1.FileContent{Path: name}
	err = s.within(ctx, q.Project, func(f *workspace.Folder) error {
		data, modified, err := readText(f, name)
		if errors.Is(err, fs.ErrNotExist) && name == instructions {
			return nil
		}
		if err != nil {
			return fileFault(err)
		}
		out.Content, out.Size, out.Modified = string(data), float64(len(data)), seconds(modified)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// readText reads a whole file, so that content and time are of the same one.
func readText(f *workspace.Folder, name string) (data []byte, modified time.Time, err error) {
	file, info, err := f.OpenReader(name)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if info.Size() <= textMax { // else only the refusal is needed
		if data, err = io.ReadAll(io.LimitReader(file, textMax+1)); err != nil {
			return nil, time.Time{}, err
		}
	}
	switch {
	case info.Size() > textMax || len(data) > textMax:
		return nil, time.Time{}, errTooLarge("File exceeds 2 MiB cap")
	case !utf8.Valid(data):
		return nil, time.Time{}, fault.New(fault.Precondition, "FILE_NOT_TEXT", "File is not UTF-8 text")
	}
	return data, info.ModTime(), nil
}

func (s filesService) WriteFile(ctx context.Context, q *antonv1.WriteFileRequest) (*antonv1.WriteFileResponse, error) {
	if q.Content == nil {
		return nil, errMissing("content")
	}
	name, err := cleanPath(q.Path)
	if err != nil {
		return nil, err
	}
	if len(*q.Content) > textMax {
		return nil, errTooLarge("Content exceeds 2 MiB cap")
	}
	out := &antonv1.WriteFileResponse{Path: name, Size: float64(len(*q.Content))}
	err = s.within(ctx, q.Project, func(f *workspace.Folder) error {
		if err := f.WriteFile(name, []byte(*q.Content)); err != nil {
			return fileFault(err)
		}
		info, err := f.Stat(name)
		if errors.Is(err, fs.ErrNotExist) { // deleted by somebody since
			out.Modified = *seconds(s.room.opt.Now())
			return nil
		}
		if err != nil {
			return fileFault(err)
		}
		out.Modified = *seconds(info.ModTime())
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s filesService) DeleteFile(ctx context.Context, q *antonv1.DeleteFileRequest) (*antonv1.DeleteFileResponse, error) {
	name, err := cleanPath(q.Path)
	if err != nil {
		return nil, err
	}
	err = s.within(ctx, q.Project, func(f *workspace.Folder) error {
		info, err := f.Stat(name)
		if err == nil && info.IsDir() {
			err = workspace.ErrIsDir
		}
		if err != nil {
			return fileFault(err)
		}
		return fileFault(f.Remove(name))
	})
	if err != nil {
		return nil, err
	}
	return &antonv1.DeleteFileResponse{Status: "deleted", Path: name}, nil
}

func cleanPath(path string) (string, error) {
	name, err := workspace.Clean(path)
	return name, fileFault(err)
}

func errTooLarge(text string) error {
	return fault.New(fault.Exhausted, "FILE_TOO_LARGE", "%s", text)
}

// fileFault says what is wrong with a path; what it does not know stays an
// internal error.
func fileFault(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, workspace.ErrIsDir):
		return fault.New(fault.Invalid, "PATH_IS_DIRECTORY", "Path is a directory").Because(err)
	case errors.Is(err, workspace.ErrPath), errors.Is(err, workspace.ErrSpecial):
		return fault.New(fault.Invalid, "INVALID_PATH", "Invalid path").Because(err)
	case errors.Is(err, workspace.ErrTooLarge):
		return errTooLarge("File is too large")
	case errors.Is(err, fs.ErrNotExist):
		return fault.Missing("FILE_NOT_FOUND", "File not found").Because(err)
	case errors.Is(err, fs.ErrPermission):
		return fault.New(fault.Denied, "FILE_DENIED", "The server may not use this file").Because(err)
	}
	if full := diskFull(err); full != nil {
		return full
	}
	return err
}

// seconds since 1970, as the wire has them.
func seconds(t time.Time) *float64 {
	s := float64(t.UnixMicro()) / 1e6
	return &s
}
