package access

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// Kinds of tokens. Those of kind web only read.
const (
	kindCLI = "cli"
	kindMCP = "mcp"
	kindWeb = "web"
)

var (
	kinds  = []string{kindCLI, kindMCP, kindWeb}
	scopes = []string{caller.Read, caller.Write, caller.Terminal}
)

// Bounds of an invite.
const (
	refMax         = 128 // characters of what names a room
	labelMax       = 200
	usesMax        = 10_000
	usesDefault    = 100
	lifeMax        = 366 * 24 * 3600 // seconds
	inviteLife     = 7 * 24 * 3600
	tokenLife      = 30 * 24 * 3600
	reasonRevoked  = "revoked"
	reasonFailures = "failures"
)

const (
	statusActive  = "active"
	statusExpired = "expired"
	statusUsedUp  = "used_up"
	statusRevoked = "revoked"
)

// status says whether an invite still gives tokens.
func (i *invite) status(now int64) string {
	switch {
	case i.Revoked != 0:
		return statusRevoked
	case now >= i.Expires:
		return statusExpired
	case i.Uses >= i.MaxUses:
		return statusUsedUp
	}
	return statusActive
}

func (t *token) status(now int64, inv *invite) string {
	switch {
	case t.Revoked != 0 || inv == nil || inv.Cut:
		return statusRevoked
	case now >= t.Expires:
		return statusExpired
	}
	return statusActive
}

// CreateInvite implements antv1.InvitesServiceServer.
func (r *Room) CreateInvite(ctx context.Context, q *antv1.CreateInviteRequest) (*antv1.Invite, error) {
	inv, err := r.newInvite(q)
	if err != nil {
		return nil, err
	}
	err = r.opt.DB.Update(ctx, func(tx store.Tx) error {
		room, live, err := r.resolve(tx, q.SessionId)
		if err != nil {
			return err
		}
		if !live {
			return fault.New(fault.Conflict, "SESSION_DELETED", "The session is deleted or archived: restore it first")
		}
		inv.Room = room
		old := inv.Created - showEnded
		if err := sweep(tx, invites, func(i *invite) (key.Key, int64) { return key.Of(i.ID), max(i.Expires, i.Last) }, old); err != nil {
			return err
		}
		return invites.Put(tx, inv)
	})
	if err != nil {
		return nil, err
	}
	return viewInvite(inv, inv.Created), nil
}

// newInvite makes an invite of a request, without its room.
func (r *Room) newInvite(q *antv1.CreateInviteRequest) (*invite, error) {
	now := r.now()
	inv := &invite{ID: r.opt.NewID(), Label: q.Label, Created: now}
	var err error
	if inv.Kinds, err = chosen(q.Kinds, kinds, kinds, "kinds"); err != nil {
		return nil, err
	}
	if inv.Scopes, err = chosen(q.Scopes, scopes, scopes[:2], "scopes"); err != nil {
		return nil, err
	}
	switch {
	case !slices.Contains(inv.Scopes, caller.Read):
		return nil, fault.BadField("value_error", "scopes must include read", "scopes")
	case len(q.Label) > labelMax:
		return nil, fault.BadField("value_error", "label: at most 200 bytes", "label")
	case len(q.Password) > passwordMax:
		return nil, fault.BadField("value_error", "password: at most 1024 bytes", "password")
	}
	if inv.MaxUses, err = within(q.MaxUses, usesDefault, usesMax, "max_uses"); err != nil {
		return nil, err
	}
	life, err := within(q.ExpiresIn, inviteLife, lifeMax, "expires_in")
	if err != nil {
		return nil, err
	}
	inv.Expires = now + int64(life)*1000
	if inv.TokenLife, err = within(q.TokenExpiresIn, tokenLife, lifeMax, "token_expires_in"); err != nil {
		return nil, err
	}
	if q.Handle != "" {
		if inv.Handle, err = handleOf(q.Handle); err != nil {
			return nil, err
		}
	}
	if q.Password != "" {
		inv.Password, err = newPassword(q.Password)
	}
	return inv, err
}

// chosen checks a choice among names and puts it into their order.
func chosen(asked, among, otherwise []string, field string) (out []string, err error) {
	if len(asked) == 0 {
		return otherwise, nil
	}
	for _, a := range asked {
		if !slices.Contains(among, a) {
			return nil, fault.BadField("value_error", field+" must be among "+strings.Join(among, ", "), field)
		}
	}
	for _, name := range among {
		if slices.Contains(asked, name) {
			out = append(out, name)
		}
	}
	return out, nil
}

func within(asked *int32, otherwise, most int32, field string) (int32, error) {
	switch {
	case asked == nil:
		return otherwise, nil
	case *asked < 1 || *asked > most:
		return 0, fault.BadField("value_error", field+" is out of bounds", field)
	}
	return *asked, nil
}

var handlePattern = regexp.MustCompile(`^@?[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// reserved handles mean nobody in particular, the server, or the coworker of every room.
var reserved = []string{"@everyone", "@all", "@here", "@channel", "@system", "@anton"}

// handleOf writes a handle with its @.
func handleOf(name string) (string, error) {
	handle := "@" + strings.TrimPrefix(name, "@")
	if !handlePattern.MatchString(name) || slices.Contains(reserved, fold(handle)) {
		return "", fault.BadField("value_error",
			"handle must be a letter or digit and then up to 63 of those, '.', '_' and '-', and not a name with a meaning of its own", "handle")
	}
	return handle, nil
}

// resolve finds the room that a request names.
func (r *Room) resolve(rd store.Reader, ref string) (id string, live bool, err error) {
	if len(ref) <= refMax {
		id, live, err = r.opt.Rooms.Resolve(rd, ref)
	}
	if err == nil && id == "" {
		err = fault.Missing("SESSION_NOT_FOUND", "Session not found")
	}
	return id, live, err
}

// ListInvites implements antv1.InvitesServiceServer.
func (r *Room) ListInvites(ctx context.Context, q *antv1.ListInvitesRequest) (*antv1.ListInvitesResponse, error) {
	var out *antv1.ListInvitesResponse
	now := r.now()
	err := r.opt.DB.View(ctx, func(rd store.Reader) error {
		out = &antv1.ListInvitesResponse{}
		room, _, err := r.resolve(rd, q.SessionId)
		if err != nil {
			return err
		}
		for inv, err := range invites.ScanIndex(rd, byRoom, store.ScanOptions{Prefix: key.Of(room), Reverse: true, Limit: listMax}) {
			if err != nil {
				return err
			}
			out.Invites = append(out.Invites, viewInvite(inv, now))
		}
		return nil
	})
	return out, err
}

// RevokeInvite implements antv1.InvitesServiceServer.
func (r *Room) RevokeInvite(ctx context.Context, q *antv1.RevokeInviteRequest) (*antv1.RevokeInviteResponse, error) {
	err := r.opt.DB.Update(ctx, func(tx store.Tx) error {
		room, _, err := r.resolve(tx, q.SessionId)
		if err != nil {
			return err
		}
		inv, err := invites.Get(tx, key.Of(q.InviteId))
		if err != nil {
			return err
		}
		if inv == nil || inv.Room != room {
			return fault.Missing("INVITE_NOT_FOUND", "Invite not found")
		}
		if inv.Revoked == 0 {
			inv.Revoked, inv.Reason = r.now(), reasonRevoked
		}
		inv.Cut = inv.Cut || !q.KeepTokens
		return invites.Put(tx, inv)
	})
	if err != nil {
		return nil, err
	}
	if !q.KeepTokens {
		r.live.endInvite(q.InviteId, errTokenRevoked)
	}
	return &antv1.RevokeInviteResponse{Ok: true}, nil
}

// cutStep is how many invites one transaction ends.
const cutStep = 20

// DeleteSession ends all invites to a room that is no more, their tokens and the
// streams of these. It can be asked again.
func (r *Room) DeleteSession(ctx context.Context, room string) error {
	for {
		var ended []string
		err := r.opt.DB.Update(ctx, func(tx store.Tx) error {
			ended = ended[:0]
			var list []*invite
			for inv, err := range invites.ScanIndex(tx, byRoom, store.ScanOptions{Prefix: key.Of(room)}) {
				if err != nil {
					return err
				}
				if !inv.Cut {
					list = append(list, inv)
				}
				if len(list) == cutStep {
					break
				}
			}
			for _, inv := range list {
				if inv.Revoked == 0 {
					inv.Revoked, inv.Reason = r.now(), reasonRevoked
				}
				inv.Cut = true
				if err := invites.Put(tx, inv); err != nil {
					return err
				}
				ended = append(ended, inv.ID)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, id := range ended {
			r.live.endInvite(id, errTokenRevoked)
		}
		if len(ended) < cutStep {
			return nil
		}
	}
}

// ListTokens implements antv1.InvitesServiceServer.
func (r *Room) ListTokens(ctx context.Context, q *antv1.ListTokensRequest) (*antv1.ListTokensResponse, error) {
	var out *antv1.ListTokensResponse
	now := r.now()
	err := r.opt.DB.View(ctx, func(rd store.Reader) error {
		out = &antv1.ListTokensResponse{}
		room, _, err := r.resolve(rd, q.SessionId)
		if err != nil {
			return err
		}
		for t, err := range tokens.ScanIndex(rd, byRoom, store.ScanOptions{Prefix: key.Of(room), Reverse: true, Limit: listMax}) {
			if err != nil {
				return err
			}
			inv, err := invites.Get(rd, key.Of(t.Invite))
			if err != nil {
				return err
			}
			out.Tokens = append(out.Tokens, viewToken(t, t.status(now, inv)))
		}
		return nil
	})
	return out, err
}

// RevokeToken implements antv1.InvitesServiceServer.
func (r *Room) RevokeToken(ctx context.Context, q *antv1.RevokeTokenRequest) (*antv1.RevokeTokenResponse, error) {
	var room string
	err := r.opt.DB.View(ctx, func(rd store.Reader) (err error) {
		room, _, err = r.resolve(rd, q.SessionId)
		return err
	})
	if err != nil {
		return nil, err
	}
	found, err := r.revokeToken(ctx, room, q.TokenId)
	if err == nil && !found {
		err = fault.Missing("TOKEN_NOT_FOUND", "Token not found")
	}
	return &antv1.RevokeTokenResponse{Ok: true}, err
}

// revokeToken ends a token of a room; false if there is none.
func (r *Room) revokeToken(ctx context.Context, room, id string) (found bool, err error) {
	err = r.opt.DB.Update(ctx, func(tx store.Tx) error {
		t, err := tokens.Get(tx, key.Of(id))
		if found = err == nil && t != nil && t.Room == room; !found || t.Revoked != 0 {
			return err
		}
		t.Revoked = r.now()
		return tokens.Put(tx, t)
	})
	if err == nil && found {
		r.live.end(tokenCredential(id), errTokenRevoked)
	}
	return found, err
}

func tokenCredential(id string) string { return "token/" + id }

func viewInvite(i *invite, now int64) *antv1.Invite {
	v := &antv1.Invite{Id: i.ID, RoomId: i.Room, Kinds: i.Kinds, Scopes: i.Scopes, HasPassword: i.Password != nil, Label: i.Label,
		MaxUses: i.MaxUses, Uses: i.Uses, Failures: i.Failures, TokenExpiresIn: i.TokenLife,
		CreatedAt: stamp(i.Created), ExpiresAt: stamp(i.Expires), Status: i.status(now)}
	if i.Handle != "" {
		v.Handle = &i.Handle
	}
	if i.Revoked != 0 {
		at := stamp(i.Revoked)
		v.RevokedAt, v.RevokedReason = &at, &i.Reason
	}
	return v
}

func viewToken(t *token, status string) *antv1.RoomToken {
	v := &antv1.RoomToken{Id: t.ID, InviteId: t.Invite, RoomId: t.Room, Kind: t.Kind, Handle: t.Handle, Scopes: t.Scopes, Meta: t.Meta,
		CreatedAt: stamp(t.Created), ExpiresAt: stamp(t.Expires), Status: status}
	if t.Revoked != 0 {
		at := stamp(t.Revoked)
		v.RevokedAt = &at
	}
	return v
}

// stamp writes a time as rows of the ANT API have it (ant.md 0).
func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.DateTime) }
