package backup

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"anthill/services/internal/workspace"
)

// addUploads writes the contents of files of rooms. They are there before a row
// of the store leads to them, and never change.
func (p *packer) addUploads(dir string) error {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open the folder of uploads: %w", err)
	}
	defer root.Close() //nolint:errcheck // it was only read
	list, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return fmt.Errorf("list the folder of uploads: %w", err)
	}
	for _, d := range list {
		if p.ctx.Err() != nil {
			return p.ctx.Err()
		}
		if isUpload(d.Name()) && d.Type().IsRegular() {
			if err := p.addUpload(root, d.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// isUpload says whether a name is a SHA-256.
func isUpload(name string) bool {
	_, err := hex.DecodeString(name)
	return err == nil && len(name) == 2*sha256.Size && strings.ToLower(name) == name
}

func (p *packer) addUpload(root *os.Root, name string) error {
	f, err := root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return p.add(uploadsName+"/"+name, 0o600, info.ModTime(), info.Size(), f)
}

// addProjects writes the project folders. What is no plain file or folder, what
// cannot be read and what has a name that no project may have is left out, and
// said so; what vanishes meanwhile was not there.
func (p *packer) addProjects(dir string) error {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open the projects folder: %w", err)
	}
	defer root.Close() //nolint:errcheck // it was only read
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case p.ctx.Err() != nil:
			return p.ctx.Err()
		case name == "." && err != nil:
			return fmt.Errorf("list the projects folder: %w", err)
		case name == ".":
			return nil
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			p.skip(name)
			return nil
		}
		return p.addBelow(root, name, d)
	})
}

func (p *packer) addBelow(root *os.Root, name string, d fs.DirEntry) error {
	top := !strings.Contains(name, "/")
	skipFolder := func() error {
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	}
	if top && (!d.IsDir() || strings.HasPrefix(name, ".")) {
		return skipFolder() // no project: what is being deleted, or somebody's own
	}
	if strings.HasPrefix(d.Name(), ".anthill-") && strings.HasSuffix(d.Name(), ".part") {
		return skipFolder() // being written
	}
	if strings.HasSuffix(name, "/.anton/scratchpad-venvs") {
		return skipFolder() // installed packages: they can be had again, and are large
	}
	if clean, err := workspace.Clean(name); err != nil || clean != name {
		p.skip(name)
		return skipFolder()
	}
	info, err := d.Info()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		p.skip(name)
		return nil
	case d.IsDir():
		return p.addFolder(projectsName+"/"+name, info.Mode(), info.ModTime())
	case !d.Type().IsRegular():
		p.skip(name)
		return nil
	}
	err = p.addFile(root, name)
	if _, bad := errors.AsType[unreadable](err); bad {
		p.skip(name)
		return nil
	}
	return err
}

func (p *packer) addFile(root *os.Root, name string) error {
	// Without O_NONBLOCK, opening a pipe would wait for a writer.
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return unreadable{err}
	}
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	if err != nil {
		return unreadable{err}
	}
	if !info.Mode().IsRegular() {
		return unreadable{errors.New("not a plain file")}
	}
	p.files++
	return p.addOpen(projectsName+"/"+name, f, info)
}
