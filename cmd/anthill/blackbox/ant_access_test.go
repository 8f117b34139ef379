package blackbox

import (
	"context"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	antonv1 "anthill/gen/anton/v1"
)

// What a method is for, as this test sees it: a guest of the room, who may read,
// write or type, whoever is known, anybody at all, nobody from outside; else admins.
const (
	forReaders  = "read"
	forWriters  = "write"
	forTypists  = "terminal"
	forKnown    = "known"
	forAnybody  = "anybody"
	forNobody   = "nobody"
	forAdmins   = "admin"
	signsOut    = "/anton.v1.AccessService/SignOut" // it would end what the others show
	wrongRoom   = "Token does not authorise this room"
	readOnly    = "Tokens of kind 'web' are read-only"
	noTyping    = "This room token lacks the scope 'terminal'"
	adminOnly   = "This action requires master API key, not a per-room token"
	sessionName = "x-browser-session"
)

// decided says of every method of the ANT API, and of those of the CoWork API
// that are not for admins, who may call it: the field of the room stands behind
// the colon.
var decided = map[string]string{
	"/anton.v1.HealthService/GetHealth": forAnybody, "/anton.v1.AccessService/OpenBrowserSession": forAnybody,
	"/anton.v1.AccessService/GetCaller": forKnown, "/anton.v1.AccessService/WatchCaller": forKnown, signsOut: forKnown,

	"/ant.v1.HealthService/GetHealth":      forAdmins,
	"/ant.v1.SessionsService/ListSessions": forAdmins, "/ant.v1.SessionsService/CreateSession": forAdmins,
	"/ant.v1.SessionsService/GetSession": forReaders + ":id", "/ant.v1.SessionsService/UpdateSession": forAdmins,
	"/ant.v1.SessionsService/DeleteSession": forAdmins, "/ant.v1.SessionsService/RestoreSession": forAdmins,
	"/ant.v1.SessionsService/SetHandle": forAdmins, "/ant.v1.SessionsService/SetCliFlag": forAdmins, "/ant.v1.SessionsService/OrderSessions": forAdmins,

	"/ant.v1.ExportsService/ListExportTargets": forReaders + ":session_id", "/ant.v1.ExportsService/ExportSession": forAdmins,
	"/ant.v1.ExportsService/DownloadExport": forReaders + ":session_id",

	"/ant.v1.MessagesService/ListMessages": forReaders + ":session_id", "/ant.v1.MessagesService/PostMessage": forWriters + ":session_id",
	"/ant.v1.MessagesService/UpdateMessage": forAdmins, "/ant.v1.MessagesService/DeleteMessage": forAdmins,
	"/ant.v1.MessagesService/PinMessage": forWriters + ":session_id", "/ant.v1.MessagesService/ListDeliveries": forReaders + ":session_id",
	"/ant.v1.MessagesService/GetRoomSettings": forReaders + ":session_id", "/ant.v1.MessagesService/UpdateRoomSettings": forAdmins,

	"/ant.v1.ParticipantsService/ListParticipants": forReaders + ":room_id", "/ant.v1.ParticipantsService/AddParticipant": forAdmins,
	"/ant.v1.ParticipantsService/UpdateParticipant": forAdmins, "/ant.v1.ParticipantsService/RemoveParticipant": forAdmins,
	"/ant.v1.ParticipantsService/GetPresence": forReaders + ":session_id", "/ant.v1.ParticipantsService/SetPresence": forReaders + ":session_id",
	"/ant.v1.ParticipantsService/SetTyping": forWriters + ":session_id",

	"/ant.v1.FilesService/ListFileRefs": forReaders + ":session_id", "/ant.v1.FilesService/CreateFileRef": forWriters + ":session_id",
	"/ant.v1.FilesService/DeleteFileRef": forAdmins, "/ant.v1.FilesService/UploadAttachment": forWriters + ":session_id",
	"/ant.v1.FilesService/ListRoomAttachments": forReaders + ":session_id", "/ant.v1.FilesService/GetRoomAttachment": forReaders + ":session_id",
	"/ant.v1.FilesService/DeleteRoomAttachment": forAdmins, "/ant.v1.FilesService/DownloadRoomAttachment": forReaders + ":session_id",

	"/ant.v1.ReadsService/ListReads": forReaders + ":session_id", "/ant.v1.ReadsService/GetMessageReads": forReaders + ":session_id",
	"/ant.v1.ReadsService/MarkRead": forWriters + ":session_id",

	"/ant.v1.LinksService/ListLinks": forAdmins, "/ant.v1.LinksService/CreateLink": forAdmins, "/ant.v1.LinksService/DeleteLink": forAdmins,
	"/ant.v1.DigestService/GetDigest": forReaders + ":session_id", "/ant.v1.ShareService/GetShare": forReaders + ":session_id",

	"/ant.v1.AsksService/ListAsks": forReaders + ":session_id", "/ant.v1.AsksService/CreateAsk": forWriters + ":session_id",
	"/ant.v1.AsksService/ListAllAsks": forAdmins, "/ant.v1.AsksService/GetAsk": forReaders + ":session_id", "/ant.v1.AsksService/UpdateAsk": forWriters + ":session_id",

	"/ant.v1.IdentityService/RegisterIdentity": forAdmins, "/ant.v1.IdentityService/ResolveIdentity": forAdmins,

	"/ant.v1.RunEventsService/ListRunEvents": forReaders + ":session_id", "/ant.v1.HooksService/PostHook": forAdmins,

	"/ant.v1.TasksService/ListTasks": forReaders + ":session_id", "/ant.v1.TasksService/GetTask": forReaders + ":session_id",
	"/ant.v1.TasksService/CreateTask": forWriters + ":session_id", "/ant.v1.TasksService/UpdateTask": forWriters + ":session_id",
	"/ant.v1.TasksService/ClaimTask": forWriters + ":session_id", "/ant.v1.TasksService/ReleaseTask": forWriters + ":session_id",
	"/ant.v1.TasksService/DeleteTask": forAdmins,

	"/ant.v1.TerminalsService/GetTerminal": forReaders + ":session_id", "/ant.v1.TerminalsService/StartTerminal": forAdmins,
	"/ant.v1.TerminalsService/EndTerminal": forAdmins, "/ant.v1.TerminalsService/SendTerminalInput": forTypists + ":session_id",
	"/ant.v1.TerminalsService/InterruptTerminal": forAdmins, "/ant.v1.TerminalsService/GetTerminalScreen": forReaders + ":session_id",
	"/ant.v1.TerminalsService/ListTerminalHistory": forReaders + ":session_id", "/ant.v1.TerminalsService/ListTerminalEvents": forReaders + ":session_id",
	"/ant.v1.TerminalsService/AttachTerminal":      forTypists + ":open.session_id",
	"/ant.v1.StatusService/GetStatus":              forReaders + ":session_id",
	"/ant.v1.PromptsService/GetPromptBridgeConfig": forAdmins, "/ant.v1.PromptsService/UpdatePromptBridgeConfig": forAdmins,
	"/ant.v1.PromptsService/GetPendingPrompt": forReaders + ":session_id", "/ant.v1.PromptsService/RespondPrompt": forTypists + ":session_id",
	"/ant.v1.AttentionService/ListAttention": forAdmins, "/ant.v1.AttentionService/GetAttention": forAdmins, "/ant.v1.AttentionService/AnswerAttention": forAdmins,
	"/ant.v1.SendsService/SendToTerminal": forTypists + ":session_id", "/ant.v1.SendsService/ListTerminalSends": forReaders + ":session_id",
	"/ant.v1.SendsService/GetTerminalSend": forReaders + ":session_id",

	"/ant.v1.SearchService/SearchMessages": forAdmins, "/ant.v1.SearchService/SearchRoom": forReaders + ":session_id",

	"/ant.v1.EventsService/Subscribe": forReaders + ":session_ids", "/ant.v1.EventsService/ListEvents": forReaders + ":session_ids",
	"/ant.v1.EventsService/GetGrant": forKnown, "/ant.v1.EventsService/Relay": forNobody,

	"/ant.v1.InvitesService/CreateInvite": forAdmins, "/ant.v1.InvitesService/ListInvites": forAdmins, "/ant.v1.InvitesService/RevokeInvite": forAdmins,
	"/ant.v1.InvitesService/ExchangeInvite": forAnybody, "/ant.v1.InvitesService/ListTokens": forAdmins, "/ant.v1.InvitesService/RevokeToken": forAdmins,
}

// actor is somebody who calls, by every door.
type actor struct {
	name     string
	headers  http.Header
	metadata []string
	unsafe   http.Header // headers for what changes something and for sockets; nil: the same
	guest    string      // kind of a token of the room
	unknown  bool        // shows nothing that counts
	foreign  bool        // a guest of another room
	types    bool        // a guest whose token has the scope terminal
	restOnly bool
}

// may says whether the actor may call a method that is for somebody, and if not,
// with which words it is refused (empty: it is told to show a key).
func (a actor) may(who string) (ok bool, why string) {
	switch {
	case who == forAnybody:
		return true, ""
	case a.unknown:
		return false, ""
	case who == forNobody:
		return false, "This call is for the server itself: use Subscribe."
	case a.guest == "" || who == forKnown:
		return true, ""
	case who == forAdmins:
		return false, adminOnly
	case a.foreign:
		return false, wrongRoom
	case who != forReaders && a.guest == "web":
		return false, readOnly
	case who == forTypists && !a.types:
		return false, noTyping
	}
	return true, ""
}

// cast is everybody who calls, and the room that the guests are of.
type cast struct {
	*server
	room, other string
	actors      []actor
	secrets     []string // must not be found afterwards
}

// assemble starts a server with a key, two rooms, guests and a browser.
func assemble(t *testing.T) *cast {
	t.Helper()
	c := &cast{server: start(t, withKey(apiKey))}
	c.room = str(c.newSession("the room", "chat"), "id")
	c.other = str(c.newSession("another room", "chat"), "id")
	c.actors = []actor{
		{name: "nobody", unknown: true},
		{name: "a wrong key", unknown: true, headers: headers("Authorization", "Bearer wrong"), metadata: []string{"authorization", "Bearer wrong"}},
		{name: "the key", headers: headers("X-Api-Key", apiKey), metadata: []string{"x-api-key", apiKey}},
		{name: "a token never given", unknown: true, headers: headers("Authorization", "Bearer ant_t_NEVERGIVEN"), metadata: []string{"authorization", "Bearer ant_t_NEVERGIVEN"}},
	}
	guest := func(name, room, kind string, change func(*actor), body object) (token, id string) {
		o := c.exchange(str(c.invite(room, body), "id"), room, object{"kind": kind})
		token, id = str(o, "token"), str(o, "token_id")
		a := actor{name: name, guest: kind, headers: headers("Authorization", "Bearer "+token), metadata: []string{"authorization", "Bearer " + token}}
		if change != nil {
			change(&a)
		}
		c.actors = append(c.actors, a)
		c.secrets = append(c.secrets, token)
		return token, id
	}
	guest("a guest", c.room, "cli", nil, object{})
	guest("an mcp guest", c.room, "mcp", nil, object{})
	guest("a reader", c.room, "web", nil, object{})
	every := object{"scopes": []string{"read", "write", "terminal"}}
	guest("a guest who types", c.room, "cli", func(a *actor) { a.types = true }, every)
	guest("a guest of another room", c.other, "cli", func(a *actor) { a.foreign = true }, every)
	gone := func(a *actor) { a.unknown, a.guest = true, "" }
	_, id := guest("a guest who was shown out", c.room, "cli", gone, object{})
	c.delete("/api/sessions/" + c.room + "/tokens/" + id).ok()
	expired, _ := guest("a guest whose time is up", c.room, "cli", gone, object{"token_expires_in": 1})
	c.expire(expired)
	c.browsers()
	return c
}

// expire waits until a token is no longer good.
func (c *cast) expire(token string) {
	c.t.Helper()
	conn := c.dial()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	stream, err := antonv1.NewAccessServiceClient(conn).WatchCaller(ctx, &antonv1.WatchCallerRequest{})
	if err != nil {
		c.t.Fatal(err)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	if reason, _ := reasonOf(err); reason != "TOKEN_EXPIRED" {
		c.t.Fatalf("the token does not expire: %v", err)
	}
}

// browsers adds a browser as seen from several pages.
func (c *cast) browsers() {
	c.t.Helper()
	cookie := c.launchBrowser(c.launchLink())
	c.secrets = append(c.secrets, cookie.Value)
	text := cookie.Name + "=" + cookie.Value
	c.actors = append(c.actors,
		actor{name: "a browser", headers: headers("Cookie", text, "Sec-Fetch-Site", "same-origin"), unsafe: headers("Cookie", text, "Origin", c.url),
			metadata: []string{sessionName, cookie.Value}},
		actor{name: "a browser, from an allowed page", unknown: true, headers: headers("Cookie", text, "Origin", "http://localhost:5173"), metadata: []string{"cookie", text}},
		actor{name: "a browser, from another port", unknown: true, headers: headers("Cookie", text, "Sec-Fetch-Site", "same-site"), restOnly: true},
		actor{name: "a browser, another cookie", unknown: true, headers: headers("Cookie", cookie.Name+"=x"+cookie.Value, "Origin", c.url), metadata: []string{sessionName, "x" + cookie.Value}},
	)
}

// wants says who a method is for, and which field names its room.
func wants(t *testing.T, m protoreflect.MethodDescriptor) (who, field string) {
	t.Helper()
	text, ok := decided[fullMethod(m)]
	if !ok {
		if m.ParentFile().Package() == ant {
			t.Fatalf("nobody decided who may call %s", fullMethod(m))
		}
		return forAdmins, ""
	}
	who, field, _ = strings.Cut(text, ":")
	return who, field
}

// payload is a request that names a room.
func payload(t *testing.T, m protoreflect.MethodDescriptor, field, room string) []byte {
	t.Helper()
	msg := dynamicpb.NewMessage(m.Input())
	within, rest, nested := strings.Cut(field, ".")
	switch {
	case nested:
		inner := msg.Mutable(m.Input().Fields().ByName(protoreflect.Name(within))).Message()
		inner.Set(inner.Descriptor().Fields().ByName(protoreflect.Name(rest)), protoreflect.ValueOfString(room))
	case field != "":
		fd := m.Input().Fields().ByName(protoreflect.Name(field))
		if fd.IsList() {
			msg.Mutable(fd).List().Append(protoreflect.ValueOfString(room))
		} else {
			msg.Set(fd, protoreflect.ValueOfString(room))
		}
	}
	b, err := proto.Marshal(msg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Done when (6): one rule on every door. Here gRPC: every method, by everybody.
func TestAntAccessOfEveryMethod(t *testing.T) {
	t.Parallel()
	c := assemble(t)
	conn := c.dial()
	for _, m := range append(methods(), antMethods()...) {
		who, field := wants(t, m)
		for _, a := range c.actors {
			if a.restOnly || fullMethod(m) == signsOut {
				continue
			}
			c.judgeCall(t, conn, m, a, who, payload(t, m, field, c.room))
		}
	}
	c.innocent()
}

func (c *cast) judgeCall(t *testing.T, conn grpc.ClientConnInterface, m protoreflect.MethodDescriptor, a actor, who string, request []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := callRaw(metadata.AppendToOutgoingContext(ctx, a.metadata...), conn, m, request)
	ok, why := a.may(who)
	st := status.Convert(err)
	switch {
	case ok && (st.Code() == codes.PermissionDenied || st.Code() == codes.Unauthenticated && !slices.Contains([]string{"LAUNCH_CODE_INVALID", "INVITE_REFUSED"}, first(reasonOf(err)))):
		t.Errorf("%s by %s: %v, want it to pass", fullMethod(m), a.name, err)
	case !ok && why == "" && st.Code() != codes.Unauthenticated, !ok && why != "" && (st.Code() != codes.PermissionDenied || st.Message() != why):
		t.Errorf("%s by %s: %v, want it refused: %s", fullMethod(m), a.name, err, why)
	}
}

func first(s string, _ map[string]string) string { return s }

// Done when (6): the same over REST.
func TestAntAccessOfEveryRoute(t *testing.T) {
	t.Parallel()
	c := assemble(t)
	for _, r := range append(routes(t), antRoutes(t)...) {
		who, _ := wants(t, r.rpc)
		switch {
		case fullMethod(r.rpc) == signsOut:
			continue
		case r.template == "/ws":
			who = forKnown // what they may join is decided by room
		}
		for _, a := range c.actors {
			ok, why := a.may(who)
			if a.guest != "" && !a.unknown && r.template == "/api/asks/{ask_id}" {
				ok, why = false, wrongRoom // guests name their room in the path
			}
			path := r.path(func(name string) string {
				switch {
				case a.guest == "" && who == forAdmins:
					return "nothing" // else they would delete the room
				case name == "session_id" || name == "room_id" || name == "id":
					return c.room
				}
				return "nothing"
			})
			switch r.template {
			case "/api/events":
				path += "?session=" + c.room
			case "/api/upload":
				path += "?session_id=" + c.room
			}
			h := a.headers
			if r.method != http.MethodGet && a.unsafe != nil {
				h = a.unsafe
			}
			code, message := c.statusOf(r, path, h)
			switch {
			case ok && (code == http.StatusForbidden || code == http.StatusUnauthorized && !strings.Contains(message, "invite") || code >= 500):
				t.Errorf("%s by %s: %d %s, want it to pass", r, a.name, code, message)
			case !ok && why == "" && code != http.StatusUnauthorized, !ok && why != "" && (code != http.StatusForbidden || message != why):
				t.Errorf("%s by %s: %d %s, want it refused: %s", r, a.name, code, message, why)
			}
		}
	}
	c.innocent()
}

// statusOf makes a request whose answer need not end.
func (c *cast) statusOf(r route, path string, h http.Header) (code int, message string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	var body any
	if r.takesBody() {
		body = object{}
	}
	anonymous := *c.server
	anonymous.opts.key = ""
	req, err := anonymous.request(ctx, r.method, path, body, h)
	if err != nil {
		c.t.Fatal(err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		c.t.Fatalf("%s: %v", r, err)
	}
	if res.StatusCode < 400 {
		cancel()
		res.Body.Close()
		return res.StatusCode, ""
	}
	a, err := c.read(r.String(), res)
	if err != nil {
		c.t.Fatal(err)
	}
	o := a.object()
	if message = str(o, "message"); message == "" {
		message = str(o, "detail")
	}
	return a.status, message
}

// Done when (6): and over WebSockets, before the handshake is answered.
func TestAntAccessOfSockets(t *testing.T) {
	t.Parallel()
	c := assemble(t)
	evil := c.actors[len(c.actors)-4].unsafe.Clone()
	evil.Set("Origin", "http://evil.example")
	bare := c.actors[len(c.actors)-4].unsafe.Clone()
	bare.Del("Origin")
	guest := strings.TrimPrefix(c.actors[4].headers.Get("Authorization"), "Bearer ")
	type handshake struct {
		name, query, protocol string
		headers               http.Header
		want                  int
	}
	list := []handshake{
		{"a browser, from a foreign page", "", "", evil, http.StatusForbidden},
		{"a browser that hides its page", "", "", bare, http.StatusUnauthorized},
		{"the key in the query", "?apiKey=" + apiKey, "", nil, http.StatusSwitchingProtocols},
		{"a token in the query", "?token=" + guest, "", nil, http.StatusSwitchingProtocols},
		{"a token as subprotocol", "", "ant.token." + guest, nil, http.StatusSwitchingProtocols},
		{"the key as subprotocol", "", "ant.token." + apiKey, nil, http.StatusSwitchingProtocols},
		{"a wrong key in the query", "?apiKey=wrong", "", nil, http.StatusUnauthorized},
		{"a wrong token in the query", "?token=ant_t_X", "", nil, http.StatusUnauthorized},
		{"a wrong subprotocol", "", "ant.token.wrong", nil, http.StatusUnauthorized},
	}
	for _, a := range c.actors {
		want := http.StatusSwitchingProtocols
		if a.unknown {
			want = http.StatusUnauthorized
		}
		h := a.headers
		if a.unsafe != nil {
			h = a.unsafe
		}
		list = append(list, handshake{a.name, "", "", h, want})
	}
	for _, hs := range list {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		o := &websocket.DialOptions{HTTPHeader: hs.headers}
		if hs.protocol != "" {
			o.Subprotocols = []string{hs.protocol}
		}
		ws, res, err := websocket.Dial(ctx, strings.Replace(c.url, "http", "ws", 1)+"/ws"+hs.query, o)
		if res == nil || res.StatusCode != hs.want {
			t.Errorf("%s: %v %v, want %d", hs.name, res, err, hs.want)
		}
		if err == nil {
			if ws.Subprotocol() != hs.protocol {
				t.Errorf("%s: subprotocol %q", hs.name, ws.Subprotocol())
			}
			if err := ws.CloseNow(); err != nil {
				t.Error(err)
			}
		}
		cancel()
	}
	c.innocent()
}

// Without a key everybody may call, but a token that is shown confines its holder.
func TestAntTokensWithoutAKey(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := str(s.newSession("r", "chat"), "id")
	token := str(s.exchange(str(s.invite(room, object{}), "id"), room, object{}), "token")
	shows := func(token string) http.Header { return headers("Authorization", "Bearer "+token) }
	s.get("/api/sessions").ok()
	s.do(http.MethodGet, "/api/sessions", nil, shows("none")).ok() // SDKs must send something
	s.do(http.MethodGet, "/api/sessions", nil, shows(token)).refused(http.StatusForbidden, adminOnly)
	s.do(http.MethodGet, "/api/sessions/"+room, nil, shows(token)).ok()
	s.do(http.MethodGet, "/v1/projects", nil, shows(token)).refused(http.StatusForbidden, adminOnly)
	s.do(http.MethodGet, "/api/sessions", nil, shows(token+"x")).refused(http.StatusUnauthorized, "")
	s.do(http.MethodGet, "/v1/projects", nil, shows("ant_t_x")).refused(http.StatusUnauthorized, "")
	s.get("/api/sessions/" + room + "?token=" + token).ok()
	s.get("/api/sessions?token="+token).refused(http.StatusForbidden, adminOnly)
	s.get("/api/sessions?apiKey="+token).refused(http.StatusForbidden, adminOnly)
}

// innocent checks that no secret was left behind, in files or in the log.
func (c *cast) innocent() {
	c.t.Helper()
	c.stop()
	spotless(c.t, c.server, append(c.secrets, apiKey)...)
}

func spotless(t *testing.T, s *server, secrets ...string) {
	t.Helper()
	log := s.stderr.String() + s.stdout.String()
	for _, secret := range secrets {
		if len(secret) < 10 {
			t.Fatalf("%q is no secret", secret)
		}
		if strings.Contains(log, secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
	err := filepath.WalkDir(filepath.Dir(s.home), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		for _, secret := range secrets {
			if strings.Contains(string(data), secret) {
				t.Errorf("%q is in %s", secret, path)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
