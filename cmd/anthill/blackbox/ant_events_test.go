package blackbox

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	antv1 "anthill/gen/ant/v1"
)

// sseEvent is one event of GET /api/events.
type sseEvent struct{ id, name, data string }

// sseReader reads server-sent events with their ids.
type sseReader struct {
	t    *testing.T
	body *bufio.Scanner
}

func (s *server) events(query string, h ...http.Header) *sseReader {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*patience)
	s.t.Cleanup(cancel)
	var header http.Header
	if len(h) > 0 {
		header = h[0]
	}
	req, err := s.request(ctx, http.MethodGet, "/api/events"+query, nil, header)
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = res.Body.Close() }) // cut off in the middle
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Fatalf("GET /api/events%s: %d %s", query, res.StatusCode, res.Header.Get("Content-Type"))
	}
	r := &sseReader{t: s.t, body: bufio.NewScanner(res.Body)}
	r.body.Buffer(nil, 4<<20)
	return r
}

// next is the next event; one without data is the place where the stream begins.
func (r *sseReader) next() (e sseEvent) {
	r.t.Helper()
	for r.body.Scan() {
		line := r.body.Text()
		if line == "" && e != (sseEvent{}) {
			return e
		}
		field, value, _ := strings.Cut(line, ": ")
		switch field {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.data = value
		}
	}
	r.t.Fatalf("the stream ended: %v", r.body.Err())
	return e
}

// eventful does everything in a room that makes events.
func (s *server) eventful(room string) {
	s.t.Helper()
	id := s.speak(room, "one")
	path := "/api/sessions/" + room + "/messages"
	s.patch(path+"?msgId="+id, object{"meta": object{"star": true, "n": 1}}).ok()
	s.patch(path+"/"+id+"/pin", object{"pinned": true}).ok()
	s.post("/api/sessions/"+room+"/typing", object{"handle": "@x", "typing": true}).ok()
	s.patch("/api/sessions/"+room+"/handle", object{"handle": "@plan", "display_name": "The Plan"}).ok()
	gone := s.speak(room, "two")
	s.delete(path + "?msgId=" + gone).ok()
	s.patch("/api/sessions/"+room, object{"name": "new name"}).ok()
	s.speak(room, "end")
}

// Every door shows the same events.
func TestAntEventsAreTheSameOnEveryDoor(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chatRoom("plan")
	live, list := s.socket(), "__ant_sessions__"
	since := live.greeting["seq"].(float64)
	live.say(object{"type": "join_session", "sessionId": list})
	live.join(room)
	liveSSE := s.events(fmt.Sprintf("?session=%s,%s", room, list))
	if first := liveSSE.next(); first.data != "" || first.id != fmt.Sprint(since) {
		t.Errorf("the stream begins with %+v", first)
	}
	s.eventful(room)
	var want []string // durable ones, as they were live
	byType := map[string]object{}
	for {
		b := live.nextBytes()
		m := decode[object](t, b)
		byType[str(m, "type")] = m
		if m["seq"] != nil {
			want = append(want, said(string(b)))
		}
		if m["content"] == "end" {
			break
		}
	}
	for _, typ := range []string{"message_created", "message_updated", "message_deleted", "message_pinned", "typing", "handle_updated", "sessions_changed"} {
		if byType[typ] == nil {
			t.Errorf("there was no %s", typ)
		}
	}
	if m := byType["message_updated"]; m["msgId"] == nil || m["meta"].(object)["star"] != true || m["sessionId"] != room {
		t.Errorf("message_updated is %v", m)
	}
	if m := byType["message_pinned"]; m["pinned"] != true || m["msgId"] == nil {
		t.Errorf("message_pinned is %v", m)
	}
	if m := byType["handle_updated"]; m["handle"] != "@plan" || m["display_name"] != "The Plan" {
		t.Errorf("handle_updated is %v", m)
	}
	// What was deleted is not told again, neither are announcements.
	again := slices.DeleteFunc(slices.Clone(want), func(line string) bool { return strings.Contains(line, `"content":"two"`) })
	s.sameEvents(t, "SSE, live", liveSSE, want)
	resumed := s.events(fmt.Sprintf("?session=%s&session=%s&since=%v", room, list, since))
	resumed.next()
	s.sameEvents(t, "SSE, since", resumed, again)
	late := s.socket()
	late.say(object{"type": "join_session", "sessionId": list, "since": since})
	late.say(object{"type": "join_session", "sessionId": room, "since": since})
	var got []string
	for len(got) < len(again) {
		got = append(got, said(string(late.nextBytes())))
	}
	slices.SortFunc(got, func(a, b string) int { return int(seqOf(t, a) - seqOf(t, b)) }) // order is by room
	if !slices.Equal(got, again) {
		t.Errorf("/ws, since: got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(again, "\n"))
	}
	s.sameBySubscribe(t, room, uint64(since), again)
}

// textMeta is the metadata of a new message: told as it is when it is read.
var textMeta = regexp.MustCompile(`"meta":"(\\.|[^"\\])*",`)

// said is an event without what may change with the time of reading.
func said(line string) string { return textMeta.ReplaceAllString(line, "") }

func seqOf(t *testing.T, line string) float64 {
	t.Helper()
	seq, _ := decode[object](t, []byte(line))["seq"].(float64)
	return seq
}

// sameEvents compares the durable events of a stream, and that ids are seqs.
func (s *server) sameEvents(t *testing.T, what string, r *sseReader, want []string) {
	t.Helper()
	for i := 0; i < len(want); {
		e := r.next()
		m := decode[object](t, []byte(e.data))
		if m["seq"] == nil {
			if e.id != "" {
				t.Errorf("%s: an announcement with an id: %+v", what, e)
			}
			continue
		}
		if said(e.data) != want[i] || e.id != fmt.Sprint(m["seq"]) || e.name != "" {
			t.Fatalf("%s: got %+v, want %s", what, e, want[i])
		}
		i++
	}
}

// sameBySubscribe compares seqs, rooms and what messages say.
func (s *server) sameBySubscribe(t *testing.T, room string, since uint64, want []string) {
	t.Helper()
	events := antv1.NewEventsServiceClient(s.dial())
	st, err := events.Subscribe(s.call(), &antv1.SubscribeRequest{SessionIds: []string{room}, Sessions: true, Since: &since})
	if err != nil {
		t.Fatal(err)
	}
	first, err := st.Recv()
	if err != nil || first.GetReady() == nil || first.Seq != since {
		t.Fatalf("the stream begins with %v, %v", first, err)
	}
	page, err := events.ListEvents(s.call(), &antv1.ListEventsRequest{SessionIds: []string{room}, Sessions: true, Since: &since})
	if err != nil || !page.End || len(page.Events) != len(want) {
		t.Fatalf("ListEvents: %v, %v", page, err)
	}
	for i, w := range want {
		e, err := st.Recv()
		if err != nil {
			t.Fatal(err)
		}
		m := decode[object](t, []byte(w))
		if float64(e.Seq) != m["seq"] || float64(e.Epoch) != m["epoch"] || m["room"] != nil && e.SessionId != m["room"] ||
			m["type"] == "message_created" && e.GetMessageCreated().GetContent() != m["content"] {
			t.Errorf("Subscribe: got %v, want %s", e, w)
		}
		if !proto.Equal(e, page.Events[i]) {
			t.Errorf("ListEvents: got %v, want %v", page.Events[i], e)
		}
	}
}

// A browser resumes by itself, across a restart too.
func TestAntEventsResumeByLastEventID(t *testing.T) {
	t.Parallel()
	s := start(t)
	port := s.samePort()
	room, other := s.chatRoom("plan"), s.chatRoom("other")
	r := s.events("?since=0&session=" + room)
	r.next()
	s.speak(room, "one")
	e := r.next()
	for !strings.Contains(e.data, `"content":"one"`) {
		e = r.next()
	}
	s.speak(other, "elsewhere")
	s.speak(room, "two")
	s.kill()
	s.restart(port)
	again := s.events("?since=0&session="+room, headers("Last-Event-ID", e.id))
	again.next()
	if next := again.next(); !strings.Contains(next.data, `"content":"two"`) {
		t.Errorf("resumed with %+v", next)
	}
	s.speak(room, "three")
	if next := again.next(); !strings.Contains(next.data, `"content":"three"`) {
		t.Errorf("went on with %+v", next)
	}
	s.patch("/api/sessions/"+room+"/handle", object{"handle": "@planning"}).ok()
	named := s.events("?since=0&session=@planning")
	for e = named.next(); !strings.Contains(e.data, `"content":"three"`); e = named.next() {
		if strings.Contains(e.data, "elsewhere") {
			t.Errorf("of @planning: got %+v", e)
		}
	}
	all := s.events("?since=0")
	for _, text := range []string{"one", "elsewhere", "two", "three"} {
		for e = all.next(); !strings.Contains(e.data, `"message_created"`); e = all.next() {
		}
		if !strings.Contains(e.data, `"content":"`+text+`"`) {
			t.Errorf("of all rooms: got %+v, want %s", e, text)
		}
	}
}

func TestAntEventsOfACursorThatDoesNotHold(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chatRoom("plan")
	s.speak(room, "one")
	for _, query := range []string{"?since=99999", "?since=1&epoch=5"} {
		r := s.events(query + "&session=" + room)
		r.next()
		m := decode[object](t, []byte(r.next().data))
		if m["type"] != "resync" || m["truncated"] != true || m["oldestSeq"] != 1.0 || m["seq"] != nil {
			t.Errorf("%s: %v", query, m)
		}
		if e := r.next(); !strings.Contains(e.data, `"content":"one"`) {
			t.Errorf("%s: then %+v", query, e)
		}
	}
}

func TestAntEventsBadInput(t *testing.T) {
	t.Parallel()
	const key = "k-sesame-0123456789"
	s := start(t, withKey(key))
	for _, query := range []string{"?since=x", "?since=-1", "?since=1.5", "?since=99999999999999999999", "?epoch=x", "?epoch=4294967296",
		"?session=" + strings.Repeat("a", 129), "?session=" + strings.Repeat("a,", 1000) + "a"} {
		s.get("/api/events" + query).unacceptable(clip([]byte(query)))
	}
	s.do(http.MethodGet, "/api/events", nil, headers("Last-Event-Id", "x")).unacceptable("Last-Event-ID")
	for _, h := range []http.Header{headers("Authorization", ""), headers("Authorization", "Bearer nope")} {
		if a := s.do(http.MethodGet, "/api/events?since=x", nil, h); a.status != http.StatusUnauthorized {
			t.Errorf("%v, want 401", a)
		}
	}
	s.events("?apiKey="+key, headers("Authorization", "")).next()
	s.post("/api/events", object{}).refused(http.StatusMethodNotAllowed, "")

	events := antv1.NewEventsServiceClient(s.dial())
	many := make([]string, 1001)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	for name, q := range map[string]*antv1.SubscribeRequest{
		"too many rooms": {SessionIds: many}, "no id": {SessionIds: []string{""}}, "a long id": {SessionIds: []string{strings.Repeat("x", 129)}},
		"NUL": {SessionIds: []string{"a\x00"}},
	} {
		st, err := events.Subscribe(s.call(), q)
		if err == nil {
			_, err = st.Recv()
		}
		wantCode(t, name, err, codes.InvalidArgument)
	}
	for _, limit := range []int32{-1, 1001} {
		_, err := events.ListEvents(s.call(), &antv1.ListEventsRequest{Limit: limit})
		wantCode(t, fmt.Sprint("limit ", limit), err, codes.InvalidArgument)
	}
	for _, secret := range []string{"", "guess"} {
		st, err := events.Relay(metadata.AppendToOutgoingContext(s.call(), "x-anthill-relay", secret), &antv1.RelayRequest{})
		if err == nil {
			_, err = st.Recv()
		}
		wantCode(t, "relay", err, codes.PermissionDenied)
	}
	_, err := events.GetGrant(t.Context(), &antv1.GetGrantRequest{})
	wantCode(t, "no key", err, codes.Unauthenticated)
}

// `anthill tail` shows the past, then what comes, and survives a kill of the server.
func TestAntTail(t *testing.T) {
	t.Parallel()
	s := start(t)
	port := s.samePort()
	room := s.chatRoom("Plan of the day")
	s.speak(room, "one")
	s.speak(room, "two\x1b[31m\nlines")
	text, lines := s.tailing(t, "plan OF the day", "-n", "1"), s.tailing(t, room, "--json", "--since", "0")
	text.wants("@tester: two[31m", "    lines")
	for _, want := range []string{`"content":"one"`, `"content":"two`} {
		lines.wants(want)
	}
	s.speak(room, "three")
	text.wants("@tester: three")
	lines.wants(`"content":"three"`)
	s.kill()
	s.restart(port)
	s.speak(room, "four")
	text.wants("@tester: four")
	lines.wants(`"content":"four"`)
	for _, f := range []*tailer{text, lines} {
		if err := f.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if err := f.cmd.Wait(); err != nil {
			t.Errorf("Ctrl-C ended it with %v: %s", err, f.stderr.String())
		}
		if !strings.Contains(f.stderr.String(), "waiting") {
			t.Errorf("it did not say that the server was gone: %q", f.stderr.String())
		}
	}
	for name, args := range map[string][]string{"no such room": {"tail", "nowhere"}, "-n": {"tail", "-n", "-1", room}, "no room": {"tail"}} {
		args = append(args, "--server", s.addr)
		if out, errs, code := command(t, s.environ(), "", args...); code == 0 || out != "" || errs == "" {
			t.Errorf("%s: %d %q %q", name, code, out, errs)
		}
	}
}

// tailer is a running `anthill tail`.
type tailer struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  *bufio.Scanner
	stderr *output
}

func (s *server) tailing(t *testing.T, room string, args ...string) *tailer {
	t.Helper()
	f := &tailer{t: t, stderr: &output{}}
	f.cmd = exec.Command(binary, append([]string{"tail", "--server", s.addr, room}, args...)...)
	f.cmd.Env, f.cmd.Stderr = s.environ(), f.stderr
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.cmd.Process.Kill() }) // has ended already, unless the test failed
	f.lines = bufio.NewScanner(out)
	return f
}

// wants reads one line for each text, which must hold it; lines of events that
// are no messages are skipped.
func (f *tailer) wants(texts ...string) {
	f.t.Helper()
	for _, text := range texts {
		for {
			if !f.lines.Scan() {
				f.t.Fatalf("it ended before %q: %s", text, f.stderr.String())
			}
			if line := f.lines.Bytes(); !bytes.HasPrefix(line, []byte("{")) || bytes.Contains(line, []byte("message_created")) {
				break
			}
		}
		if !strings.Contains(f.lines.Text(), text) {
			f.t.Fatalf("got %q, want %q", f.lines.Text(), text)
		}
	}
}
