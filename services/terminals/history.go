package terminals

import (
	"context"
	"html"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/since"
	"anthill/services/internal/terminal"
)

const (
	limitDefault = 100
	limitMax     = 1000
	pageBytes    = 3 << 20 // of output in one page
	grepMax      = 1000    // bytes
	markBefore   = 160     // bytes of a line ahead of what is found
	markAround   = 480     // bytes of a snippet, without its marks
)

func limitOf(asked *int32) (int, error) {
	switch {
	case asked == nil:
		return limitDefault, nil
	case *asked < 1 || *asked > limitMax:
		return 0, fault.BadField("value_error", "limit must be from 1 to 1000", "limit")
	}
	return int(*asked), nil
}

// sinceOf reads from when, in milliseconds since 1970.
func (r *Room) sinceOf(text string) (int64, error) {
	now := r.opt.Now()
	if text == "" {
		return now.Add(-since.LastHour).UnixMilli(), nil
	}
	ms, ok := since.Parse(text, now)
	if !ok {
		return 0, fault.BadField("value_error", "since must be a span such as 5m, milliseconds since 1970, or a time such as 2026-01-31T12:00:00Z", "since")
	}
	return ms, nil
}

// ListTerminalHistory implements antv1.TerminalsServiceServer.
func (r *Room) ListTerminalHistory(ctx context.Context, q *antv1.ListTerminalHistoryRequest) (*antv1.ListTerminalHistoryResponse, error) {
	limit, err := limitOf(q.Limit)
	if err != nil {
		return nil, err
	}
	from, err := r.sinceOf(q.Since)
	if err != nil {
		return nil, err
	}
	raw := q.Raw == "1" || q.Raw == "true"
	switch {
	case q.Raw != "" && !raw && q.Raw != "0" && q.Raw != "false":
		return nil, fault.BadField("value_error", "raw must be 1 or 0", "raw")
	case len(q.Grep) > grepMax:
		return nil, fault.BadField("value_error", "grep must be 1000 bytes at most", "grep")
	case q.Offset != nil && (math.IsNaN(*q.Offset) || *q.Offset < 0 || *q.Offset > 1<<53 || *q.Offset != math.Trunc(*q.Offset)):
		return nil, fault.BadField("value_error", "offset must be a whole number, 0 or more", "offset")
	}
	s, err := r.find(ctx, q.SessionId)
	if err != nil {
		return nil, err
	}
	h, err := r.engine.History(ctx, s.ID)
	if err != nil {
		return nil, err
	}
	first, end, err := h.Bounds()
	if err != nil {
		return nil, err
	}
	v := &antv1.ListTerminalHistoryResponse{SessionId: s.ID, Mode: "range", Limit: int32(limit), NextOffset: float64(end)}
	switch {
	case strings.TrimSpace(q.Grep) != "":
		err = searchHistory(ctx, v, h, q.Grep, limit)
	case q.Offset != nil:
		err = pageFrom(ctx, v, h, int64(*q.Offset), limit, raw)
		v.Truncated = int64(*q.Offset) < first
	default:
		v.SinceMs = proto.Float64(float64(from))
		err = newestPage(ctx, v, h, time.UnixMilli(from), limit, raw)
	}
	v.Count = int32(len(v.Rows))
	return v, err
}

// searchHistory puts the newest lines that have a text into an answer.
func searchHistory(ctx context.Context, v *antv1.ListTerminalHistoryResponse, h *terminal.History, text string, limit int) error {
	hits, err := h.Search(ctx, text, limit)
	if err != nil {
		return err
	}
	v.Mode, v.Query = "search", proto.String(text)
	for _, hit := range hits {
		v.Rows = append(v.Rows, &antv1.TerminalPiece{Id: float64(hit.Offset), ChunkIndex: float64(hit.Offset), ByteOffset: float64(hit.Offset),
			TsMs: millis(hit.Time), Size: float64(len(hit.Line)), Text: proto.String(hit.Line), Snippet: proto.String(marked(hit.Line, text))})
	}
	return nil
}

func millis(t time.Time) float64 {
	if t.IsZero() || t.UnixMilli() < 0 {
		return 0
	}
	return float64(t.UnixMilli())
}

// marked is where a line has a text, for HTML.
func marked(line, text string) string {
	places := regexp.MustCompile("(?i)"+regexp.QuoteMeta(text)).FindAllStringIndex(line, -1)
	from, to := 0, len(line)
	if len(places) > 0 {
		from = whole(line, places[0][0]-markBefore)
		to = whole(line, max(from+markAround, places[0][1]))
	}
	var b strings.Builder
	at := from
	for _, p := range places {
		if p[1] > to {
			break
		}
		b.WriteString(html.EscapeString(line[at:p[0]]) + "<mark>" + html.EscapeString(line[p[0]:p[1]]) + "</mark>")
		at = p[1]
	}
	b.WriteString(html.EscapeString(line[at:to]))
	return b.String()
}

// whole is the nearest place at or before i where a character begins.
func whole(s string, i int) int {
	i = min(max(i, 0), len(s))
	for i > 0 && i < len(s) && !utf8.RuneStart(s[i]) {
		i--
	}
	return i
}

// newestPage puts the newest pieces into an answer, newest first.
func newestPage(ctx context.Context, v *antv1.ListTerminalHistoryResponse, h *terminal.History, from time.Time, limit int, raw bool) error {
	found, err := h.Pieces(ctx, terminal.Query{Since: from, Limit: limit + 1})
	if err != nil {
		return err
	}
	if v.HasMore = len(found) > limit; v.HasMore {
		found = found[:limit]
	}
	total := 0
	for i, p := range found {
		if total += len(p.Data); total > pageBytes && i > 0 {
			found, v.HasMore = found[:i], true
			break
		}
	}
	slices.Reverse(found)
	rows, end := piecesAsRows(found, raw)
	slices.Reverse(rows)
	if v.Rows = rows; len(rows) > 0 {
		v.NextOffset = float64(end)
	}
	return nil
}

// pageFrom puts the pieces from an offset on into an answer, oldest first.
func pageFrom(ctx context.Context, v *antv1.ListTerminalHistoryResponse, h *terminal.History, offset int64, limit int, raw bool) error {
	found, err := h.From(ctx, offset, pageBytes)
	if err != nil {
		return err
	}
	if len(found) > limit {
		found = found[:limit]
	}
	rows, end := piecesAsRows(found, raw)
	if v.Rows = rows; len(rows) > 0 {
		v.HasMore = float64(end) < v.NextOffset
		v.NextOffset = float64(end)
	}
	return nil
}

// piecesAsRows makes rows of pieces, oldest first, and returns the offset behind
// them. A character that two pieces share is in the row of the second; one that
// is not whole yet is left for the next page.
func piecesAsRows(found []terminal.Piece, raw bool) (rows []*antv1.TerminalPiece, end int64) {
	var text terminal.Plain
	var carry []byte
	for i, p := range found {
		data, at := append(carry, p.Data...), p.Offset-int64(len(carry))
		carry = nil
		if i > 0 && found[i-1].End() != p.Offset { // bytes between are not kept
			data, at = p.Data, p.Offset
		}
		n := terminal.WholeRunes(data)
		if n == 0 && i == len(found)-1 {
			n = len(data) // it never becomes one
		}
		carry = append([]byte(nil), data[n:]...)
		data, end = data[:n], at+int64(n)
		if n == 0 {
			continue
		}
		row := &antv1.TerminalPiece{Id: float64(at), ChunkIndex: float64(at), ByteOffset: float64(at), Size: float64(n), TsMs: millis(p.Last)}
		if raw {
			row.Raw = proto.String(strings.ToValidUTF8(string(data), "\uFFFD"))
		} else {
			row.Text = proto.String(strings.ToValidUTF8(text.Text(data), "\uFFFD"))
		}
		rows = append(rows, row)
	}
	return rows, end
}
