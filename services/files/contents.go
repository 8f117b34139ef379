package files

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"anthill/services/internal/documents"
	"anthill/services/internal/fault"
)

// contents is a folder of files, each named by its SHA-256. Their bytes never
// change. Safe for concurrent use.
type contents struct {
	root *os.Root
	// Held for reading from the moment when a content gets its name to the one when
	// a row leads to it; for writing while it is decided that nothing does.
	mu sync.RWMutex
}

// partPrefix is of files that are still coming in.
const partPrefix = "part-"

func openContents(dir string) (*contents, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &contents{root: root}, nil
}

func (c *contents) close() error { return c.root.Close() }

// sweep removes uploads that were cut off, and contents to which nothing leads.
// Files of other names are left alone. For the start, when nothing comes in.
func (c *contents) sweep(referred func(hash string) (bool, error)) error {
	list, err := fs.ReadDir(c.root.FS(), ".")
	if err != nil {
		return err
	}
	for _, entry := range list {
		name := entry.Name()
		if !strings.HasPrefix(name, partPrefix) {
			if !isHash(name) {
				continue
			}
			if kept, err := referred(name); err != nil {
				return err
			} else if kept {
				continue
			}
		}
		if err := c.root.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

func isHash(name string) bool {
	b, err := hex.DecodeString(name)
	return err == nil && len(b) == sha256.Size && strings.ToLower(name) == name
}

// drop removes a content if nothing leads to it.
func (c *contents) drop(hash string, referred func(hash string) (bool, error)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if kept, err := referred(hash); err != nil || kept {
		return err
	}
	if err := c.root.Remove(hash); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// incoming is a content that is being written. Not safe for concurrent use.
type incoming struct {
	contents *contents
	part     string // its name; empty once it has been named by its hash or removed
	file     *os.File
	sum      hash.Hash
	size     int64
	head     []byte // what tells its type
}

func (c *contents) create() (*incoming, error) {
	part := partPrefix + rand.Text()
	file, err := c.root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, diskFault(err)
	}
	return &incoming{contents: c, part: part, file: file, sum: sha256.New()}, nil
}

// add writes what comes next; beyond the limit of a file it fails.
func (in *incoming) add(data []byte) error {
	if in.size += int64(len(data)); in.size > fileMax {
		return fault.New(fault.Invalid, "BODY_TOO_LARGE", "The file is too large: it may have %d MiB.", fileMax>>20)
	}
	if _, err := in.file.Write(data); err != nil {
		return diskFault(err)
	}
	in.sum.Write(data) // never fails
	in.head = append(in.head, data[:min(len(data), documents.HeadSize-len(in.head))]...)
	return nil
}

func (in *incoming) hash() string { return hex.EncodeToString(in.sum.Sum(nil)) }

// keep puts the whole content on disk under its name and calls store, which makes
// a row lead to it.
func (in *incoming) keep(store func() error) error {
	if err := errors.Join(in.file.Sync(), in.file.Close()); err != nil {
		return diskFault(err)
	}
	c := in.contents
	c.mu.RLock()
	defer c.mu.RUnlock()
	if err := c.root.Rename(in.part, in.hash()); err != nil {
		return diskFault(err)
	}
	in.part = ""
	dir, err := c.root.Open(".")
	if err != nil {
		return err
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return diskFault(err)
	}
	return store()
}

// abort removes what was not kept.
func (in *incoming) abort() error {
	if in.part == "" {
		return nil
	}
	if err := in.file.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
		return errors.Join(err, in.contents.root.Remove(in.part))
	}
	return in.contents.root.Remove(in.part)
}

// open opens a content that must have so many bytes.
func (c *contents) open(hash string, size int64) (*os.File, error) {
	gone := fault.Missing("CONTENT_MISSING", "The content of this file is not on the server any more")
	file, err := c.root.Open(hash)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, gone.Because(err)
	}
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() != size) {
		err = gone.Because(fmt.Errorf("%s has %d bytes, not %d", hash, info.Size(), size))
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

func diskFault(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.New(fault.Exhausted, "DISK_FULL", "The disk is full: free some space and try again.").Because(err)
	}
	return err
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
