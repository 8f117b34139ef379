package workspace

import (
	"errors"
	"path"
)

// Move gives a file or folder another name. What has that name must be gone
// before, unless both are files. When it returns nil the new name is on disk.
func (f *Folder) Move(from, to string) error {
	oldName, err := Clean(from)
	if err != nil {
		return err
	}
	newName, err := Clean(to)
	if err != nil {
		return err
	}
	if err := f.root.Rename(oldName, newName); err != nil {
		return wrap(oldName, err)
	}
	return errors.Join(f.syncDir(path.Dir(newName)), f.syncDir(path.Dir(oldName)))
}

// RemoveAll deletes a folder with all in it, or a file. Links are removed, never
// followed; nothing there is no error.
func (f *Folder) RemoveAll(name string) error {
	clean, err := Clean(name)
	if err != nil {
		return err
	}
	if err := f.root.RemoveAll(clean); err != nil {
		return wrap(clean, err)
	}
	return nil
}
