package documents

import (
	"archive/zip"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

const (
	partsMax = 20_000 // files in one archive
	depthMax = 256    // elements inside one another
)

// archive is an Office file: XML parts in a zip. What is read of all parts
// together stays within a budget, whatever their headers promise.
type archive struct {
	ctx   context.Context
	parts map[string]*zip.File
	left  int64 // bytes
	most  int64
}

func openArchive(ctx context.Context, src Source, l Limits) (*archive, error) {
	z, err := zip.NewReader(src.Data, src.Size)
	if err != nil {
		return nil, failure(err, reasonDamaged)
	}
	if len(z.File) > partsMax {
		return nil, failure(nil, "The file has more than %d parts: no document needs so many.", partsMax)
	}
	a := &archive{ctx: ctx, parts: make(map[string]*zip.File, len(z.File)), left: l.Unpacked, most: l.Unpacked}
	for _, f := range z.File {
		a.parts[strings.TrimPrefix(f.Name, "/")] = f
	}
	return a, nil
}

func (a *archive) has(name string) bool { return a.parts[name] != nil }

// walk reads a part as XML and hands its elements and texts to see. Names come
// without their namespaces: the formats need none to be told apart. Entities
// and references to other files are never resolved: the decoder has no way to.
func (a *archive) walk(name string, see func(t xml.Token) error) (err error) {
	f := a.parts[name]
	if f == nil {
		return failure(nil, reasonDamaged)
	}
	r, err := f.Open()
	if err != nil {
		return failure(err, reasonDamaged)
	}
	defer r.Close() //nolint:errcheck // it was only read
	d := xml.NewDecoder(&budgetReader{a, r})
	depth := 0
	for n := 0; ; n++ {
		if n%256 == 0 && a.ctx.Err() != nil {
			return a.ctx.Err()
		}
		t, err := d.Token()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errBudget):
			return failure(err, reasonHuge, a.most>>20)
		case err != nil:
			return failure(fmt.Errorf("%s: %w", name, err), reasonDamaged)
		}
		switch t.(type) {
		case xml.StartElement:
			if depth++; depth > depthMax {
				return failure(nil, "The file is nested more deeply than any document needs to be.")
			}
		case xml.EndElement:
			depth--
		}
		if err := see(t); err != nil {
			return err
		}
	}
}

var errBudget = errors.New("documents: unpacked size exceeds the limit")

// budgetReader takes what is read from the archive's budget.
type budgetReader struct {
	a *archive
	r io.Reader
}

func (b *budgetReader) Read(p []byte) (int, error) {
	if b.a.left <= 0 {
		return 0, errBudget
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.a.left)])
	b.a.left -= int64(n)
	return n, err
}

// relations maps the relation ids of a part to the parts they lead to.
func (a *archive) relations(part string) (map[string]string, error) {
	dir, base := path.Split(part)
	name := dir + "_rels/" + base + ".rels"
	to := map[string]string{}
	if !a.has(name) {
		return to, nil
	}
	err := a.walk(name, func(t xml.Token) error {
		e, ok := t.(xml.StartElement)
		if !ok || e.Name.Local != "Relationship" || attr(e, "TargetMode") == "External" {
			return nil
		}
		target := attr(e, "Target")
		if !strings.HasPrefix(target, "/") {
			target = path.Join("/", dir, target)
		}
		to[attr(e, "Id")] = strings.TrimPrefix(path.Clean(target), "/")
		return nil
	})
	return to, err
}

// attr is the value of an attribute by its local name, "" if there is none.
func attr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}
