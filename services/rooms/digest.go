package rooms

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/store"
	"anthill/services/internal/wire"
	"anthill/services/rooms/term"
)

// What a digest goes through, and shows, at most.
const (
	digestMessages = 5000
	digestBytes    = 2 << 20 // of text
	digestPeople   = 100
	digestTerms    = 10
)

// GetDigest implements antv1.DigestServiceServer. The texts are taken in one view
// and looked at behind it.
func (r *Room) GetDigest(ctx context.Context, q *antv1.GetDigestRequest) (*antv1.Digest, error) {
	var page *digestPage
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		room, err := r.readable(rd, q.SessionId)
		if err != nil {
			return err
		}
		page, err = readDigestPage(rd, room.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return page.digest(), nil
}

// digestPage is what a digest is made of: messages from the newest on.
type digestPage struct {
	said      map[string]int // messages, by who posted them
	texts     []string
	n         int
	first     int64 // ns
	last      int64
	truncated bool
}

func readDigestPage(rd store.Reader, room string) (*digestPage, error) {
	p := &digestPage{said: map[string]int{}}
	all := store.Prefix(messagesOf(room))
	all.Reverse = true
	size := 0
	for k, row := range rd.Scan(all) {
		if p.n == digestMessages || size > digestBytes {
			p.truncated = true
			break
		}
		seq, err := lastPart(k, 2)
		if err != nil {
			return nil, err
		}
		m, err := decodeMessage(room, seq, row)
		if err != nil {
			return nil, err
		}
		if p.n == 0 {
			p.last = m.At
		}
		p.n++
		p.first = m.At
		size += len(m.Content)
		p.said[orElse(m.Sender, m.Role)]++
		if m.Content != "" {
			p.texts = append(p.texts, m.Content)
		}
	}
	return p, nil
}

func (p *digestPage) digest() *antv1.Digest {
	d := &antv1.Digest{MessageCount: int32(p.n), ParticipantCount: int32(len(p.said)), Truncated: p.truncated}
	if p.n == 0 {
		return d
	}
	d.FirstMessage, d.LastMessage = new(wire.Time(p.first)), new(wire.Time(p.last))
	span := time.Duration(p.last - p.first)
	d.DurationMinutes = int32(span.Round(time.Minute) / time.Minute)
	d.MessagesPerHour = math.Round(float64(p.n)/max(span.Hours(), 1)*10) / 10
	for id, n := range p.said {
		d.Participants = append(d.Participants, &antv1.DigestParticipant{Id: id, Count: int32(n)})
	}
	slices.SortFunc(d.Participants, func(a, b *antv1.DigestParticipant) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Id, b.Id))
	})
	d.Participants = d.Participants[:min(len(d.Participants), digestPeople)]
	var words term.Counter
	for _, text := range p.texts {
		words.Add(text)
	}
	for _, w := range words.Top(digestTerms) {
		d.KeyTerms = append(d.KeyTerms, &antv1.DigestTerm{Term: w.Term, Count: int32(w.N)})
	}
	return d
}
