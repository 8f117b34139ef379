package access

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/store"
)

func with(password string) func(*antv1.ExchangeInviteRequest) {
	return func(q *antv1.ExchangeInviteRequest) { q.Password = password }
}

func named(handle string) func(*antv1.ExchangeInviteRequest) {
	return func(q *antv1.ExchangeInviteRequest) { q.Handle = handle }
}

func (w *world) listed(id string) *antv1.Invite {
	w.t.Helper()
	list, err := w.ListInvites(w.t.Context(), &antv1.ListInvitesRequest{SessionId: "room-a"})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, inv := range list.Invites {
		if inv.Id == id {
			return inv
		}
	}
	w.t.Fatalf("invite %s is not listed", id)
	return nil
}

func TestWrongPasswordsRevokeAnInvite(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.MaxFailures = 3 })
	inv := w.invite(&antv1.CreateInviteRequest{Password: "open sesame"})
	before := w.guest(inv, with("open sesame"))
	var wg sync.WaitGroup
	for i := range 8 { // at once: they are counted all the same
		wg.Go(func() {
			if _, err := w.exchange(inv, with(fmt.Sprint("guess ", i))); reason(t, err) != "INVITE_REFUSED" {
				t.Errorf("a wrong password: %v", err)
			}
		})
	}
	wg.Wait()
	if got := w.listed(inv.Id); got.Failures != 3 || got.Status != "revoked" || got.GetRevokedReason() != "failures" || got.RevokedAt == nil || got.Uses != 1 {
		t.Errorf("the invite: %v", got)
	}
	_, err := w.exchange(inv, with("open sesame"))
	w.wantReason("the right password, too late", err, "INVITE_REFUSED")
	if _, _, err := w.post("room-a", bearer(before.Token)...); err != nil {
		t.Errorf("a token of before: %v", err)
	}
	if _, err := w.exchange(w.invite(&antv1.CreateInviteRequest{Password: "long"}), with(strings.Repeat("x", 1<<20))); reason(t, err) != "INVITE_REFUSED" {
		t.Errorf("a huge password: %v", err)
	}
}

// Whatever is wrong, the answer is one and the same.
func TestExchangeTellsNothing(t *testing.T) {
	w := newWorld(t)
	good := w.invite(&antv1.CreateInviteRequest{Password: "p"})
	second, one := int32(1), int32(1)
	expired := w.invite(&antv1.CreateInviteRequest{Password: "p", ExpiresIn: &second})
	used := w.invite(&antv1.CreateInviteRequest{Password: "p", MaxUses: &one})
	w.guest(used, with("p"))
	revoked := w.invite(&antv1.CreateInviteRequest{Password: "p"})
	if _, err := w.RevokeInvite(t.Context(), &antv1.RevokeInviteRequest{SessionId: "room-a", InviteId: revoked.Id}); err != nil {
		t.Fatal(err)
	}
	w.pass(2 * time.Second)
	w.invite(&antv1.CreateInviteRequest{SessionId: "room-gone"})
	w.gone["room-gone"] = true
	for name, q := range map[string]*antv1.ExchangeInviteRequest{
		"wrong password": {SessionId: "room-a", InviteId: good.Id, Password: "q"},
		"no password":    {SessionId: "room-a", InviteId: good.Id},
		"unknown":        {SessionId: "room-a", InviteId: "nothing", Password: "p"},
		"another room":   {SessionId: "room-b", InviteId: good.Id, Password: "p"},
		"no room":        {SessionId: "nowhere", InviteId: good.Id, Password: "p"},
		"expired":        {SessionId: "room-a", InviteId: expired.Id, Password: "p"},
		"used up":        {SessionId: "room-a", InviteId: used.Id, Password: "p"},
		"revoked":        {SessionId: "room-a", InviteId: revoked.Id, Password: "p"},
		"huge":           {SessionId: "room-a", InviteId: strings.Repeat("x", 1<<20)},
	} {
		if _, err := w.ExchangeInvite(t.Context(), q); err == nil || err.Error() != errRefused.Error() {
			t.Errorf("%s: %v", name, err)
		}
	}
	for id, want := range map[string]string{expired.Id: "expired", used.Id: "used_up", revoked.Id: "revoked", good.Id: "active"} {
		if got := w.listed(id); got.Status != want {
			t.Errorf("%s: status %s, want %s", id, got.Status, want)
		}
	}
	if _, err := w.CreateInvite(t.Context(), &antv1.CreateInviteRequest{SessionId: "room-gone"}); reason(t, err) != "SESSION_DELETED" {
		t.Errorf("an invite to a room that is gone: %v", err)
	}
	if _, err := w.CreateInvite(t.Context(), &antv1.CreateInviteRequest{SessionId: "nowhere"}); reason(t, err) != "SESSION_NOT_FOUND" {
		t.Errorf("an invite to no room: %v", err)
	}
}

func TestInviteBounds(t *testing.T) {
	w := newWorld(t)
	for name, q := range map[string]*antv1.CreateInviteRequest{
		"kind": {Kinds: []string{"cli", "tty"}}, "scope": {Scopes: []string{"read", "admin"}}, "no read": {Scopes: []string{"write"}},
		"label": {Label: strings.Repeat("x", 201)}, "password": {Password: strings.Repeat("x", 1025)}, "no uses": {MaxUses: proto.Int32(0)},
		"uses": {MaxUses: proto.Int32(10_001)}, "past": {ExpiresIn: proto.Int32(-1)}, "for ever": {ExpiresIn: proto.Int32(1 << 30)},
		"token": {TokenExpiresIn: proto.Int32(0)}, "handle": {Handle: "a b"}, "everyone": {Handle: "@Everyone"}, "control": {Handle: "@a\x1b"},
		"bidi": {Handle: "@a\u202e"}, "long handle": {Handle: strings.Repeat("h", 65)}, "@": {Handle: "@"}, "@@": {Handle: "@@a"},
	} {
		q.SessionId = "room-a"
		_, err := w.CreateInvite(t.Context(), q)
		w.wantReason(name, err, "INVALID_FIELD")
	}
	inv := w.invite(&antv1.CreateInviteRequest{Kinds: []string{"web", "cli", "cli"}, Scopes: []string{"terminal", "read"}, Label: "for ann"})
	if strings.Join(inv.Kinds, " ") != "cli web" || strings.Join(inv.Scopes, " ") != "read terminal" || inv.MaxUses != 100 || inv.HasPassword ||
		inv.CreatedAt != "2026-03-01 12:00:00" || inv.ExpiresAt != "2026-03-08 12:00:00" || inv.Status != "active" || inv.Handle != nil {
		t.Errorf("the invite: %v", inv)
	}
	tok := w.guest(inv)
	if tok.Kind != "cli" || strings.Join(tok.Scopes, " ") != "read terminal" || tok.ExpiresAt != "2026-03-31 12:00:00" {
		t.Errorf("the token: %v", tok)
	}
	_, _, err := w.post("room-a", bearer(tok.Token)...)
	w.wantReason("to write without the scope", err, "MISSING_SCOPE")
	web := w.guest(inv, func(q *antv1.ExchangeInviteRequest) { q.Kind = "web" })
	if strings.Join(web.Scopes, " ") != "read" {
		t.Errorf("scopes of kind web: %v", web.Scopes)
	}
	_, err = w.exchange(inv, func(q *antv1.ExchangeInviteRequest) { q.Kind = "mcp" })
	w.wantReason("a kind that it does not give", err, "INVALID_FIELD")
	large, err := structpb.NewStruct(map[string]any{"x": strings.Repeat("y", metaMax)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.exchange(inv, func(q *antv1.ExchangeInviteRequest) { q.Meta = large })
	w.wantReason("large meta", err, "INVALID_FIELD")
	if got := w.listed(inv.Id); got.Uses != 2 {
		t.Errorf("what was refused was counted as use: %v", got)
	}
}

func TestHandlesOfGuests(t *testing.T) {
	w := newWorld(t)
	w.handles["@codex"] = "room-codex"
	mine, theirs := w.invite(&antv1.CreateInviteRequest{}), w.invite(&antv1.CreateInviteRequest{})
	ann := w.guest(mine, named("Ann"))
	if again := w.guest(mine, named("@Ann")); again.Handle != "@Ann" {
		t.Errorf("the same person again: %v", again)
	}
	for name, want := range map[string]string{"ann": "HANDLE_TAKEN", "@ANN": "HANDLE_TAKEN", "codex": "HANDLE_TAKEN", "everyone": "INVALID_FIELD",
		"a\nb": "INVALID_FIELD", "ann2": ""} {
		_, err := w.exchange(theirs, named(name))
		w.wantReason(name, err, want)
	}
	if _, err := w.RevokeToken(t.Context(), &antv1.RevokeTokenRequest{SessionId: "room-a", TokenId: ann.TokenId}); err != nil {
		t.Fatal(err)
	}
	_, err := w.exchange(theirs, named("ann"))
	w.wantReason("one of two tokens is left", err, "HANDLE_TAKEN")
	if _, err := w.RevokeInvite(t.Context(), &antv1.RevokeInviteRequest{SessionId: "@planning", InviteId: mine.Id}); err != nil {
		t.Fatal(err)
	}
	_, err = w.exchange(theirs, named("ann"))
	w.wantReason("all of them are gone", err, "")

	bound := w.invite(&antv1.CreateInviteRequest{Handle: "codex"}) // who invites may say so
	if tok := w.guest(bound); tok.Handle != "@codex" {
		t.Errorf("a bound invite: %v", tok)
	}
	w.guest(bound, named("@CODEX"))
	_, err = w.exchange(bound, named("ann"))
	w.wantReason("another handle than the invite's", err, "INVALID_FIELD")
}

func TestTokensAreListedWithoutSecrets(t *testing.T) {
	w := newWorld(t)
	inv := w.invite(&antv1.CreateInviteRequest{Password: "canary-password"})
	meta, err := structpb.NewStruct(map[string]any{"client": "test"})
	if err != nil {
		t.Fatal(err)
	}
	tok := w.guest(inv, with("canary-password"), func(q *antv1.ExchangeInviteRequest) { q.Meta = meta })
	list, err := w.ListTokens(t.Context(), &antv1.ListTokensRequest{SessionId: "@planning"})
	if err != nil || len(list.Tokens) != 1 {
		t.Fatal(list, err)
	}
	if got := list.Tokens[0]; got.Id != tok.TokenId || got.Meta != `{"client":"test"}` || got.Status != "active" || strings.Contains(got.String(), tok.Token) {
		t.Errorf("the token: %v", got)
	}
	for want, room := range map[string]string{"TOKEN_NOT_FOUND": "room-b", "SESSION_NOT_FOUND": "nowhere"} {
		_, err := w.RevokeToken(t.Context(), &antv1.RevokeTokenRequest{SessionId: room, TokenId: tok.TokenId})
		w.wantReason(room, err, want)
	}
	for range 2 { // again changes nothing
		if _, err := w.RevokeToken(t.Context(), &antv1.RevokeTokenRequest{SessionId: "room-a", TokenId: tok.TokenId}); err != nil {
			t.Error(err)
		}
	}
	_, _, err = w.post("room-a", bearer(tok.Token)...)
	w.wantReason("a revoked token", err, "TOKEN_REVOKED")
	for _, secret := range []string{tok.Token, "canary-password"} {
		err := w.db.View(t.Context(), func(rd store.Reader) error {
			for k, v := range rd.Scan(store.Range{}) {
				if strings.Contains(string(k)+string(v), secret) {
					t.Errorf("%q is in the store", secret)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// Invites are kept as long as a token of theirs could be shown, and then swept.
func TestEndedOnesAreSwept(t *testing.T) {
	w := newWorld(t)
	day := int32(24 * 3600)
	inv := w.invite(&antv1.CreateInviteRequest{ExpiresIn: &day, TokenExpiresIn: proto.Int32(200 * day)})
	tok := w.guest(inv)
	w.pass(100 * 24 * time.Hour)
	w.invite(&antv1.CreateInviteRequest{}) // sweeps what ended long ago
	if _, _, err := w.post("room-a", bearer(tok.Token)...); err != nil {
		t.Errorf("a token whose invite expired: %v", err)
	}
	w.pass(100*24*time.Hour + showEnded*time.Millisecond + time.Hour)
	w.guest(w.invite(&antv1.CreateInviteRequest{}))
	list, err := w.ListInvites(t.Context(), &antv1.ListInvitesRequest{SessionId: "room-a"})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range list.Invites {
		if i.Id == inv.Id {
			t.Error("the invite is still there")
		}
	}
	toks, err := w.ListTokens(t.Context(), &antv1.ListTokensRequest{SessionId: "room-a"})
	if err != nil || len(toks.Tokens) != 1 || toks.Tokens[0].Id == tok.TokenId {
		t.Errorf("tokens: %v %v", toks, err)
	}
}

func TestDeletedRoomsHaveNoGuests(t *testing.T) {
	w := newWorld(t)
	other := w.guest(w.invite(&antv1.CreateInviteRequest{SessionId: "room-b"}))
	var streams []*Admission
	for range 2*cutStep + 1 {
		tok := w.guest(w.invite(&antv1.CreateInviteRequest{}))
		a, err := w.Stream(w.as(bearer(tok.Token)...), antv1.EventsService_Subscribe_FullMethodName)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Release()
		streams = append(streams, a)
	}
	for range 2 {
		if err := w.DeleteSession(t.Context(), "room-a"); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range streams {
		w.wantReason("a stream", a.Ended(), "TOKEN_REVOKED")
	}
	list, err := w.ListTokens(t.Context(), &antv1.ListTokensRequest{SessionId: "room-a"})
	if err != nil || len(list.Tokens) != 2*cutStep+1 {
		t.Fatal(err, len(list.Tokens))
	}
	for _, tok := range list.Tokens {
		if tok.Status != "revoked" {
			t.Errorf("a token: %v", tok)
		}
	}
	if _, _, err := w.post("room-b", bearer(other.Token)...); err != nil {
		t.Errorf("a guest of another room: %v", err)
	}
}
