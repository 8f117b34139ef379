package access

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	antv1 "anthill/gen/ant/v1"
	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/store"
)

func TestWhoCalls(t *testing.T) {
	w := newWorld(t)
	tok := w.guest(w.invite(&antv1.CreateInviteRequest{}))
	session, _ := w.browser()
	open := w.again(func(o *Options) { o.Key = "" })
	code, _ := open.LaunchCode()
	own, err := open.OpenBrowserSession(t.Context(), &antonv1.OpenBrowserSessionRequest{Code: code})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		shown       []string
		keyed, open string // kind, or reason
	}{
		"nothing":            {nil, "UNAUTHENTICATED", caller.Local},
		"the key":            {bearer(theKey), caller.Key, caller.Local},
		"the key, otherwise": {[]string{"x-api-key", theKey}, caller.Key, caller.Local},
		"a wrong key":        {bearer("wrong"), "UNAUTHENTICATED", caller.Local},
		"an empty key":       {bearer(""), "UNAUTHENTICATED", caller.Local},
		"half of the key":    {bearer(theKey[:9]), "UNAUTHENTICATED", caller.Local},
		"basic":              {[]string{"authorization", "Basic " + theKey}, "UNAUTHENTICATED", caller.Local},
		"a token":            {bearer(tok.Token), caller.Token, caller.Token},
		"a token as key":     {[]string{"x-api-key", tok.Token}, caller.Token, caller.Token},
		"no token":           {bearer(tokenPrefix + "NEVERGIVEN"), "UNAUTHENTICATED", "UNAUTHENTICATED"},
		"a token and more":   {bearer(tok.Token + "x"), "UNAUTHENTICATED", "UNAUTHENTICATED"},
		"token and key":      {append(bearer(tok.Token), "x-api-key", theKey), caller.Token, caller.Token},
		"wrong and right":    {append(bearer("wrong"), "x-api-key", theKey), caller.Key, caller.Local},
		"wrong key, session": {append(bearer("wrong"), sessionKey, session), "UNAUTHENTICATED", caller.Local},
		"a session":          {[]string{sessionKey, session}, caller.Session, caller.Local},
		"without a key":      {[]string{sessionKey, own.Token}, "UNAUTHENTICATED", caller.Session},
		"a wrong session":    {[]string{sessionKey, session + "x"}, "UNAUTHENTICATED", caller.Local},
		"one of two":         {[]string{sessionKey, "x", sessionKey, session}, caller.Session, caller.Local},
		"a session as key":   {bearer(session), "UNAUTHENTICATED", caller.Local},
		"a cookie by gRPC":   {[]string{"cookie", "anthill-1=" + session}, "UNAUTHENTICATED", caller.Local},
	} {
		for want, r := range map[string]*Room{"keyed " + c.keyed: w.Room, "open " + c.open: open} {
			_, want, _ := strings.Cut(want, " ")
			id, err := r.identify(w.as(c.shown...))
			got := reason(t, err)
			if err == nil {
				got = id.Kind
			}
			if got != want {
				t.Errorf("%s: %q, want %q (key configured: %v)", name, got, want, r.key != nil)
			}
		}
	}
}

func TestGuestsStayInTheirRoom(t *testing.T) {
	w := newWorld(t)
	inv := w.invite(&antv1.CreateInviteRequest{SessionId: "@planning"})
	cli := w.guest(inv, func(q *antv1.ExchangeInviteRequest) { q.Kind, q.Handle = "cli", "ann" })
	web := w.guest(inv, func(q *antv1.ExchangeInviteRequest) { q.Kind = "web" })
	w.handles["@other"] = "room-b"
	if cli.RoomId != "room-a" || cli.Handle != "@ann" || !strings.HasPrefix(cli.Token, tokenPrefix) || !strings.HasPrefix(web.Handle, "@guest-") {
		t.Errorf("exchanged: %v, %v", cli, web)
	}

	for _, room := range []string{"room-a", "@planning"} {
		c, q, err := w.post(room, bearer(cli.Token)...)
		if err != nil || c.Room != "room-a" || c.Handle != "@ann" || c.TokenKind != "cli" || c.As("@boss") != "@ann" || q.SessionId != "room-a" {
			t.Errorf("in %s: %v %v %v", room, c, q, err)
		}
	}
	for _, room := range []string{"room-b", "@other", "@nobody", "", "room-a ", strings.Repeat("r", 1000)} {
		_, _, err := w.post(room, bearer(cli.Token)...)
		w.wantReason("in "+clip(room), err, "WRONG_ROOM")
	}
	_, _, err := w.post("room-a", bearer(web.Token)...)
	w.wantReason("web posts", err, "READ_ONLY_TOKEN")
	_, _, err = w.post("room-b", bearer(web.Token)...)
	w.wantReason("web posts elsewhere", err, "WRONG_ROOM")
	if c, _, err := w.post("room-b", bearer(theKey)...); err != nil || c.As("@boss") != "@boss" {
		t.Errorf("with the key: %v %v", c, err)
	}

	for method, want := range map[string]string{
		antonv1.ResponsesService_CreateResponse_FullMethodName: "ADMIN_ONLY",
		antv1.SessionsService_ListSessions_FullMethodName:      "ADMIN_ONLY",
		antv1.InvitesService_CreateInvite_FullMethodName:       "ADMIN_ONLY",
		antonv1.AccessService_CreateLaunchCode_FullMethodName:  "ADMIN_ONLY",
		antv1.EventsService_Relay_FullMethodName:               "NOT_FOR_CALLERS",
		antonv1.AccessService_GetCaller_FullMethodName:         "",
		antonv1.HealthService_GetHealth_FullMethodName:         "",
		"/grpc.health.v1.Health/Check":                         "ADMIN_ONLY",
		"/no.such.Service/Method":                              "ADMIN_ONLY",
	} {
		_, err := w.Unary(w.as(bearer(cli.Token)...), method, &antonv1.GetCallerRequest{})
		w.wantReason(method, err, want)
	}
	_, err = w.Unary(w.as("x-anthill-relay", w.RelaySecret()), antv1.EventsService_Relay_FullMethodName, &antv1.RelayRequest{})
	w.wantReason("relay by the door", err, "")
	_, err = w.Unary(w.as(bearer(theKey)...), antv1.EventsService_Relay_FullMethodName, &antv1.RelayRequest{})
	w.wantReason("relay with the key", err, "NOT_FOR_CALLERS")
}

func clip(s string) string { return s[:min(len(s), 20)] }

func TestGuestsSubscribeToTheirRoom(t *testing.T) {
	w := newWorld(t)
	web := w.guest(w.invite(&antv1.CreateInviteRequest{Kinds: []string{"web"}}))
	for want, list := range map[string][]*antv1.SubscribeRequest{
		"": {{SessionIds: []string{"room-a"}}, {SessionIds: []string{"@planning", "room-a"}}},
		"WRONG_ROOM": {{}, {All: true}, {SessionIds: []string{"room-b"}}, {SessionIds: []string{"room-a", "room-b"}},
			{SessionIds: []string{"room-a"}, All: true}, {SessionIds: []string{"room-a"}, Sessions: true}, {SessionIds: []string{"room-a", ""}}},
	} {
		for _, q := range list {
			a, err := w.Stream(w.as(bearer(web.Token)...), antv1.EventsService_Subscribe_FullMethodName)
			if err != nil {
				t.Fatal(err)
			}
			err = a.Bind(q)
			w.wantReason(q.String(), err, want)
			for _, id := range q.SessionIds {
				if err == nil && id != "room-a" {
					t.Errorf("%v is not bound to the room", q)
				}
			}
			a.Release()
		}
	}
	if len(w.live.calls) != 0 {
		t.Errorf("%d credentials with streams are left", len(w.live.calls))
	}
}

// A stream leads where its first message says; what follows names no room.
func TestGuestsAttachInTheirRoom(t *testing.T) {
	w := newWorld(t)
	types := w.guest(w.invite(&antv1.CreateInviteRequest{Scopes: []string{"read", "terminal"}}))
	attach := func(ref string) *antv1.AttachTerminalRequest {
		return &antv1.AttachTerminalRequest{Message: &antv1.AttachTerminalRequest_Open{Open: &antv1.AttachOpen{SessionId: ref}}}
	}
	for ref, want := range map[string]string{"room-a": "", "@planning": "", "room-b": "WRONG_ROOM", "unknown": "WRONG_ROOM", "": "WRONG_ROOM"} {
		a, err := w.Stream(w.as(bearer(types.Token)...), antv1.TerminalsService_AttachTerminal_FullMethodName)
		if err != nil {
			t.Fatal(err)
		}
		q := attach(ref)
		err = a.Bind(q)
		w.wantReason(ref, err, want)
		if err == nil && q.GetOpen().SessionId != "room-a" {
			t.Errorf("%v is not bound to the room", q)
		}
		w.wantReason("input", a.Bind(&antv1.AttachTerminalRequest{Message: &antv1.AttachTerminalRequest_Input{Input: []byte("x")}}), "")
		w.wantReason("opened again elsewhere", a.Bind(attach("room-b")), "WRONG_ROOM")
		a.Release()
	}
	reads := w.guest(w.invite(&antv1.CreateInviteRequest{}))
	_, err := w.Stream(w.as(bearer(reads.Token)...), antv1.TerminalsService_AttachTerminal_FullMethodName)
	w.wantReason("without the scope", err, "MISSING_SCOPE")
}

func TestStreamsEndWithWhatTheirCallerShows(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(w *world, inv *antv1.Invite, tok *antv1.ExchangedToken, session string) error
		want map[string]string // reason, by who streams
	}{
		"token revoked": {func(w *world, inv *antv1.Invite, tok *antv1.ExchangedToken, _ string) error {
			_, err := w.RevokeToken(t.Context(), &antv1.RevokeTokenRequest{SessionId: inv.RoomId, TokenId: tok.TokenId})
			return err
		}, map[string]string{"guest": "TOKEN_REVOKED"}},
		"invite revoked": {func(w *world, inv *antv1.Invite, _ *antv1.ExchangedToken, _ string) error {
			_, err := w.RevokeInvite(t.Context(), &antv1.RevokeInviteRequest{SessionId: inv.RoomId, InviteId: inv.Id})
			return err
		}, map[string]string{"guest": "TOKEN_REVOKED"}},
		"session revoked": {func(w *world, _ *antv1.Invite, _ *antv1.ExchangedToken, session string) error {
			_, err := w.RevokeBrowserSession(t.Context(), &antonv1.RevokeBrowserSessionRequest{Id: session})
			return err
		}, map[string]string{"browser": "SESSION_REVOKED"}},
		"signed out": {func(w *world, _ *antv1.Invite, tok *antv1.ExchangedToken, _ string) error {
			ctx, err := w.Unary(w.as(bearer(tok.Token)...), antonv1.AccessService_SignOut_FullMethodName, nil)
			if err != nil {
				return err
			}
			_, err = w.SignOut(ctx, nil)
			return err
		}, map[string]string{"guest": "TOKEN_REVOKED"}},
		"another token revoked": {func(w *world, inv *antv1.Invite, _ *antv1.ExchangedToken, _ string) error {
			other := w.guest(inv)
			_, err := w.RevokeToken(t.Context(), &antv1.RevokeTokenRequest{SessionId: inv.RoomId, TokenId: other.TokenId})
			return err
		}, nil},
		"invite revoked, tokens kept": {func(w *world, inv *antv1.Invite, _ *antv1.ExchangedToken, _ string) error {
			_, err := w.RevokeInvite(t.Context(), &antv1.RevokeInviteRequest{SessionId: inv.RoomId, InviteId: inv.Id, KeepTokens: true})
			return err
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			inv := w.invite(&antv1.CreateInviteRequest{})
			tok := w.guest(inv)
			session, id := w.browser()
			streams := map[string]*Admission{}
			for who, shown := range map[string][]string{"guest": bearer(tok.Token), "browser": {sessionKey, session}, "key": bearer(theKey)} {
				a, err := w.Stream(w.as(shown...), antonv1.AccessService_WatchCaller_FullMethodName)
				if err != nil {
					t.Fatal(who, err)
				}
				defer a.Release()
				streams[who] = a
			}
			if err := c.end(w, inv, tok, id); err != nil {
				t.Fatal(err)
			}
			for who, a := range streams {
				if got := reason(t, a.Ended()); got != c.want[who] {
					t.Errorf("%s: ended with %q, want %q", who, got, c.want[who])
				}
				if (a.Context().Err() != nil) != (c.want[who] != "") {
					t.Errorf("%s: its context: %v", who, a.Context().Err())
				}
			}
		})
	}
}

// A stream ends at the hour when its token does. The clock is real here.
func TestStreamsEndWhenTheirTokenExpires(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Now = time.Now })
	second := int32(1)
	tok := w.guest(w.invite(&antv1.CreateInviteRequest{TokenExpiresIn: &second}))
	a, err := w.Stream(w.as(bearer(tok.Token)...), antonv1.AccessService_WatchCaller_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Release()
	<-a.Context().Done()
	w.wantReason("the stream", a.Ended(), "TOKEN_EXPIRED")
	_, _, err = w.post("room-a", bearer(tok.Token)...)
	w.wantReason("a call", err, "TOKEN_EXPIRED")
}

// What is revoked while a stream begins ends it: it is either refused or ended.
func TestRevocationRacesWithStreams(t *testing.T) {
	w := newWorld(t)
	inv := w.invite(&antv1.CreateInviteRequest{})
	for range 30 {
		tok := w.guest(inv)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				a, err := w.Stream(w.as(bearer(tok.Token)...), antonv1.AccessService_WatchCaller_FullMethodName)
				if err != nil {
					return
				}
				<-a.Context().Done()
				a.Release()
			})
		}
		wg.Go(func() {
			if _, err := w.revokeToken(t.Context(), "room-a", tok.TokenId); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
	}
}

func TestLaunchCodes(t *testing.T) {
	w := newWorld(t)
	code, _ := w.LaunchCode()
	open := func(r *Room, code string) error {
		_, err := r.OpenBrowserSession(t.Context(), &antonv1.OpenBrowserSessionRequest{Code: code})
		return err
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	opened := 0
	for range 8 {
		wg.Go(func() {
			if open(w.Room, code) == nil {
				mu.Lock()
				opened++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if opened != 1 {
		t.Errorf("one code opened %d sessions", opened)
	}
	for _, bad := range []string{"", "x", code, strings.ToLower(code)} {
		w.wantReason("code "+bad, open(w.Room, bad), "LAUNCH_CODE_INVALID")
	}
	code, expires := w.LaunchCode()
	w.pass(launchFor - time.Millisecond)
	w.wantReason("just in time", open(w.Room, code), "")
	late, _ := w.LaunchCode()
	w.pass(launchFor)
	w.wantReason("too late", open(w.Room, late), "LAUNCH_CODE_INVALID")
	if !expires.Before(w.now()) {
		t.Error("a code expires later than it is said to")
	}
	first, _ := w.LaunchCode()
	for range launchMax {
		w.LaunchCode()
	}
	if len(w.codes) != launchMax {
		t.Errorf("%d codes are kept", len(w.codes))
	}
	w.wantReason("the oldest of too many", open(w.Room, first), "LAUNCH_CODE_INVALID")
}

// A code is used up when it opens a session, not when that fails.
func TestLaunchCodeOutlivesAFailure(t *testing.T) {
	w := newWorld(t)
	code, _ := w.LaunchCode()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.OpenBrowserSession(gone, &antonv1.OpenBrowserSessionRequest{Code: code}); err == nil {
		t.Fatal("a session without a store")
	}
	if _, err := w.OpenBrowserSession(t.Context(), &antonv1.OpenBrowserSessionRequest{Code: code}); err != nil {
		t.Error(err)
	}
}

func TestSessionsSlide(t *testing.T) {
	w := newWorld(t)
	session, id := w.browser()
	shown := []string{sessionKey, session}
	who := func(r *Room) string {
		got, err := r.identify(w.as(shown...))
		if err != nil {
			return reason(t, err)
		}
		return got.Kind
	}
	for range 4 { // much longer than it lasts unused
		w.pass(sessionFor - time.Hour)
		if got := who(w.Room); got != caller.Session {
			t.Fatalf("a session in use: %q", got)
		}
	}
	if got := who(w.again()); got != caller.Session {
		t.Errorf("after a restart: %q", got)
	}
	if got := who(w.again(func(o *Options) { o.Key = "another" })); got != "UNAUTHENTICATED" {
		t.Errorf("with another key: %q", got)
	}
	ctx, err := w.Unary(w.as(shown...), antonv1.AccessService_ListBrowserSessions_FullMethodName, nil)
	if err != nil {
		t.Fatal(err)
	}
	list, err := w.ListBrowserSessions(ctx, nil)
	if err != nil || len(list.Sessions) != 1 || list.Sessions[0].Id != id || !list.Sessions[0].Current || list.Sessions[0].UserAgent != "a browser" {
		t.Errorf("sessions: %v %v", list, err)
	}
	w.pass(sessionFor)
	if got := who(w.Room); got != "UNAUTHENTICATED" {
		t.Errorf("an unused session: %q", got)
	}
	if list, err = w.ListBrowserSessions(ctx, nil); err != nil || len(list.Sessions) != 0 {
		t.Errorf("sessions: %v %v", list, err)
	}
	w.browser() // sweeps
	n := 0
	err = w.db.View(t.Context(), func(rd store.Reader) error {
		n = 0
		for range sessions.Scan(rd, store.ScanOptions{}) {
			n++
		}
		return nil
	})
	if err != nil || n != 1 {
		t.Errorf("%d sessions are stored, %v", n, err)
	}
}

func TestAgentIsShownClean(t *testing.T) {
	for in, want := range map[string]string{"Mozilla/5.0 (X11)": "Mozilla/5.0 (X11)", "a\x1b[31mb\r\nc\x00": "a[31mbc",
		strings.Repeat("é", 300): strings.Repeat("é", agentMax), "x\u202ey": "xy"} {
		if got := agent(in); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
}
