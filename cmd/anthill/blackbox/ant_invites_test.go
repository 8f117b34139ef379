package blackbox

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	antv1 "anthill/gen/ant/v1"
	antonv1 "anthill/gen/anton/v1"
)

// invite makes an invite to a room.
func (s *server) invite(room string, body object) object {
	s.t.Helper()
	return s.post("/api/sessions/"+room+"/invites", body).created()
}

// exchange turns an invite into a token, as somebody without a key.
func (s *server) exchange(invite, room string, body object) object {
	s.t.Helper()
	return s.tryExchange(invite, room, body).ok()
}

func (s *server) tryExchange(invite, room string, body any) answer {
	s.t.Helper()
	anonymous := *s
	anonymous.opts.key = ""
	return anonymous.do(http.MethodPost, "/api/sessions/"+room+"/invites/"+invite+"/exchange", body)
}

func antInviteRoutes(e *everyRoute, conn grpc.ClientConnInterface) {
	c := antv1.NewInvitesServiceClient(conn)
	room := str(e.s.newSession("invites", "chat"), "id")
	made, err := c.CreateInvite(e.s.call(), &antv1.CreateInviteRequest{SessionId: room, Password: "p"})
	row := e.call("POST /api/sessions/{session_id}/invites", object{"password": "p"}, room)
	alike(e, row, made, err)
	id, other := made.GetId(), str(row.created(), "id")
	l, err := c.ListInvites(e.s.call(), &antv1.ListInvitesRequest{SessionId: room})
	same(e, e.call("GET /api/sessions/{session_id}/invites", nil, room), l, err)
	tok, err := c.ExchangeInvite(e.s.call(), &antv1.ExchangeInviteRequest{SessionId: room, InviteId: id, Password: "p", Handle: "a"})
	got := e.call("POST /api/sessions/{session_id}/invites/{invite_id}/exchange", object{"password": "p", "kind": "cli", "handle": "b", "meta": object{"n": 1}}, room, other)
	alike(e, got, tok, err)
	ts, err := c.ListTokens(e.s.call(), &antv1.ListTokensRequest{SessionId: room})
	same(e, e.call("GET /api/sessions/{session_id}/tokens", nil, room), ts, err)
	rt, err := c.RevokeToken(e.s.call(), &antv1.RevokeTokenRequest{SessionId: room, TokenId: tok.GetTokenId()})
	same(e, e.call("DELETE /api/sessions/{session_id}/tokens/{token_id}", nil, room, str(got.ok(), "token_id")), rt, err)
	ri, err := c.RevokeInvite(e.s.call(), &antv1.RevokeInviteRequest{SessionId: room, InviteId: id})
	same(e, e.call("DELETE /api/sessions/{session_id}/invites/{invite_id}", nil, room, other), ri, err)
}

func TestAntGuestTalks(t *testing.T) {
	t.Parallel()
	s := start(t, withKey(apiKey))
	room := str(s.newSession("planning", "chat"), "id")
	s.patch("/api/sessions/"+room+"/handle", object{"handle": "planning"}).ok()
	inv := s.invite("@planning", object{"kinds": []string{"cli", "web"}, "password": "PASSWORD-CANARY", "label": "for ann", "max_uses": 3})
	o := s.exchange(str(inv, "id"), "@planning", object{"password": "PASSWORD-CANARY", "kind": "cli", "handle": "ann", "meta": object{"via": "test"}})
	token := str(o, "token")
	if !strings.HasPrefix(token, "ant_t_") || str(o, "room_id") != room || str(o, "invite_id") != str(inv, "id") || str(o, "kind") != "cli" || str(o, "handle") != "@ann" || str(o, "token_id") == "" {
		t.Errorf("exchanged: %v", o)
	}
	guest := *s
	guest.opts.key = token
	posted := guest.post("/api/sessions/@planning/messages", object{"content": "hello", "sender_id": "@boss"}).created()
	if str(posted, "sender_id") != "@ann" {
		t.Errorf("a guest posts under another's name: %v", posted)
	}
	list := guest.get("/api/sessions/" + room + "/messages").ok()["messages"].([]any)
	if len(list) != 1 || str(list[0].(object), "sender_id") != "@ann" {
		t.Errorf("messages: %v", list)
	}
	web := *s
	web.opts.key = str(s.exchange(str(inv, "id"), room, object{"password": "PASSWORD-CANARY", "kind": "web"}), "token")
	web.get("/api/sessions/" + room + "/messages").ok()
	web.post("/api/sessions/"+room+"/messages", object{"content": "x"}).refused(http.StatusForbidden, readOnly)
	guest.patch("/api/sessions/"+room, object{"name": "mine"}).refused(http.StatusForbidden, adminOnly)
	guest.get("/api/sessions").refused(http.StatusForbidden, adminOnly)

	tokens := s.get("/api/sessions/" + room + "/tokens").ok()["tokens"].([]any)
	if row := tokens[1].(object); len(tokens) != 2 || str(row, "meta") != `{"via":"test"}` || str(row, "status") != "active" {
		t.Errorf("tokens: %v", tokens)
	}
	for _, body := range []any{object{"password": "PASSWORD-CANARY", "kind": "mcp"}, object{"password": "PASSWORD-CANARY", "handle": "planning"},
		object{"password": "PASSWORD-CANARY", "handle": "a b"}, object{"password": 7}, "{", "[]", object{"password": "PASSWORD-CANARY", "meta": "text"}} {
		a := s.tryExchange(str(inv, "id"), room, body)
		if a.status != http.StatusBadRequest && a.status != http.StatusConflict {
			t.Errorf("%v: %v", body, a)
		}
		a.refused(a.status, "")
	}
	s.stop()
	s.restart()
	guest = *s
	guest.opts.key = token
	guest.get("/api/sessions/" + room + "/messages").ok()
	s.stop()
	spotless(t, s, token, web.opts.key, "PASSWORD-CANARY", apiKey)
}

func TestAntWrongPasswordsRevokeTheInvite(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]struct {
		env  []string
		want int
	}{"unset": {nil, 5}, "set": {[]string{"ANT_INVITE_MAX_FAILURES=2"}, 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, withKey(apiKey), withEnv(limit.env...))
			room := str(s.newSession("r", "chat"), "id")
			inv := str(s.invite(room, object{"password": "right"}), "id")
			guest := *s
			guest.opts.key = str(s.exchange(inv, room, object{"password": "right"}), "token")
			const refusal = "The invite is not valid, or the password is wrong"
			for range limit.want {
				s.tryExchange(inv, room, object{"password": "wrong"}).refused(http.StatusUnauthorized, refusal)
			}
			s.tryExchange(inv, room, object{"password": "right"}).refused(http.StatusUnauthorized, refusal)
			s.tryExchange("unknown", room, object{"password": "right"}).refused(http.StatusUnauthorized, refusal)
			row := s.get("/api/sessions/" + room + "/invites").ok()["invites"].([]any)[0].(object)
			if str(row, "status") != "revoked" || str(row, "revoked_reason") != "failures" || row["failures"] != float64(limit.want) {
				t.Errorf("the invite: %v", row)
			}
			guest.get("/api/sessions/" + room).ok()
		})
	}
}

// The command line makes an invite whose request works as it is printed.
func TestAntInviteByCommand(t *testing.T) {
	t.Parallel()
	s := start(t, withKey(apiKey))
	room := str(s.newSession("r", "chat"), "id")
	s.patch("/api/sessions/"+room+"/handle", object{"handle": "r"}).ok()
	out, errs, code := command(t, s.environ(), "PASSWORD-CANARY\n", "invite", "@r", "--kind", "web", "--expires", "24h", "--password", "--label", "for ann")
	if code != 0 || errs != "" {
		t.Fatalf("%d %q %q", code, out, errs)
	}
	id, _, _ := strings.Cut(out, "\n")
	for _, want := range []string{"curl -sX POST " + s.url + "/api/sessions/" + room + "/invites/" + id + "/exchange", `"kind":"web"`, `"password":"…"`} {
		if !strings.Contains(out, want) {
			t.Errorf("%q lacks %q", out, want)
		}
	}
	if o := s.exchange(id, room, object{"kind": "web", "password": "PASSWORD-CANARY"}); str(o, "kind") != "web" {
		t.Errorf("exchanged: %v", o)
	}
	for _, args := range [][]string{{"invite"}, {"invite", "@nobody"}, {"invite", "@r", "--kind", "tty"}, {"invite", "@r", "--expires", "0s"}, {"invite", "@r", "--expires", "9000h"},
		{"invite", "@r", "--max-uses", "0"}, {"invite", "@r", "--password"}, {"link", "x"}} {
		if out, errs, code := command(t, s.environ(), "", args...); code == 0 || errs == "" || out != "" {
			t.Errorf("anthill %v: %d %q %q", args, code, out, errs)
		}
	}
	if _, errs, code := command(t, append(s.environ(), "ANT_API_KEY=wrong"), "", "link"); code == 0 || !strings.Contains(errs, "ANT_API_KEY") {
		t.Errorf("with a wrong key: %d %q", code, errs)
	}
	s.stop()
	if _, errs, code := command(t, s.environ(), "", "link"); code == 0 || !strings.Contains(errs, "anthill serve") {
		t.Errorf("without a server: %d %q", code, errs)
	}
	spotless(t, s, "PASSWORD-CANARY", apiKey)
}

// Eight who exchange one use at once: one of them gets a token.
func TestAntInviteIsUsedUp(t *testing.T) {
	t.Parallel()
	s := start(t, withKey(apiKey))
	room := str(s.newSession("r", "chat"), "id")
	inv := str(s.invite(room, object{"max_uses": 1}), "id")
	anonymous := *s
	anonymous.opts.key = ""
	var wg sync.WaitGroup
	codes := make(chan int, 8)
	for range cap(codes) {
		wg.Go(func() {
			a, err := anonymous.try(http.MethodPost, "/api/sessions/"+room+"/invites/"+inv+"/exchange", object{})
			if err != nil {
				t.Error(err)
			}
			codes <- a.status
		})
	}
	wg.Wait()
	close(codes)
	got := map[int]int{}
	for code := range codes {
		got[code]++
	}
	if got[http.StatusOK] != 1 || got[http.StatusUnauthorized] != 7 {
		t.Errorf("answers by status: %v", got)
	}
}

// A guest's socket and streams carry nothing of other rooms, nor of the list.
func TestAntGuestHearsItsRoomAlone(t *testing.T) {
	t.Parallel()
	s := start(t, withKey(apiKey))
	room, other := str(s.newSession("r", "chat"), "id"), str(s.newSession("other", "chat"), "id")
	token := str(s.exchange(str(s.invite(room, object{}), "id"), room, object{}), "token")
	for _, path := range []string{"?session=" + other, "?session=" + room + "," + other, "?session=__ant_sessions__"} {
		s.do(http.MethodGet, "/api/events"+path, nil, headers("Authorization", "Bearer "+token)).refused(http.StatusForbidden, wrongRoom)
	}
	ws := s.socketBy(s.wsURL(), &websocket.DialOptions{Subprotocols: []string{"ant.token." + token}})
	for _, id := range []string{other, "__ant_sessions__", room} {
		ws.say(object{"type": "join_session", "sessionId": id, "handle": "@boss"})
	}
	ws.say(object{"type": "check_health", "sessionId": room})
	ws.until("session_health")
	for _, o := range s.get("/api/presence/" + room).ok() {
		if p, _ := o.(object); p["@boss"] != nil {
			t.Errorf("a guest is present under another's handle: %v", p)
		}
	}
	s.speak(other, "SECRET of another room")
	s.newSession("SECRET room", "chat")
	s.speak(room, "hello")
	for {
		m := ws.nextBytes()
		if strings.Contains(string(m), "SECRET") || strings.Contains(string(m), other) && !strings.Contains(string(m), "error") || strings.Contains(string(m), "sessions_changed") {
			t.Errorf("a guest hears %s", m)
		}
		if strings.Contains(string(m), "hello") {
			break
		}
	}
}

// Live streams by every door end with the token, and say why; those of others go on.
func TestAntRevocationEndsLiveStreams(t *testing.T) {
	t.Parallel()
	s := start(t, withKey(apiKey))
	room := str(s.newSession("r", "chat"), "id")
	other := s.audience(room, str(s.exchange(str(s.invite(room, object{}), "id"), room, object{}), "token"))
	for name, revoke := range map[string]func(invite, token, plaintext string){
		"the token":  func(_, token, _ string) { s.delete("/api/sessions/" + room + "/tokens/" + token).ok() },
		"the invite": func(invite, _, _ string) { s.delete("/api/sessions/" + room + "/invites/" + invite).ok() },
		"signed out": func(_, _, plaintext string) {
			guest := *s
			guest.opts.key = plaintext
			guest.post("/v1/access/sign-out", object{}).ok()
		},
	} {
		inv := str(s.invite(room, object{}), "id")
		o := s.exchange(inv, room, object{})
		g := s.audience(room, str(o, "token"))
		s.speak(room, "before "+name)
		g.hears("before " + name)
		other.hears("before " + name)
		revoke(inv, str(o, "token_id"), str(o, "token"))
		g.ends(name, "revoked", "TOKEN_REVOKED")
		s.speak(room, "after "+name)
		other.hears("after " + name)
	}
	second := s.invite(room, object{"token_expires_in": 2})
	g := s.audience(room, str(s.exchange(str(second, "id"), room, object{}), "token"))
	g.ends("its time is up", "expired", "TOKEN_EXPIRED")
	s.speak(room, "at last")
	other.hears("at last")
	if a := s.do(http.MethodDelete, "/api/sessions/"+room+"?hard=true", nil); a.status != http.StatusNoContent {
		t.Error(a)
	}
	other.ends("the room is deleted", "revoked", "TOKEN_REVOKED")
}

// audience is a guest who follows a room by gRPC, SSE and WebSocket at once.
type audience struct {
	t     *testing.T
	rpc   grpc.ServerStreamingClient[antv1.Event]
	watch grpc.ServerStreamingClient[antonv1.Caller]
	lines chan string // of the event stream; closed at its end
	ws    *socket
}

func (s *server) audience(room, token string) *audience {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 3*patience)
	s.t.Cleanup(cancel)
	f := &audience{t: s.t, lines: make(chan string, 1000)}
	conn := s.dial()
	call := metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	var err error
	if f.rpc, err = antv1.NewEventsServiceClient(conn).Subscribe(call, &antv1.SubscribeRequest{SessionIds: []string{room}}); err != nil {
		s.t.Fatal(err)
	}
	if f.watch, err = antonv1.NewAccessServiceClient(conn).WatchCaller(call, &antonv1.WatchCallerRequest{}); err != nil {
		s.t.Fatal(err)
	}
	if e, err := f.rpc.Recv(); err != nil || e.GetReady() == nil {
		s.t.Fatal(e, err)
	}
	if c, err := f.watch.Recv(); err != nil || c.Kind != "token" || c.RoomId != room {
		s.t.Fatal(c, err)
	}
	f.listen(ctx, s, room, token)
	f.ws = s.socketBy(s.wsURL()+"?token="+token, nil)
	f.ws.say(object{"type": "join_session", "sessionId": room})
	f.ws.say(object{"type": "check_health", "sessionId": room})
	f.ws.until("session_health") // frames are taken in order
	return f
}

// listen opens the event stream; it is there when its first line is.
func (f *audience) listen(ctx context.Context, s *server, room, token string) {
	f.t.Helper()
	guest := *s
	guest.opts.key = ""
	req, err := guest.request(ctx, http.MethodGet, "/api/events?session="+room+"&token="+token, nil, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	res, err := s.http.Do(req)
	if err != nil || res.StatusCode != http.StatusOK {
		f.t.Fatal(res, err)
	}
	go func() {
		defer close(f.lines)
		defer res.Body.Close()
		for sc := bufio.NewScanner(res.Body); sc.Scan(); {
			f.lines <- sc.Text()
		}
	}()
	f.line("id: ")
}

// line reads on to a line that begins so.
func (f *audience) line(begins string) string {
	f.t.Helper()
	for {
		select {
		case l, ok := <-f.lines:
			if !ok {
				f.t.Fatalf("the event stream ended before %q", begins)
			}
			if strings.HasPrefix(l, begins) {
				return l
			}
		case <-time.After(patience):
			f.t.Fatalf("no %q in time", begins)
		}
	}
}

// hears waits for a message by all three.
func (f *audience) hears(text string) {
	f.t.Helper()
	for {
		e, err := f.rpc.Recv()
		if err != nil {
			f.t.Fatal(err)
		}
		if e.GetMessageCreated().GetContent() == text {
			break
		}
	}
	for !strings.Contains(f.line("data: "), text) {
	}
	for {
		if m := f.ws.until("message_created"); m["content"] == text {
			return
		}
	}
}

// ends waits until all of them have ended for a reason.
func (f *audience) ends(what, why, reason string) {
	f.t.Helper()
	var err error
	for err == nil {
		_, err = f.rpc.Recv()
	}
	if got, _ := reasonOf(err); got != reason || status.Code(err) != codes.Unauthenticated {
		f.t.Errorf("%s: Subscribe ended with %v", what, err)
	}
	if _, err := f.watch.Recv(); first(reasonOf(err)) != reason {
		f.t.Errorf("%s: WatchCaller ended with %v", what, err)
	}
	f.line("event: closed")
	if l := f.line("data: "); l != `data: {"reason":"`+why+`"}` {
		f.t.Errorf("%s: the event stream ended with %q", what, l)
	}
	if m := f.ws.until("closed"); m["reason"] != why {
		f.t.Errorf("%s: the socket ended with %v", what, m)
	}
	if code, text := f.ws.closed(); code != websocket.StatusPolicyViolation {
		f.t.Errorf("%s: the socket was closed with %d %s", what, code, text)
	}
}
