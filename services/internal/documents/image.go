package documents

import (
	"bytes"
	"image"
	_ "image/gif"  // so that image reads the headers of the three
	_ "image/jpeg" //
	_ "image/png"  //
	"io"
)

const (
	// ImageMax is the size of the largest image that is shown to a model.
	ImageMax  = 20 << 20
	pixelsMax = 100_000_000
)

// extractImage checks that a model could see an image, which has no text.
func extractImage(_ *writer, src Source, _ Limits) error {
	if src.Size > ImageMax {
		return failure(nil, "The image is too large to be shown to a model: it has more than %d MiB.", ImageMax>>20)
	}
	head := make([]byte, 30)
	if n, err := src.Data.ReadAt(head, 0); err == nil && bytes.HasPrefix(head[:n], []byte("RIFF")) {
		if !bytes.HasPrefix(head[12:], []byte("VP8")) {
			return failure(nil, reasonDamaged)
		}
		return nil // the standard library knows no more of WebP
	}
	c, _, err := image.DecodeConfig(io.NewSectionReader(src.Data, 0, src.Size))
	switch {
	case err != nil, c.Width <= 0, c.Height <= 0:
		return failure(err, reasonDamaged)
	case c.Width > pixelsMax/c.Height:
		return failure(nil, "The image has more pixels than a model can see: make it smaller and attach it again.")
	}
	return nil
}
