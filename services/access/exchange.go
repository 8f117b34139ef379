package access

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

const (
	metaMax   = 4 << 10
	sharedMax = 200 // tokens under one handle in one room that are looked through
)

// errRefused says nothing of what is wrong: whether a password is right is told
// by the token alone. The id of an invite cannot be guessed, so how soon an
// unknown one is refused tells nothing either.
var errRefused = fault.New(fault.Unauthenticated, "INVITE_REFUSED", "The invite is not valid, or the password is wrong")

// ExchangeInvite implements antv1.InvitesServiceServer.
func (r *Room) ExchangeInvite(ctx context.Context, q *antv1.ExchangeInviteRequest) (*antv1.ExchangedToken, error) {
	meta, err := metaOf(q)
	if err != nil {
		return nil, err
	}
	inv, err := r.openInvite(ctx, q)
	if err != nil {
		return nil, err
	}
	if inv.Password != nil {
		leave, err := r.gate.enter(ctx)
		if err != nil {
			return nil, err
		}
		defer leave()
		// Whoever was before at the gate may have revoked it.
		if inv, err = r.openInvite(ctx, q); err != nil {
			return nil, err
		}
		right, err := inv.Password.matches(q.Password)
		if err != nil {
			return nil, err
		}
		if !right {
			return nil, r.countFailure(context.WithoutCancel(ctx), inv.ID)
		}
	}
	return r.issue(ctx, q, meta)
}

// metaOf is what a guest says of itself, as JSON.
func metaOf(q *antv1.ExchangeInviteRequest) (string, error) {
	if q.Meta == nil {
		return "{}", nil
	}
	b, err := json.Marshal(q.Meta.AsMap())
	if err != nil || len(b) > metaMax {
		return "", fault.BadField("value_error", "meta must be an object of at most 4 KiB", "meta")
	}
	return string(b), nil
}

// openInvite finds the invite that a request names, while it gives tokens.
func (r *Room) openInvite(ctx context.Context, q *antv1.ExchangeInviteRequest) (inv *invite, err error) {
	err = r.opt.DB.View(ctx, func(rd store.Reader) (err error) {
		inv, err = r.findOpen(rd, q)
		return err
	})
	return inv, err
}

func (r *Room) findOpen(rd store.Reader, q *antv1.ExchangeInviteRequest) (*invite, error) {
	if len(q.InviteId) > refMax || len(q.SessionId) > refMax {
		return nil, errRefused
	}
	inv, err := invites.Get(rd, key.Of(q.InviteId))
	if err != nil {
		return nil, err
	}
	if inv == nil || inv.status(r.now()) != statusActive {
		return nil, errRefused
	}
	room, live, err := r.opt.Rooms.Resolve(rd, q.SessionId)
	if err != nil {
		return nil, err
	}
	if room != inv.Room || !live {
		return nil, errRefused
	}
	return inv, nil
}

// countFailure notes a wrong password, and revokes the invite at the last one
// that it allows. Tokens that it gave before stay: else anybody who knows of it
// could shut its guests out.
func (r *Room) countFailure(ctx context.Context, id string) error {
	revoked := false
	err := r.opt.DB.Update(ctx, func(tx store.Tx) error {
		inv, err := invites.Get(tx, key.Of(id))
		if err != nil || inv == nil || inv.Revoked != 0 {
			return err
		}
		inv.Failures++
		if revoked = int(inv.Failures) >= r.opt.MaxFailures; revoked {
			inv.Revoked, inv.Reason = r.now(), reasonFailures
		}
		return invites.Put(tx, inv)
	})
	if err != nil {
		return err
	}
	if revoked {
		r.opt.Log.Warn("an invite was revoked after wrong passwords", "failures", r.opt.MaxFailures)
	}
	return errRefused
}

// issue makes the token of a guest who has shown a good invite.
func (r *Room) issue(ctx context.Context, q *antv1.ExchangeInviteRequest, meta string) (*antv1.ExchangedToken, error) {
	plaintext, id, now := tokenPrefix+rand.Text(), r.opt.NewID(), r.now()
	sum := sha256.Sum256([]byte(plaintext))
	var t *token
	err := r.opt.DB.Update(ctx, func(tx store.Tx) error {
		inv, err := r.findOpen(tx, q)
		if err != nil {
			return err
		}
		t = &token{ID: id, Hash: sum[:], Invite: inv.ID, Room: inv.Room, Meta: meta, Created: now, Expires: now + int64(inv.TokenLife)*1000}
		t.Kind = cmp.Or(q.Kind, inv.Kinds[0])
		if !slices.Contains(inv.Kinds, t.Kind) {
			return fault.BadField("value_error", "The invite is for tokens of kind "+strings.Join(inv.Kinds, ", "), "kind")
		}
		if t.Scopes = inv.Scopes; t.Kind == kindWeb {
			t.Scopes = []string{caller.Read}
		}
		if t.Handle, err = r.handleFor(tx, inv, q.Handle, id); err != nil {
			return err
		}
		inv.Uses++
		inv.Last = max(inv.Last, t.Expires)
		if err := sweep(tx, tokens, func(t *token) (key.Key, int64) { return key.Of(t.ID), t.Expires }, now-showEnded); err != nil {
			return err
		}
		if err := invites.Put(tx, inv); err != nil {
			return err
		}
		return tokens.Put(tx, t)
	})
	if err != nil {
		return nil, err
	}
	return &antv1.ExchangedToken{Token: plaintext, TokenId: t.ID, InviteId: t.Invite, RoomId: t.Room, Kind: t.Kind,
		Handle: t.Handle, Scopes: t.Scopes, ExpiresAt: stamp(t.Expires)}, nil
}

// handleFor is who a guest will be: nobody that a session is already, nor a
// guest of another invite.
func (r *Room) handleFor(rd store.Reader, inv *invite, asked, tokenID string) (string, error) {
	if asked == "" && inv.Handle == "" {
		return "@guest-" + strings.ToLower(tokenID[max(0, len(tokenID)-8):]), nil
	}
	handle, err := handleOf(cmp.Or(asked, inv.Handle))
	if err != nil {
		return "", err
	}
	if inv.Handle != "" {
		if fold(handle) != fold(inv.Handle) {
			return "", fault.BadField("value_error", "The invite is for "+inv.Handle, "handle")
		}
		return inv.Handle, nil
	}
	taken := fault.New(fault.Conflict, "HANDLE_TAKEN", "%s is already taken", handle)
	if session, _, err := r.opt.Rooms.Resolve(rd, handle); err != nil || session != "" {
		return "", cmp.Or[error](err, taken)
	}
	seen := 0
	for t, err := range tokens.ScanIndex(rd, byHandle, store.ScanOptions{Prefix: key.Of(inv.Room).Str(fold(handle)), Limit: sharedMax}) {
		if err != nil {
			return "", err
		}
		if seen++; seen == sharedMax {
			return "", taken
		}
		if t.Invite == inv.ID || t.Revoked != 0 || r.now() >= t.Expires {
			continue
		}
		other, err := invites.Get(rd, key.Of(t.Invite))
		if err != nil {
			return "", err
		}
		if t.status(r.now(), other) == statusActive {
			return "", taken
		}
	}
	return handle, nil
}
