package blackbox

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	antv1 "anthill/gen/ant/v1"
)

// antByHand are the routes of the ANT API that the descriptors only tell of in comments.
var antByHand = map[string][]string{
	"Subscribe": {"GET /api/events"},
	"Relay":     {"GET /ws"},
	// One route for both.
	"UploadAttachment":       {"POST /api/upload"},
	"DownloadRoomAttachment": {"GET /api/sessions/{session_id}/attachments/{attachment_id}/raw"},
	"ListExportTargets":      {"GET /api/sessions/{session_id}/export"},
	"DownloadExport":         {"GET /api/sessions/{session_id}/export"},
}

// antPromised are the rows of endpoints.tsv that are there by now, and what the
// reference has beside them.
var antPromised = []string{
	"GET /api/sessions", "POST /api/sessions", "GET /api/sessions/{}", "PATCH /api/sessions/{}", "DELETE /api/sessions/{}",
	"POST /api/sessions/{}/restore", "PATCH /api/sessions/{}/handle", "PATCH /api/sessions/{}/cli-flag", "PATCH /api/sessions/order",
	"GET /api/health", "GET /api/search", "GET /api/sessions/{}/messages/search",
	"GET /api/sessions/{}/messages", "POST /api/sessions/{}/messages", "PATCH /api/sessions/{}/messages", "DELETE /api/sessions/{}/messages",
	"PATCH /api/sessions/{}/messages/{}/pin", "GET /api/sessions/{}/messages/{}/deliveries", "GET /api/sessions/{}/participants",
	"POST /api/sessions/{}/participants", "PATCH /api/sessions/{}/participants", "DELETE /api/sessions/{}/participants", "GET /api/presence/{}",
	"POST /api/sessions/{}/typing", "GET /ws", "GET /api/events",
	"GET /api/sessions/{}/reads", "GET /api/sessions/{}/messages/{}/read", "POST /api/sessions/{}/messages/{}/read",
	"GET /api/sessions/{}/links", "POST /api/sessions/{}/links", "DELETE /api/sessions/{}/links", "GET /api/sessions/{}/digest",
	"GET /api/sessions/{}/asks", "POST /api/sessions/{}/asks", "GET /api/asks", "GET /api/asks/{}", "PATCH /api/asks/{}",
	"GET /api/sessions/{}/share", "POST /api/identity/register", "POST /api/identity/resolve",
	"POST /api/sessions/{}/export", "GET /api/sessions/{}/export",
	"GET /api/sessions/{}/file-refs", "POST /api/sessions/{}/file-refs", "DELETE /api/sessions/{}/file-refs",
	"POST /api/upload", "GET /api/sessions/{}/attachments",
	"GET /api/sessions/{}/run-events", "POST /api/hooks",
	"GET /api/sessions/{}/tasks", "POST /api/sessions/{}/tasks", "GET /api/sessions/{}/tasks/{}", "PATCH /api/sessions/{}/tasks/{}",
	"DELETE /api/sessions/{}/tasks/{}", "POST /api/sessions/{}/tasks/{}/claim", "POST /api/sessions/{}/tasks/{}/release",
	"GET /api/sessions/{}/status", "GET /api/sessions/{}/terminal/history", "GET /api/sessions/{}/terminal/events", "POST /api/sessions/{}/terminal/input",
	"POST /api/sessions/{}/terminal/stop", "GET /api/prompt-bridge/config", "PUT /api/prompt-bridge/config", "GET /api/sessions/{}/prompt-bridge/pending",
	"POST /api/sessions/{}/prompt-bridge/respond", "GET /api/attention", "POST /api/attention/{}/answer",
}

// antSteps call every route of the ANT API by both doors; each resource has one.
var antSteps = map[string]func(*everyRoute, grpc.ClientConnInterface){
	"sessions": antSessionRoutes,
	"health":   antHealthRoutes,
	"search":   antSearchRoutes,
	"streams":  antStreamRoutes,
	"exports":  antExportRoutes,
	"files":    antFileRoutes,
	"evidence": antEvidenceRoutes,
	"invites":  antInviteRoutes,
	"tasks":    antTaskRoutes,
	"reads":    antReadRoutes,
	"links":    antLinkRoutes,
	"digest":   antDigestRoutes,
	"asks":     antAskRoutes,
	"share":    antShareRoutes,
	"identity": antIdentityRoutes, "terminals": antTerminalRoutes, "agents": antAgentRoutes,
	"messages": antMessageRoutes, "participants": antParticipantRoutes,
}

// Done when: every ANT route is called from gRPC and from REST.
func TestAntEveryRoute(t *testing.T) {
	t.Parallel()
	s := start(t)
	e := &everyRoute{t: t, s: s, rest: map[string]bool{}, rpc: map[string]bool{}}
	conn := s.dial(grpc.WithChainUnaryInterceptor(e.unary), grpc.WithChainStreamInterceptor(e.stream))
	for name, step := range antSteps {
		t.Run(name, func(t *testing.T) {
			e.t, e.s = t, s.with(t)
			step(e, conn)
		})
	}
	all := antRoutes(t)
	for _, r := range all {
		if !e.rest[r.String()] {
			t.Errorf("%s was not called", r)
		}
	}
	for _, want := range antPromised {
		if !slices.ContainsFunc(all, func(r route) bool {
			return r.method+" "+r.path(func(string) string { return "{}" }) == want
		}) {
			t.Errorf("the API lacks %s", want)
		}
	}
	for _, m := range antMethods() {
		if !e.rpc[fullMethod(m)] && !antOwnDoor[fullMethod(m)] {
			t.Errorf("%s was not called", fullMethod(m))
		}
	}
}

// antStreamRoutes only begins the streams; other tests follow them.
func antStreamRoutes(e *everyRoute, conn grpc.ClientConnInterface) {
	c := antv1.NewEventsServiceClient(conn)
	grant, err := c.GetGrant(e.s.call(), &antv1.GetGrantRequest{})
	if err != nil || !grant.All {
		e.t.Errorf("grant %v %v", grant, err)
	}
	if page, err := c.ListEvents(e.s.call(), &antv1.ListEventsRequest{All: true, Since: proto.Uint64(0)}); err != nil || !page.End {
		e.t.Errorf("page %v %v", page, err)
	}
	st, err := c.Subscribe(e.s.call(), &antv1.SubscribeRequest{All: true})
	if err != nil {
		e.t.Fatal(err)
	}
	if first, err := st.Recv(); err != nil || first.GetReady() == nil {
		e.t.Errorf("first %v %v", first, err)
	}
	e.rest["GET /api/events"] = true
	e.s.stream(http.MethodGet, "/api/events", nil).abort()
	e.call("GET /ws", nil).unacceptable("/ws without an upgrade")
}

// antOwnDoor are methods that are for the server's own doors, refused to all others.
var antOwnDoor = map[string]bool{"/ant.v1.EventsService/Relay": true}

// antSample fills in path parameters with what antPrepared makes.
func antSample(name string) string {
	if v := (map[string]string{"id": "@c", "session_id": "@c", "room_id": "@c"})[name]; v != "" {
		return v
	}
	return "unknown"
}

// antPrepared is a server with a room "c", and something to lose.
func antPrepared(t *testing.T, with ...option) (s *server, unchanged func()) {
	t.Helper()
	s = start(t, with...)
	id := str(s.post("/api/sessions", object{"name": "c", "type": "chat"}).created(), "id")
	s.patch("/api/sessions/"+id+"/handle", object{"handle": "c", "display_name": "C"}).ok()
	s.post("/api/sessions", object{"name": "term", "type": "terminal"}).created()
	state := func() string {
		return string(s.get("/api/sessions").body) + string(s.get("/api/sessions/@c/messages").body) + string(s.get("/api/sessions/@c/tasks").body)
	}
	before := state()
	return s, func() {
		t.Helper()
		if after := state(); after != before {
			t.Errorf("bad input changed something:\n%s\nbefore:\n%s", after, before)
		}
	}
}

// antGoodBodies are accepted by the routes that take a body, with a member of
// each that the tests spoil. An empty body is refused where that is marked.
var antGoodBodies = map[string]struct {
	body, text string
	must       bool
}{
	"POST /api/sessions":                {`{"name":"new","type":"chat"}`, "name", true},
	"PATCH /api/sessions/{id}":          {`{"name":"new"}`, "name", false},
	"POST /api/sessions/{id}/restore":   {`{}`, "id", false}, // the room is live: refused whatever it says
	"PATCH /api/sessions/{id}/handle":   {`{"handle":"new"}`, "display_name", false},
	"PATCH /api/sessions/{id}/cli-flag": {`{"cli_flag":"pi"}`, "cli_flag", false},
	"PATCH /api/sessions/order":         {`{"ids":[]}`, "ids", true},

	"POST /api/sessions/{session_id}/messages":              {`{"content":"x"}`, "content", true},
	"PATCH /api/sessions/{session_id}/messages":             {`{"meta":{"a":1}}`, "msgId", true},
	"PATCH /api/sessions/{session_id}/messages/{msgId}/pin": {`{"pinned":true}`, "pinned", true},
	"PATCH /api/sessions/{session_id}/settings":             {`{"max_hops":1}`, "session_id", true},
	"POST /api/sessions/{room_id}/participants":             {`{"handle":"@term"}`, "alias", true},
	"PATCH /api/sessions/{room_id}/participants":            {`{"handle":"@term","attention_state":"focus"}`, "attention_state", true},
	"POST /api/sessions/{session_id}/typing":                {`{"handle":"@c"}`, "handle", true},

	"POST /api/sessions/{session_id}/file-refs": {`{"file_path":"x"}`, "file_path", true},
	"POST /api/upload":                          {`{}`, "file", true}, // no form: refused whatever it says

	"POST /api/sessions/{session_id}/export": {`{"targets":"obsidian"}`, "targets", false},

	"POST /api/hooks": {`{"hook_event_name":"Stop","ant_session_id":"@c"}`, "hook_event_name", true},

	"POST /api/sessions/{session_id}/messages/{msgId}/read": {`{"reader_id":"@x"}`, "reader_id", true},
	"POST /api/sessions/{session_id}/links":                 {`{"targetRoomId":"@c"}`, "relationship", false},
	"POST /api/sessions/{session_id}/asks":                  {`{"body":"Which?"}`, "body", true},
	"PATCH /api/asks/{ask_id}":                              {`{"status":"open"}`, "status", true},
	"PATCH /api/sessions/{session_id}/asks/{ask_id}":        {`{"status":"open"}`, "status", true},
	"POST /api/identity/register":                           {`{"pid":2147483647,"sender_id":"@c"}`, "sender_id", true},
	"POST /api/identity/resolve":                            {`{"pids":[]}`, "pids", true},

	"POST /api/sessions/{session_id}/invites":                      {`{"label":"x"}`, "label", false},
	"POST /api/sessions/{session_id}/invites/{invite_id}/exchange": {`{"kind":"cli"}`, "kind", true},

	"POST /api/sessions/{session_id}/terminal/start":        {`{"cwd":"/"}`, "cwd", false},
	"POST /api/sessions/{session_id}/terminal/input":        {`{"data":"x"}`, "data", true},
	"POST /api/sessions/{session_id}/terminal/stop":         {`{"reason":"x"}`, "reason", false},
	"POST /api/sessions/{session_id}/terminal/sends":        {`{"text":"x"}`, "text", true},
	"PUT /api/prompt-bridge/config":                         {`{"enabled":false}`, "on_expiry", false},
	"POST /api/sessions/{session_id}/prompt-bridge/respond": {`{"text":"x"}`, "text", true},
	"POST /api/attention/{id}/answer":                       {`{"choice":"approve"}`, "choice", true},

	"POST /api/sessions/{session_id}/tasks":                   {`{"title":"x"}`, "title", true},
	"PATCH /api/sessions/{session_id}/tasks/{task_id}":        {`{"status":"open"}`, "status", true},
	"POST /api/sessions/{session_id}/tasks/{task_id}/claim":   {`{"by":"@c"}`, "by", true},
	"POST /api/sessions/{session_id}/tasks/{task_id}/release": {`{"by":"@c"}`, "by", true},
}

// Done when: bad input gets a 4xx with error and message, and changes nothing.
func TestAntBadInputBodies(t *testing.T) {
	t.Parallel()
	s, unchanged := antPrepared(t)
	defer unchanged()
	for _, r := range antRoutes(t) {
		if !r.takesBody() {
			continue
		}
		good, known := antGoodBodies[r.String()]
		if !known {
			t.Errorf("no example of a body for %s", r)
			continue
		}
		path := r.path(antSample)
		for what, body := range spoiled(good.text) {
			if what == "null" && !good.must || what == "list for text" && good.text == "pids" { // a list of numbers
				continue
			}
			s.do(r.method, path, body).unacceptable(r.String() + ", " + what)
		}
		if good.must {
			s.do(r.method, path, "").unacceptable(r.String() + ", nothing")
			s.do(r.method, path, "{}").unacceptable(r.String() + ", empty object")
		}
		s.do(r.method, path, `{"`+good.text+`":"`+strings.Repeat("x", 10<<20)+`"}`).refused(http.StatusRequestEntityTooLarge, "Request body too large")
		for _, typ := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"} {
			if r.template == "/api/upload" && strings.HasPrefix(typ, "multipart/") {
				s.do(r.method, path, good.body, headers("Content-Type", typ)).unacceptable("no form")
				continue
			}
			s.do(r.method, path, good.body, headers("Content-Type", typ)).refused(http.StatusUnsupportedMediaType, "")
		}
	}
}

// antStreams are routes whose answer does not end by itself.
func antStreams(r route) bool { return r.template == "/api/events" || r.template == "/ws" }

func TestAntBadInputPaths(t *testing.T) {
	t.Parallel()
	s, unchanged := antPrepared(t)
	defer unchanged()
	nasty := []string{"no-such-thing", "@nobody", "@", "@@c", "..%2f..%2fetc%2fpasswd", "%2e%2e", "..", "x%00", "x%0ay", "%1b%5b2J", "%ff%fe", "%c0%ae", "%2e",
		strings.Repeat("x", 5000), "%E2%80%AE", ";id", "$(id)", "--help", "*", "C", "term%20", "", "%20"}
	all := antRoutes(t)
	for _, r := range all {
		for _, spoil := range r.parameters() {
			for _, name := range nasty {
				var body any
				if r.takesBody() {
					body = antGoodBodies[r.String()].body
				}
				a := s.do(r.method, r.path(func(p string) string {
					if p == spoil {
						return name
					}
					return antSample(p)
				}), body)
				if a.status == http.StatusPermanentRedirect && (name == "" || name == ".." || name == "%2e%2e" || name == "%2e") {
					continue // to the path before it
				}
				if a.status == http.StatusOK && r.template == "/api/sessions/{session_id}/status" {
					continue // compat: ant.md 4.5, also of what is not there
				}
				a.unacceptable(r.String() + ", " + spoil + " is " + name[:min(len(name), 40)])
			}
		}
		if antStreams(r) {
			continue
		}
		for _, query := range []string{"?limit=%ff", "?%ff=1", "?limit=%zz", "?a;b", "?since=%00"} {
			if r.method == http.MethodGet {
				if a := s.get(r.path(antSample) + query); a.status >= 500 {
					t.Errorf("%v", a)
				}
			}
		}
	}
}

func TestAntRouting(t *testing.T) {
	t.Parallel()
	s, unchanged := antPrepared(t)
	defer unchanged()
	all := antRoutes(t)
	for _, r := range all {
		path := r.path(antSample)
		var allowed []string
		for _, other := range all {
			if other.matches(path) && !slices.Contains(allowed, other.method) {
				allowed = append(allowed, other.method)
			}
		}
		slices.Sort(allowed)
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, "PROPFIND"} {
			if slices.Contains(allowed, method) {
				continue
			}
			a := s.do(method, path, nil)
			a.refused(http.StatusMethodNotAllowed, method+" method not allowed")
			if got := a.header.Get("Allow"); got != strings.Join(allowed, ", ") {
				t.Errorf("%v: Allow %q, want %q", a, got, allowed)
			}
		}
		a := s.do(r.method, path+"/?a=b", nil)
		if loc := a.header.Get("Location"); a.status != http.StatusPermanentRedirect || strings.TrimPrefix(loc, s.url) != path+"?a=b" {
			t.Errorf("%v to %q, want %s", a, loc, path)
		}
		if parts := strings.Split(path, "/"); len(parts) > 4 && !r.takesBody() {
			slash := strings.Join(parts[:4], "/") + "%2F" + strings.Join(parts[4:], "%2F")
			s.do(r.method, slash, nil).unacceptable(r.method + " " + slash)
		}
	}
	for _, path := range []string{"/api", "/api/nothing", "/api/sessions/@c/nothing", "/api//sessions", "/API/sessions", "/api/sessions//messages"} {
		if a := s.get(path); a.status != http.StatusNotFound {
			t.Errorf("%v", a)
		}
	}
	a := s.do(http.MethodHead, "/api/sessions", nil)
	if a.status != http.StatusOK || len(a.body) != 0 || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("HEAD: %v", a)
	}
	// A page without an origin, as of a sandboxed frame, never gets in here, whatever it says it is.
	for _, path := range []string{"/api/sessions", "/api/health", "/ws"} {
		s.do(http.MethodGet, path, nil, headers("Origin", "null", "User-Agent", "x Electron/30")).refused(http.StatusForbidden, "Origin not allowed")
		s.do(http.MethodGet, path, nil, headers("Origin", "http://evil.example")).refused(http.StatusForbidden, "Origin not allowed")
		s.do(http.MethodGet, path, nil, headers("Host", "evil.example")).refused(http.StatusForbidden, "Host not allowed")
	}
	s.do(http.MethodPost, "/api/sessions", object{"name": "x", "type": "chat"}, headers("X-Http-Method-Override", "DELETE", "Origin", "http://127.0.0.1:1")).refused(http.StatusForbidden, "")
}

// Done when: bad input gets the matching code over gRPC.
func TestAntBadInputMessages(t *testing.T) {
	t.Parallel()
	s, unchanged := antPrepared(t)
	defer unchanged()
	conn := s.dial()
	for _, m := range antMethods() {
		if antOwnDoor[fullMethod(m)] {
			continue
		}
		for what, payload := range undecodable(m) {
			_, err := callRaw(s.call(), conn, m, payload)
			wantCode(t, fullMethod(m)+", "+what, err, codes.InvalidArgument)
		}
		huge := protowire.AppendBytes(protowire.AppendTag(nil, 100, protowire.BytesType), make([]byte, 13<<20))
		if m.Name() == "CreateSession" {
			_, err := callRaw(s.call(), conn, m, huge)
			wantCode(t, fullMethod(m)+", huge", err, codes.ResourceExhausted)
		}
	}
}
