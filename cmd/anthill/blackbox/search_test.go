package blackbox

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	antv1 "anthill/gen/ant/v1"
	antonv1 "anthill/gen/anton/v1"
)

func antSearchRoutes(e *everyRoute, conn grpc.ClientConnInterface) {
	c := antv1.NewSearchServiceClient(conn)
	id := str(e.s.newSession("found", "chat"), "id")
	e.s.say(id, "a needle in a room")
	all, err := c.SearchMessages(e.s.call(), &antv1.SearchMessagesRequest{Q: "needle"})
	same(e, e.call("GET /api/search", nil, "?q=needle"), all, err)
	one, err := c.SearchRoom(e.s.call(), &antv1.SearchRoomRequest{SessionId: id, Q: "needle", Limit: proto.Int32(3)})
	same(e, e.call("GET /api/sessions/{session_id}/messages/search", nil, id, "?q=needle&limit=3"), one, err)
	if len(one.GetResults()) != 1 || len(all.GetResults()) != 1 {
		e.t.Errorf("found %v and %v", all, one)
	}
}

func (e *everyRoute) searchRoutes(*testing.T) {
	e.s.post("/v1/responses", object{"input": "where is the needle?", "conversation": "haystack", "stream": false}).ok()
	row := e.call("GET /v1/search", nil, "?q=needle").ok()["results"].([]any)[0].(object)
	got, err := e.search.Search(e.s.call(), &antonv1.SearchRequest{Q: "needle"})
	if err != nil || len(got.Results) != 1 {
		e.t.Fatalf("%v, %v", got, err)
	}
	r := got.Results[0]
	for k, v := range map[string]any{"type": "task", "id": "haystack", "sessionId": r.SessionId, "title": r.Title, "subtitle": r.Subtitle, "route": r.Route,
		"score": r.Score, "snippet": r.Snippet, "turnId": r.TurnId, "updatedAt": r.UpdatedAt, "project": r.Project} {
		if row[k] != v {
			e.t.Errorf("%s is %v, want %v", k, row[k], v)
		}
	}
}

// say posts a message and returns its id.
func (s *server) say(room, content string) (id string) {
	s.t.Helper()
	return str(s.post("/api/sessions/"+room+"/messages", object{"role": "user", "content": content}).created(), "id")
}

// find returns the results of a search that is not partial: an index that is
// made again answers so until it is whole, and each answer waits for it.
func (s *server) find(path, query string) []object {
	s.t.Helper()
	for tries := 1; ; tries++ {
		o := s.get(path + "?q=" + url.QueryEscape(query)).ok()
		if o["partial"] == true && tries < 100 {
			continue
		}
		list := []object{}
		for _, r := range o["results"].([]any) {
			list = append(list, r.(object))
		}
		return list
	}
}

// finds checks the member key of what a search finds, in its order.
func (s *server) finds(path, query, key string, want ...string) {
	s.t.Helper()
	var got []string
	for _, r := range s.find(path, query) {
		got = append(got, str(r, key))
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("%s?q=%s finds %q, want %q", path, query, got, want)
	}
}

// Done when: what was posted is found at once, and what was deleted is not.
func TestSearchMessages(t *testing.T) {
	t.Parallel()
	s := start(t)
	one, two := str(s.newSession("one", "chat"), "id"), str(s.newSession("two", "chat"), "id")
	s.patch("/api/sessions/"+one+"/handle", object{"handle": "one"}).ok()
	room := func(id string) string { return "/api/sessions/" + id + "/messages/search" }
	first := s.say(one, `The ferry <img src=x onerror=alert(1)> to "Naxos" & back`)
	second := s.say(two, "ferries leave at 07:30")
	third := s.say(one, "今天天气很好 and the ferry is late")
	s.finds("/api/search", "ferr", "id", third, second, first)
	s.finds("/api/search", "FERRY", "id", third, first)
	s.finds(room(one), "ferr", "id", third, first)
	s.finds(room("@one"), "ferr", "id", third, first)
	s.finds(room(two), "ferr", "id", second)
	s.finds("/api/search", "天气很好", "id", third)
	s.finds("/api/search", "天气", "id", third) // two characters
	s.finds(room(one), "x", "id", first)      // one
	s.finds(room(one), "naxos ferry", "id", first)
	s.finds(room(one), `"ferry is"`, "id", third)
	s.finds("/api/search", "no such thing", "id")
	s.finds("/api/search", " ", "id")
	row := s.find(room(one), "naxos")[0]
	for k, v := range map[string]any{"session_id": one, "role": "user", "sender_id": nil, "target": nil, "msg_type": "message",
		"content": `The ferry <img src=x onerror=alert(1)> to "Naxos" & back`,
		"snippet": `The ferry &lt;img src=x onerror=alert(1)&gt; to &#34;<mark>Naxos</mark>&#34; &amp; back`} {
		if row[k] != v {
			t.Errorf("%s is %v, want %v", k, row[k], v)
		}
	}
	if !rowTime.MatchString(str(row, "created_at")) {
		t.Errorf("%v", row)
	}
	o := s.get(room("nobody")+"?q=ferry").refused(http.StatusNotFound, "Session not found")
	if _, has := o["results"]; !has {
		t.Errorf("ant.md 1.2 has results beside the error: %v", o)
	}

	s.delete("/api/sessions/" + one + "/messages?msgId=" + third)
	s.finds("/api/search", "ferr", "id", second, first)
	s.delete("/api/sessions/" + two) // it can be restored
	s.finds("/api/search", "ferr", "id", second, first)
	s.finds(room(two), "ferr", "id", second)
	s.do(http.MethodDelete, "/api/sessions/"+two+"?hard=true", nil)
	s.finds("/api/search", "ferr", "id", first)
	s.get(room(two)+"?q=ferr").refused(http.StatusNotFound, "Session not found")
	c := antv1.NewSearchServiceClient(s.dial())
	_, err := c.SearchRoom(s.call(), &antv1.SearchRoomRequest{SessionId: two, Q: "ferr"})
	wantCode(t, "a room that is gone", err, codes.NotFound)
	got, err := c.SearchMessages(s.call(), &antv1.SearchMessagesRequest{Q: "ferr"})
	if err != nil || len(got.Results) != 1 || got.Results[0].Id != first {
		t.Errorf("%v, %v", got, err)
	}
}

func TestSearchLimits(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := str(s.newSession("many", "chat"), "id")
	for i := range 60 {
		s.say(id, fmt.Sprintf("common text %d", i))
	}
	for query, want := range map[string]int{"q=common": 50, "q=common&limit=7": 7, "q=common&limit=0": 1, "q=common&limit=-3": 1, "q=common&limit=1000000": 60,
		"q=co&limit=7": 7, "q=common+text+9&limit=5": 5} {
		if got := len(s.get("/api/search?" + query).ok()["results"].([]any)); got != want {
			t.Errorf("%s finds %d, want %d", query, got, want)
		}
	}
	s.get("/api/search?q=x&limit=many").refused(http.StatusBadRequest, "")
	s.get("/api/search?q="+strings.Repeat("x", 1001)).refused(http.StatusBadRequest, "")
	s.get("/api/search?q="+strings.Repeat("x+", 33)).refused(http.StatusBadRequest, "")
	for query, field := range map[string]string{"limit=0": "limit", "limit=101": "limit", "limit=-1": "limit", "limit=x": "limit", "kinds=pin": "kinds", "kinds=": "kinds"} {
		if a := s.get("/v1/search?q=x&" + query); a.status != http.StatusUnprocessableEntity || !strings.Contains(string(a.body), field) {
			t.Errorf("%s", a)
		}
	}
	s.get("/v1/search?q=" + strings.Repeat("x", 1001)).unacceptable("a query that is too long")
	large := strings.Repeat("large text ", 90_000)
	for range 5 {
		s.say(id, large)
	}
	o := s.get("/api/search?q=large").ok()
	for tries := 0; len(o["results"].([]any)) == 0 && tries < 100; tries++ { // indexing so much takes its time
		o = s.get("/api/search?q=large").ok()
	}
	if n := len(o["results"].([]any)); n < 1 || n > 4 || o["partial"] != true || o["note"] == "" {
		t.Errorf("%d results, partial %v: %v", n, o["partial"], o["note"])
	}
}

// No text of a user is an error of the search.
func TestSearchStrangeQueries(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := str(s.newSession("strange", "chat"), "id")
	s.post("/v1/responses", object{"input": "an ordinary question", "conversation": "c", "stream": false}).ok()
	for _, text := range []string{`"`, `""`, `"""`, `'`, `''; DROP TABLE texts; --`, `a"b c`, `"open phrase`, `-minus`, `a-b`, `c:d`, `text:x`, `scope : "x"`,
		`x AND`, `OR y`, `NOT`, `NEAR(a b, 2)`, `(`, `)`, `{a b}:c`, `^start`, `wild*`, `*`, `+`, `a+b`, `/path/to/file.go`, `\`, `%`, `_`, `100%`, `👍🏽`, "👨\u200d👩\u200d👧\u200d👦", `🎉`,
		`天`, `天气`, `天气很`, `שלום`, "\u202eright to left\u202c", `é`, "e\u0301", `ﬁ`, `ß`, "İstanbul", "a\x00b", "\x01\x02\x1b[0m", "tab\tand\nnewline", "\u200bzero\u200bwidth", "😀😀😀", "<script>alert(1)</script>"} {
		if !strings.Contains(text, "\x00") { // no JSON has it
			s.say(id, "before "+text+" behind")
		}
		for _, path := range []string{"/api/search", "/api/sessions/" + id + "/messages/search", "/v1/search"} {
			a := s.get(path + "?q=" + url.QueryEscape(text))
			if strings.Contains(text, "\x00") {
				a.unacceptable("NUL")
				continue
			}
			a.ok()
			for _, r := range a.object()["results"].([]any) {
				snippet := strings.ReplaceAll(strings.ReplaceAll(str(r.(object), "snippet"), "<mark>", ""), "</mark>", "")
				if strings.ContainsAny(snippet, `<>"'`) {
					t.Errorf("%q: a snippet is not escaped: %s", text, snippet)
				}
			}
		}
		if !strings.ContainsAny(text, "\"\x00\x01") {
			if list := s.find("/api/search", text); len(list) == 0 {
				t.Errorf("%q was posted and is not found", text)
			}
		}
	}
	for _, path := range []string{"/api/search?q=%ff", "/v1/search?q=%ff%fe", "/api/search?q=%"} {
		if a := s.get(path); a.status != http.StatusOK && a.status != http.StatusBadRequest {
			t.Errorf("%s", a)
		}
	}
}

// Done when: the index can be lost, damaged or old, and nothing is lost with it.
func TestSearchIndexIsDerived(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := str(s.newSession("room", "chat"), "id")
	var ids []string
	for i := range 20 {
		ids = append([]string{s.say(id, fmt.Sprintf("durable message %d", i))}, ids...)
	}
	s.post("/v1/responses", object{"input": "a durable question", "conversation": "kept", "stream": false}).ok()
	s.post("/v1/responses", object{"input": "a durable question", "conversation": "deleted", "stream": false}).ok()
	check := func(what string) {
		t.Helper()
		s.finds("/api/search", "durable", "id", ids...)
		s.finds("/v1/search", "durable", "id", "kept", "deleted")
		if t.Failed() {
			t.Fatal(what)
		}
	}
	s.finds("/v1/search", "durable", "id", "deleted", "kept")
	s.post("/v1/responses", object{"input": "go on", "conversation": "kept", "stream": false}).ok() // now it is newer
	check("before")
	dir := filepath.Join(s.home, "search")
	files, err := filepath.Glob(filepath.Join(dir, "*.db"))
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	each := func(spoil func(path string, old []byte) error) func() error {
		return func() error {
			for _, f := range files {
				old, err := os.ReadFile(f)
				if err == nil {
					err = spoil(f, old)
				}
				if err != nil {
					return err
				}
			}
			return nil
		}
	}
	for _, tc := range []struct {
		what  string
		spoil func() error
	}{
		{"stopped and started", func() error { return nil }},
		{"deleted", func() error { return os.RemoveAll(dir) }},
		{"one file deleted", func() error { return os.Remove(files[0]) }},
		{"empty", each(func(f string, _ []byte) error { return os.Truncate(f, 0) })},
		{"cut off", each(func(f string, old []byte) error { return os.Truncate(f, int64(len(old)/2)) })},
		{"no database", each(func(f string, _ []byte) error {
			return os.WriteFile(f, []byte(strings.Repeat("garbage ", 1000)), 0o600)
		})},
		{"zeros inside", each(func(f string, old []byte) error { clear(old[1024:]); return os.WriteFile(f, old, 0o600) })},
		{"of another program", each(func(f string, old []byte) error { old[63]++; return os.WriteFile(f, old, 0o600) })}, // user_version
	} {
		s.stop()
		if err := tc.spoil(); err != nil {
			t.Fatal(err)
		}
		s.restart()
		check(tc.what)
	}
	for i := range 3 {
		ids = append([]string{s.say(id, fmt.Sprintf("durable message of round %d", i))}, ids...)
		if i > 0 {
			check("before a kill")
		}
		s.kill()
		s.restart()
		check("killed")
	}
	for _, f := range append(files, dir) {
		info, err := os.Stat(f)
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", f, info.Mode(), err)
		}
	}
	// What was deleted while the index was away does not come back.
	s.stop()
	old, err := os.ReadFile(files[1])
	if err != nil {
		t.Fatal(err)
	}
	s.restart()
	s.delete("/api/sessions/" + id + "/messages?msgId=" + ids[0])
	s.delete("/v1/conversations/deleted").ok()
	s.stop()
	for _, f := range []string{"-wal", "-shm"} {
		os.Remove(files[1] + f) //nolint:errcheck // it may not be there
	}
	if err := os.WriteFile(files[1], old, 0o600); err != nil {
		t.Fatal(err)
	}
	s.restart()
	s.finds("/api/search", "durable", "id", ids[1:]...)
	s.finds("/v1/search", "durable", "id", "kept")
}

// A home that goes back in time takes its index with it.
func TestSearchAfterRestore(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := str(s.newSession("room", "chat"), "id")
	kept := s.say(id, "said before the backup")
	file := filepath.Join(t.TempDir(), "backup.tgz")
	if _, errs, code := command(t, s.environ(), "", "backup", "--server", s.url, file); code != 0 {
		t.Fatal(errs)
	}
	s.say(id, "said after the backup")
	if n := len(s.find("/api/search", "said")); n != 2 {
		t.Errorf("found %d", n)
	}
	s.stop()
	if _, errs, code := command(t, s.environ(), "", "restore", "--replace", file); code != 0 {
		t.Fatal(errs)
	}
	s.restart()
	s.finds("/api/search", "said", "id", kept)
	again := s.say(id, "said once more")
	s.finds("/api/search", "said", "id", again, kept)
}

func TestSearchConversations(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	ask := func(conversation, question, reply string) {
		t.Helper()
		st := s.ask(object{"input": question, "conversation": conversation})
		p.next().say(reply)
		st.rest()
	}
	ask("trip", "When does the ferry leave?", "At half past seven, from <b>Piraeus</b>.")
	ask("trip", "And the crème brûlée?", "Only on the island.")
	ask("work", "Summarise the quarterly report", "It mentions a ferry.")
	find := func(query string, want ...string) { t.Helper(); s.finds("/v1/search", query, "id", want...) }
	find("piraeus", "trip")
	find("pirae", "trip")
	find("ferry piraeus", "trip")
	find("CREME brulee", "trip")
	find("ferry", "trip", "work") // the title has it
	find(`"the quarterly report"`, "work")
	find(`"quarterly the"`)
	find("island ferry") // not in one turn
	row := s.find("/v1/search", "piraeus")[0]
	if want := "When does the ferry leave?\nAt half past seven, from &lt;b&gt;<mark>Piraeus</mark>&lt;/b&gt;."; row["snippet"] != want {
		t.Errorf("snippet %q, want %q", row["snippet"], want)
	}
	if row["type"] != "task" || row["sessionId"] != "trip" || row["route"] != "task" || row["project"] != "general" || row["score"].(float64) < 10 {
		t.Errorf("%v", row)
	}
	s.finds("/v1/search", "general", "type", "project")
	if o := s.get("/v1/search?q=general&kinds=task").ok(); len(o["results"].([]any)) != 0 {
		t.Errorf("%v", o)
	}
	s.patch("/v1/conversations/work", object{"title": "Numbers of spring"}).ok()
	find("spring", "work")
	s.delete("/v1/conversations/trip/turns/0").ok()
	find("piraeus")
	find("island", "trip")
	items := s.get("/v1/conversations/trip/items?order=asc").ok()["data"].([]any)
	s.delete("/v1/conversations/trip/items/" + str(items[1].(object), "id")).ok()
	find("island")
	find("creme", "trip")
	s.delete("/v1/conversations/trip").ok()
	find("creme")
	// What is being asked is found before it is answered.
	st := s.ask(object{"input": "an unanswered riddle", "conversation": "open"})
	c := p.next()
	find("riddle", "open")
	c.say("a solution")
	st.rest()
	find("riddle solution", "open")
	s.post("/v1/conversations/open/items", object{"items": []any{object{"type": "message", "role": "user", "content": "given by a client"}}}).ok()
	find("given client", "open")
	s.post("/v1/projects", object{"name": "gone"}).ok()
	s.patch("/v1/conversations/open", object{"project": "gone"}).ok()
	s.delete("/v1/projects/gone").ok()
	find("riddle")
	// What is not stored is nowhere.
	st = s.ask(object{"input": "a secret whisper", "store": false})
	p.next().say("hush")
	st.rest()
	find("whisper")
}

// Many search while many post: each finds what it posted.
func TestSearchWhilePosting(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := str(s.newSession("busy", "chat"), "id")
	var all sync.WaitGroup
	for w := range 6 {
		all.Go(func() {
			for n := range 15 {
				mark := fmt.Sprintf("mark-%c%c-", 'a'+w, 'a'+n)
				posted, err := s.try(http.MethodPost, "/api/sessions/"+id+"/messages", object{"role": "user", "content": mark + " text"})
				if err != nil || posted.status != http.StatusCreated {
					t.Errorf("%v, %v", posted, err)
					return
				}
				path := "/api/search?q="
				if n%2 == 0 {
					path = "/api/sessions/" + id + "/messages/search?q="
				}
				a, err := s.try(http.MethodGet, path+mark, nil)
				if err != nil || a.status != http.StatusOK {
					t.Errorf("%v, %v", a, err)
					return
				}
				o := a.object()
				if n := len(o["results"].([]any)); n != 1 && o["partial"] != true {
					t.Errorf("%s: found %d: %s", mark, n, a)
				}
			}
		})
	}
	all.Wait()
	if n := len(s.find("/api/search", "mark- text")); n != 50 {
		t.Errorf("found %d, want the first page", n)
	}
}
