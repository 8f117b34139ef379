package access

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"strings"

	"google.golang.org/grpc/metadata"

	"anthill/services/internal/caller"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// tokenPrefix begins every room token.
const tokenPrefix = "ant_t_"

// shownMax bounds how many credentials of one call are looked at.
const shownMax = 8

var (
	local  = &caller.Caller{Kind: caller.Local}
	keyed  = &caller.Caller{Kind: caller.Key}
	nobody = &caller.Caller{}
)

// Ends of what a caller showed.
var (
	errTokenRevoked   = fault.New(fault.Unauthenticated, "TOKEN_REVOKED", "This room token was revoked.")
	errTokenExpired   = fault.New(fault.Unauthenticated, "TOKEN_EXPIRED", "This room token has expired.")
	errSessionRevoked = fault.New(fault.Unauthenticated, "SESSION_REVOKED", "This browser's session was ended: open a new launch link.")
	errSessionExpired = fault.New(fault.Unauthenticated, "SESSION_EXPIRED", "This browser's session has expired: open a new launch link.")
)

// identity is who calls, and until when that holds.
type identity struct {
	*caller.Caller
	credential string // of a token or session, in the registry of live streams
	invite     string // of a token
	until      int64  // ms; 0: for ever
}

// identify finds out who calls. A room token that is shown is honoured: it
// confines its holder even where no key is needed, and beside the key.
func (r *Room) identify(ctx context.Context) (identity, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	shown := shownKeys(md)
	hasKey := false
	for _, k := range shown {
		switch {
		case r.isKey(k):
			hasKey = true
		case strings.HasPrefix(k, tokenPrefix):
			return r.byToken(ctx, k)
		}
	}
	switch {
	case hasKey:
		return identity{Caller: keyed}, nil
	case r.key != nil && len(shown) > 0:
		return identity{}, errUnknown() // a wrong key is not overlooked for the sake of a cookie
	}
	if id, err := r.bySession(ctx, md); err != nil || id.Caller != nil {
		return id, err
	}
	if r.key != nil {
		return identity{}, errUnknown()
	}
	return identity{Caller: local}, nil
}

// shownKeys are the keys and tokens that a call shows.
func shownKeys(md metadata.MD) []string {
	shown := md.Get("x-api-key")
	for _, a := range md.Get("authorization") {
		if scheme, token, ok := strings.Cut(a, " "); ok && strings.EqualFold(scheme, "bearer") {
			shown = append(shown[:len(shown):len(shown)], strings.TrimSpace(token))
		}
	}
	return shown[:min(len(shown), shownMax)]
}

// isKey compares hashes: they have one length, so it takes constant time.
func (r *Room) isKey(k string) bool {
	if r.key == nil {
		return false
	}
	sum := sha256.Sum256([]byte(k))
	return subtle.ConstantTimeCompare(sum[:], r.key[:]) == 1
}

// byToken finds the holder of a room token. What ended is told as such: who
// shows it had it.
func (r *Room) byToken(ctx context.Context, plaintext string) (identity, error) {
	sum := sha256.Sum256([]byte(plaintext))
	var t *token
	var inv *invite
	err := r.opt.DB.View(ctx, func(rd store.Reader) (err error) {
		if t, err = tokens.Lookup(rd, byHash, key.Of(string(sum[:]))); err != nil || t == nil {
			return err
		}
		inv, err = invites.Get(rd, key.Of(t.Invite))
		return err
	})
	switch {
	case err != nil:
		return identity{}, err
	case t == nil:
		return identity{}, errUnknown()
	case t.Revoked != 0 || inv == nil || inv.Cut:
		return identity{}, errTokenRevoked
	case r.now() >= t.Expires:
		return identity{}, errTokenExpired
	}
	return identity{credential: tokenCredential(t.ID), invite: t.Invite, until: t.Expires, Caller: &caller.Caller{
		Kind: caller.Token, ID: t.ID, Room: t.Room, Handle: t.Handle, TokenKind: t.Kind, Scopes: t.Scopes}}, nil
}

// sessionKey is the metadata in which a door says which session a browser has.
const sessionKey = "x-browser-session"

// bySession finds the session of a browser; none if it shows none that is known.
func (r *Room) bySession(ctx context.Context, md metadata.MD) (identity, error) {
	shown := md.Get(sessionKey)
	for _, plaintext := range shown[:min(len(shown), shownMax)] {
		var s *session
		err := r.opt.DB.View(ctx, func(rd store.Reader) (err error) {
			s, err = sessions.Lookup(rd, byHash, key.Of(string(r.sessionHash(plaintext))))
			return err
		})
		if err != nil {
			return identity{}, err
		}
		if s == nil || r.now() >= s.Expires {
			continue
		}
		r.prolong(ctx, s)
		return identity{credential: sessionCredential(s.ID), until: s.Expires,
			Caller: &caller.Caller{Kind: caller.Session, ID: s.ID}}, nil
	}
	return identity{}, nil
}

// sessionHash depends on the configured key: a new key ends all sessions, since
// whoever had the old one could open some.
func (r *Room) sessionHash(plaintext string) []byte {
	var secret []byte
	if r.key != nil {
		secret = r.key[:]
	}
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(plaintext))
	return h.Sum(nil)
}
