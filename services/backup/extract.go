package backup

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"anthill/services/internal/workspace"
)

// ErrArchive means that a file is no sound backup. Nothing was touched.
var ErrArchive = errors.New("not a sound backup")

// Bounds on what an archive may hold, beside MaxBytes.
const (
	maxEntries  = 1_000_000
	maxManifest = 64 << 10
	maxListed   = 8 << 10 // bytes of one file in the list of contents
	// spare is how much of the disk a restore leaves free.
	spare = 64 << 20
)

// stage is where an archive is laid out before it takes its place.
type stage struct {
	home, projects       *os.Root // of the two folders
	homeDir, projectsDir string
	free                 func(dir string) (uint64, error)
}

// unpacker reads an archive and believes nothing of it.
type unpacker struct {
	ctx   context.Context
	tar   *tar.Reader
	to    stage
	left  int64 // bytes that may still come
	max   int64
	known []entry
	dirs  []folder // whose times are set last
	names map[string]bool
	manifest
}

type folder struct {
	root *os.Root
	name string
	at   time.Time
}

// bad is an ErrArchive.
func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrArchive, fmt.Errorf(format, args...))
}

// unpack lays an archive out and checks it as a whole. What it wrote is on disk
// when it returns without an error.
func unpack(ctx context.Context, r io.Reader, to stage, maxBytes int64) (*unpacker, error) {
	gz, err := gzip.NewReader(r)
	if err != nil {
		return nil, bad("it is not compressed by gzip: %w", err)
	}
	u := &unpacker{ctx: ctx, tar: tar.NewReader(gz), to: to, left: maxBytes, max: maxBytes, names: map[string]bool{}}
	if err := u.readManifest(); err != nil {
		return nil, err
	}
	for n := 0; ; n++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		h, err := u.tar.Next()
		switch {
		case err != nil: // the contents come before the end
			return nil, bad("it is cut off or damaged: %w", err)
		case n > maxEntries:
			return nil, bad("it holds more than %d files", maxEntries)
		case h.Name == contentsName && h.Size > 10<<20+maxListed*int64(len(u.known)):
			return nil, bad("its list of contents is too long")
		case h.Name == contentsName:
			return u, u.finish(gz)
		}
		if err := u.entry(h); err != nil {
			return nil, err
		}
	}
}

// readManifest takes the first file, which must be one of ours that we know.
func (u *unpacker) readManifest() error {
	h, err := u.tar.Next()
	if err != nil {
		return bad("it is cut off or no tar: %w", err)
	}
	if h.Name != manifestName || h.Typeflag != tar.TypeReg || h.Size > maxManifest {
		return bad("it does not begin with %s", manifestName)
	}
	if err := json.NewDecoder(u.tar).Decode(&u.manifest); err != nil {
		return bad("%s: %w", manifestName, err)
	}
	switch {
	case u.Format != formatName:
		return bad("it is of another program")
	case u.Version > formatVersion:
		return fmt.Errorf("the backup was made by a newer anthill (%s): use that one to restore it", clip(u.Anthill))
	case u.Version < 1:
		return bad("it has no version")
	}
	return nil
}

// place is where an entry goes.
func (u *unpacker) place(name string) (root *os.Root, dir, local string, err error) {
	clean, err := workspace.Clean(name)
	if err != nil || clean != name {
		return nil, "", "", bad("%q is no name that a backup has", clip(name))
	}
	if name == mainName || name == bulkName {
		return u.to.home, u.to.homeDir, name, nil
	}
	if local, ok := strings.CutPrefix(name, uploadsName+"/"); ok && isUpload(local) {
		return u.to.home, u.to.homeDir, name, nil
	}
	if local, ok := strings.CutPrefix(name, projectsName+"/"); ok {
		return u.to.projects, u.to.projectsDir, local, nil
	}
	return nil, "", "", bad("%q does not belong into a backup", clip(name))
}

func (u *unpacker) entry(h *tar.Header) error {
	name := h.Name
	if h.Typeflag == tar.TypeDir {
		name = strings.TrimSuffix(name, "/")
	}
	root, dir, local, err := u.place(name)
	if err != nil {
		return err
	}
	if u.names[name] {
		return bad("%q is there twice", clip(name))
	}
	u.names[name] = true
	switch h.Typeflag {
	case tar.TypeDir:
		if root != u.to.projects {
			return bad("%q is a folder", clip(name))
		}
		u.dirs = append(u.dirs, folder{root, local, h.ModTime})
		return within(name, root.MkdirAll(local, 0o755))
	case tar.TypeReg:
		return u.file(h, root, dir, local)
	}
	return bad("%q is a link or a device", clip(name))
}

func (u *unpacker) file(h *tar.Header, root *os.Root, dir, local string) (err error) {
	switch free, err := u.to.free(dir); {
	case h.Size > u.left:
		return bad("it holds more than %d bytes: if that is right, allow more with --max-bytes", u.max)
	case err != nil:
		return err
	case uint64(h.Size)+spare > free:
		return fmt.Errorf("%s has not enough free space for the backup: %w", dir, syscall.ENOSPC)
	}
	u.left -= h.Size
	mode, dirMode := fs.FileMode(h.Mode).Perm()&0o755|0o600, fs.FileMode(0o755)
	if root == u.to.home {
		mode, dirMode = 0o600, 0o700
	}
	if parent := path.Dir(local); parent != "." {
		if err := root.MkdirAll(parent, dirMode); err != nil {
			return within(h.Name, err)
		}
	}
	f, err := root.OpenFile(local, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return within(h.Name, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(&stopWriter{u.ctx, f}, sum), u.tar)
	switch {
	case errors.Is(err, syscall.ENOSPC), u.ctx.Err() != nil:
		return err
	case err != nil:
		return bad("%q is cut off or damaged: %w", clip(h.Name), err)
	}
	u.known = append(u.known, entry{h.Name, n, sumText(sum)})
	if err := f.Sync(); err != nil {
		return err
	}
	return root.Chtimes(local, h.ModTime, h.ModTime)
}

// finish compares what came with what the archive says it holds, and reads it to
// its end, where gzip has a checksum of everything.
func (u *unpacker) finish(gz *gzip.Reader) error {
	var c contents
	if err := json.NewDecoder(u.tar).Decode(&c); err != nil {
		return bad("%s: %w", contentsName, err)
	}
	for i := range max(len(c.Files), len(u.known)) {
		switch {
		case i >= len(u.known):
			return bad("%q is missing", clip(c.Files[i].Name))
		case i >= len(c.Files):
			return bad("%q was added", clip(u.known[i].Name))
		case c.Files[i] != u.known[i]:
			return bad("%q is not what it was", clip(u.known[i].Name))
		}
	}
	for _, name := range []string{mainName, bulkName} {
		if !u.names[name] {
			return bad("%s is missing", name)
		}
	}
	if _, err := u.tar.Next(); !errors.Is(err, io.EOF) {
		return bad("something follows its end")
	}
	// What follows the tar is padding, and gzip's checksum.
	if n, err := io.Copy(io.Discard, io.LimitReader(gz, maxManifest)); err != nil || n == maxManifest {
		return bad("it is damaged at its end: %v", err)
	}
	return u.settle()
}

// settle sets the times of folders, which changed while they were filled, and
// makes their entries last.
func (u *unpacker) settle() error {
	for _, d := range slices.Backward(u.dirs) {
		if err := errors.Join(syncFolder(d.root, d.name), d.root.Chtimes(d.name, d.at, d.at)); err != nil {
			return err
		}
	}
	return errors.Join(syncFolder(u.to.projects, "."), syncFolder(u.to.home, "store"), syncFolder(u.to.home, uploadsName), syncFolder(u.to.home, "."))
}

func syncFolder(root *os.Root, name string) error {
	d, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// within tells what an archive brought about from what the disk did.
func within(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EACCES):
		return err
	}
	return bad("%q cannot be laid out: %w", clip(name), err)
}

// clip bounds what is repeated of a hostile archive.
func clip(s string) string { return s[:min(len(s), 200)] }
