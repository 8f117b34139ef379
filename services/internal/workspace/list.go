package workspace

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"syscall"
	"time"
)

// Entry is one file or folder of a listing.
type Entry struct {
	Path     string // relative to the Folder, slash-separated
	Name     string // last part of Path
	Size     int64  // bytes; 0 for a folder
	Modified time.Time
	IsDir    bool
}

// ListOptions narrow a listing.
type ListOptions struct {
	Under string                 // a folder inside; "" is the whole Folder, a file is fs.ErrNotExist
	Max   int                    // entries at most; 0 means no bound
	Skip  func(path string) bool // true leaves the entry out, a folder with all below it
}

// List returns what is in the folder, at every depth, sorted by path. truncated
// says that there was more than Max. Left out are symlinks, devices and pipes,
// files still being written, folders that may not be read, and names that Clean
// refuses, since nothing could be done with them.
func (f *Folder) List(ctx context.Context, opts ListOptions) (entries []Entry, truncated bool, err error) {
	start := "."
	if opts.Under != "" {
		if start, err = Clean(opts.Under); err != nil {
			return nil, false, err
		}
	}
	err = fs.WalkDir(f.root.FS(), start, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			if name == start {
				return err
			}
			return unreadable(d, err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if name == start {
			if !d.IsDir() {
				return syscall.ENOTDIR
			}
			return nil
		}
		if !listed(name, d) || (opts.Skip != nil && opts.Skip(name)) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return unreadable(d, err)
		}
		if opts.Max > 0 && len(entries) == opts.Max {
			truncated = true
			return fs.SkipAll
		}
		e := Entry{Path: name, Name: d.Name(), Modified: info.ModTime(), IsDir: d.IsDir()}
		if !e.IsDir {
			e.Size = info.Size()
		}
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return nil, false, wrap(start, err)
	}
	// The walk goes by names, folder by folder: "a/b" before "a.txt".
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Path, b.Path) })
	return entries, truncated, nil
}

func listed(name string, d fs.DirEntry) bool {
	if !d.IsDir() && !d.Type().IsRegular() || isPart(d.Name()) {
		return false
	}
	_, err := Clean(name)
	return err == nil
}

// unreadable passes over what vanished during the walk or may not be read; any
// other failure ends it.
func unreadable(d fs.DirEntry, err error) error {
	if !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if d != nil && d.IsDir() {
		return fs.SkipDir
	}
	return nil
}
