package terminal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// History is all that is kept of what a terminal printed, while it runs and after.
type History struct {
	history *history
	live    *Terminal // nil: it does not run
}

// History returns that of a terminal; an empty one if nothing is known of it.
func (e *Engine) History(ctx context.Context, id string) (*History, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	if t, ok := e.Get(id); ok {
		return &History{t.history, t}, nil
	}
	h, err := e.openHistory(ctx, id)
	if err != nil {
		return nil, err
	}
	return &History{history: h}, nil
}

func (e *Engine) openHistory(ctx context.Context, id string) (*history, error) {
	return openHistory(ctx, e.opt.Bulk, id, e.dir(id), e.opt.Keep)
}

// end is the offset behind all that was printed, as far as the disk says.
func (h *history) end() (int64, error) {
	have, err := segments(h.dir)
	if err != nil {
		return 0, err
	}
	end := h.now().Sealed
	if n := len(have); n > 0 {
		end = max(end, have[n-1].end())
	}
	if data, err := os.ReadFile(filepath.Join(h.dir, closedName)); err == nil { // the last bytes may be lost
		if n, err := strconv.ParseInt(string(data), 10, 64); err == nil {
			end = max(end, n)
		}
	}
	return end, nil
}

// sealAll seals a recording that nobody writes to any more.
func (h *history) sealAll(ctx context.Context) error {
	end, err := h.end()
	if err != nil {
		return err
	}
	return h.seal(ctx, end, func(*sealState) {})
}

func (h *History) end() (int64, error) {
	if h.live != nil {
		return h.live.End(), nil
	}
	return h.history.end()
}

// settle seals what is only recorded. Without space for it, what is sealed is shown.
func (h *History) settle(ctx context.Context) error {
	if h.live != nil {
		return h.history.seal(ctx, h.live.End(), h.live.note)
	}
	return h.history.sealAll(ctx)
}

// Bounds are the offsets of the oldest byte kept and behind the newest one.
func (h *History) Bounds() (first, end int64, err error) {
	end, err = h.end()
	return min(h.history.now().First, end), end, err
}

// Read returns up to limit bytes from an offset on, 256 KiB at most. A chunk without
// data is at the end. Truncated: bytes between from and Chunk.Offset are not kept.
func (h *History) Read(ctx context.Context, from int64, limit int) (Chunk, error) {
	end, err := h.end()
	if err != nil {
		return Chunk{}, err
	}
	from = min(max(from, 0), end)
	if limit <= 0 || limit > readMost {
		limit = readMost
	}
	data, at, err := h.history.read(ctx, from, end, limit)
	return Chunk{Offset: at, Data: data, Truncated: at > from}, err
}

// Pieces returns the newest pieces that q selects, newest first, and the error
// that kept the newest bytes from being among them, if one did.
func (h *History) Pieces(ctx context.Context, q Query) ([]Piece, error) {
	late := h.settle(ctx)
	found, err := h.history.pieces(ctx, q)
	if err != nil {
		return nil, err
	}
	if late != nil {
		return found, fmt.Errorf("terminal: the newest output is not among it: %w", late)
	}
	return found, nil
}

// Search returns the newest limit (0: 100) lines that contain text, newest first, upper or lower
// case alike. Control sequences are not searched. An error beside lines is as in Pieces.
func (h *History) Search(ctx context.Context, text string, limit int) ([]Hit, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	if limit <= 0 {
		limit = 100
	}
	late := h.settle(ctx)
	hits, err := h.history.search(ctx, text, limit)
	if err != nil {
		return nil, err
	}
	if late != nil {
		return hits, fmt.Errorf("terminal: the newest output was not searched: %w", late)
	}
	return hits, nil
}
