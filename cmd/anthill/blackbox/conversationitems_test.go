package blackbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	antonv1 "anthill/gen/anton/v1"
)

// sdk are headers by which OpenAI's clients are known.
var sdk = headers("X-Stainless-Lang", "js", "X-Stainless-Package-Version", "6.49.0", "Accept", "application/json")

// A conversation is made, read, described and deleted in OpenAI's shape.
func TestOpenAIConversations(t *testing.T) {
	t.Parallel()
	s := start(t, withModel(answering(t)))
	for name, body := range map[string]any{"nothing": nil, "an object": object{}, "nulls": object{"items": nil, "metadata": nil}, "an empty list": object{"items": []any{}}} {
		o := s.do(http.MethodPost, "/v1/conversations", body, sdk).ok()
		if o["object"] != "conversation" || str(o, "id") == "" || !sameJSON(o["metadata"], object{}) || o["turns"] != 0.0 {
			t.Errorf("made with %s: %v", name, o)
		}
	}
	made := s.do(http.MethodPost, "/v1/conversations", object{"metadata": object{"topic": "demo"}, "items": []object{
		{"type": "message", "role": "user", "content": "Hello!"}, {"role": "assistant", "content": []object{{"type": "output_text", "text": "Hi."}}}}}, sdk).ok()
	id := str(made, "id")
	path := "/v1/conversations/" + id
	if at, _ := made["created_at"].(float64); at < 1e9 || at > 1e11 || at != float64(int64(at)) || str(made, "metadata", "topic") != "demo" {
		t.Errorf("made: %v", made)
	}
	if o := s.do(http.MethodGet, path, nil, sdk).ok(); !sameJSON(o, made) {
		t.Errorf("read: %v, made: %v", o, made)
	}
	if o := s.get(path).ok(); !strings.HasSuffix(str(o, "created_at"), "+00:00") || o["title"] != "Hello!" || o["preview"] != "Hello!" || o["turns"] != 1.0 {
		t.Errorf("read by others: %v", o)
	}
	for _, list := range s.do(http.MethodGet, "/v1/conversations?project=all", nil, sdk).ok()["conversations"].([]any) {
		if str(list.(object), "created_at") == "" {
			t.Errorf("in lists the time is a text: %v", list)
		}
	}
	set := func(metadata any, want object) {
		t.Helper()
		if o := s.do(http.MethodPost, path, object{"metadata": metadata}, sdk).ok(); !sameJSON(o["metadata"], want) || o["id"] != id || o["object"] != "conversation" {
			t.Errorf("set to %v: %v", metadata, o)
		}
		if o := s.get(path).ok(); !sameJSON(o["metadata"], want) || o["title"] != "Hello!" {
			t.Errorf("set to %v: %v", metadata, o)
		}
	}
	set(object{"a": "b", "c": ""}, object{"a": "b", "c": ""})
	set(object{"only": "this"}, object{"only": "this"})
	for _, body := range []any{object{}, nil, object{"metadata": 7}, object{"metadata": []any{}}, object{"metadata": object{"a": 1}}, object{"metadata": pairs(17)},
		object{"metadata": object{strings.Repeat("k", 65): "v"}}, object{"metadata": object{"k": strings.Repeat("v", 513)}}, object{"metadata": object{"k": object{}}}} {
		s.do(http.MethodPost, path, body, sdk).refused(http.StatusUnprocessableEntity, "")
	}
	set(nil, object{})
	set(object{"kept": "over"}, object{"kept": "over"})
	set(object{}, object{})
	set(object{"kept": "over"}, object{"kept": "over"})
	s.do(http.MethodPost, "/v1/conversations/unknown", object{"metadata": object{}}, sdk).refused(http.StatusNotFound, "Conversation not found")
	s.stop()
	s.restart()
	if o := s.get(path).ok(); !sameJSON(o["metadata"], object{"kept": "over"}) {
		t.Errorf("after a restart: %v", o)
	}
	// It is gone on from.
	r := s.create(object{"input": "And?", "conversation": object{"id": id}})
	if r.ConversationID != id {
		t.Errorf("%+v", r)
	}
	if got := history(t, s, id); fmt.Sprint(got) != "[user: Hello! assistant: Hi. user: And? assistant: About And?]" {
		t.Errorf("messages %q", got)
	}
	if o := s.do(http.MethodDelete, path, nil, sdk).ok(); o["id"] != id || o["object"] != "conversation.deleted" || o["deleted"] != true || o["status"] != "deleted" {
		t.Errorf("deleted: %v", o)
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		s.do(method, path, nil, sdk).refused(http.StatusNotFound, "Conversation not found")
	}
}

// A new conversation belongs to the project that is named, or the active one.
func TestOpenAIConversationsInProjects(t *testing.T) {
	t.Parallel()
	s := start(t, withModel(answering(t)))
	s.post("/v1/projects", object{"name": "side"}).ok()
	if o := s.post("/v1/conversations", object{"project": "side"}).ok(); o["project"] != "side" {
		t.Errorf("%v", o)
	}
	s.put("/v1/projects/active", object{"name": "side"}).ok()
	if o := s.post("/v1/conversations", object{"project": nil}).ok(); o["project"] != "side" {
		t.Errorf("%v", o)
	}
	s.post("/v1/conversations", object{"project": "nowhere"}).refused(http.StatusNotFound, "Project not found: nowhere")
	s.post("/v1/conversations", object{"project": 7}).refused(http.StatusUnprocessableEntity, "")
	if got := conversations(t, s, "?project=all"); len(got) != 2 {
		t.Errorf("conversations %v", got)
	}
	// Nobody has asked anything there yet.
	id := conversations(t, s, "?project=all")[0]
	s.get("/v1/responses/tail?conversation_id="+id).refused(http.StatusNotFound, "No in-flight buffer for this conversation.")
	if o := s.get("/v1/responses/in-flight?conversation_id=" + id).ok(); o["has_buffer"] != false || o["in_flight"] != false || o["turn_id"] != nil {
		t.Errorf("in flight: %v", o)
	}
	if got := messages(t, s, id); len(got) != 0 {
		t.Errorf("messages %v", got)
	}
}

// longConversation has items of every kind over several turns, given ones too.
func longConversation(t *testing.T, s *server, p *provider) (id string) {
	t.Helper()
	made := s.post("/v1/conversations", object{"items": []object{{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "zero"},
		{"role": "assistant", "content": "ZERO"}, {"role": "user", "content": "zero again"}, {"role": "assistant", "content": "ZERO AGAIN"}}}).ok()
	id = str(made, "id")
	st, c := everyKind(t, s, p, object{"conversation": id})
	c.finish("tool_calls")
	tn := st.turn()
	st = s.ask(object{"input": []object{answerTo("call_f", "42"), {"role": "user", "content": "and?"}}, "previous_response_id": tn.responseID})
	p.nextFor(t).say("Done.")
	st.turn()
	s.post("/v1/conversations/"+id+"/items", object{"items": []object{{"type": "function_call", "call_id": "call_x", "name": "fetch", "arguments": "{}"}, answerTo("call_x", "43"),
		{"role": "assistant", "content": "Forty-three."}}}).ok()
	return id
}

// Items are listed in pages of any size, from both ends, and read one by one.
func TestItemsList(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	id := longConversation(t, s, p)
	path := "/v1/conversations/" + id + "/items"
	whole := pages(t, s, path, "asc", 100)
	var got []string
	seen := map[string]bool{}
	for _, data := range whole {
		it := decode[listed](t, data)
		got = append(got, strings.Split(it.String(), " -> ")[0])
		if it.ID == "" || seen[it.ID] || it.Status != "completed" {
			t.Errorf("item %s", data)
		}
		seen[it.ID] = true
		one := s.get(path + "/" + it.ID)
		one.ok()
		if string(one.body) != string(data) {
			t.Errorf("one by one: %v, in the list %s", one, data)
		}
	}
	want := []string{"system input_text=Be brief.", "user input_text=zero", "assistant output_text=ZERO", "user input_text=zero again", "assistant output_text=ZERO AGAIN",
		"user input_text=everything", "reasoning summary_text=Let me think.", "assistant output_text=Reading. ", `mcp_call read_file{"path":"a.txt"}`, "assistant output_text=Fetch — ing 🐜. ",
		`function_call fetch{"city":"x"}`, "function_call_output", "user input_text=and?", "assistant output_text=Done.", "function_call fetch{}", "function_call_output", "assistant output_text=Forty-three."}
	if !slices.Equal(got, want) {
		t.Errorf("items\n%q\nwant\n%q", got, want)
	}
	everyPage(t, s, path, whole)
	flipped := decode[page](t, s.get(path).body)
	if len(flipped.Data) != len(whole) || string(flipped.Data[0]) != string(whole[len(whole)-1]) {
		t.Errorf("without an order: %d items, the first is %s", len(flipped.Data), flipped.Data[0])
	}
	if p := decode[page](t, s.get(path+"?limit=20&include=x&include[]=y").body); len(p.Data) != len(whole) {
		t.Errorf("%d items", len(p.Data))
	}
	for _, query := range []string{"limit=0", "limit=101", "limit=-1", "limit=x", "limit=1.5", "order=up", "order=ASC", "after=msg_unknown", "after=" + id} {
		s.get(path+"?"+query).refused(http.StatusUnprocessableEntity, "")
	}
	other := str(s.post("/v1/conversations", object{"items": []object{{"role": "user", "content": "other"}}}).ok(), "id")
	foreign := items(t, s, other)[0].ID
	s.get(path+"?after="+foreign).refused(http.StatusUnprocessableEntity, "")
	for _, item := range []string{foreign, "msg_unknown", "unknown", decode[listed](t, whole[0]).ID + "0"} {
		s.get(path+"/"+item).refused(http.StatusNotFound, fmt.Sprintf("Item with id '%s' not found.", item))
		s.delete(path+"/"+item).refused(http.StatusNotFound, fmt.Sprintf("Item with id '%s' not found.", item))
	}
	for _, gone := range []string{"/v1/conversations/unknown/items", "/v1/conversations/unknown/items/" + foreign} {
		s.get(gone).refused(http.StatusNotFound, "Conversation not found")
	}
	s.stop()
	s.restart()
	if again := pages(t, s, path, "asc", 7); !sameJSON(again, whole) {
		t.Errorf("after a restart: %s", again)
	}
	// The same over gRPC.
	client := antonv1.NewConversationsServiceClient(s.dial())
	after := ""
	for i := 0; i < len(whole); i += 3 {
		l, err := client.ListItems(s.call(), &antonv1.ListItemsRequest{Id: id, Limit: proto.Int32(3), Order: "asc", After: after})
		if err != nil {
			t.Fatal(err)
		}
		for n, it := range l.Data {
			if want := decode[listed](t, whole[i+n]).ID; it.Id != want {
				t.Errorf("item %d by gRPC is %s, want %s", i+n, it.Id, want)
			}
		}
		after = l.LastId
	}
}

// While a turn runs its items are listed as they stand.
func TestItemsOfARunningTurn(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	st := s.ask(object{"input": "count", "conversation": "c"})
	c := p.next()
	play(c, st, "One, ")
	got := items(t, s, "c")
	if len(got) != 2 || got[1].String() != "assistant output_text=One, " || got[1].Status != "in_progress" {
		t.Errorf("items %v", got)
	}
	for _, it := range got {
		if o := s.delete("/v1/conversations/c/items/"+it.ID).refused(http.StatusConflict, ""); str(o, "error", "code") != "conversation_busy" {
			t.Errorf("%v", o)
		}
	}
	if o := s.post("/v1/conversations/c/items", object{"items": []object{{"role": "user", "content": "x"}}}).refused(http.StatusConflict, ""); str(o, "error", "code") != "conversation_busy" {
		t.Errorf("%v", o)
	}
	c.say("two")
	st.turn()
	if again := items(t, s, "c"); len(again) != 2 || again[1].ID != got[1].ID || again[1].String() != "assistant output_text=One, two" || again[1].Status != "completed" {
		t.Errorf("items %v", again)
	}
}

// What a client adds is what the model sees next, and nobody is asked for it.
func TestItemsCreate(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	id := str(s.post("/v1/conversations", nil).ok(), "id")
	path := "/v1/conversations/" + id + "/items"
	given := []object{{"role": "system", "content": "Be brief."}, {"role": "user", "content": "one"}, {"role": "assistant", "content": "ONE"},
		{"role": "user", "content": []object{{"type": "input_text", "text": "two"}, {"type": "input_image", "image_url": dataURL("image/png", pngBytes)}}},
		{"type": "function_call", "call_id": "call_1", "name": "fetch", "arguments": `{"a":1}`}, answerTo("call_1", "42"),
		{"type": "reasoning", "id": "rs_1", "summary": []any{}}, {"role": "assistant", "content": "TWO"}}
	w := s.watch(0, 0)
	w.snapshot(false, id)
	a := s.do(http.MethodPost, path, object{"items": given}, sdk)
	a.ok()
	list := decode[page](t, a.body)
	whole := pages(t, s, path, "asc", 100)
	if list.Object != "list" || len(list.Data) != 7 || !sameJSON(list.Data, whole) || *list.FirstID != list.ids(t)[0] || *list.LastID != list.ids(t)[6] || *list.HasMore {
		t.Errorf("answer %v\nlist %s", a, whole)
	}
	if got := describe(w.next()); got != "changed "+id {
		t.Errorf("watchers are told %s", got)
	}
	if o := s.get("/v1/conversations/" + id).ok(); o["preview"] != "one" || o["title"] != "one" || o["running"] != false {
		t.Errorf("conversation %v", o)
	}
	if got := history(t, s, id); fmt.Sprint(got) != "[user: one assistant: ONE user: two assistant: TWO]" {
		t.Errorf("messages %q", got)
	}
	s.kill()
	s.restart()
	st := s.ask(object{"input": "three", "conversation": id})
	c := p.next()
	if got := fmt.Sprint(c.transcript()); got != "[user: one assistant: ONE user: two calls call_1 result call_1 assistant: TWO user: three]" || c.paired() != nil || !strings.Contains(c.system(), "Be brief.") {
		t.Errorf("the model sees %s (%v) after %q", got, c.paired(), c.system())
	}
	if !strings.Contains(string(c.body), dataURL("image/png", pngBytes)) {
		t.Error("the picture is missing")
	}
	c.say("THREE")
	st.turn()
	// One can be named, and a copy of what is named is kept.
	ref := object{"type": "item_reference", "id": decode[listed](t, whole[1]).ID}
	other := str(s.post("/v1/conversations", object{"items": []object{ref}}).ok(), "id")
	s.delete("/v1/conversations/" + id).ok()
	if got := items(t, s, other); len(got) != 1 || got[0].String() != "user input_text=one" {
		t.Errorf("items %v", got)
	}
	// Large ones too.
	large := strings.Repeat("Größe. ", 100_000)
	s.post("/v1/conversations/"+other+"/items", object{"items": []object{{"role": "assistant", "content": large}}}).ok()
	if got := items(t, s, other); len(got) != 2 || got[1].Content[0].Text != large {
		t.Errorf("%d items", len(got))
	}
	st = s.ask(object{"input": "and?", "conversation": other})
	c = p.next()
	if got := c.transcript(); !slices.Equal(got, []string{"user: one", "assistant: " + large, "user: and?"}) {
		t.Errorf("the model sees %d messages", len(got))
	}
	c.say("ok")
	st.turn()
}

func TestItemsCreateRefusals(t *testing.T) {
	t.Parallel()
	s, unchanged := badInput(t)
	defer unchanged()
	many := make([]object, 21)
	for i := range many {
		many[i] = object{"role": "user", "content": "x"}
	}
	good := object{"role": "user", "content": "x"}
	for name, tc := range map[string]struct {
		items any
		loc   string
	}{
		"none": {nil, "items"}, "an empty list": {[]any{}, "items"}, "text": {"hello", "items"}, "an object": {object{}, "items"}, "too many": {many, "items"},
		"a text in the list": {[]any{good, "x"}, "items 1"}, "null in the list": {[]any{nil}, "items 0"}, "no role": {[]object{{"content": "x"}}, "items 0 role"},
		"no content": {[]object{good, {"role": "user"}}, "items 1 content"}, "wizard": {[]object{{"role": "wizard", "content": "x"}}, "items 0 role"},
		"unknown kind": {[]object{good, {"type": "spell"}}, "items 1 type"}, "no call_id": {[]object{{"type": "function_call_output", "output": "x"}}, "items 0 call_id"},
		"no output": {[]object{{"type": "function_call_output", "call_id": "x"}}, "items 0 output"}, "no name": {[]object{{"type": "function_call", "call_id": "x"}}, "items 0 name"},
		"unknown reference": {[]object{{"type": "item_reference", "id": "msg_x"}}, "items 0 id"},
	} {
		a := s.post("/v1/conversations/c/items", object{"items": tc.items})
		d, _ := a.refused(http.StatusUnprocessableEntity, "")["detail"].([]any)
		if len(d) == 0 || fmt.Sprint(d[0].(object)["loc"]) != "[body "+tc.loc+"]" {
			t.Errorf("%s: %v", name, a)
		}
		if name != "none" && name != "an empty list" {
			s.post("/v1/conversations", object{"items": tc.items}).refused(http.StatusUnprocessableEntity, "")
		}
	}
	s.post("/v1/conversations/c/items", nil).refused(http.StatusUnprocessableEntity, "")
	s.post("/v1/conversations/unknown/items", object{"items": []object{good}}).refused(http.StatusNotFound, "Conversation not found")
}

// An item that is deleted is in no list and not in what the model sees, and
// what is left is a history that a model accepts.
func TestItemsDelete(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	full := []string{"user: zero", "assistant: ZERO", "user: zero again", "assistant: ZERO AGAIN", "user: everything", "assistant: Reading. ", "calls call_r", "result call_r",
		"assistant: Fetch — ing 🐜. ", "calls call_f", "result call_f", "user: and?", "assistant: Done.", "calls call_x", "result call_x", "assistant: Forty-three.", "user: next?"}
	without := func(gone ...string) []string {
		return slices.DeleteFunc(slices.Clone(full), func(m string) bool { return slices.Contains(gone, m) })
	}
	for name, tc := range map[string]struct {
		index  int // of the item in TestItemsList
		want   []string
		result string // of call_f, or of call_x
	}{
		"instructions":       {0, full, ""},
		"a given question":   {1, without("user: zero"), ""},
		"a given answer":     {4, without("assistant: ZERO AGAIN"), ""},
		"the question":       {5, without("user: everything"), ""},
		"reasoning":          {6, full, ""},
		"text before a call": {7, without("assistant: Reading. "), ""},
		"a server's call":    {8, without("calls call_r", "result call_r"), ""},
		"the client's call":  {10, without("calls call_f", "result call_f"), ""},
		"an output":          {11, full, "call_f"},
		"the answer":         {13, without("assistant: Done."), ""},
		"a given call":       {14, without("calls call_x", "result call_x"), ""},
		"a given output":     {15, full, "call_x"},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.with(t)
			id := longConversation(t, s, p)
			path := "/v1/conversations/" + id + "/items"
			whole := pages(t, s, path, "asc", 100)
			gone := decode[listed](t, whole[tc.index])
			if o := s.do(http.MethodDelete, path+"/"+gone.ID, nil, sdk).ok(); o["object"] != "conversation" || o["id"] != id {
				t.Errorf("answer %v", o)
			}
			want := slices.Delete(slices.Clone(whole), tc.index, tc.index+1)
			if got := pages(t, s, path, "asc", 100); !sameJSON(got, want) {
				t.Errorf("left %s", got)
			}
			everyPageOfTwo(t, s, path, want)
			const none = "Item with id '%s' not found."
			s.get(path+"/"+gone.ID).refused(http.StatusNotFound, fmt.Sprintf(none, gone.ID))
			s.delete(path+"/"+gone.ID).refused(http.StatusNotFound, fmt.Sprintf(none, gone.ID))
			s.get(path+"?after="+gone.ID).refused(http.StatusUnprocessableEntity, "")
			st := s.ask(object{"input": "next?", "conversation": id})
			c := p.nextFor(t)
			if got := c.spoken(); !slices.Equal(got, tc.want) || c.paired() != nil {
				t.Errorf("the model sees\n%q (%v), want\n%q", got, c.paired(), tc.want)
			}
			if tc.result != "" && !strings.HasPrefix(c.results()[tc.result], "Error: ") {
				t.Errorf("the result that was deleted: %q", c.results()[tc.result])
			}
			if has := strings.Contains(c.system(), "Be brief."); has != (tc.index != 0) {
				t.Errorf("system prompt %q", c.system())
			}
			if text := gone.text(); text != "" && tc.index != 0 && strings.Contains(string(c.body), text+`"`) {
				t.Errorf("the model still sees %q", text)
			}
			c.say("ok")
			st.turn()
		})
	}
}

func (l listed) text() string {
	var all strings.Builder
	for _, p := range append(slices.Clone(l.Content), l.Summary...) {
		all.WriteString(p.Text)
	}
	return all.String()
}

func everyPageOfTwo(t *testing.T, s *server, path string, whole []json.RawMessage) {
	t.Helper()
	if got := pages(t, s, path, "asc", 2); !sameJSON(got, whole) {
		t.Errorf("in pages of two: %s", got)
	}
}

// All items go, in any order; and what goes in the copy of a conversation is
// what is meant, also if something went before it was copied.
func TestItemsDeleteMany(t *testing.T) {
	t.Parallel()
	p := newProvider(t, nil)
	s := start(t, withModel(p))
	id := longConversation(t, s, p)
	path := "/v1/conversations/" + id + "/items"
	responses := func(id string) (out []string) {
		for _, m := range messages(t, s, id) {
			if len(m.Events) > 0 {
				out = append(out, m.frames(t)[0].responseID(t))
			}
		}
		return out
	}
	first := func(id, text string) string {
		t.Helper()
		for _, it := range items(t, s, id) {
			if it.text() == text {
				return it.ID
			}
		}
		t.Fatalf("%s has no item %q", id, text)
		return ""
	}
	s.delete(path + "/" + first(id, "Reading. ")).ok()
	st := s.ask(object{"input": "branch?", "previous_response_id": responses(id)[0]})
	c := p.next()
	c.say("Branched.")
	branch := st.turn().conversation
	if branch == id {
		t.Fatal("no copy")
	}
	s.delete("/v1/conversations/" + branch + "/items/" + first(branch, "Fetch — ing 🐜. ")).ok()
	st = s.ask(object{"input": "next?", "conversation": branch})
	c = p.next()
	for _, gone := range []string{"Reading. ", "Fetch", "🐜"} {
		if strings.Contains(string(c.body), gone) {
			t.Errorf("the model still sees %q in %s", gone, c.body)
		}
	}
	if got := c.transcript(); !strings.Contains(fmt.Sprint(got), "user: branch? assistant: Branched. user: next?") || c.paired() != nil {
		t.Errorf("the model sees %q (%v)", got, c.paired())
	}
	c.say("ok")
	st.turn()
	for i := 0; ; i++ {
		left := items(t, s, id)
		if len(left) == 0 {
			break
		}
		s.delete(path + "/" + left[(i*7)%len(left)].ID).ok()
	}
	st = s.ask(object{"input": "alone?", "conversation": id})
	c = p.next()
	if got := fmt.Sprint(c.transcript()); got != "[user: alone?]" {
		t.Errorf("the model sees %s", got)
	}
	c.say("Alone.")
	st.turn()
	s.stop()
	s.restart()
	if got := items(t, s, id); len(got) != 2 || got[0].String() != "user input_text=alone?" {
		t.Errorf("items %v", got)
	}
	// The events of a turn show what was streamed, until the turn goes.
	if got := history(t, s, id); len(got) == 0 {
		t.Errorf("messages %q", got)
	}
}

// Items that are deleted at once all go; one by one they have an end (which only
// the long run reaches), and that harms nothing before it.
func TestItemsDeleteAtOnce(t *testing.T) {
	t.Parallel()
	p := answering(t)
	s := start(t, withModel(p))
	gone, spared, more := 100, 20, 0
	if soak {
		gone, spared, more = 1000, 0, 20
	}
	var given []object
	for i := range gone + spared + more {
		given = append(given, object{"role": "user", "content": fmt.Sprintf("question %d", i)})
	}
	s.create(object{"input": given, "conversation": "c"})
	whole := pages(t, s, "/v1/conversations/c/items", "asc", 100)
	if len(whole) != len(given)+1 {
		t.Fatalf("%d items", len(whole))
	}
	var deleted, refused atomic.Int64
	next := make(chan string)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for id := range next {
				a, err := s.try(http.MethodDelete, "/v1/conversations/c/items/"+id, nil)
				switch {
				case err != nil:
					t.Error(err)
				case a.status == http.StatusOK:
					deleted.Add(1)
				case a.status == http.StatusBadRequest && strings.Contains(string(a.body), "too_many_deleted"):
					refused.Add(1)
				default:
					t.Errorf("%v", a)
				}
			}
		})
	}
	for _, d := range whole[:gone+more] {
		next <- decode[listed](t, d).ID
	}
	close(next)
	all.Wait()
	left := pages(t, s, "/v1/conversations/c/items", "asc", 100)
	if deleted.Load() != int64(gone) || refused.Load() != int64(more) || len(left) != spared+more+1 {
		t.Errorf("%d deleted, %d refused, %d left", deleted.Load(), refused.Load(), len(left))
	}
	s.create(object{"input": "next?", "conversation": "c"})
	if got := p.about(t, "next?").transcript(); len(got) != len(left)+1 {
		t.Errorf("the model sees %d messages: %q", len(got), got)
	}
}
