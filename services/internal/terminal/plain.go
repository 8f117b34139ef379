package terminal

import (
	"context"
	"fmt"
	"strings"

	"anthill/services/internal/store"
)

// Plain makes text of output that comes in pieces cut anywhere: what people would
// read of it, without control sequences.
type Plain struct{ strip stripper }

// Text is Strip for the next piece.
func (p *Plain) Text(data []byte) string {
	return display(strings.ToValidUTF8(string(p.strip.append(nil, data)), "\uFFFD"))
}

// From returns the pieces from an offset on, oldest first, at least one if there
// are any and about most bytes. The first begins at the offset, or later where
// bytes are not kept. An error beside pieces is as in Pieces.
func (h *History) From(ctx context.Context, offset int64, most int) (found []Piece, err error) {
	late := h.settle(ctx)
	err = h.history.db.View(ctx, func(r store.Reader) error {
		found = nil
		from, err := h.history.chunkAt(r, offset)
		if err != nil {
			return err
		}
		total := 0
		for p, err := range h.history.chunks(r, from) {
			if err != nil {
				return err
			}
			if p.End() <= offset {
				continue
			}
			if cut := offset - p.Offset; cut > 0 {
				p.Data, p.Offset = p.Data[cut:], offset
			}
			p.Data = append([]byte(nil), p.Data...)
			found = append(found, p)
			if total += len(p.Data); total >= most {
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if late != nil {
		return found, fmt.Errorf("terminal: the newest output is not among it: %w", late)
	}
	return found, nil
}
