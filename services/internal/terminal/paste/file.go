package paste

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
)

// save writes the message into the folder, under a name made of its digest, and returns its path. It is whole on the
// disk, or not there.
func (t *sending) save() (string, error) {
	if t.Folder == "" {
		return "", errors.New("no folder for messages")
	}
	root, err := os.OpenRoot(t.Folder)
	if err != nil {
		return "", err
	}
	defer root.Close()
	name := "message-" + t.receipt.SHA256[:16] + ".md"
	part := name + "." + rand.Text() + ".part" // others may be writing the same message
	f, err := root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(t.text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", err
	}
	return filepath.Join(t.Folder, name), root.Rename(part, name)
}
