package documents

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ledongthuc/pdf"
)

const (
	pagesMax   = 20_000
	nodesMax   = 100_000 // of the tree of pages
	treeMax    = 64      // levels of it
	contentMax = 32 << 20
)

// extractPDF reads the pages in order. A page that is damaged costs only
// itself.
func extractPDF(out *writer, src Source, _ Limits) error {
	file, size, err := mendPDF(src)
	if err != nil {
		return err
	}
	r, err := pdf.NewReader(file, size)
	switch {
	case errors.Is(err, pdf.ErrInvalidPassword), err != nil && bytes.Contains([]byte(err.Error()), []byte("encrypt")):
		return failure(err, reasonLocked)
	case err != nil:
		return failure(err, reasonDamaged)
	}
	pages, err := pagesOf(out.ctx, r)
	if err != nil && len(pages) == 0 {
		return failure(err, reasonDamaged)
	}
	x := &pdfText{out: out, fonts: map[string]*pdfFont{}}
	broken := 0
	for i, p := range pages {
		if err := out.ctx.Err(); err != nil {
			return err
		}
		out.paragraph()
		if len(pages) > 1 {
			x.title = fmt.Sprintf("[Page %d]", i+1)
		}
		err := x.page(p)
		switch {
		case errors.Is(err, errFull), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
			return err
		case err != nil:
			broken++
		}
	}
	switch {
	case broken == 0 || out.b.Len() > 0:
		return nil
	case !r.Trailer().Key("Encrypt").IsNull():
		return failure(nil, reasonLocked) // in a way that the parser does not know
	}
	return failure(nil, reasonDamaged)
}

// mendPDF shows a file without what stands before its header and behind its
// last end mark, and with a header that the parser knows: files with any of
// these are common, and sound otherwise.
func mendPDF(src Source) (io.ReaderAt, int64, error) {
	head := make([]byte, 1024)
	n, err := src.Data.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	start := int64(max(bytes.Index(head[:n], []byte("%PDF-")), 0))
	tail := make([]byte, min(src.Size, 4096))
	n, err = src.Data.ReadAt(tail, src.Size-int64(len(tail)))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	mark := []byte("%%EOF")
	end := src.Size
	if i := bytes.LastIndex(tail[:n], mark); i >= 0 {
		end = src.Size - int64(len(tail)) + int64(i+len(mark))
	}
	if end-start < 100 { // the parser reads so much of the end unasked
		return nil, 0, failure(nil, reasonDamaged)
	}
	return mendedPDF{io.NewSectionReader(src.Data, start, end-start)}, end - start, nil
}

type mendedPDF struct{ io.ReaderAt }

// ReadAt implements io.ReaderAt.
func (m mendedPDF) ReadAt(p []byte, at int64) (int, error) {
	n, err := m.ReaderAt.ReadAt(p, at)
	const header = "%PDF-1.7\n"
	if at >= 0 && at < int64(len(header)) {
		copy(p[:n], header[at:])
	}
	return n, err
}

// pagesOf walks the tree of pages. A tree that leads back to itself ends at a
// limit.
func pagesOf(ctx context.Context, r *pdf.Reader) (pages []pdf.Page, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("pages: %v", p)
		}
	}()
	nodes := 0
	var walk func(node pdf.Value, level int) error
	walk = func(node pdf.Value, level int) error {
		if nodes++; nodes > nodesMax || level > treeMax || len(pages) >= pagesMax {
			return errors.New("the tree of pages is too large")
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		kids := node.Key("Kids")
		if kids.Kind() != pdf.Array {
			if node.Kind() == pdf.Dict {
				pages = append(pages, pdf.Page{V: node})
			}
			return nil
		}
		for i := range kids.Len() {
			if err := walk(kids.Index(i), level+1); err != nil {
				return err
			}
		}
		return nil
	}
	return pages, walk(r.Trailer().Key("Root").Key("Pages"), 0)
}

// inherited finds what a page has from the nodes above it.
func inherited(page pdf.Value, key string) pdf.Value {
	for level := 0; !page.IsNull() && level < treeMax; level++ {
		if v := page.Key(key); !v.IsNull() {
			return v
		}
		page = page.Key("Parent")
	}
	return pdf.Value{}
}

// streamOf reads a stream, or several that are one, as far as it is sound.
func streamOf(v pdf.Value) (data []byte, err error) {
	if v.Kind() == pdf.Array {
		for i := range v.Len() {
			part, failed := streamOf(v.Index(i))
			data = append(append(data, part...), '\n')
			err = errors.Join(err, failed)
			if len(data) > contentMax {
				break
			}
		}
		return data, err
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("stream: %v", p)
		}
	}()
	if v.Kind() != pdf.Stream {
		return nil, nil
	}
	var b bytes.Buffer
	_, err = io.Copy(&b, io.LimitReader(v.Reader(), contentMax))
	return b.Bytes(), err
}
