package blackbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	antonv1 "anthill/gen/anton/v1"
)

// retrieve reads a response by its id.
func (s *server) retrieve(id string) response {
	s.t.Helper()
	a := s.get("/v1/responses/" + id)
	a.ok()
	return decode[response](s.t, a.body)
}

// everyKind is a turn with reasoning, text, a tool of the server and a call for
// the client.
func everyKind(t *testing.T, s *server, p *provider, body object) (*stream, *call) {
	t.Helper()
	s.put("/v1/projects/general/files/a.txt", object{"content": "content of a"}).ok()
	b := object{"input": "everything", "tools": []object{function("fetch")}}
	for k, v := range body {
		b[k] = v
	}
	st := s.ask(b)
	c := p.nextFor(t)
	c.raw(chunk(object{"reasoning_content": "Let me think."}, nil)).text("Reading. ").tool(0, "call_r", "read_file", `{"path":"a.txt"}`).finish("tool_calls")
	c = p.nextFor(t)
	c.text("Fetch — ").text("ing 🐜. ").tool(0, "call_f", "fetch", `{"city":"x"}`)
	return st, c
}

// Whichever way a turn is looked at, its events are the same, byte by byte, and
// so is the response they add up to.
func TestRetrieveShowsTheSameEverywhere(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	for name, end := range map[string]func(c *call){
		"completed":  func(c *call) { c.finish("tool_calls") },
		"incomplete": func(c *call) { c.finish("length") },
		"cut":        (*call).cut,
		"failed":     func(c *call) { c.raw("data: {\"error\":{\"message\":\"x\"}}\n\n").end() },
	} {
		t.Run(name, func(t *testing.T) {
			s := s.with(t)
			st, c := everyKind(t, s, p, nil)
			st.untilText("ing 🐜. ")
			id := st.seen[0].responseID(t)
			attached, replayed := s.tail(st.conversation2(), 0), s.replay(id, "")
			if r := s.retrieve(id); r.Status != "in_progress" || !strings.HasSuffix(r.OutputText, "ing 🐜. ") || r.Usage != nil {
				t.Errorf("while it runs: %+v", r)
			}
			end(c)
			tn := st.turn()
			check := func(s *server) {
				t.Helper()
				sameFrames(t, "tail after the end", s.tail(tn.conversation, 0).rest(), tn.frames)
				sameFrames(t, "replay after the end", s.replay(id, "").rest(), tn.frames)
				ms := messages(t, s, tn.conversation)
				sameFrames(t, "messages", ms[len(ms)-1].frames(t), tn.frames)
				whole := s.get("/v1/responses/" + id)
				whole.ok()
				if string(whole.body) != string(tn.end.Response) {
					t.Errorf("retrieved\n%s\nthe last event has\n%s", whole.body, tn.end.Response)
				}
			}
			sameFrames(t, "tail while it ran", attached.rest(), tn.frames)
			sameFrames(t, "replay while it ran", replayed.rest(), tn.frames)
			check(s)
			for _, f := range tn.frames {
				got := s.replay(id, fmt.Sprintf("&starting_after=%d", f.seq())).rest()
				sameFrames(t, fmt.Sprintf("starting after %d", f.seq()), got, tn.frames[slices.IndexFunc(tn.frames, func(g frame) bool { return g.seq() == f.seq() })+1:])
			}
			if n := len(s.replay(id, fmt.Sprintf("&starting_after=%d", tn.closing+7)).rest()); n != 0 {
				t.Errorf("%d events behind the last", n)
			}
			sameEvents(t, s, id, tn)
		})
	}
	before := map[string]string{}
	for _, id := range conversations(t, s, "?project=all") {
		before[id] = string(s.get("/v1/conversations/" + id + "/messages").body)
	}
	s.stop()
	s.restart()
	for id, want := range before {
		if got := string(s.get("/v1/conversations/" + id + "/messages").body); got != want {
			t.Errorf("after a restart:\n%s\nbefore:\n%s", got, want)
		}
	}
}

// conversation2 is the conversation of a stream whose first event was read.
func (s *stream) conversation2() string { return s.seen[0].ConversationID }

// sameEvents compares a turn with what gRPC says of it.
func sameEvents(t *testing.T, s *server, id string, tn *turn) {
	t.Helper()
	client := antonv1.NewResponsesServiceClient(s.dial())
	st, err := client.StreamResponse(s.call(), &antonv1.StreamResponseRequest{ResponseId: id})
	if err != nil {
		t.Fatal(err)
	}
	all, err := receive(st)
	if err != nil || len(all) != len(tn.frames) || eventText(all) != textOf(tn.frames) {
		t.Fatalf("%d events %q by gRPC, %v; %d %q by REST", len(all), eventText(all), err, len(tn.frames), textOf(tn.frames))
	}
	for i, ev := range all {
		if int64(ev.SequenceNumber) != tn.frames[i].seq() || ev.ResponseId != id || ev.ConversationId != tn.conversation {
			t.Errorf("event %d by gRPC: %v", i, ev)
		}
	}
	r, err := client.GetResponse(s.call(), &antonv1.GetResponseRequest{ResponseId: id})
	if err != nil || r.Id != id || r.Status != tn.final.Status || len(r.Output) != len(tn.final.Output) || r.OutputText != tn.final.OutputText {
		t.Errorf("by gRPC %v %v, by REST %+v", r, err, tn.final)
	}
	after := all[1].SequenceNumber
	st, err = client.StreamResponse(s.call(), &antonv1.StreamResponseRequest{ResponseId: id, StartingAfter: proto.Int32(after)})
	if err != nil {
		t.Fatal(err)
	}
	if rest, err := receive(st); err != nil || len(rest) != len(all)-2 || rest[0].SequenceNumber <= after {
		t.Errorf("starting after %d: %v %v", after, rest, err)
	}
}

func TestRetrieveRefusals(t *testing.T) {
	t.Parallel()
	s := start(t, withModel(answering(t)))
	r := s.create(object{"input": "q", "conversation": "c"})
	for _, id := range []string{"resp_unknown", "unknown", "c", strings.TrimPrefix(r.ID, "resp_"), r.ID + "0", strings.ToUpper(r.ID), "resp_", "turn_" + strings.TrimPrefix(r.ID, "resp_")} {
		const none = "Response not found"
		for _, path := range []string{id, id + "?stream=true", id + "?stream=true&starting_after=3", id + "/input_items"} {
			if o := s.get("/v1/responses/"+path).refused(http.StatusNotFound, none); str(o, "error", "type") != "invalid_request_error" {
				t.Errorf("%s: %v", path, o)
			}
		}
		s.post("/v1/responses/"+id+"/cancel", nil).refused(http.StatusNotFound, none)
		s.delete("/v1/responses/"+id).refused(http.StatusNotFound, none)
		client := antonv1.NewResponsesServiceClient(s.dial())
		wantCode(t, "stream "+id, firstOf(client.StreamResponse(s.call(), &antonv1.StreamResponseRequest{ResponseId: id})), codes.NotFound)
		wantCode(t, "delete "+id, second(client.DeleteResponse(s.call(), &antonv1.DeleteResponseRequest{ResponseId: id})), codes.NotFound)
	}
	for query, loc := range map[string]string{"stream=maybe": "stream", "stream=true&starting_after=x": "starting_after", "stream=true&starting_after=-1": "starting_after",
		"starting_after=1.5": "starting_after", "stream=true&starting_after=99999999999": "starting_after"} {
		d, _ := s.get("/v1/responses/"+r.ID+"?"+query).refused(http.StatusUnprocessableEntity, "")["detail"].([]any)
		if len(d) != 1 || fmt.Sprint(d[0].(object)["loc"]) != "[query "+loc+"]" {
			t.Errorf("%s: %v", query, d)
		}
	}
	for _, query := range []string{"", "?include=reasoning.encrypted_content&include[]=x", "?stream=false", "?stream=0", "?include_obfuscation=false&starting_after=1"} {
		if o := s.get("/v1/responses/" + r.ID + query).ok(); o["id"] != r.ID || o["status"] != "completed" {
			t.Errorf("%s: %v", query, o)
		}
	}
	s.put("/v1/responses/"+r.ID, object{}).refused(http.StatusMethodNotAllowed, "Method Not Allowed")
}

// A response is stopped by its id, and stays as it was when it had ended.
func TestRetrieveCancel(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	st := s.ask(object{"input": "count", "conversation": "c"})
	c := p.next()
	play(c, st, "One, ", "two")
	id := st.seen[0].responseID(t)
	for _, again := range []bool{false, true} {
		a := s.post("/v1/responses/"+id+"/cancel", nil)
		a.ok()
		if r := decode[response](t, a.body); r.ID != id || r.Status != "cancelled" || r.OutputText != "One, two" || r.Error != nil {
			t.Errorf("cancelled (again: %v): %v", again, a)
		}
	}
	c.left()
	if tn := st.turn(); tn.final.Status != "cancelled" || tn.text != "One, two" {
		t.Errorf("%s", tn.end.data)
	}
	if r := s.retrieve(id); r.Status != "cancelled" {
		t.Errorf("%+v", r)
	}
	done := s.begin(http.MethodPost, "/v1/responses", object{"input": "more", "previous_response_id": id, "stream": false})
	p.next().say("three")
	r := decode[response](t, done().body)
	a := s.post("/v1/responses/"+r.ID+"/cancel", nil)
	a.ok()
	if late := decode[response](t, a.body); late.Status != "completed" || late.OutputText != "three" {
		t.Errorf("cancelled after its end: %v", a)
	}
	st = s.ask(object{"input": "again", "conversation": "c"})
	c = p.next()
	rpc, err := antonv1.NewResponsesServiceClient(s.dial()).StopResponse(s.call(), &antonv1.StopResponseRequest{ResponseId: st.seenID(t)})
	if err != nil || rpc.Status != "cancelled" {
		t.Errorf("by gRPC: %v %v", rpc, err)
	}
	c.left()
	st.rest()
}

// seenID is the id of the response that a stream is about.
func (s *stream) seenID(t *testing.T) string {
	t.Helper()
	if len(s.seen) == 0 {
		s.conversation()
	}
	return s.seen[0].responseID(t)
}

// Deleting a response takes its turn out of everything; the last turn takes the
// conversation along, whose title would still tell what was asked.
func TestRetrieveDelete(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	responses := branchable(t, s, p, "c")
	gone := func(id string) {
		t.Helper()
		s.get("/v1/responses/"+id).refused(http.StatusNotFound, "Response not found")
		s.delete("/v1/responses/"+id).refused(http.StatusNotFound, "Response not found")
		s.get("/v1/responses/"+id+"?stream=true").refused(http.StatusNotFound, "Response not found")
	}
	if o := s.delete("/v1/responses/" + responses[1]).ok(); o["id"] != responses[1] || o["object"] != "response" || o["deleted"] != true {
		t.Errorf("deleted: %v", o)
	}
	gone(responses[1])
	if got := history(t, s, "c"); fmt.Sprint(got) != "[user: alpha? assistant: ALPHA? user: gamma? assistant: GAMMA?]" {
		t.Errorf("messages %q", got)
	}
	// One that runs is stopped first.
	st := s.ask(object{"input": "delta?", "conversation": "c"})
	c := p.next()
	play(c, st, "begun")
	running := st.seenID(t)
	s.delete("/v1/responses/" + running).ok()
	c.left()
	st.rest()
	gone(running)
	st = s.ask(object{"input": "and now?", "conversation": "c"})
	c = p.next()
	if got := fmt.Sprint(c.transcript()); got != "[user: alpha? assistant: ALPHA? user: gamma? assistant: GAMMA? user: and now?]" {
		t.Errorf("the model sees %s", got)
	}
	c.say("now")
	last := st.turn().responseID
	s.delete("/v1/responses/" + responses[0]).ok()
	s.delete("/v1/responses/" + responses[2]).ok()
	if got := conversations(t, s, "?project=all"); !slices.Equal(got, []string{"c"}) {
		t.Errorf("conversations %v", got)
	}
	w := s.watch(0, 0)
	w.snapshot(false, "c")
	s.delete("/v1/responses/" + last).ok()
	w.until(deleted)
	s.get("/v1/conversations/c").refused(http.StatusNotFound, "Conversation not found")
	if got := conversations(t, s, "?project=all"); len(got) != 0 {
		t.Errorf("conversations %v", got)
	}
	s.stop()
	s.restart()
	gone(last)
	s.get("/v1/conversations/c").refused(http.StatusNotFound, "Conversation not found")
	// The only turn, while it runs.
	st = s.ask(object{"input": "only?", "conversation": "c"})
	c = p.next()
	s.delete("/v1/responses/" + st.seenID(t)).ok()
	c.left()
	st.rest()
	s.get("/v1/conversations/c").refused(http.StatusNotFound, "Conversation not found")
}

// page is a list of items in its envelope.
type page struct {
	Object  string            `json:"object"`
	Data    []json.RawMessage `json:"data"`
	FirstID *string           `json:"first_id"`
	LastID  *string           `json:"last_id"`
	HasMore *bool             `json:"has_more"`
}

func (p page) ids(t *testing.T) (ids []string) {
	t.Helper()
	for _, d := range p.Data {
		ids = append(ids, decode[listed](t, d).ID)
	}
	return ids
}

// pages walks through a list with pages of this size and returns all items. It
// checks the envelope of each page.
func pages(t *testing.T, s *server, path, order string, limit int) (all []json.RawMessage) {
	t.Helper()
	after := ""
	seen := map[string]bool{}
	for {
		a := s.with(t).get(fmt.Sprintf("%s?order=%s&limit=%d%s", path, order, limit, after))
		a.ok()
		p := decode[page](t, a.body)
		ids := p.ids(t)
		if p.Object != "list" || p.Data == nil || p.HasMore == nil || len(ids) > limit || *p.HasMore && len(ids) < limit {
			t.Fatalf("%v: %d items, has_more %v", a, len(ids), p.HasMore)
		}
		if n := len(ids); n == 0 && (p.FirstID != nil || p.LastID != nil) || n > 0 && (p.FirstID == nil || p.LastID == nil || *p.FirstID != ids[0] || *p.LastID != ids[n-1]) {
			t.Fatalf("%v: first and last do not fit", a)
		}
		for _, id := range ids {
			if seen[id] {
				t.Fatalf("%v: %s comes twice", a, id)
			}
			seen[id] = true
		}
		all = append(all, p.Data...)
		if !*p.HasMore {
			return all
		}
		after = "&after=" + *p.LastID
	}
}

// everyPage compares all pages, of all sizes and in both directions, with the
// whole, and every item with the one that is asked for by its id.
func everyPage(t *testing.T, s *server, path string, whole []json.RawMessage) {
	t.Helper()
	flipped := slices.Clone(whole)
	slices.Reverse(flipped)
	for limit := 1; limit <= len(whole)+2; limit++ {
		for order, want := range map[string][]json.RawMessage{"asc": whole, "desc": flipped} {
			if got := pages(t, s, path, order, limit); !slices.EqualFunc(got, want, func(a, b json.RawMessage) bool { return string(a) == string(b) }) {
				t.Errorf("%s in pages of %d, %s: %d items\n%s\nwant %d\n%s", path, limit, order, len(got), got, len(want), want)
			}
		}
	}
}

// What a request brought is listed as it came, newest first unless asked otherwise.
func TestRetrieveInputItems(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	const png = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
	given := []object{
		{"role": "developer", "content": "Be brief."}, {"role": "system", "content": "Be kind."}, {"role": "user", "content": "first"},
		{"type": "message", "role": "assistant", "content": []object{{"type": "output_text", "text": "yes?", "annotations": []any{}}}},
		{"type": "function_call", "call_id": "call_1", "name": "fetch", "arguments": `{"a": 1}`}, answerTo("call_1", "42"),
		{"role": "user", "content": []object{{"type": "input_text", "text": "What is this?"}, {"type": "input_image", "image_url": png, "detail": "low"},
			{"type": "input_file", "filename": "n.txt", "file_data": "data:text/plain;base64,bm90ZXM="}}},
	}
	st := s.ask(object{"input": given, "conversation": "c"})
	p.next().say("A picture.")
	id := st.turn().responseID
	path := "/v1/responses/" + id + "/input_items"
	whole := pages(t, s, path, "asc", 100)
	var got []string
	for _, d := range whole {
		it := decode[object](t, d)
		if str(it, "id") == "" || it["status"] != "completed" {
			t.Errorf("item %s", d)
		}
		delete(it, "id")
		delete(it, "status")
		data, err := json.Marshal(it)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(data))
	}
	text := func(role, kind, text string) string {
		return fmt.Sprintf(`{"content":[{"text":%q,"type":%q}],"role":%q,"type":"message"}`, text, kind, role)
	}
	want := []string{text("system", "input_text", "Be brief."), text("system", "input_text", "Be kind."), text("user", "input_text", "first"),
		`{"content":[{"annotations":[],"logprobs":[],"text":"yes?","type":"output_text"}],"role":"assistant","type":"message"}`,
		`{"arguments":"{\"a\": 1}","call_id":"call_1","name":"fetch","type":"function_call"}`, `{"call_id":"call_1","output":"42","type":"function_call_output"}`,
		`{"content":[{"text":"What is this?","type":"input_text"},{"detail":"low","image_url":"` + png + `","type":"input_image"},` +
			`{"text":"\u003cfile name=\"n.txt\"\u003e\nnotes\n\u003c/file\u003e","type":"input_text"}],"role":"user","type":"message"}`}
	if !slices.Equal(got, want) {
		t.Errorf("input items\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	everyPage(t, s, path, whole)
	if got := decode[page](t, s.get(path).body).ids(t); got[0] != decode[listed](t, whole[len(whole)-1]).ID {
		t.Errorf("without an order it begins with %s", got[0])
	}
	for _, query := range []string{"limit=0", "limit=101", "limit=-1", "limit=x", "order=up", "after=msg_unknown", "after=" + id} {
		s.get(path+"?"+query).refused(http.StatusUnprocessableEntity, "")
	}
	// The next turn brings only its own.
	st = s.ask(object{"input": "and?", "previous_response_id": id})
	p.next().say("Yes.")
	if got := pages(t, s, "/v1/responses/"+st.turn().responseID+"/input_items", "desc", 20); len(got) != 1 || decode[listed](t, got[0]).String() != "user input_text=and?" {
		t.Errorf("input items of the next turn: %s", got)
	}
}
