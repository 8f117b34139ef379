package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"time"
)

// An archive is a gzip-compressed tar of
//
//	manifest.json       what it is, first
//	store/main.db       the two stores, as of one moment
//	store/bulk.db
//	uploads/<SHA-256>   contents of files of rooms; since version 2
//	projects/…          the project folders: plain files and folders only
//	contents.json       each file's size and checksum, last: an archive without is cut off
const (
	manifestName = "manifest.json"
	contentsName = "contents.json"
	mainName     = "store/main.db"
	bulkName     = "store/bulk.db"
	uploadsName  = "uploads"
	projectsName = "projects"

	formatName    = "anthill-backup"
	formatVersion = 2
)

// manifest says what an archive is.
type manifest struct {
	Format  string    `json:"format"`  // formatName
	Version int       `json:"version"` // formatVersion
	Anthill string    `json:"anthill"` // version of the program that made it
	Created time.Time `json:"created"` // the moment that it shows
	Schema  int       `json:"schema"`  // layout of the stores
}

// contents lists the files of an archive in their order, itself and the
// manifest apart.
type contents struct {
	Files   []entry  `json:"files"`
	Skipped []string `json:"skipped,omitempty"` // what was left out of projects
}

type entry struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// smallFile is how much of a file is held in memory; larger ones are copied
// beside the archive first, so that their size is known and stays.
const smallFile = 1 << 20

// packer writes an archive.
type packer struct {
	ctx   context.Context
	gz    *gzip.Writer
	tar   *tar.Writer
	spool string // folder for copies
	now   time.Time
	buf   bytes.Buffer
	contents
	bytes   int64
	files   int // of projects
	skipped int
}

func newPacker(ctx context.Context, w io.Writer, spool string, now time.Time) *packer {
	gz, err := gzip.NewWriterLevel(&stopWriter{ctx, w}, gzip.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant
	}
	return &packer{ctx: ctx, gz: gz, tar: tar.NewWriter(gz), spool: spool, now: now, contents: contents{Files: []entry{}}}
}

// stopWriter ends an archive when ctx does.
type stopWriter struct {
	ctx context.Context
	w   io.Writer
}

func (s *stopWriter) Write(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.w.Write(p)
}

// note writes a file of the archive's own.
func (p *packer) note(name string, v any) error {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	err = p.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: int64(len(b)), ModTime: p.now})
	if err == nil {
		_, err = p.tar.Write(b)
	}
	return err
}

// add writes one file of known size.
func (p *packer) add(name string, mode fs.FileMode, at time.Time, size int64, r io.Reader) error {
	err := p.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(mode.Perm()), Size: size, ModTime: at, Format: tar.FormatPAX})
	if err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(p.tar, sum), r, size); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	p.Files = append(p.Files, entry{name, size, sumText(sum)})
	p.bytes += size
	return nil
}

// addFolder writes a folder, so that empty ones are kept.
func (p *packer) addFolder(name string, mode fs.FileMode, at time.Time) error {
	return p.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: int64(mode.Perm()), ModTime: at, Format: tar.FormatPAX})
}

// addOpen writes an open file of which others may make what they like meanwhile.
func (p *packer) addOpen(name string, f fs.File, info fs.FileInfo) error {
	p.buf.Reset()
	n, err := io.Copy(&p.buf, io.LimitReader(f, smallFile+1))
	if err != nil {
		return unreadable{err}
	}
	if n <= smallFile {
		return p.add(name, info.Mode(), info.ModTime(), n, &p.buf)
	}
	copied, err := os.CreateTemp(p.spool, "file-*")
	if err != nil {
		return err
	}
	defer os.Remove(copied.Name()) //nolint:errcheck // the folder goes as a whole
	defer copied.Close()           //nolint:errcheck // it was only read
	// No more than it had when it was opened: a log may grow for ever.
	from := unreadableReader{io.LimitReader(io.MultiReader(&p.buf, f), max(info.Size(), n))}
	size, err := io.Copy(&stopWriter{p.ctx, copied}, from)
	if err == nil {
		_, err = copied.Seek(0, io.SeekStart)
	}
	if err != nil {
		return err
	}
	return p.add(name, info.Mode(), info.ModTime(), size, copied)
}

// unreadable marks an error of the file that is being read.
type unreadable struct{ error }

type unreadableReader struct{ io.Reader }

func (u unreadableReader) Read(b []byte) (int, error) {
	n, err := u.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = unreadable{err}
	}
	return n, err
}

// maxSkipped bounds the names of what was left out.
const maxSkipped = 1000

func (p *packer) skip(name string) {
	if p.skipped++; len(p.Skipped) < maxSkipped {
		p.Skipped = append(p.Skipped, name)
	}
}

// close ends the archive: nothing before it makes a whole one.
func (p *packer) close() error {
	if err := p.note(contentsName, p.contents); err != nil {
		return err
	}
	return errors.Join(p.tar.Close(), p.gz.Close())
}

func sumText(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }
